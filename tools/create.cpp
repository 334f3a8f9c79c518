/// ppmm create: a new, empty pool.
#include "command.hpp"
#include "progress.hpp"
#include "session.hpp"

#include <ppmm/pmem/pool.hpp>

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <vector>

namespace ppmm::tools {
namespace {

struct create_options {
  std::filesystem::path file;
  std::vector<std::filesystem::path> parts;  // all, or those beside `file`
  std::vector<unsigned> nodes;
  pool_options pool;
  std::optional<std::uint64_t> size;
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

/// A device has its size; files get the one that is asked for.
void take_size(create_options& options, const std::vector<std::filesystem::path>& files) {
  const auto is_device = [](const std::filesystem::path& file) {
    std::error_code none;
    return std::filesystem::is_character_file(file, none);
  };
  if (options.pool.wipe_devices && std::ranges::none_of(files, is_device))
    throw CLI::ValidationError("--wipe", "it is for DAX devices, found none. Remove a file that is in the way");
  if (std::ranges::all_of(files, is_device)) {
    if (options.size) throw CLI::ValidationError("--size", "a DAX device is taken whole: leave it out");
    return;
  }
  if (!options.size) throw CLI::RequiredError("--size");
  if (*options.size < pool::min_size)
    throw CLI::ValidationError("--size", fmt::format("a pool has at least {} MiB", pool::min_size >> 20));
  options.pool.size = *options.size;
}

void create(create_options& options) {
  if (!options.address.empty()) options.pool.address = parsed_address(options.address);
  std::vector<std::filesystem::path> files = options.parts;
  if (!options.file.empty()) files.insert(files.begin(), options.file);
  if (files.empty()) throw CLI::RequiredError("FILE, or --part for each file,");
  take_size(options, files);
  if (!options.nodes.empty() && options.nodes.size() != files.size())
    throw CLI::ValidationError("--node", fmt::format("expected one for each of {} files, found {}", files.size(), options.nodes.size()));
  const auto node = [&](std::size_t i) { return options.nodes.empty() ? std::nullopt : std::optional(options.nodes[i]); };
  options.pool.node = node(0);
  for (std::size_t i = 1; i < files.size(); ++i) options.pool.further_parts.push_back({files[i], node(i)});
  const pool made = pool::create(files[0], options.pool);
  fmt::print("{}: {} for up to {} workers, mapped at {:#x}\n", files[0].string(),
             readable_bytes(static_cast<double>(made.size())), made.max_workers(),
             reinterpret_cast<std::uintptr_t>(made.base()));
  if (files.size() > 1)
    for (const pool_part& p : made.parts())
      fmt::print("  {} at {:#x}, {}\n", p.file.string(), reinterpret_cast<std::uintptr_t>(p.base), p.node ? fmt::format("node {}", *p.node) : "of no known node");
  fmt::print("{}\n", made.describe_medium());
  for (const device_facts& d : made.devices()) {
    if (d.device) fmt::print("on {}\n", d.in_words());
    if (const std::string w = d.warning(); !w.empty()) fmt::print(stderr, "ppmm: {}\n", w);
  }
}

}  // namespace

void add_create(CLI::App& app) {
  auto options = std::make_shared<create_options>();
  CLI::App* command = app.add_subcommand("create", "Create an empty pool");
  command->footer("A pool of several files, one on the memory of each NUMA node, is named by its first one from then on.");
  command->add_option("FILE", options->file, "The file, which must not exist, or a DAX device (/dev/daxX.Y), which is taken whole");
  command->add_option("--part", options->parts, "A file of a pool that has several, the first one first (repeatable, up to 16)")
      ->type_name("FILE");
  command->add_option("--node", options->nodes, "NUMA node of each file, in order (default: that of its device, where it is known)")->type_name("N");
  command->add_option("--size", options->size, "Bytes of each file, at least 16M (K, M, G, T: powers of 1024); of a DAX device all")
      ->transform(CLI::AsSizeValue(false))
      ->type_name("SIZE");
  add_durability_option(*command, options->pool.level);
  command->add_flag("--sparse", options->pool.sparse,
                    "Do not reserve the space now. On a disk that fills up, jobs then die of SIGBUS");
  command->add_flag("--wipe", options->pool.wipe_devices, "Take a DAX device though something is on it, which is lost");
  command->add_option("--max-workers", options->pool.max_workers, "Worker slots (default 64)")
      ->check(CLI::Range(1u, pool::most_workers))
      ->type_name("N");
  command
      ->add_option("--address", options->address,
                   "Where the pool is mapped, always, in every process (default: chosen)")
      ->type_name("ADDRESS");
  command->callback([options] { create(*options); });
}

}  // namespace ppmm::tools
