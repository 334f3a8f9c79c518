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

using part_segments = std::span<const std::span<std::byte>>;

/// Where the heap is in a pool that takes the `span` bytes from `base` on, perhaps not at its own address. Throws
/// pool_too_small.
heap_place heap_place_in(std::byte* base, std::size_t span, std::span<const part_segments> parts, unsigned workers);

class image {
 public:
  /// `region_bytes` at the end of the segments are the job's, not for chunks. Throws pool_too_small.
  explicit image(const pool& p, std::uint64_t region_bytes = 0);

  unsigned workers() const { return places_.workers; }
  worker_slot& worker(unsigned i) const { return *homes_[i].worker; }
  std::uint32_t slots() const { return places_.workers * exposure_slots_per_worker; }
  exposure_slot& slot(std::uint32_t i) const { return homes_[home_of(i)].exposures[i % exposure_slots_per_worker]; }
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

  /// Nothing that recovery reads lies in memory that cannot be read: it would be killed by SIGBUS. Blocks and frames there
  /// are met when they are used. Throws medium_error.
  void check_readable(std::span<const std::span<std::byte>> bad) const;

  // Chunks are numbered by where they are mapped; not every number is a chunk.
  std::uint32_t chunk_of(const void* p) const {
    return static_cast<std::uint32_t>((reinterpret_cast<std::uintptr_t>(p) - base_) / chunk_bytes);
  }
  std::byte* chunk(std::uint32_t number) const { return reinterpret_cast<std::byte*>(base_ + number * chunk_bytes); }
  std::uint32_t chunk_numbers() const { return chunk_numbers_; }
  unsigned parts() const { return places_.parts; }
  unsigned part_of(unsigned worker) const { return places_.part_of(worker); }
  const std::vector<heap_place::range>& chunk_ranges() const { return heap_.ranges; }
  const heap_place& heap() const { return heap_; }
  std::span<std::byte> region() const { return region_; }
  /// [address, address + bytes) lies in one superblock's blocks, in the chunks of an extent, or in the job's region: no
  /// stack, list, log or table is there. `bytes` is not 0.
  bool holds_data(std::uintptr_t address, std::uint64_t bytes) const;

 private:
  std::uintptr_t base_;
  struct home {
    worker_slot* worker;
    exposure_slot* exposures;
  };
  slot_places places_;
  std::vector<home> homes_;  // by worker
  std::uint32_t chunk_numbers_;
  heap_place heap_;
  std::span<std::byte> region_;
};

}  // namespace ppmm::detail
