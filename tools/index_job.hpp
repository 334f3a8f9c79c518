/// An inverted index in a pool's heap: for each word the lines that have it.
///
/// Five arrays, each under a root, and what describes them. Lines are numbered through all files together, from 0, so a
/// line's file is found by where files begin. Everything has a hash beside it, by word where it grows with the text, so
/// that `ppmm query` looks at little and all that an answer rests on is checked: it believes no byte of a pool.
#pragma once

#include "input_text.hpp"

#include <ppmm/sched/context.hpp>

#include <cstdint>
#include <span>
#include <string_view>

namespace ppmm::tools {

struct index_info {
  static constexpr std::uint64_t this_format = 1;
  std::uint64_t format = this_format;
  std::uint64_t lines = 0, postings = 0, words = 0, files = 0;
  std::uint64_t fold_case = 0;
  std::uint64_t files_hash = 0;
  std::uint64_t hash = 0;  // of all that, see index_hash
};
/// Where a word begins in the words' text, and its first posting; ascending. One more than words: the ends.
struct index_word {
  std::uint64_t begin, first;
  std::uint32_t text_hash, lines_hash;
};
/// Where a file's name begins in the files' names, and its first line; ascending. One more than files: the ends.
struct index_file {
  std::uint64_t begin, first_line;
};

inline constexpr char index_info_root[] = "ppmm index";                // index_info, one
inline constexpr char index_text_root[] = "ppmm index: words' text";   // char: the words in order, nothing between them
inline constexpr char index_words_root[] = "ppmm index: words";        // index_word
inline constexpr char index_postings_root[] = "ppmm index: postings";  // std::uint32_t: lines, ascending for each word
inline constexpr char index_names_root[] = "ppmm index: files' names";  // char
inline constexpr char index_files_root[] = "ppmm index: files";         // index_file

/// XXH3. `begin`, `first`: the word's.
std::uint32_t index_text_hash(std::uint64_t begin, std::string_view word);
std::uint32_t index_lines_hash(std::uint64_t first, std::span<const std::uint32_t> lines);
std::uint64_t index_files_hash(std::span<const char> names, std::span<const index_file> files);
std::uint64_t index_hash(const index_info& info);

/// The task that indexes the job's input, which must be the expected text, and sets the roots, in the place of an
/// earlier index; that is freed when the next one is begun.
step<index_info> build_index(context& cx, text_summary expected, bool fold_case);
inline constexpr std::uint64_t index_units = 41;  // a byte

}  // namespace ppmm::tools
