/// The undo log of a worker: what stood where its capsule updates in place (views of kind inout).
///
/// ```
///  worker slot.undo -> chunk | sequence | address | bytes | checksum | old bytes ... | sequence | ... | 0 | next chunk + 1 | ...
/// ```
/// An entry counts if its checksum fits and its sequence is that of the slot's newest record: so the next record's
/// becoming durable empties the log, with no store of its own. The slot's number is in the checksum [M]: the chunks of a
/// log that is empty may hold another slot's by now, with the same sequence.
#pragma once

#include <ppmm/alloc/arena.hpp>  // task_stamp
#include <ppmm/pmem/persist.hpp>
#include <ppmm/sched/image.hpp>
#include <ppmm/sched/stacklet.hpp>

#include <cstddef>
#include <cstdint>
#include <vector>

namespace ppmm::detail {

struct undo_head {
  std::uint64_t sequence;
  std::uint64_t address;   // 0: the log goes on in another chunk
  std::uint64_t bytes;     // or that chunk + 1
  std::uint64_t checksum;  // of the three above, the slot's number and the old bytes
};
static_assert(sizeof(undo_head) == 32);

class undo_log {
 public:
  /// `part`: of the pool, where its chunks are taken first.
  undo_log(unsigned slot, unsigned part, const image& img, chunk_pool& chunks, persister& p)
      : slot_(slot), part_(part), image_(img), chunks_(chunks), persister_(p) {}

  /// Saves [p, p + n), durably on return; `sequence` is that of the newest record. Throws out_of_pool_memory. Cost: one
  /// fence, a copy.
  void save(const void* p, std::size_t n, std::uint64_t sequence);

  /// A fault: only the chunks are left. What counts in them is found by roll_back.
  void forget() { sequence_ = 0; }

 private:
  void put(const undo_head& head, const void* data);
  void next_chunk();

  const unsigned slot_, part_;
  const image& image_;
  chunk_pool& chunks_;
  persister& persister_;
  std::vector<std::uint32_t> log_chunks_;
  std::size_t chunk_ = 0, at_ = 0;  // where the next entry goes
  std::uint64_t sequence_ = 0;      // of what is in it
};

/// What stood where the running task updates in place: for the case that it is run again after a commit, which voids the
/// log. Volatile: after a fault the log does it.
class task_undo {
 public:
  void save(const void* p, std::size_t n, const task_stamp& now);
  /// Puts back what the running task found.
  void take_back(const task_stamp& now);
  void clear() { ranges_.clear(), bytes_.clear(); }

 private:
  struct range {
    std::byte* to;
    std::size_t from, bytes;
  };
  task_stamp task_;
  std::vector<range> ranges_;
  std::vector<std::byte> bytes_;
};

/// The log of a slot whose newest record has that sequence.
struct found_undo {
  struct entry {
    std::byte* to;
    const std::byte* from;
    std::size_t bytes;
  };
  std::vector<entry> entries;
  std::vector<std::uint32_t> chunks;
};
/// Reads untrusted bytes. Throws corrupt_pool if the log names what is not the job's data: then it could restore a frame
/// that recovery has checked, or itself.
found_undo find_undo(unsigned slot, const image& img, std::uint64_t sequence);

/// Undoes what the capsule after the slot's record updated; durable on return. False: nothing was to do.
///
/// Invariants after crash: any part of the old bytes may be back; the log still counts, so all is put back again.
bool roll_back(unsigned slot, const image& img, std::uint64_t sequence, persister& p);

}  // namespace ppmm::detail
