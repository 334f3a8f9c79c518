#include <ppmm/alloc/inspect.hpp>

#include <ppmm/pmem/errors.hpp>

#include <fmt/core.h>  // format

#include <algorithm>

namespace ppmm::detail {
namespace {

void walk_blocks(const chunk_space& chunks, std::uint32_t c, heap_report& report, const std::function<void(const heap_block&)>& on_block) {
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
      report.problems.push_back(fmt::format("chunk {}: block {} of {} is allocated", c, b, l.blocks));
      continue;
    }
    ++use.allocated;
    ++report.blocks;
    report.bytes += bytes;
    report.bytes_by_worker[arena_of(word)] += bytes;
    if (on_block)
      on_block({reinterpret_cast<std::uintptr_t>(chunks.where().address(c)) + l.first + std::uint64_t{b} * l.size, bytes, arena_of(word), serial, young});
  }
}

}  // namespace

heap_report inspect_heap(const chunk_space& chunks, const std::function<void(const heap_block&)>& on_block, const std::vector<chunk_run>* written) {
  heap_report report;
  std::vector<chunk_run> all;
  for (const heap_place::range& r : chunks.where().ranges) all.push_back({r.first, r.end});
  std::uint32_t from = 0;  // an extent may reach beyond a run
  for (const chunk_run& run : written != nullptr ? *written : all)
    for (std::uint32_t c = std::max(run.first, from); c < run.end; from = ++c) try {
        const std::uint64_t word = chunks.entry(c).word.load();
        if (kind_of(word) == 0 && size_class_of(word) == 0) continue;
        const bool has_bits = is_kind(word, chunk_kind::superblock) || is_kind(word, chunk_kind::extent);
        if (has_bits && chunks.entry(c).serial.load() > chunks.where().control->newest.load())
          report.problems.push_back(fmt::format("chunk {} belongs to job {}, which has not begun yet", c, chunks.entry(c).serial.load()));
        const chunk_use u = chunks.look_at(c);
        if (u.kind == chunk_kind::none || u.head != c) continue;
        for (std::uint32_t i = 1; i < u.chunks; ++i) {
          if (is_kind(chunks.entry(c + i).word.load(), chunk_kind::rest) && chunks.entry(c + i).chunks.load() == i) continue;
          report.problems.push_back(fmt::format("chunk {} is in the middle of an extent that begins in chunk {}, but says otherwise", c + i, c));
          break;  // the extent may be said to be as long as the pool
        }
        walk_blocks(chunks, c, report, on_block);
        c += u.chunks - 1;
      } catch (const corrupt_pool& e) {
        report.problems.emplace_back(e.what());
      }
  const heap_control& control = *chunks.where().control;
  if (control.first.load() > control.newest.load() || control.newest.load() - control.first.load() >= serial_window)
    report.problems.push_back(fmt::format("kept bits begin with job {} and end with job {}", control.first.load(), control.newest.load()));
  return report;
}

}  // namespace ppmm::detail
