/// ppmm sort: the lines of files in the order of `LC_ALL=C sort`.
#include "command.hpp"
#include "input_text.hpp"
#include "interrupt.hpp"
#include "line.hpp"
#include "output_file.hpp"
#include "session.hpp"
#include "sort_job.hpp"

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <thread>
#include <vector>

namespace ppmm::tools {
namespace {

namespace fs = std::filesystem;

struct sort_options {
  job_options job;
  fs::path output;
  std::vector<fs::path> files;
};

text_summary look_at(const input_text& text, const sort_options& options) {
  if (text.size() >= line::max_text)
    throw error(fmt::format("the input has {} bytes; up to {} can be sorted", text.size(), line::max_text - 1));
  progress_meter meter(options.job.progress, "reading the input", text.size(), text.size());
  const unsigned threads =
      options.job.workers > 0 ? options.job.workers : std::max(1u, std::thread::hardware_concurrency());
  const text_summary summary = summarise(text, threads, [&](std::uint64_t bytes) {
    meter.update(bytes);
    stop_if_interrupted("nothing was begun yet. The command again:");
  });
  meter.finish();
  return summary;
}

void write_lines(output_file& output, const sort_layout& sorted, progress_mode mode) {
  const std::span<const char> text(sorted.text.address(), sorted.text.size());
  const std::span<const line> table(sorted.table.address(), sorted.table.size());
  progress_meter meter(mode, "writing", text.size(), text.size());
  output.reserve(text.size());
  std::uint64_t written = 0;
  constexpr std::size_t ahead = 24;  // lines: far enough to hide a cache miss
  constexpr std::size_t between_looks = 4096;
  for (std::size_t i = 0; i < table.size(); ++i) {
    if (i + ahead < table.size()) __builtin_prefetch(&text[table[i + ahead].position()]);
    const auto bytes = text.subspan(table[i].position(), length_of(table[i], text) + 1);
    output.append(bytes);
    written += bytes.size();
    if (i % between_looks == 0) {
      meter.update(written);
      stop_if_interrupted("the sort is finished, only its output is missing. The same command writes it:");
    }
  }
  output.publish();
  meter.finish();
}

fs::path own_pool(const fs::path& output) {
  if (!replaces_file(output)) return "ppmm-sort.ppmm";
  fs::path pool = output;
  return pool += ".ppmm";
}

void sort_files(const sort_options& options) {
  const input_text text(options.files);
  output_file output(output_to_open(options.output));
  const text_summary summary = look_at(text, options);

  job_session session(options.job, {.name = "sort",
                                    .own_pool = own_pool(options.output),
                                    .region = sort_layout::region_bytes(summary),
                                    .input = summary.mark(),
                                    .to_file = replaces_file(options.output)});
  const sort_layout layout = sort_layout::place(region_of(session.pool(), sort_layout::region_bytes(summary)), summary);
  set_sort_input(&text);
  session.run(task<sort_lines>(layout), sort_job_units(summary), summary.bytes);
  try {
    write_lines(output, layout, options.job.progress);
  } catch (const reader_gone&) {
    session.delivered();  // the reader wants no more: there is nothing to resume
    throw;
  }
  session.delivered();
}

}  // namespace

void add_sort(CLI::App& app) {
  auto options = std::make_shared<sort_options>();
  CLI::App* command = app.add_subcommand("sort", "Sort the lines of files, bytewise, as `LC_ALL=C sort` does");
  command->footer(
      "Killed at any moment, the same command goes on where it was: with the same input, which is checked. The output\n"
      "file appears whole or not at all. Standard input is refused, since it could not be read again after a crash.\n"
      "Without --pool the sort lives in OUTPUT.ppmm (ppmm-sort.ppmm without --output), which is removed after "
      "success.");
  command->add_option("FILE", options->files, "Files to sort together")->required();
  command
      ->add_option("--output,-o", options->output, "Write here instead of to standard output; may be one of the inputs")
      ->type_name("FILE");
  options->job.add_to(*command);
  command->callback([options] { sort_files(*options); });
}

}  // namespace ppmm::tools
