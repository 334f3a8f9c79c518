/// The data plane of a pool file, read from outside: nothing is locked or changed. For `ppmm info` and `check`.
#pragma once

#include <ppmm/alloc/inspect.hpp>
#include <ppmm/pmem/inspect.hpp>
#include <ppmm/sched/layout.hpp>
#include <ppmm/sched/record.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace ppmm::tools {

/// What stands in one worker slot.
struct worker_state {
  unsigned slot = 0;
  std::uint64_t owner = 0;
  std::optional<detail::restart> record;  // the newest valid one, whatever job it is of
  bool damaged = false;                   // there are records, but none is valid
  std::uint64_t live_when = 0, live_progress = 0;
};

/// What every frame begins with.
struct frame_head {
  std::uint64_t parent, link, type;
};
static_assert(sizeof(frame_head) == sizeof(detail::frame));

struct exposure_words {
  std::uint64_t generation, right, join, frame;
};

class pool_reader {
 public:
  /// `report.facts` must be there. Throws ppmm::error if the file cannot be read.
  explicit pool_reader(const pool_report& report);
  pool_reader(const pool_reader&) = delete;
  pool_reader& operator=(const pool_reader&) = delete;
  ~pool_reader();

  std::vector<worker_state> workers() const;
  std::uint32_t exposure_slots() const { return facts_.max_workers * detail::exposure_slots_per_worker; }
  exposure_words exposure(std::uint32_t slot) const;
  /// The frame at an address of the mapped pool; nothing if no frame can be there.
  std::optional<frame_head> frame(std::uint64_t address) const;
  /// Walks over the heap, mapped for reading, where the file has data. `running`: serial of the unfinished job, or 0.
  /// Addresses are those of the mapped pool.
  detail::heap_report heap(std::uint64_t running, const std::function<void(const detail::heap_block&)>& on_block = {}) const;
  /// What is wrong with the lists of heap changes that the restart records of that job name; how many there are. None
  /// while somebody has the pool open: they change.
  std::vector<std::string> list_problems(std::uint64_t running, std::size_t& lists) const;

 private:
  struct mapped;
  void read(std::uint64_t offset, void* to, std::size_t bytes) const;

  pool_facts facts_;
  std::string file_;
  bool in_use_;
  int fd_;
};

/// What a worker was about to do, in words.
std::string describe(const detail::restart& record);

}  // namespace ppmm::tools
