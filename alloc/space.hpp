/// The chunks of a pool: which are free. Stacklets, superblocks, extents and long redo lists take them from here.
///
/// What is taken is kept in volatile bits. Heap chunks are found again from their entries, one by one, when they are
/// about to be handed out: nothing is scanned at restart. Chunks of stacklets are marked by recovery before that.
#pragma once

#include <ppmm/alloc/classes.hpp>
#include <ppmm/alloc/commons.hpp>
#include <ppmm/alloc/layout.hpp>
#include <ppmm/pmem/errors.hpp>
#include <ppmm/pmem/persist.hpp>
#include <ppmm/pmem/short_mutex.hpp>

#include <algorithm>
#include <array>
#include <cstdint>
#include <mutex>
#include <span>
#include <string>
#include <vector>

namespace ppmm {

/// The pool has no room: for an allocation, for frames, for what a capsule must note. A job that meets it stands at its
/// last commits, and goes on when it is run again after `pool::grow`.
struct out_of_pool_memory : error {
  out_of_pool_memory(const std::string& what, std::uint64_t asked_, std::uint64_t used_, std::uint64_t free_)
      : error(what), asked(asked_), used(used_), free(free_) {}
  std::uint64_t asked;       ///< bytes
  std::uint64_t used, free;  ///< bytes of the pool's chunks; used is a chunk in which anything is
};

namespace detail {

/// Where things are.
struct heap_place {
  struct range {
    std::uint32_t first, last;  // chunks [first, last) may be handed out
    std::uint32_t end;          // [last, end) are the running job's region
    unsigned part;              // of the pool; ascending, from 0 on
    chunk_entry* table;         // of [first, end)
  };
  std::byte* base = nullptr;    // chunk n is at base + n * chunk_bytes
  std::uint32_t numbers = 0;    // all chunks have smaller numbers
  std::vector<range> ranges;    // ascending
  heap_control* control = nullptr;

  std::byte* address(std::uint32_t chunk) const { return base + std::size_t{chunk} * chunk_bytes; }
  /// no_chunk for what lies outside: an address from the pool may be any.
  std::uint32_t number_of(const void* p) const {
    const std::uint64_t n = (reinterpret_cast<std::uintptr_t>(p) - reinterpret_cast<std::uintptr_t>(base)) / chunk_bytes;
    return n < numbers ? static_cast<std::uint32_t>(n) : no_chunk;
  }
  /// The range of a chunk, the running job's region with it; nullptr outside the pool.
  const range* holder_of(std::uint32_t chunk) const {
    for (const range& r : ranges)
      if (chunk >= r.first && chunk < r.end) return &r;
    return nullptr;
  }
  /// The range of a chunk that may be handed out; nullptr if it may not.
  const range* range_of(std::uint32_t chunk) const {
    const range* r = holder_of(chunk);
    return r != nullptr && chunk < r->last ? r : nullptr;
  }
};

/// What a chunk's entry says it holds, for a job to come or the running one.
struct chunk_use {
  chunk_kind kind = chunk_kind::none;  // none: nothing in use
  std::uint32_t head = 0;              // first chunk of it
  std::uint32_t chunks = 1;
  std::uint32_t allocated = 0;         // blocks
};

class chunk_space {
 public:
  /// `serial`: of the running job. `m` must outlive this, and `shared`, where its books are.
  chunk_space(const heap_place& where, const medium& m, std::uint64_t serial, commons& shared);
  /// To look only, or for one process alone.
  chunk_space(const heap_place& where, const medium& m, std::uint64_t serial) : chunk_space(where, m, serial, own_) {}

  /// A chunk from the high end of that part of the pool, or of the next that has one, for a stacklet or a list; no_chunk if
  /// there is none. Its entry is free, durably.
  std::uint32_t take_high(unsigned part);
  /// One, and some more where there are very many: all workers come here, and one after another. None: there is none.
  std::size_t take_high(unsigned part, std::span<std::uint32_t> to);
  /// How many are taken, and to be given back, at once while the pool is not half full.
  std::uint64_t batch() const { return std::clamp<std::uint64_t>(total_ / 4096, 1, 8); }
  /// The first of `n` chunks in a row, from the low end of that part, and no other. Their entries are free, durably.
  std::uint32_t take_low(std::uint32_t n, unsigned part);
  void give_back(std::uint32_t first, std::uint32_t n = 1);
  void give_back(std::span<const std::uint32_t> chunks);
  /// These chunks are in use already.
  void mark_used(std::uint32_t first, std::uint32_t n = 1);

  /// A superblock of that class in that part, with free blocks, that was met on the way, and is still one; no_chunk if none.
  std::uint32_t take_partial(unsigned size_class, unsigned part);
  unsigned parts() const { return part_count_; }

  /// Reads a chunk's entry and bits. Throws corrupt_pool.
  chunk_use look_at(std::uint32_t chunk) const;
  /// All chunks of what look_at has found are its own, as their entries say, and none of them is the region's.
  bool is_whole(const chunk_use& use) const;
  /// What jobs of that serial allocated is there to stay, or theirs while they run.
  bool counts(std::uint64_t serial) const;
  chunk_entry& entry(std::uint32_t chunk) const;
  /// The bits of a superblock or extent, checked to be one.
  block_bits* bits(std::uint32_t chunk) const;

  /// While it is held no chunk becomes something else.
  class section {
   public:
    explicit section(chunk_space& s);
    ~section();
    section(const section&) = delete;
    section& operator=(const section&) = delete;

   private:
    chunk_space& space_;
  };
  section hold() { return section(*this); }

  const heap_place& where() const { return place_; }
  std::uint64_t serial() const { return serial_; }
  std::uint64_t total() const { return total_; }
  std::uint64_t taken() const;
  /// Throws out_of_pool_memory: `asked` bytes for `purpose` are not there. When a take has failed, all is counted.
  [[noreturn, gnu::cold]] void no_room(std::uint64_t asked, const char* purpose) const;

 private:
  // A worker process may be killed while it has the mutex. So each book is changed by stores of which every beginning
  // leaves it in order, but that something is taken which nobody has: until the next run, or until the books are made anew
  // (docs/design.md, "Worker processes").
  struct books {
    short_mutex mutex;
    std::uint64_t taken = 0;  // chunks, about
  };
  /// Superblocks with room, in a list: head and links are a chunk + 1, 0 none. A chunk is in the list once a run at most.
  struct part {
    std::uint32_t low, high;  // its chunks below low and from high on are taken
    std::array<std::uint32_t, size_classes> partial;
  };
  struct partial_link {
    std::uint32_t next, claim;
  };
  void look_again();
  void fence();
  bool is_taken(std::uint32_t c) const { return (taken_[c / 64] >> c % 64 & 1) != 0; }
  std::uint32_t take_one_high(unsigned part);
  bool is_free(std::uint32_t chunk);  // looks at it if nobody has
  void take(std::uint32_t first, std::uint32_t n);
  void set_taken(std::uint32_t first, std::uint32_t n);
  void set_free(std::uint32_t first, std::uint32_t n);  // all in one part
  part& part_of(std::uint32_t chunk);

  commons own_;
  const heap_place place_;
  const std::uint64_t serial_;
  std::uint64_t total_ = 0;
  persister persister_;
  bool unfenced_ = false;  // entries were flushed since the mutex was taken
  shared_object<books> books_;
  shared_array<std::uint64_t> taken_, seen_;  // by chunk number; memory only where touched
  shared_array<partial_link> partial_;        // by chunk number
  unsigned part_count_ = 0;
  shared_array<part> parts_;
};

}  // namespace detail
}  // namespace ppmm
