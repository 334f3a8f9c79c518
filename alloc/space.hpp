/// The chunks of a pool: which are free. Stacklets, superblocks, extents and long redo lists take them from here.
///
/// What is taken is kept in volatile bits. Heap chunks are found again from their entries, one by one, when they are
/// about to be handed out: nothing is scanned at restart. Chunks of stacklets are marked by recovery before that.
#pragma once

#include <ppmm/alloc/classes.hpp>
#include <ppmm/alloc/layout.hpp>
#include <ppmm/pmem/errors.hpp>
#include <ppmm/pmem/instrument.hpp>
#include <ppmm/pmem/persist.hpp>

#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <mutex>
#include <new>
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

/// Zeroed memory that costs nothing until it is touched, however large the pool: not counted against what the machine
/// has, as calloc's is. (A file may claim to have many TiB.)
struct unmap {
  std::size_t bytes;
  void operator()(void* p) const { ::munmap(p, bytes); }
};
template <class T>
using lazy_array = std::unique_ptr<T[], unmap>;
template <class T>
lazy_array<T> lazy_zeros(std::size_t n) {
  const std::size_t bytes = std::max<std::size_t>(n, 1) * sizeof(T);
  void* p = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p == MAP_FAILED) throw std::bad_alloc();
  return {static_cast<T*>(p), unmap{bytes}};
}

/// Where things are.
struct heap_place {
  struct range {
    std::uint32_t first, last;  // chunks [first, last) may be handed out
    std::uint32_t end;          // [last, end) are the running job's region
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
  /// The range of a chunk that may be handed out; nullptr if it may not.
  const range* range_of(std::uint32_t chunk) const {
    for (const range& r : ranges)
      if (chunk >= r.first && chunk < r.last) return &r;
    return nullptr;
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
  /// `serial`: of the running job. `m` must outlive this.
  chunk_space(const heap_place& where, const medium& m, std::uint64_t serial);

  /// A chunk from the high end, for a stacklet or a list; no_chunk if there is none. Its entry is free, durably.
  std::uint32_t take_high();
  /// The first of `n` chunks in a row, from the low end. Their entries are free, durably.
  std::uint32_t take_low(std::uint32_t n);
  void give_back(std::uint32_t first, std::uint32_t n = 1);
  /// These chunks are in use already.
  void mark_used(std::uint32_t first, std::uint32_t n = 1);

  /// A superblock of that class with free blocks that was met on the way, and is still one; no_chunk if none.
  std::uint32_t take_partial(unsigned size_class);

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
  std::unique_lock<short_mutex> hold() const { return std::unique_lock(mutex_); }

  const heap_place& where() const { return place_; }
  std::uint64_t serial() const { return serial_; }
  std::uint64_t total() const { return total_; }
  std::uint64_t taken() const;
  /// Throws out_of_pool_memory: `asked` bytes for `purpose` are not there. When a take has failed, all is counted.
  [[noreturn, gnu::cold]] void no_room(std::uint64_t asked, const char* purpose) const;

 private:
  bool is_taken(std::uint32_t c) const { return (taken_[c / 64] >> c % 64 & 1) != 0; }
  bool is_free(std::uint32_t chunk);  // looks at it if nobody has
  void take(std::uint32_t first, std::uint32_t n);
  void set_taken(std::uint32_t first, std::uint32_t n);

  const heap_place place_;
  const std::uint64_t serial_;
  std::uint64_t total_ = 0;
  mutable short_mutex mutex_;
  persister persister_;
  bool unfenced_ = false;  // entries were flushed
  lazy_array<std::uint64_t> taken_, seen_;  // by chunk number; memory only where touched
  std::uint32_t low_, high_;  // chunks below low_ and from high_ on are taken
  std::uint64_t taken_count_ = 0;
  struct found {
    std::uint32_t chunk, claim;
  };
  std::array<std::vector<found>, size_classes> partial_;
};

}  // namespace detail
}  // namespace ppmm
