/// ppmm create: a new, empty pool.
#include "command.hpp"
#include "progress.hpp"
#include "session.hpp"

#include <ppmm/pmem/pool.hpp>

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <cstdint>
#include <filesystem>
#include <memory>

namespace ppmm::tools {
namespace {

struct create_options {
  std::filesystem::path file;
  pool_options pool;
  std::uint64_t size = 0;
  std::string address;
};

std::uint64_t parsed_address(const std::string& text) {
  std::size_t used = 0;
  std::uint64_t address = 0;
  try {
    address = std::stoull(text, &used, 0);
  } catch (const std::exception&) {
    used = 0;
  }
  if (text.empty() || used != text.size() || address == 0 || address % (std::uint64_t{2} << 20) != 0)
    throw CLI::ValidationError("--address", "an address is a multiple of 2 MiB, such as 0x550000000000");
  return address;
}

void create(create_options& options) {
  if (!options.address.empty()) options.pool.address = parsed_address(options.address);
  if (options.size < pool::min_size)
    throw CLI::ValidationError("--size", fmt::format("a pool has at least {} MiB", pool::min_size >> 20));
  options.pool.size = options.size;
  const pool made = pool::create(options.file, options.pool);
  fmt::print("{}: {} for up to {} workers, mapped at {:#x}\n{}\n", options.file.string(),
             readable_bytes(static_cast<double>(made.size())), made.max_workers(),
             reinterpret_cast<std::uintptr_t>(made.base()), made.describe_medium());
}

}  // namespace

void add_create(CLI::App& app) {
  auto options = std::make_shared<create_options>();
  CLI::App* command = app.add_subcommand("create", "Create an empty pool file");
  command->add_option("FILE", options->file, "The file, which must not exist")->required();
  command->add_option("--size", options->size, "Bytes of the file, at least 16M (K, M, G, T: powers of 1024)")
      ->required()
      ->transform(CLI::AsSizeValue(false))
      ->type_name("SIZE");
  add_durability_option(*command, options->pool.level);
  command->add_flag("--sparse", options->pool.sparse,
                    "Do not reserve the space now. On a disk that fills up, jobs then die of SIGBUS");
  command->add_option("--max-workers", options->pool.max_workers, "Worker slots (default 64)")
      ->check(CLI::Range(1u, 1024u))
      ->type_name("N");
  command
      ->add_option("--address", options->address,
                   "Where the pool is mapped, always, in every process (default: chosen)")
      ->type_name("ADDRESS");
  command->callback([options] { create(*options); });
}

}  // namespace ppmm::tools
