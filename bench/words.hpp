/// Counting words by hash tables, as peers do it.
#pragma once

#include <dictionary.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace bench {

using ppmm::tools::block_bytes;
using word_counts = std::unordered_map<std::string_view, std::uint64_t>;
using counted_word = std::pair<std::string_view, std::uint64_t>;
using sorted_words = std::vector<counted_word>;  // bytewise

/// Adds the words that begin in [from, to).
inline void count_words_in(std::span<const char> text, std::size_t from, std::size_t to, word_counts& counts) {
  ppmm::tools::letter_words().each(text, from, to, [&](std::size_t position, std::size_t length) {
    ++counts[std::string_view(text.data() + position, length)];
  });
}

inline void add_counts(const word_counts& from, word_counts& to) {
  for (const auto& [word, count] : from) to[word] += count;
}

inline sorted_words unsorted(const word_counts& counts) { return {counts.begin(), counts.end()}; }

}  // namespace bench
