/// Where things are in a pool's data plane, and the checks that stand between untrusted bytes and a dereference.
#pragma once

#include <ppmm/alloc/space.hpp>
#include <ppmm/pmem/pool.hpp>
#include <ppmm/sched/layout.hpp>
#include <ppmm/sched/type.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace ppmm::detail {

/// Where the heap is in a pool that is mapped at `base`, perhaps not at its own address. Throws pool_too_small.
heap_place heap_place_in(std::byte* base, std::size_t size, std::span<const std::span<std::byte>> segments, unsigned workers);

class image {
 public:
  /// `region_bytes` at the end of the segments are the job's, not for chunks. Throws pool_too_small.
  explicit image(const pool& p, std::uint64_t region_bytes = 0);

  unsigned workers() const { return worker_count_; }
  worker_slot& worker(unsigned i) const { return workers_[i]; }
  std::uint32_t slots() const { return worker_count_ * exposure_slots_per_worker; }
  exposure_slot& slot(std::uint32_t i) const { return slots_[i]; }
  static unsigned home_of(std::uint32_t slot) { return slot / exposure_slots_per_worker; }

  /// The frame at an address found in the pool: in a chunk, aligned, of a type this program knows and of its size.
  /// Throws corrupt_pool.
  frame* checked_frame(std::uintptr_t address) const;
  /// The exposure named by durable words: its slot exists. Throws corrupt_pool.
  exposure_slot& checked_slot(exposure e) const;

  /// A link counts only if generation, right word and frame all agree with it [M]; otherwise the frame is not exposed
  /// and its child is the strand's. Throws corrupt_pool.
  bool is_live(exposure e, const frame* f) const;
  /// The frame is exposed, and its right child was stolen.
  bool is_stolen(const frame* f) const;

  // Chunks are numbered by where they are in the file; not every number is a chunk.
  std::uint32_t chunk_of(const void* p) const {
    return static_cast<std::uint32_t>((reinterpret_cast<std::uintptr_t>(p) - base_) / chunk_bytes);
  }
  std::byte* chunk(std::uint32_t number) const { return reinterpret_cast<std::byte*>(base_ + number * chunk_bytes); }
  std::uint32_t chunk_numbers() const { return chunk_numbers_; }
  const std::vector<heap_place::range>& chunk_ranges() const { return heap_.ranges; }
  const heap_place& heap() const { return heap_; }
  std::span<std::byte> region() const { return region_; }
  /// [address, address + bytes) lies in one superblock's blocks, in the chunks of an extent, or in the job's region: no
  /// stack, list, log or table is there. `bytes` is not 0.
  bool holds_data(std::uintptr_t address, std::uint64_t bytes) const;

 private:
  std::uintptr_t base_;
  unsigned worker_count_;
  worker_slot* workers_;
  exposure_slot* slots_;
  std::uint32_t chunk_numbers_;
  heap_place heap_;
  std::span<std::byte> region_;
};

}  // namespace ppmm::detail
