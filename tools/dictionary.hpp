/// The different words of a text in the pool, in order, with how often each occurs.
///
/// Each block's words are sorted and counted; then two dictionaries are merged into one, and so on upwards. So the room
/// needed grows with the different words, not with all.
#pragma once

#include "input_text.hpp"
#include "line.hpp"

#include <ppmm/algo/algo.hpp>
#include <ppmm/sched/context.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <span>
#include <string_view>

namespace ppmm::tools {

struct word {
  line_key key;                    // the word's beginning, by which most comparisons are decided
  std::uint64_t position, length;  // where the text has it
  std::uint64_t count;

  word() = default;
  word(std::span<const char> text, std::uint64_t p, std::uint64_t l)
      : key(text, p, l), position(p), length(l), count(1) {}
  std::string_view in(std::span<const char> text) const { return {text.data() + position, length}; }
};
static_assert(sizeof(word) == 32);

/// Bytewise, a word before its continuations. The text is read past the views: from when the first word is compared,
/// nothing writes to it any more.
struct word_order {
  in<char> text;
  bool operator()(const word& a, const word& b) const {
    if (a.key != b.key) return a.key < b.key;
    return rest(a, b) < 0;
  }
  bool same(const word& a, const word& b) const { return a.key == b.key && a.length == b.length && rest(a, b) == 0; }

 private:
  /// Of words of the same key: their bytes are equal as far as that goes, but for zeros past an end.
  int rest(const word& a, const word& b) const {
    const std::uint64_t equal = a.key.bytes(), both = std::min(a.length, b.length);
    const char* const t = text.address();
    if (both > equal)
      if (const int order = std::memcmp(t + a.position + equal, t + b.position + equal, both - equal)) return order;
    return a.length < b.length ? -1 : a.length > b.length ? 1 : 0;
  }
};

/// How a text is cut into words: `each(text, from, to, f)` calls f(position, length) for each word that begins in
/// [from, to), in order.
template <class Cut>
concept word_cutter = durable_value<Cut> && requires(const Cut& cut, std::span<const char> text) {
  cut.each(text, std::size_t{}, std::size_t{}, [](std::size_t, std::size_t) {});
};

inline bool is_letter(char c) { return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z'); }

/// Words are the longest runs of the bytes A to Z and a to z.
struct letter_words {
  template <class F>
  void each(std::span<const char> text, std::size_t from, std::size_t to, F f) const {
    std::size_t i = from;
    if (i > 0 && is_letter(text[i - 1]))
      while (i < to && is_letter(text[i])) ++i;  // of a word that began before
    for (;;) {
      while (i < to && !is_letter(text[i])) ++i;
      if (i >= to) return;
      const std::size_t begin = i;
      while (i < text.size() && is_letter(text[i])) ++i;
      f(begin, i - begin);
    }
  }
};

/// Sorts words and adds up the counts of equal ones; gives how many are left, at the beginning.
inline std::size_t combine_equal(std::span<word> words, const word_order& order) {
  std::ranges::sort(words, order);
  std::size_t n = 0;
  for (const word& w : words) {
    if (n > 0 && order.same(words[n - 1], w))
      words[n - 1].count += w.count;
    else
      words[n++] = w;
  }
  return n;
}

/// The task that merges two dictionaries into a new one, and frees them.
step<array<word>> merge_dictionaries(context& cx, word_order order, array<word> a, array<word> b);

/// The task that makes the dictionary of what begins in the blocks [first, last) of the text. Counts `units` a byte.
template <word_cutter Cut>
struct dictionary_tree {
  in<char> text;
  Cut cut;
  std::size_t first, last;
  std::uint64_t units;

  step<array<word>> operator()(context& cx) const {
    if (last - first <= 1) return leaf(cx);
    const std::size_t middle = first + (last - first) / 2;
    return cx.fork(dictionary_tree{text, cut, first, middle, units}, dictionary_tree{text, cut, middle, last, units})
        .then([order = word_order{text}](context& c, const array<word>& a, const array<word>& b) -> step<array<word>> {
          return merge_dictionaries(c, order, a, b);
        });
  }

 private:
  step<array<word>> leaf(context& cx) const {
    const std::size_t from = first * block_bytes, to = std::min<std::size_t>(last * block_bytes, text.size());
    const std::span<const char> all = cx.read(text);
    std::size_t n = 0;
    cut.each(all, from, to, [&n](std::size_t, std::size_t) { ++n; });
    const std::span<word> words = cx.scratch<word>(n);
    n = 0;
    cut.each(all, from, to, [&](std::size_t p, std::size_t l) { words[n++] = word(all, p, l); });
    n = combine_equal(words, word_order{text});
    const array<word> found = cx.alloc<word>(n);
    std::ranges::copy(words.first(n), cx.write(found).begin());
    cx.advance(units * (to - from));
    return found;
  }
};

/// The task that gives the dictionary of a text.
template <word_cutter Cut>
auto make_dictionary(const array<char>& text, const Cut& cut, std::uint64_t units) {
  return dictionary_tree<Cut>{as_in(text), cut, 0, block_count(text.size()), units};
}

}  // namespace ppmm::tools
