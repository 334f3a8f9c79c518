/// A line of a text, as an entry of the table that is sorted.
#pragma once

#include <ppmm/sched/view.hpp>

#include <algorithm>
#include <bit>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace ppmm::tools {

/// The beginning of a line in eight bytes that compare as the line does, as far as they go. Much text begins with runs
/// (indentation, rules of dashes), so the key is: the first byte; how often it is repeated; the next six. A longer run
/// comes before a shorter one if what follows the shorter is greater than the run's byte, else after it, so the second
/// byte is the length s of the run for runs followed by less (or by the line's end), 256 - s for those followed by
/// more.
class line_key {
 public:
  line_key() = default;
  line_key(std::span<const char> text, std::uint64_t position, std::uint64_t length) {
    if (length == 0) return;
    const auto at = [&](std::uint64_t i) { return static_cast<unsigned char>(text[position + i]); };
    const unsigned char first = at(0);
    std::uint64_t run = 1;
    while (run < std::min(length, longest_run) && at(run) == first) ++run;
    const bool less_follows = run == longest_run || run == length || at(run) < first;
    word_ = std::uint64_t{first} << 56 | (less_follows ? run : 256 - run) << 48 |
            six_bytes(text, position + run, length - run);
  }

  /// So many bytes of two lines are equal (or past an end) if their keys are.
  std::uint64_t bytes() const {
    const std::uint64_t run = word_ >> 48 & 0xff;
    return (run <= longest_run ? run : 256 - run) + 6;
  }
  friend auto operator<=>(const line_key&, const line_key&) = default;

 private:
  static constexpr std::uint64_t longest_run = 127;

  /// Zeros where the line is shorter.
  static std::uint64_t six_bytes(std::span<const char> text, std::uint64_t position, std::uint64_t length) {
    static_assert(std::endian::native == std::endian::little);
    std::uint64_t w = 0;
    if (position + sizeof w <= text.size())
      std::memcpy(&w, text.data() + position, sizeof w);
    else
      std::memcpy(&w, text.data() + position, text.size() - position);
    w = __builtin_bswap64(w) >> 16;
    return length >= 6 ? w : w & ~std::uint64_t{0} << 8 * (6 - length);
  }

  std::uint64_t word_ = 0;
};

/// 16 bytes, so that four lie in a cache line: the line's beginning, by which most comparisons are decided, and where
/// the line is.
struct line {
  static constexpr std::uint64_t max_short = (1u << 24) - 1;
  static constexpr std::uint64_t max_text = std::uint64_t{1} << 40;  // bytes

  line_key key;
  std::uint64_t place;  // position 40 bits, length 24 (max_short: that or more)

  line() = default;
  line(std::span<const char> text, std::uint64_t position, std::uint64_t length)
      : key(text, position, length), place(position << 24 | std::min(length, max_short)) {}

  std::uint64_t position() const { return place >> 24; }
  std::uint64_t short_length() const { return place & max_short; }
};
static_assert(sizeof(line) == 16);

/// The line's length without its newline.
inline std::uint64_t length_of(const line& l, std::span<const char> text) {
  if (l.short_length() < line::max_short) [[likely]]
    return l.short_length();
  const char* begin = text.data() + l.position();
  const char* far = begin + line::max_short;
  const void* end = std::memchr(far, '\n', static_cast<std::size_t>(text.data() + text.size() - far));
  return static_cast<std::uint64_t>(static_cast<const char*>(end) - begin);
}

/// As `LC_ALL=C sort`: bytewise, a line before its continuations.
inline bool comes_before(const line& a, const line& b, std::span<const char> text) {
  if (a.key != b.key) return a.key < b.key;
  // The keys' bytes are equal, or equal but for zeros past an end; the lengths tell which.
  const std::uint64_t la = a.short_length(), lb = b.short_length();
  const std::uint64_t both = std::min(la, lb);
  if (const std::uint64_t equal = a.key.bytes(); both > equal) {
    const char *pa = text.data() + a.position(), *pb = text.data() + b.position();
    if (const int order = std::memcmp(pa + equal, pb + equal, both - equal)) return order < 0;
    if (both == line::max_short) [[unlikely]] {
      const std::uint64_t long_a = length_of(a, text), long_b = length_of(b, text);
      const int order = std::memcmp(pa + both, pb + both, std::min(long_a, long_b) - both);
      return order != 0 ? order < 0 : long_a < long_b;
    }
  }
  return la < lb;
}

/// The comparison as a durable value. The text is read past the views: from when the first line is compared, nothing
/// writes to it any more, so there is nothing for the runtime to know.
struct line_order {
  in<char> text;
  bool operator()(const line& a, const line& b) const { return comes_before(a, b, {text.address(), text.size()}); }
};

}  // namespace ppmm::tools
