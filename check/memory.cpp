#include <ppmm/check/memory.hpp>

#include <fmt/core.h>  // format

namespace ppmm::detail {
namespace {

using kind = memory_piece::kind;

memory_piece piece_of(kind what, std::span<const std::byte> bytes) {
  const auto first = reinterpret_cast<std::uintptr_t>(bytes.data());
  return {.what = what, .first = first, .last = first + bytes.size()};
}

}  // namespace

memory_map::memory_map(std::span<const std::byte> pool, std::span<const std::byte> region, const heap_place& heap)
    : pool_(piece_of(kind::runtime, pool)), region_(piece_of(kind::region, region)), heap_(heap) {}

const heap_place::range* memory_map::range_with(std::uintptr_t a, std::uint32_t& chunk) const {
  if (!pool_.has(a)) return nullptr;
  chunk = heap_.number_of(reinterpret_cast<const void*>(a));
  return heap_.range_of(chunk);
}

/// By the chunk's entry: a chunk is handed out for a stack or a list only when its entry says that it is no heap's.
memory_piece memory_map::at(std::uintptr_t a) const {
  if (region_.has(a)) return region_;
  std::uint32_t chunk = 0;
  const heap_place::range* r = range_with(a, chunk);
  if (r == nullptr) return {};
  std::uint64_t word = r->table[chunk - r->first].word.load();
  const auto base = [&] { return reinterpret_cast<std::uintptr_t>(heap_.address(chunk)); };
  if (is_kind(word, chunk_kind::superblock)) {
    if (size_class_of(word) >= size_classes) return {};
    const class_layout& l = class_layouts[size_class_of(word)];
    const std::uintptr_t offset = a - base();
    if (offset < l.first || (offset - l.first) / l.size >= l.blocks) return {};
    const std::uintptr_t first = base() + l.first + (offset - l.first) / l.size * l.size;
    return {.what = kind::block, .first = first, .last = first + l.size, .chunk = chunk};
  }
  const std::uint32_t asked = chunk;
  if (is_kind(word, chunk_kind::rest)) {
    const std::uint64_t distance = r->table[chunk - r->first].chunks.load();
    if (distance == 0 || distance > chunk - r->first) return {};
    chunk -= static_cast<std::uint32_t>(distance);
    word = r->table[chunk - r->first].word.load();
  }
  if (!is_kind(word, chunk_kind::extent)) return {};
  const std::uint64_t chunks = r->table[chunk - r->first].chunks.load();
  if (chunks <= asked - chunk || chunks > r->last - chunk) return {};
  return {.what = kind::extent, .first = base(), .last = base() + chunks * chunk_bytes, .chunk = chunk};
}

std::string memory_map::describe(std::uintptr_t a) const {
  const memory_piece p = at(a);
  switch (p.what) {
    case kind::region:
      return fmt::format("byte {} of the job's memory", a - p.first);
    case kind::block:
      return fmt::format("byte {} of the block of {} bytes at {:#x}, chunk {}", a - p.first, p.last - p.first, p.first, p.chunk);
    case kind::extent:
      return fmt::format("byte {} of the block of {} chunks at {:#x}, chunk {}", a - p.first, (p.last - p.first) / chunk_bytes, p.first, p.chunk);
    case kind::runtime:
      break;
  }
  const auto inside = [&](const void* from, std::size_t n) { return a - reinterpret_cast<std::uintptr_t>(from) < n; };
  std::uint32_t chunk = 0;
  if (const heap_place::range* r = range_with(a, chunk)) {
    const std::uint64_t word = r->table[chunk - r->first].word.load();
    return fmt::format("the runtime's memory at {:#x}, chunk {} ({})", a, chunk,
                       is_kind(word, chunk_kind::superblock) ? "the superblock's bits, or behind its blocks" : "frames, a list, or in no use");
  }
  for (const heap_place::range& r : heap_.ranges)
    if (inside(r.table, (r.end - r.first) * sizeof *r.table)) return fmt::format("the runtime's memory at {:#x} (the heap's chunk table)", a);
  if (inside(heap_.control, sizeof *heap_.control)) return fmt::format("the runtime's memory at {:#x} (the heap's control: roots)", a);
  return fmt::format("the runtime's memory at {:#x} (a worker's or an exposure slot)", a);
}

}  // namespace ppmm::detail
