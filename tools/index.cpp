/// ppmm index, ppmm query: which lines of files have which words.
#include "command.hpp"
#include "dictionary.hpp"
#include "index_job.hpp"
#include "input_text.hpp"
#include "kept_memory.hpp"
#include "output_file.hpp"
#include "session.hpp"
#include "text_job.hpp"

#include <ppmm/alloc/heap.hpp>

#define XXH_INLINE_ALL
#include <fmt/format.h>
#include <xxhash.h>
#include <CLI/CLI.hpp>

#include <algorithm>
#include <iterator>
#include <limits>
#include <memory>
#include <string>
#include <vector>

namespace ppmm::tools {
namespace {

namespace fs = std::filesystem;

// ---- index ---------------------------------------------------------------------------------------------------------

struct index_options {
  job_options job;
  bool fold_case = false;
  std::vector<fs::path> files;
};

/// Of the content, and of the names, which stand in the index.
std::uint64_t mark_of(const text_summary& summary, const input_text& text) {
  std::uint64_t mark = summary.mark();
  for (std::size_t i = 0; i < text.files(); ++i)
    mark = XXH3_64bits_withSeed(text.file(i).c_str(), text.file(i).native().size() + 1, mark);
  return std::max<std::uint64_t>(mark, 1);
}

void build(const index_options& options) {
  const input_text text(options.files);
  const text_summary summary = look_at(text, options.job);
  if (summary.lines >= std::numeric_limits<std::uint32_t>::max())
    throw error(fmt::format("the input has {} lines; an index has up to {}", summary.lines,
                            std::numeric_limits<std::uint32_t>::max() - 1));
  job_session session(options.job,
                      {.name = "index", .own_pool = {}, .heap = 7 * summary.bytes, .input = mark_of(summary, text), .to_file = true});
  set_job_input(&text);
  const index_info made =
      session.run(task<build_index>(summary, options.fold_case), index_units * summary.bytes, summary.bytes);
  fmt::print("{} files, {} lines, {} words, {} postings\n", made.files, made.lines, made.words, made.postings);
  session.delivered();
}

// ---- query ---------------------------------------------------------------------------------------------------------

struct query_options {
  fs::path pool, output;
  bool files = false;
  std::vector<std::string> words;
};

/// The index as it stands in the pool; whatever is read from it is checked before it is used.
class index_reader {
 public:
  explicit index_reader(const fs::path& pool) : pool_(pool.string()), memory_(pool) {
    try {
      const auto about = memory_.root<index_info>(index_info_root);
      if (about.size() != 1) damaged();
      info_ = about[0];
      if (info_.format != index_info::this_format)
        throw error(fmt::format("the index in {} has format {}, this build reads {}; make it anew: `ppmm index`", pool_,
                                info_.format, index_info::this_format));
      text_ = memory_.root<char>(index_text_root);
      words_ = memory_.root<index_word>(index_words_root);
      postings_ = memory_.root<std::uint32_t>(index_postings_root);
      names_ = memory_.root<char>(index_names_root);
      files_ = memory_.root<index_file>(index_files_root);
    } catch (const root_error& e) {
      throw error(fmt::format("{} has no index that this build can read ({}); make one: `ppmm index --pool {} FILE...`",
                              pool_, e.what(), pool_));
    }
    if (words_.empty() || files_.empty() || info_.hash != index_hash(info_) || words_.size() != info_.words + 1 ||
        files_.size() != info_.files + 1 || postings_.size() != info_.postings)
      damaged();
    if (info_.files_hash != index_files_hash(names_, files_)) damaged();
  }

  bool fold_case() const { return info_.fold_case != 0; }

  /// The lines that have the word, ascending.
  std::span<const std::uint32_t> lines_of(std::string_view word) const {
    std::size_t lo = 0, hi = words_.size() - 1;
    while (lo < hi) {
      const std::size_t middle = lo + (hi - lo) / 2;
      text_of(middle) < word ? lo = middle + 1 : hi = middle;
    }
    if (lo == words_.size() - 1 || text_of(lo) != word) return {};
    const auto lines = part(postings_, words_[lo].first, words_[lo + 1].first);
    if (words_[lo].lines_hash != index_lines_hash(words_[lo].first, lines)) damaged();
    for (std::size_t i = 0; i < lines.size(); ++i)  // a hash is no proof against who can compute it
      if (lines[i] >= info_.lines || (i > 0 && lines[i] <= lines[i - 1])) damaged();
    return lines;
  }

  std::size_t file_of(std::uint32_t line) const {
    const auto behind = std::ranges::upper_bound(files_, std::uint64_t{line}, {}, &index_file::first_line);
    if (behind == files_.begin() || behind == files_.end()) damaged();
    return static_cast<std::size_t>(behind - files_.begin()) - 1;
  }
  std::string_view name_of(std::size_t file) const {
    const auto name = part(names_, files_[file].begin, files_[file + 1].begin);
    return {name.data(), name.size()};
  }
  /// From 1.
  std::uint64_t line_in_file(std::size_t file, std::uint32_t line) const { return line - files_[file].first_line + 1; }

 private:
  std::string_view text_of(std::size_t w) const {
    const auto text = part(text_, words_[w].begin, words_[w + 1].begin);
    const std::string_view word(text.data(), text.size());
    if (words_[w].text_hash != index_text_hash(words_[w].begin, word)) damaged();
    return word;
  }
  template <class T>
  std::span<const T> part(std::span<const T> all, std::uint64_t from, std::uint64_t to) const {
    if (from > to || to > all.size()) damaged();
    return all.subspan(from, to - from);
  }
  [[noreturn]] void damaged() const {
    throw corrupt_pool(fmt::format("the index in {} is damaged; make it anew: `ppmm index`", pool_));
  }

  std::string pool_;
  kept_memory memory_;
  index_info info_;
  std::span<const char> text_, names_;
  std::span<const index_word> words_;
  std::span<const std::uint32_t> postings_;
  std::span<const index_file> files_;
};

void query(const query_options& options) {
  const index_reader index(options.pool);
  std::vector<std::uint32_t> found;  // lines, or files
  for (std::size_t i = 0; i < options.words.size(); ++i) {
    std::string word = options.words[i];
    if (word.empty() || !std::ranges::all_of(word, is_letter))
      throw error(fmt::format("\"{}\" is no word: a word is letters, A to Z and a to z", word));
    if (index.fold_case())
      for (char& c : word) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    const auto lines = index.lines_of(word);
    std::vector<std::uint32_t> these(lines.begin(), lines.end());
    if (options.files) {
      for (std::uint32_t& l : these) l = static_cast<std::uint32_t>(index.file_of(l));
      these.erase(std::unique(these.begin(), these.end()), these.end());
    }
    std::vector<std::uint32_t> both;
    if (i > 0) std::ranges::set_intersection(found, these, std::back_inserter(both));
    found = i > 0 ? std::move(both) : std::move(these);
  }
  output_file output(options.output);
  for (const std::uint32_t f : found) {
    const std::size_t file = options.files ? f : index.file_of(f);
    const std::string line = options.files ? fmt::format("{}\n", index.name_of(file))
                                           : fmt::format("{}:{}\n", index.name_of(file), index.line_in_file(file, f));
    output.append(line);
  }
  output.publish();
  if (found.empty()) throw exit_status{exit_nothing_found};
}

}  // namespace

void add_index(CLI::App& app) {
  auto options = std::make_shared<index_options>();
  CLI::App* command = app.add_subcommand("index", "Make an index of the words in files, for `ppmm query`");
  command->footer(
      "For each word the lines that have it; a word is a longest run of the bytes A to Z and a to z. The index stays "
      "in\n"
      "the pool, in the place of an earlier one, which counts until the new one is finished.\n"
      "Killed at any moment, the same command goes on where it was: with the same input, which is checked.");
  command->add_option("FILE", options->files, "Files to index, under these names")->required();
  command->add_flag("--fold-case", options->fold_case, "Take capital letters for small ones, in queries too");
  options->job.add_to(*command);
  command->get_option("--pool")->required();
  command->callback([options] { build(*options); });
}

void add_query(CLI::App& app) {
  auto options = std::make_shared<query_options>();
  CLI::App* command =
      app.add_subcommand("query", "Tell the lines that have all of some words, from the index in a pool");
  command->footer(
      "A line is told as FILE:LINE. The pool is only read; several queries may run at a time.\n"
      "Exit status: 0 found, 1 error, 2 wrong usage, 4 nothing has all of the words.");
  command->add_option("--pool", options->pool, "Pool file with an index, made by `ppmm index`")
      ->required()
      ->type_name("FILE");
  command->add_option("WORD", options->words, "Words; letters only")->required();
  command->add_flag("--files", options->files, "Tell the files that have all of the words, on whatever lines");
  command->add_option("--output,-o", options->output, "Write here instead of to standard output")->type_name("FILE");
  command->callback([options] { query(*options); });
}

}  // namespace ppmm::tools
