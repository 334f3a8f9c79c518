#include "sort_job.hpp"

#include <ppmm/algo/algo.hpp>
#include <ppmm/pmem/errors.hpp>

#include <algorithm>
#include <cstring>

namespace ppmm::tools {
namespace {

const input_text* the_input = nullptr;

// What a byte or a line costs in each phase, for the progress bar: measured, in tenths of a nanosecond.
constexpr std::uint64_t load_units = 5, index_units = 5;     // a byte
constexpr sort_units line_units{.leaf = 600, .merge = 100};  // a line

/// Bytes [first, last) of the blocks [lo, hi).
struct byte_range {
  std::uint64_t first, last;
};
byte_range bytes_of(const sort_layout& s, std::size_t lo, std::size_t hi) {
  return {lo * block_bytes, std::min<std::uint64_t>(hi * block_bytes, s.text.size())};
}

void load_block(context& cx, const sort_layout& s, std::size_t b) {
  const auto [first, last] = bytes_of(s, b, b + 1);
  const std::span<char> text = cx.write(s.text.sub(first, last - first));
  const std::span<block_summary> summary = cx.write(s.blocks.sub(b, 1));
  the_input->read(first, text);
  summary[0] = summarise(text, b);
  cx.advance(load_units * text.size());
}

step<void> number_lines(context& cx, sort_layout s) {
  const std::span<const block_summary> blocks = cx.read(s.blocks.as_in());
  const std::span<std::uint64_t> newlines_before = cx.write(s.newlines_before);
  text_summary found{s.text.size(), 0, 0};
  for (std::size_t b = 0; b < blocks.size(); ++b) {
    newlines_before[b] = found.lines;
    found.add(blocks[b]);
  }
  if (found != s.expected) throw error("the input files were changed while they were read");
  return {};
}

/// Where the first line that starts in block b or later starts, as a position in the text and a number. Past the last
/// block: the end of the text and the number of lines.
struct line_start {
  std::uint64_t position, number;
};
line_start first_line_of(std::span<const char> text, std::span<const std::uint64_t> newlines_before, std::size_t b,
                         const text_summary& all) {
  if (b == newlines_before.size()) return {all.bytes, all.lines};
  const std::uint64_t begin = b * block_bytes;
  if (b == 0 || text[begin - 1] == '\n') return {begin, newlines_before[b]};
  const void* newline = std::memchr(&text[begin], '\n', text.size() - begin);  // there is one: the text ends in one
  return {static_cast<std::uint64_t>(static_cast<const char*>(newline) - text.data()) + 1, newlines_before[b] + 1};
}

void index_blocks(context& cx, const sort_layout& s, std::size_t lo, std::size_t hi) {
  const std::span<const char> text = cx.read(s.text.as_in());
  const std::span<const std::uint64_t> newlines_before = cx.read(s.newlines_before.as_in());
  const line_start first = first_line_of(text, newlines_before, lo, s.expected);
  const line_start last = first_line_of(text, newlines_before, hi, s.expected);
  // A line longer than a block: several blocks have the same first line, which starts after all of them.
  const std::span<line> table = cx.write(s.table.sub(first.number, last.number - first.number));
  std::uint64_t position = first.position;
  for (line& l : table) {
    const void* newline = std::memchr(&text[position], '\n', text.size() - position);
    const auto end = static_cast<std::uint64_t>(static_cast<const char*>(newline) - text.data());
    l = line(text, position, end - position);
    position = end + 1;
  }
  const auto [from, to] = bytes_of(s, lo, hi);
  cx.advance(index_units * (to - from));
}

auto load(const sort_layout& s) {
  return for_each(0, s.blocks.size(), [s](context& cx, std::size_t lo, std::size_t hi) {
    for (std::size_t b = lo; b < hi; ++b) load_block(cx, s, b);
  });
}

auto index(const sort_layout& s) {
  return for_each(0, s.blocks.size(),
                  [s](context& cx, std::size_t lo, std::size_t hi) { index_blocks(cx, s, lo, hi); });
}

step<void> sort_table(context& cx, sort_layout s) {
  return sort(cx, s.table, s.scratch, line_order{s.text.as_in()}, line_units);
}

step<void> index_and_sort(context& cx, sort_layout s) { return cx.call(index(s)).then(task<sort_table>(s)); }

step<void> number_and_on(context& cx, sort_layout s) {
  return cx.call(task<number_lines>(s)).then(task<index_and_sort>(s));
}

constexpr std::uint64_t aligned(std::uint64_t bytes) { return (bytes + 63) / 64 * 64; }

/// Cuts the region into one array after the other.
class cutter {
 public:
  explicit cutter(std::span<std::byte> region) : rest_(region) {}
  template <class T>
  out<T> cut(std::uint64_t count) {
    const std::span<std::byte> bytes = rest_.first(count * sizeof(T));
    rest_ = rest_.subspan(aligned(bytes.size()));
    return {reinterpret_cast<T*>(bytes.data()), static_cast<std::size_t>(count)};
  }

 private:
  std::span<std::byte> rest_;
};

}  // namespace

std::uint64_t sort_layout::region_bytes(const text_summary& text) {
  const std::uint64_t blocks = block_count(text.bytes);
  return aligned(text.bytes) + aligned(blocks * sizeof(block_summary)) + aligned(blocks * sizeof(std::uint64_t)) +
         2 * aligned(text.lines * sizeof(line)) + 64;  // never empty
}

sort_layout sort_layout::place(std::span<std::byte> region, const text_summary& text) {
  cutter c(region);
  const std::uint64_t blocks = block_count(text.bytes);
  sort_layout s{};
  s.expected = text;
  s.text = c.cut<char>(text.bytes);
  s.blocks = c.cut<block_summary>(blocks);
  s.newlines_before = c.cut<std::uint64_t>(blocks);
  s.table = c.cut<line>(text.lines);
  s.scratch = c.cut<line>(text.lines);
  return s;
}

step<void> sort_lines(context& cx, sort_layout layout) {
  return cx.call(load(layout)).then(task<number_and_on>(layout));
}

void set_sort_input(const input_text* text) { the_input = text; }

std::uint64_t sort_job_units(const text_summary& text) {
  return (load_units + index_units) * text.bytes +
         text.lines * (line_units.leaf + sort_levels(text.lines) * line_units.merge);
}

}  // namespace ppmm::tools
