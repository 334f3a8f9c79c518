/// ppmm info: what a pool holds, in words. Works while another process has it open.
#include "command.hpp"
#include "job_words.hpp"
#include "pool_reader.hpp"
#include "progress.hpp"

#include <ppmm/sched/clock.hpp>

#include <fmt/format.h>
#include <sys/stat.h>
#include <CLI/CLI.hpp>

#include <algorithm>
#include <memory>
#include <string>

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

void describe_file(const pool_report& report) {
  struct stat st {};
  const std::uint64_t present =
      stat(report.file.c_str(), &st) == 0 ? static_cast<std::uint64_t>(st.st_blocks) * 512 : report.file_size;
  say("size", "{}, {} of it allocated", bytes(report.file_size), bytes(present));
  say("medium", "{}{}", report.file_system, report.in_memory ? ", in memory: its content is lost at power-off" : "");
  if (report.holder)
    say("in use", "by process {}", *report.holder);
  else
    say("in use", "by nobody");
}

void describe_facts(const pool_facts& facts) {
  say("format", "{}", facts.format_version);
  say("durability", "{}", level_in_words(facts.level));
  say("mapped at", "{:#x}", facts.base_address);
  std::uint64_t all = 0;
  for (const auto& s : facts.segments) all += s.size;
  say("segments", "{}, {} together", facts.segments.size(), bytes(all));
  if (facts.growths > 0)
    say("grown", "{} time{}, from {} to {}", facts.growths, facts.growths == 1 ? "" : "s", bytes(facts.first_size), bytes(facts.size));
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

void describe_job(const layout::job_entry& job, const pool_report& report, const pool_reader& reader) {
  const bool alive = report.holder.has_value();
  say("job", "\"{}\", {}, begun {}{}", job.name,
      job.state == layout::job_state::running && alive ? "running" : state_name(job.state),
      readable_date(job.started_ns),
      job.resumed == 0 ? "" : fmt::format(", resumed {} time{}", job.resumed, job.resumed == 1 ? "" : "s"));
  fmt::print("  {:<11}  task {}; {} worker{}; {} of pool memory\n", "", readable_task(job.task), job.workers,
             job.workers == 1 ? "" : "s", bytes(job.region));
  if (job.state == layout::job_state::running && job.text[0] != '\0') fmt::print("  {:<11}  stopped: {}\n", "", job.text);
  if (job.state == layout::job_state::running) describe_workers(job, reader, alive);
  if (job.state == layout::job_state::finished)
    fmt::print("  {:<11}  ended {}, {:.3f} s after its beginning{}\n", "", readable_date(job.ended_ns),
               seconds_taken(job), readable_result(job).empty() ? "" : "; result " + readable_result(job));
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
  if (report.facts) {
    fmt::print("{}: a PPMM pool\n", file);
    describe_file(report);
    describe_facts(*report.facts);
    if (report.file_size > report.facts->size)
      say("growing", "not finished: the pool has {} of the file. Grow it again (`ppmm grow {} SIZE`)", bytes(report.facts->size), file);
    const pool_reader reader(report);
    for (const auto& job : report.jobs) describe_job(job, report, reader);
    if (report.jobs.empty()) say("jobs", "none");
    describe_heap(report, reader);
  } else {
    fmt::print("{}: cannot be read as a PPMM pool\n", file);
    describe_file(report);
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
