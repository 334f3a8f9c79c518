/// ppmm dump: every block that is allocated in a pool's heap.
#include "command.hpp"
#include "pool_reader.hpp"

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <algorithm>
#include <memory>
#include <string>

namespace ppmm::tools {
namespace {

void dump(const std::string& file) {
  const pool_report report = inspect(file);
  for (const auto& f : report.failed) fmt::print(stderr, "ppmm: {}: {}\n", f.check, f.message);
  if (!report.facts) throw exit_status{1};
  if (report.facts->part != 0) throw part_mismatch(fmt::format("{} is part {} of a pool; name its first part: {}", file, report.facts->part, report.facts->parts[0].file.string()));
  const pool_reader reader(report);
  const auto running = std::ranges::find(report.jobs, layout::job_state::running, &layout::job_entry::state);
  const std::uint64_t serial = running == report.jobs.end() ? 0 : running->serial;
  fmt::print("# address bytes worker job\n");
  const detail::heap_report heap = reader.heap(serial, [&](const detail::heap_block& b) {
    const auto job = b.young ? std::to_string(b.serial) : "earlier";
    fmt::print("{:#x} {} {} {}\n", b.address, b.bytes, b.worker, job);
  });
  for (const std::string& p : heap.problems) fmt::print(stderr, "ppmm: heap: {}\n", p);
  if (!heap.problems.empty()) throw exit_status{1};
}

}  // namespace

void add_dump(CLI::App& app) {
  auto file = std::make_shared<std::string>();
  CLI::App* command = app.add_subcommand("dump", "List the blocks that are allocated in a pool's heap");
  command->footer(
      "A line each: address, bytes of the block, worker that had its memory last, serial of the job that allocated it "
      "(or `earlier`, for a kept one before that).");
  command->add_option("FILE", *file, "Pool file")->required();
  command->callback([file] { dump(*file); });
}

}  // namespace ppmm::tools
