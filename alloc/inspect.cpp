#include <ppmm/alloc/inspect.hpp>

#include <ppmm/alloc/heap.hpp>
#include <ppmm/pmem/errors.hpp>

#include <fmt/core.h>  // format

#include <algorithm>
#include <cstddef>
#include <utility>

namespace ppmm::detail {
namespace {

constexpr std::size_t most_problems = 100;

void tell(heap_report& report, std::string problem) {
  if (report.problems.size() < most_problems)
    report.problems.push_back(std::move(problem));
  else if (report.problems.size() == most_problems)
    report.problems.emplace_back("and more");
}

void walk_blocks(const chunk_space& chunks, std::uint32_t c, heap_report& report, const heap_walk& walk) {
  const chunk_entry& e = chunks.entry(c);
  const std::uint64_t word = e.word.load(), serial = e.serial.load();
  const bool is_extent = is_kind(word, chunk_kind::extent);
  const class_layout l = is_extent ? class_layout{0, 1, 0, 0} : class_layouts[size_class_of(word)];
  const std::uint64_t bytes = is_extent ? e.chunks.load() * chunk_bytes : l.size;
  heap_report::use& use = is_extent ? report.extents : report.classes[size_class_of(word)];
  use.chunks += is_extent ? e.chunks.load() : 1;
  use.blocks += l.blocks;
  const block_bits* bits = chunks.bits(c);
  for (std::uint32_t b = 0; b < l.words() * 64; ++b) {
    const block_bits& w = bits[b / 64];
    const bool young = (w.young.load() >> b % 64 & 1) != 0;
    if (((w.alloc.load() ^ w.free.load()) >> b % 64 & 1) == 0 || (young && !chunks.counts(serial))) continue;
    if (b >= l.blocks) {
      tell(report, fmt::format("chunk {}: block {} of {} is allocated", c, b, l.blocks));
      break;
    }
    ++use.allocated;
    ++report.blocks;
    report.bytes += bytes;
    report.bytes_by_worker[arena_of(word)] += bytes;
    if (walk.on_block)
      walk.on_block({reinterpret_cast<std::uintptr_t>(chunks.where().address(c)) + walk.moved + l.first + std::uint64_t{b} * l.size, bytes, arena_of(word), serial, young});
  }
}

/// The first chunk from c on, but before r.end, whose entry was written.
std::uint32_t next_used(const heap_place::range& r, std::uint32_t c, const heap_walk& walk) {
  constexpr std::uintptr_t page = 4096;
  const chunk_entry* const e = r.table + (c - r.first);
  if (!walk.next_written || (c != r.first && reinterpret_cast<std::uintptr_t>(e) % page >= sizeof(chunk_entry))) return c;
  const auto* at = static_cast<const std::byte*>(walk.next_written(e));
  if (at == nullptr) return r.end;
  const auto skipped = static_cast<std::uintptr_t>(std::max<std::ptrdiff_t>(at - reinterpret_cast<const std::byte*>(e), 0)) / sizeof(chunk_entry);
  return static_cast<std::uint32_t>(std::min<std::uintptr_t>(c + skipped, r.end));
}

void look_at_chunk(const chunk_space& chunks, std::uint32_t& c, heap_report& report, const heap_walk& walk) {
  const std::uint64_t word = chunks.entry(c).word.load();
  if (kind_of(word) == 0 && size_class_of(word) == 0) return;
  const bool has_bits = is_kind(word, chunk_kind::superblock) || is_kind(word, chunk_kind::extent);
  if (has_bits && chunks.entry(c).serial.load() > chunks.where().control->newest.load())
    tell(report, fmt::format("chunk {} belongs to job {}, which has not begun yet", c, chunks.entry(c).serial.load()));
  const chunk_use u = chunks.look_at(c);
  if (u.kind == chunk_kind::none || u.head != c) return;
  if (!chunks.is_whole(u)) return tell(report, fmt::format("chunk {} says that an extent of {} chunks begins there, but they say otherwise", c, u.chunks));
  walk_blocks(chunks, c, report, walk);
  c += u.chunks - 1;
}

}  // namespace

heap_report inspect_heap(const chunk_space& chunks, const heap_walk& walk) {
  heap_report report;
  for (const heap_place::range& r : chunks.where().ranges)
    for (std::uint32_t c = next_used(r, r.first, walk); c < r.end; c = next_used(r, c + 1, walk)) try {
        look_at_chunk(chunks, c, report, walk);
      } catch (const corrupt_pool& e) {
        tell(report, e.what());
      }
  const heap_control& control = *chunks.where().control;
  if (control.first.load() > control.newest.load() || control.newest.load() - control.first.load() >= serial_window)
    tell(report, fmt::format("kept bits begin with job {} and end with job {}", control.first.load(), control.newest.load()));
  // A job may free what a root names, and set it anew: only when it is over that counts.
  for (std::size_t i = 0; i < max_roots && chunks.serial() == 0; ++i) try {
      if (const root_version* v = current_version(chunks, control.roots[i]); v != nullptr && !names_a_block(chunks, *v, walk.moved))
        tell(report, fmt::format("root {} names memory that is not allocated", i));
    } catch (const corrupt_pool& e) {
      tell(report, e.what());
    }
  return report;
}

}  // namespace ppmm::detail
