/// ppmm wordcount: how often each word occurs in files.
#include "command.hpp"
#include "dictionary.hpp"
#include "input_text.hpp"
#include "output_file.hpp"
#include "session.hpp"
#include "text_job.hpp"

#include <CLI/CLI.hpp>

#include <memory>
#include <vector>

namespace ppmm::tools {
namespace {

namespace fs = std::filesystem;

struct wordcount_options {
  job_options job;
  fs::path output;
  bool fold_case = false;
  std::vector<fs::path> files;
};

constexpr std::uint64_t load_units = 1, count_units = 20;  // a byte: about nanoseconds

constexpr std::string_view output_root = "ppmm wordcount output";

struct more_often {
  bool operator()(const word& a, const word& b) const { return a.count > b.count; }
};

/// A line as `uniq -c` prints it.
struct count_lines {
  array<word> words;
  array<char> text;
  void operator()(context& cx, std::size_t lo, std::size_t hi, text_sink& sink) const {
    const std::span<const char> all = cx.read(text);
    for (const word& w : cx.read(as_in(words).sub(lo, hi - lo))) {
      sink.print("{:7} ", w.count);
      sink.put(w.in(all));
      sink.put("\n");
    }
  }
};

step<void> print_words(context& cx, array<char> text, array<word> words) {
  return cx.call(print_all(words.size(), count_lines{words, text}))
      .then([=](context& c, const array<char>& lines) -> step<void> {
        c.free(text);
        c.free(words);
        keep_output(c, root_name(output_root), lines);
        return {};
      });
}

step<void> count_text(context& cx, array<char> text) {
  return cx.call(make_dictionary(text, letter_words(), count_units))
      .then([text](context& c, const array<word>& words) -> step<void> {
        return c.call(ppmm::sort(words, more_often()))
            .then(task<print_words>(text, words));  // stable: by word where counts are equal
      });
}

step<void> count_words(context& cx, text_summary expected, bool fold_case) {
  return cx.call(task<free_replaced>(root_name(output_root))).then([=](context& c) -> step<void> {
    return c.call(task<load_text>(expected, fold_case)).then(task<count_text>());
  });
}

void wordcount(const wordcount_options& options) {
  const input_text text(options.files);
  output_file output(output_to_open(options.output));
  const text_summary summary = look_at(text, options.job);
  job_session session(options.job, {.name = "wordcount",
                                    .own_pool = own_pool(options.output, "wordcount"),
                                    .heap = summary.bytes + summary.bytes / 2,
                                    .input = summary.mark(),
                                    .to_file = replaces_file(options.output)});
  set_job_input(&text);
  session.run(task<count_words>(summary, options.fold_case), (load_units + count_units) * summary.bytes, summary.bytes);
  deliver(session, root_name(output_root), output);
}

}  // namespace

void add_wordcount(CLI::App& app) {
  auto options = std::make_shared<wordcount_options>();
  CLI::App* command = app.add_subcommand("wordcount", "Count how often each word occurs in files");
  command->footer(
      "A word is a longest run of the bytes A to Z and a to z; all other bytes stand between words, and a word does "
      "not\n"
      "go on from one file to the next. A line a word, the most frequent first, else bytewise:\n"
      "  LC_ALL=C tr -cs 'A-Za-z' '\\n' | grep . | sort | uniq -c | sort -k1,1nr -k2\n"
      "Killed at any moment, the same command goes on where it was: with the same input, which is checked.\n"
      "Without --pool the job lives in OUTPUT.ppmm (ppmm-wordcount.ppmm without --output), which is removed after "
      "success.");
  command->add_option("FILE", options->files, "Files to count together")->required();
  command->add_option("--output,-o", options->output, "Write here instead of to standard output")->type_name("FILE");
  command->add_flag("--fold-case", options->fold_case, "Count capital letters as small ones");
  options->job.add_to(*command);
  command->callback([options] { wordcount(*options); });
}

}  // namespace ppmm::tools
