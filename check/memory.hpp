/// Whose the bytes of a pool are: the job's region and the blocks of the heap are the user's, all else the runtime's.
#pragma once

#include <ppmm/alloc/space.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace ppmm::detail {

/// Where an address is.
struct memory_piece {
  enum class kind : std::uint8_t { runtime, region, block, extent };
  kind what = kind::runtime;
  std::uintptr_t first = 0, last = 0;  // of the region, block or extent
  std::uint32_t chunk = 0;             // of a block; the first of an extent

  bool is_the_users() const { return what != kind::runtime; }
  bool has(std::uintptr_t a) const { return a >= first && a < last; }
};

/// For any thread: what a chunk is used for is read from its entry at each question.
class memory_map {
 public:
  memory_map(std::span<const std::byte> pool, std::span<const std::byte> region, const heap_place& heap);

  bool has(std::uintptr_t a) const { return pool_.has(a); }
  std::uintptr_t base() const { return pool_.first; }
  std::size_t size() const { return pool_.last - pool_.first; }

  memory_piece at(std::uintptr_t a) const;
  /// "byte 40 of the block of 64 bytes at ..., chunk 12".
  std::string describe(std::uintptr_t a) const;

 private:
  const heap_place::range* range_with(std::uintptr_t a, std::uint32_t& chunk) const;

  memory_piece pool_, region_;
  heap_place heap_;
};

}  // namespace ppmm::detail
