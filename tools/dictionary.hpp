/// The different words of a text in the pool, in order, with how often each occurs.
///
/// The words of two blocks are counted in a hash table, and the different ones sorted; then two dictionaries are merged
/// into one, and so on upwards. So the room needed grows with the different words, not with all.
#pragma once

#include "input_text.hpp"
#include "line.hpp"

#include <ppmm/algo/algo.hpp>
#include <ppmm/sched/context.hpp>

#include <algorithm>
#include <compare>
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
  std::strong_ordering compare(const word& a, const word& b) const {
    if (a.key != b.key) return a.key <=> b.key;
    // The keys' bytes are equal, but for zeros past an end.
    const std::uint64_t equal = a.key.bytes(), both = std::min(a.length, b.length);
    const char* const t = text.address();
    if (both > equal)
      if (const int order = std::memcmp(t + a.position + equal, t + b.position + equal, both - equal))
        return order <=> 0;
    return a.length <=> b.length;
  }
  bool operator()(const word& a, const word& b) const { return compare(a, b) < 0; }
  bool same(const word& a, const word& b) const { return compare(a, b) == 0; }
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

/// Counts words in a hash table: open addressing, linear probing. All of it is ephemeral, as long as the capsule.
class word_counter {
 public:
  word_counter(context& cx, std::span<const char> text) : cx_(cx), text_(text), words_(cx.scratch<word>(fewest)) {
    make_slots();
  }

  void add(std::size_t position, std::size_t length) {
    const std::uint64_t head = bytes_at(position, std::min(length, eight)), hash = hash_of(position, length, head);
    const auto tag = static_cast<std::uint32_t>(hash >> 32);
    std::size_t at = hash & (slots_.size() - 1);
    for (; slots_[at].number != 0; at = (at + 1) & (slots_.size() - 1)) {
      if (slots_[at].tag != tag) continue;
      word& known = words_[slots_[at].number - 1];
      if (!same(known, position, length, head)) continue;
      ++known.count;
      return;
    }
    words_[size_] = word(text_, position, length);
    slots_[at] = {tag, static_cast<std::uint32_t>(++size_)};
    if (size_ == words_.size()) grow();
  }
  /// The different words, in the order in which they came.
  std::span<word> words() const { return words_.first(size_); }

 private:
  static constexpr std::size_t fewest = 2048, eight = sizeof(std::uint64_t);
  struct slot {
    std::uint32_t tag;     // of the word's hash
    std::uint32_t number;  // of the word, from 1 on; 0: none
  };

  /// Of all bytes: names often have long beginnings and ends in common. `head`: the first eight.
  std::uint64_t hash_of(std::size_t position, std::size_t length, std::uint64_t head) const {
    constexpr std::uint64_t odd = 0x9e3779b97f4a7c15;
    std::uint64_t hash = mixed((length * odd) ^ head) * odd;
    for (std::size_t i = eight; i < length; i += eight)
      hash = mixed(hash ^ bytes_at(position + i, std::min(length - i, eight))) * odd;
    return mixed(hash);
  }
  static std::uint64_t mixed(std::uint64_t x) { return x ^ x >> 29 ^ x >> 47; }
  bool same(const word& known, std::size_t position, std::size_t length, std::uint64_t head) const {
    return known.length == length && bytes_at(known.position, std::min(length, eight)) == head &&
           (length <= eight ||
            std::memcmp(&text_[known.position] + eight, &text_[position] + eight, length - eight) == 0);
  }
  /// Up to eight.
  std::uint64_t bytes_at(std::size_t position, std::size_t n) const {
    std::uint64_t w = 0;
    if (position + sizeof w <= text_.size()) [[likely]] {
      std::memcpy(&w, &text_[position], sizeof w);
      return w & ~std::uint64_t{0} >> 8 * (eight - n);  // nobody has words without a byte
    }
    std::memcpy(&w, &text_[position], n);
    return w;
  }

  void make_slots() {
    slots_ = cx_.scratch<slot>(2 * words_.size());
    std::ranges::fill(slots_, slot{});
  }
  void grow() {
    const std::span<word> larger = cx_.scratch<word>(2 * words_.size());
    std::ranges::copy(words_, larger.begin());
    words_ = larger;
    const std::span<const slot> before = slots_;
    make_slots();
    for (const slot& s : before) {
      if (s.number == 0) continue;
      const word& w = words_[s.number - 1];
      const std::uint64_t head = bytes_at(w.position, std::min(w.length, eight));
      std::size_t at = hash_of(w.position, w.length, head) & (slots_.size() - 1);
      while (slots_[at].number != 0) at = (at + 1) & (slots_.size() - 1);
      slots_[at] = s;
    }
  }

  context& cx_;
  std::span<const char> text_;
  std::span<word> words_;  // the first size_
  std::span<slot> slots_;
  std::size_t size_ = 0;
};

/// The task that merges two dictionaries into a new one, in a block with room for as many words as both have, and frees
/// them.
step<array<word>> merge_dictionaries(context& cx, word_order order, array<word> a, array<word> b);

/// The task that makes the dictionary of what begins in the blocks [first, last) of the text. Counts `units` a byte.
template <word_cutter Cut>
struct dictionary_tree {
  in<char> text;
  Cut cut;
  std::size_t first, last;
  std::uint64_t units;

  step<array<word>> operator()(context& cx) const {
    if (last - first <= at_once) return leaf(cx);
    const std::size_t middle = first + (last - first) / 2;
    return cx.fork(dictionary_tree{text, cut, first, middle, units}, dictionary_tree{text, cut, middle, last, units})
        .then([order = word_order{text}](context& c, const array<word>& a, const array<word>& b) -> step<array<word>> {
          return merge_dictionaries(c, order, a, b);
        });
  }

 private:
  static constexpr std::size_t at_once = 2;  // blocks: some 0.2 ms

  step<array<word>> leaf(context& cx) const {
    const std::size_t from = first * block_bytes, to = std::min<std::size_t>(last * block_bytes, text.size());
    const std::span<const char> all = cx.read(text);
    word_counter counted(cx, all);
    cut.each(all, from, to, [&counted](std::size_t p, std::size_t l) { counted.add(p, l); });
    const std::span<word> words = counted.words();
    std::ranges::sort(words, word_order{text});
    const array<word> found = cx.alloc<word>(words.size());
    std::ranges::copy(words, cx.write(found).begin());
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
