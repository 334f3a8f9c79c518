/// ppmm grow: makes a pool larger.
#include "command.hpp"
#include "progress.hpp"

#include <ppmm/pmem/inspect.hpp>
#include <ppmm/pmem/pool.hpp>

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <cstdint>
#include <filesystem>
#include <memory>

namespace ppmm::tools {
namespace {

struct grow_options {
  std::filesystem::path file;
  std::uint64_t size = 0;
  bool sparse = false;
};

void grow(const grow_options& options) {
  const std::uint64_t size = pool::grow(options.file, options.size, options.sparse);
  fmt::print("{}: {}\n", options.file.string(), readable_bytes(static_cast<double>(size)));
  for (const auto& job : inspect(options.file).jobs)
    if (job.state == layout::job_state::running) fmt::print("job \"{}\" is unfinished: run it again to go on\n", job.name);
}

}  // namespace

void add_grow(CLI::App& app) {
  auto options = std::make_shared<grow_options>();
  CLI::App* command = app.add_subcommand("grow", "Make a pool larger; an unfinished job in it can go on");
  command->footer("Killed at any moment, it leaves the pool (each of its files, if there are several) with its old size or the new one.");
  command->add_option("FILE", options->file, "Pool file, which nobody may have open")->required();
  command->add_option("SIZE", options->size, "Bytes that it is to have in all, at least 1M more a file than now (K, M, G, T: powers of 1024)")
      ->required()
      ->transform(CLI::AsSizeValue(false))
      ->type_name("SIZE");
  command->add_flag("--sparse", options->sparse, "Do not reserve the space now. On a disk that fills up, jobs then die of SIGBUS");
  command->callback([options] { grow(*options); });
}

}  // namespace ppmm::tools
