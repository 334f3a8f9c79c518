/// ppmm info: what a pool holds, in words. Works while another process has it open.
#include "call.hpp"
#include "command.hpp"
#include "job_words.hpp"
#include "pool_reader.hpp"
#include "progress.hpp"

#include <ppmm/sched/clock.hpp>
#include <ppmm/sched/names.hpp>

#include <fmt/format.h>
#include <sys/stat.h>
#include <CLI/CLI.hpp>

#include <algorithm>
#include <array>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace ppmm::tools {
namespace {

template <class... Arguments>
void say(std::string_view what, fmt::format_string<Arguments...> text, Arguments&&... arguments) {
  fmt::print("  {:<11}{}\n", what, fmt::format(text, std::forward<Arguments>(arguments)...));
}

std::string bytes(std::uint64_t n) { return readable_bytes(static_cast<double>(n)); }

std::string_view level_in_words(durability level) {
  switch (level) {
    case durability::power:
      return "power: commits survive a power loss";
    case durability::process:
      return "process: commits survive the death of processes, not a power loss";
    case durability::emulated:
      return "emulated: commits cost what they cost on persistent memory, and survive the death of processes";
    case durability::simulated:
      return "simulated: a model of a medium, for tests";
  }
  return "unknown";
}

void describe_device(const device_facts& d) {
  const auto fact = [](const char* what, const std::string& text) { fmt::print("  {:<11}  {}: {}\n", "", what, text); };
  const auto yes_or_no = [](bool b) { return std::string(b ? "yes" : "no"); };
  const auto number = [](std::uint64_t n) { return fmt::format("{}", n); };
  fact("device", d.device.in_words([](const std::string& s) { return s; }));
  fact("DAX", d.dax.in_words(yes_or_no));
  fact("MAP_SYNC", d.map_sync.in_words(yes_or_no));
  fact("NUMA node", d.numa_node.in_words(number));
  fact("persistence domain", d.persistence_domain.in_words([](const std::string& s) { return s; }));
  fact("unsafe shutdowns", d.unsafe_shutdowns.in_words(number));
  fact("bad blocks", d.bad_blocks.in_words([](const std::vector<bad_range>& bad) {
    std::string text = bad.empty() ? "none" : fmt::format("{}", bad.size());
    for (std::size_t i = 0; i < std::min<std::size_t>(bad.size(), 3); ++i)
      text += fmt::format("{} {:#x} ({} bytes)", i == 0 ? ", at offset" : ",", bad[i].offset, bad[i].size);
    return text;
  }));
  if (const std::string w = d.warning(); !w.empty()) say("WARNING", "{}", w);
}

void describe_file(const std::filesystem::path& file, std::uint64_t size, const std::string& file_system, bool in_memory,
                   const std::string& unkept, const std::optional<device_facts>& device) {
  struct stat st {};
  const std::uint64_t present = stat(file.c_str(), &st) == 0 ? static_cast<std::uint64_t>(st.st_blocks) * 512 : size;
  say("size", "{}, {} of it allocated", bytes(size), bytes(present));
  const std::string loses = in_memory ? ", in memory: its content is lost at power-off" : unkept.empty() ? "" : fmt::format(": {}", unkept);
  say("medium", "{}{}", file_system, loses);
  if (device) describe_device(*device);
}

/// Each file, where there are several.
void describe_parts(const pool_facts& facts) {
  for (std::size_t i = 0; i < facts.parts.size(); ++i) {
    const part_facts& p = facts.parts[i];
    say(fmt::format("part {}", i), "{}, mapped at {:#x}, {}", p.file.string(), p.base_address, p.node ? fmt::format("node {}", *p.node) : "of no known node");
    describe_file(p.file, p.file_size, p.file_system, p.in_memory, p.unkept, p.device);
  }
}

void describe_holder(const pool_report& report) {
  const bool alone = !report.holder && !report.worked_in.empty();
  say("in use", "by {}{}", users_in_words(report), alone ? ": they go on without it, and the same command waits for their answer" : "");
}

void describe_facts(const pool_facts& facts) {
  say("format", "{}", facts.format_version);
  say("durability", "{}", level_in_words(facts.level));
  say("mapped at", "{:#x}", facts.base_address());
  std::uint64_t all = 0;
  for (const part_facts& p : facts.parts)
    for (const auto& s : p.segments) all += s.size;
  say("segments", "{}, {} together", facts.segments(), bytes(all));
  if (facts.growths() > 0)
    say("grown", "{} time{}, from {} to {}", facts.growths(), facts.growths() == 1 ? "" : "s", bytes(facts.first_size()), bytes(facts.size()));
  say("workers", "up to {}", facts.max_workers);
}

void describe_workers(const layout::job_entry& job, const pool_reader& reader, bool alive) {
  std::uint64_t committed = 0, seen = 0;
  std::string lines;
  for (const worker_state& w : reader.workers()) {
    if (!w.record || w.record->job != job.serial || detail::is_robbed(w.owner)) continue;
    committed += w.record->progress;
    seen += std::max(w.record->progress, w.live_progress);
    lines += fmt::format("  {:<11}  worker {}: {}", "", w.slot, describe(*w.record));
    if (!alive && w.live_when > w.record->when)
      lines += fmt::format("; {:.3f} ms of its work lost",
                           static_cast<double>(w.live_when - w.record->when) / detail::ticks_per_ns() / 1e6);
    lines += '\n';
  }
  if (seen > 0)
    fmt::print("  {:<11}  {} units of work committed, {} {}\n", "", committed, seen - committed,
               alive ? "not yet" : "lost");
  fmt::print("{}", lines);
}

/// As far as they were told: not those of a run that lost its memory.
void describe_steals(const layout::job_entry& job, const pool_reader& reader) {
  std::array<std::uint64_t, numa::nearnesses> steals{};
  for (const worker_state& w : reader.workers())
    for (std::size_t n = 0; n < numa::nearnesses; ++n) steals[n] += w.steals_of == job.serial ? w.steals[n] : 0;
  std::string text;
  for (std::size_t n = 0; n < numa::nearnesses; ++n)
    if (steals[n] > 0) text += fmt::format("{}{} {}", text.empty() ? "" : ", ", steals[n], numa::name_of(static_cast<numa::nearness>(n)));
  if (!text.empty()) fmt::print("  {:<11}  steals, by what thief and victim share: {}\n", "", text);
}

void describe_job(const layout::job_entry& job, const pool_report& report, const pool_reader& reader) {
  const bool alive = report.in_use();
  say("job", "\"{}\", {}, begun {}{}", job.name,
      job.state == layout::job_state::running && alive ? "running" : state_name(job.state),
      readable_date(job.started_ns),
      job.resumed == 0 ? "" : fmt::format(", resumed {} time{}", job.resumed, job.resumed == 1 ? "" : "s"));
  fmt::print("  {:<11}  task {}; {} worker{}; {} of pool memory\n", "", function_of(job.task), job.workers,
             job.workers == 1 ? "" : "s", bytes(job.region));
  if (job.state == layout::job_state::running && job.text[0] != '\0') fmt::print("  {:<11}  stopped: {}\n", "", job.text);
  if (job.state == layout::job_state::running) describe_workers(job, reader, alive);
  if (job.state == layout::job_state::finished)
    fmt::print("  {:<11}  ended {}, {:.3f} s after its beginning{}\n", "", readable_date(job.ended_ns),
               seconds_taken(job), readable_result(job).empty() ? "" : "; result " + readable_result(job));
  describe_steals(job, reader);
  if (job.state == layout::job_state::failed) fmt::print("  {:<11}  failed: {}\n", "", job.text);
}

void describe_heap(const pool_report& report, const pool_reader& reader) {
  const auto running = std::ranges::find(report.jobs, layout::job_state::running, &layout::job_entry::state);
  const detail::heap_report heap = reader.heap(running == report.jobs.end() ? 0 : running->serial);
  say("heap", "{} block{}, {}", heap.blocks, heap.blocks == 1 ? "" : "s", bytes(heap.bytes));
  const auto line = [](const std::string& what, const detail::heap_report::use& u) {
    if (u.chunks > 0)
      fmt::print("  {:<11}  {}: {} of {} in {} chunk{}\n", "", what, u.allocated, u.blocks, u.chunks, u.chunks == 1 ? "" : "s");
  };
  for (std::size_t c = 0; c < detail::size_classes; ++c)
    line(fmt::format("blocks of {} bytes", detail::class_layouts[c].size), heap.classes[c]);
  line("larger ones", heap.extents);
  for (const auto& [worker, n] : heap.bytes_by_worker) fmt::print("  {:<11}  worker {}: {}\n", "", worker, bytes(n));
  for (const auto& p : heap.problems) say("PROBLEM", "heap: {}", p);
}

void info(const std::string& file) {
  const pool_report report = inspect(file);
  const auto describe_first = [&] { describe_file(report.file, report.file_size, report.file_system, report.in_memory, report.unkept, report.device); };
  if (report.facts && report.facts->part != 0) {
    fmt::print("{}: part {} of a PPMM pool; the pool is named by its first part, {}\n", file, report.facts->part, report.facts->parts[0].file.string());
    describe_first();
    describe_holder(report);
  } else if (report.facts) {
    const std::vector<part_facts>& parts = report.facts->parts;
    fmt::print("{}: a PPMM pool{}\n", file, parts.size() > 1 ? fmt::format(" of {} parts", parts.size()) : std::string());
    if (parts.size() > 1)
      describe_parts(*report.facts);
    else
      describe_first();
    describe_holder(report);
    describe_facts(*report.facts);
    if (std::ranges::any_of(parts, [](const part_facts& p) { return p.file_size > p.size; }))
      say("growing", "not finished: the pool has {}. Grow it again (`ppmm grow {} SIZE`)", bytes(report.facts->size()), file);
    const pool_reader reader(report);
    for (const auto& job : report.jobs) describe_job(job, report, reader);
    if (const auto call = report.call ? decode(*report.call) : std::nullopt) say("last call", "{}", for_shell(*call));
    if (report.jobs.empty()) say("jobs", "none");
    describe_heap(report, reader);
  } else {
    fmt::print("{}: cannot be read as a PPMM pool\n", file);
    describe_first();
    describe_holder(report);
  }
  for (const auto& f : report.failed) say("PROBLEM", "{}: {}", f.check, f.message);
  if (!report.ok()) throw exit_status{1};
}

}  // namespace

void add_info(CLI::App& app) {
  auto file = std::make_shared<std::string>();
  CLI::App* command = app.add_subcommand("info", "Tell what a pool holds, also while it is in use");
  command->add_option("FILE", *file, "Pool file")->required();
  command->callback([file] { info(*file); });
}

}  // namespace ppmm::tools
