/// Size classes: steps of 16 bytes up to 128, then four to each doubling, up to 32 KiB.
#pragma once

#include <ppmm/alloc/layout.hpp>

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace ppmm::detail {

inline constexpr unsigned size_classes = 40;
inline constexpr std::size_t max_block_bytes = 32768;  // more than that is an extent: whole chunks
inline constexpr std::size_t max_block_alignment = 64;

/// The smallest class of at least `bytes`, 1 to max_block_bytes.
constexpr unsigned size_class_for(std::size_t bytes) {
  if (bytes <= 128) return static_cast<unsigned>((bytes + 15) / 16) - (bytes == 0 ? 0 : 1);
  const auto width = static_cast<unsigned>(std::bit_width(bytes - 1));
  return 8 + (width - 8) * 4 + static_cast<unsigned>((bytes - 1) >> (width - 3)) - 4;
}

/// How a superblock of a class is laid out: its bits first (unless they fit in the chunk's entry), then the blocks.
struct class_layout {
  std::uint32_t size;         // of a block, bytes
  std::uint32_t blocks;
  std::uint32_t first;        // offset of the first block
  std::uint32_t reciprocal;   // offset / size == offset * reciprocal >> 32, for offsets within a chunk
  bool bits_in_entry() const { return first == 0; }
  std::uint32_t words() const { return (blocks + 63) / 64; }
};

constexpr std::array<class_layout, size_classes> make_class_layouts() {
  std::array<class_layout, size_classes> all{};
  for (unsigned c = 0; c < size_classes; ++c) {
    class_layout& l = all[c];
    l.size = c < 8 ? 16 * (c + 1) : (4 + c % 4 + 1) << (c / 4 + 3);
    l.blocks = static_cast<std::uint32_t>(chunk_bytes / l.size);
    if (l.blocks > 64) {
      const auto header = [](std::uint32_t n) { return ((n + 63) / 64 * 32 + 63) / 64 * 64; };
      while (header(l.blocks) + l.blocks * l.size > chunk_bytes) --l.blocks;
      l.first = header(l.blocks);
    }
    l.reciprocal = static_cast<std::uint32_t>(((std::uint64_t{1} << 32) + l.size - 1) / l.size);
  }
  return all;
}
inline constexpr std::array<class_layout, size_classes> class_layouts = make_class_layouts();

static_assert(class_layouts[0].size == 16 && class_layouts[7].size == 128 && class_layouts[8].size == 160 && class_layouts[11].size == 256 &&
              class_layouts[size_classes - 1].size == max_block_bytes);
static_assert(class_layouts[0].blocks <= 4096);  // 12 bits in a redo word, 64 words of masks

/// The class for objects of that size and alignment (a power of two, at most 64): blocks begin at multiples of it.
constexpr unsigned size_class_for(std::size_t bytes, std::size_t alignment) {
  unsigned c = size_class_for(bytes);
  while (class_layouts[c].size % alignment != 0) ++c;
  return c;
}

}  // namespace ppmm::detail
