/// What `ppmm sort` reads and writes: files of any bytes, as one text, into a table of lines, sorted, into a file. Held
/// against a sort of strings.
///
/// head: how the text is cut into files and reads, whether the whole job runs; then packed bytes
#include "files.hpp"
#include "finding.hpp"
#include "scratch_pool.hpp"

#include "input_text.hpp"
#include "line.hpp"
#include "output_file.hpp"
#include "sort_job.hpp"

#include <ppmm/ppmm.hpp>

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <optional>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace ppmm::fuzz {
namespace {

using tools::input_text;
using tools::text_summary;

struct head {
  std::uint8_t files = 0, reads = 0, threads = 0, job = 0;
};

/// The lines of a text in which each ends in a newline.
std::vector<std::string_view> lines_of(std::string_view text) {
  std::vector<std::string_view> lines;
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    lines.push_back(text.substr(0, end));
    text.remove_prefix(end + 1);
  }
  return lines;
}

std::string sorted(std::string_view text) {
  auto lines = lines_of(text);
  std::ranges::sort(lines, [](std::string_view a, std::string_view b) {
    const int order = std::memcmp(a.data(), b.data(), std::min(a.size(), b.size()));
    return order != 0 ? order < 0 : a.size() < b.size();
  });
  std::string all;
  for (const auto l : lines) (all += l) += '\n';
  return all;
}

void check_reads(const input_text& text, std::string_view expected, std::uint32_t seed) {
  if (text.size() != expected.size()) finding("the text has another size");
  std::mt19937 random(seed);
  for (int i = 0; i < 8; ++i) {
    const std::size_t from = expected.empty() ? 0 : random() % expected.size();
    const std::size_t n = std::min<std::size_t>(expected.size() - from, random() % 70000);
    if (n == 0) continue;
    std::string part(n, '?');
    text.read(from, part);
    if (part != expected.substr(from, n)) finding("another text was read");
  }
}

/// The lines as the sort compares them.
void check_order(const std::string& text, const std::string& in_order) {
  std::vector<tools::line> table;
  std::size_t position = 0;
  for (const auto l : lines_of(text)) {
    table.emplace_back(text, position, l.size());
    position += l.size() + 1;
  }
  std::ranges::sort(table, [&](const tools::line& a, const tools::line& b) { return comes_before(a, b, text); });
  std::string found;
  for (const auto& l : table) found += text.substr(l.position(), length_of(l, text) + 1);
  if (found != in_order) finding("the lines compare otherwise than as strings");
}

/// The same by the job, which runs in a pool, and by way of a file.
void check_job(const input_text& text, const text_summary& summary, const std::string& in_order, unsigned how) {
  static scratch_pool file(
      {.size = std::size_t{64} << 20, .max_workers = 4, .sparse = true, .level = durability::process});
  pool& p = file.opened();
  const std::uint64_t bytes = tools::sort_layout::region_bytes(summary);
  const auto layout = tools::sort_layout::place(region_of(p, bytes), summary);
  tools::set_sort_input(&text);
  run_options options;
  options.workers = 1 + how % 2;
  options.pin = false;
  options.region = bytes;
  options.commit_every_task = (how & 4) != 0;
  run(p, "sort", task<tools::sort_lines>(layout), options);
  p.drop_job("sort");

  const std::filesystem::path name = "/dev/shm/ppmm-fuzz-text-" + std::to_string(::getpid());
  {
    tools::output_file output(name);
    output.reserve(summary.bytes);
    const std::span<const char> all(layout.text.address(), layout.text.size());
    const std::span<const tools::line> table(layout.table.address(), layout.table.size());
    for (const auto& l : table) output.append(all.subspan(l.position(), length_of(l, all) + 1));
    output.publish();
  }
  const input_text written({name});
  std::filesystem::remove(name);
  std::string found(written.size(), '?');
  if (!found.empty()) written.read(0, found);
  if (found != in_order) finding("the job sorts otherwise than a sort of strings");
}

}  // namespace
}  // namespace ppmm::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace ppmm;
  using namespace ppmm::fuzz;
  const text_input<head> in(data, size);
  const head how = in.head;
  const cut_files files(in.content, how.files);
  const std::string& expected = files.text;
  const tools::input_text text(files.names);
  check_reads(text, expected, how.reads);
  const tools::text_summary summary = tools::summarise(text, 1 + how.threads % 2, [](std::uint64_t) {});
  if (summary.bytes != expected.size() ||
      summary.lines != static_cast<std::uint64_t>(std::ranges::count(expected, '\n')))
    finding("the summary counts otherwise");
  if (summary.lines > 5000) return 0;  // sorting them takes long and shows nothing new
  const std::string in_order = sorted(expected);
  check_order(expected, in_order);
  if ((how.job & 8) != 0) check_job(text, summary, in_order, how.job);
  return 0;
}
