/// ppmm parts: the files of a pool, and where they are.
#include "command.hpp"
#include "progress.hpp"

#include <ppmm/pmem/inspect.hpp>
#include <ppmm/pmem/pool.hpp>

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <charconv>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace ppmm::tools {
namespace {

struct parts_options {
  std::filesystem::path file;
  std::vector<std::string> at;
};

std::pair<unsigned, std::filesystem::path> parsed_place(const std::string& text) {
  const std::size_t equals = text.find('=');
  unsigned part = 0;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + std::min(equals, text.size()), part);
  if (equals == std::string::npos || equals + 1 == text.size() || problem != std::errc() || end != text.data() + equals)
    throw CLI::ValidationError("--at", fmt::format("expected the number of a part and its file, such as 1=/mnt/pmem1/a; found {}", text));
  return {part, text.substr(equals + 1)};
}

void list(const std::filesystem::path& file) {
  const pool_report report = inspect(file);
  if (report.facts)
    for (std::size_t i = 0; i < report.facts->parts.size(); ++i) {
      const part_facts& p = report.facts->parts[i];
      fmt::print("{}  {}  {} at {:#x}{}\n", i, i == report.facts->part ? file.string() : p.file.string(), readable_bytes(static_cast<double>(p.size)), p.base_address,
                 p.node ? fmt::format(", node {}", *p.node) : std::string());
    }
  for (const auto& f : report.failed) fmt::print(stderr, "ppmm: {}: {}\n", f.check, f.message);
  if (!report.ok()) throw exit_status{1};
}

void parts(const parts_options& options) {
  std::vector<std::pair<unsigned, std::filesystem::path>> moves;
  for (const std::string& text : options.at) moves.push_back(parsed_place(text));
  for (const auto& [part, to] : moves) pool::move_part(options.file, part, to);
  list(options.file);
}

}  // namespace

void add_parts(CLI::App& app) {
  auto options = std::make_shared<parts_options>();
  CLI::App* command = app.add_subcommand("parts", "List the files of a pool, or tell it where they have gone");
  command->footer(
      "A pool of several files is named by its first one, which keeps where the others are. Nothing is moved by this "
      "command: move or mount a file, then tell its place with --at. It is looked at first: that of another pool, or "
      "another part of this one, is refused.");
  command->add_option("FILE", options->file, "First file of the pool")->required();
  command->add_option("--at", options->at, "Part N is in FILE now (repeatable)")->type_name("N=FILE");
  command->callback([options] { parts(*options); });
}

}  // namespace ppmm::tools
