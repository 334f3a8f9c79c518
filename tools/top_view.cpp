#include "top_view.hpp"

#include "job_words.hpp"
#include "progress.hpp"

#include <ppmm/sched/clock.hpp>
#include <ppmm/sched/names.hpp>
#include <ppmm/sched/profile.hpp>
#include <ppmm/sched/type.hpp>

#include <fmt/format.h>

#include <algorithm>

namespace ppmm::tools {
namespace {

/// A counter that went back is another run's: it began again from 0.
std::uint64_t grown(std::uint64_t before, std::uint64_t after) { return after >= before ? after - before : after; }

double seconds(std::uint64_t ticks) { return static_cast<double>(ticks) / detail::ticks_per_ns() / 1e9; }

std::string what_it_runs(const worker_state& w, std::uint64_t job) {
  if (detail::is_robbed(w.owner)) return "lost; robbed";
  if (!w.record || w.record->job != job) return "nothing yet";
  if (w.live_type == 0)
    return w.record->kind == detail::record_kind::done ? "done" : "nothing: looks for something to steal";
  if (const detail::node_type* type = detail::find_type(w.live_type)) return function_of(type->readable_name());
  return fmt::format("type {:012x}, of another program", w.live_type);
}

std::string count(double n) {
  if (n < 1000) return fmt::format("{:.0f}", n);
  std::string text = readable_bytes(n);  // "1.2 MB": the same prefixes
  text.pop_back();
  while (text.ends_with(' ')) text.pop_back();
  return text;
}

std::string cut(std::string line, std::size_t width) {
  // Not in the middle of a character of several bytes.
  std::size_t shown = 0, at = 0;
  for (; at < line.size(); ++at)
    if ((static_cast<unsigned char>(line[at]) & 0xc0) != 0x80 && ++shown > width) break;
  line.resize(at);
  std::ranges::replace_if(
      line, [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }, '?');  // a pool may be anybody's
  return line;
}

}  // namespace

pool_look look_at(const std::filesystem::path& file) {
  pool_look look{{}, inspect(file), std::nullopt, {}};
  if (!look.report.facts) {
    const std::string why = look.report.failed.empty() ? "it cannot be read" : look.report.failed.front().message;
    throw error(fmt::format("{}: no pool to look at: {}", file.string(), why));
  }
  if (const pool_facts& f = *look.report.facts; f.part != 0)
    throw part_mismatch(fmt::format("{} is part {} of a pool; name its first part: {}", file.string(), f.part,
                                    f.parts[0].file.string()));
  const auto running = std::ranges::find(look.report.jobs, layout::job_state::running, &layout::job_entry::state);
  if (running != look.report.jobs.end()) look.job = *running;
  const pool_reader reader(look.report);
  look.when = std::chrono::steady_clock::now();
  if (look.job)
    for (const worker_state& w : reader.workers())
      if (w.process || (w.record && w.record->job == look.job->serial)) look.workers.push_back(w);
  return look;
}

pool_rates between(const pool_look& before, const pool_look& after) {
  pool_rates r;
  r.seconds = std::chrono::duration<double>(after.when - before.when).count();
  const bool same_job = before.job && after.job && before.job->serial == after.job->serial;
  const double a_second = r.seconds > 0 ? 1 / r.seconds : 0;
  const std::uint64_t now = detail::ticks();
  for (const worker_state& w : after.workers) {
    worker_rates rates;
    rates.slot = w.slot;
    rates.process = w.process;
    rates.runs = what_it_runs(w, after.job->serial);
    rates.faults = w.live_faults;
    rates.silent_ms = now > w.live_when ? 1000 * seconds(now - w.live_when) : 0;
    const auto was = std::ranges::find(before.workers, w.slot, &worker_state::slot);
    if (same_job && was != before.workers.end()) {
      // Not a count of this run: what others committed may be added to it, or taken away.
      rates.units = w.live_progress > was->live_progress
                        ? static_cast<double>(w.live_progress - was->live_progress) * a_second
                        : 0;
      rates.commits = static_cast<double>(grown(was->live_commits, w.live_commits)) * a_second;
      rates.steals = static_cast<double>(grown(was->live_steals, w.live_steals)) * a_second;
      rates.bytes = static_cast<double>(grown(was->live_lines, w.live_lines) * line_size) * a_second;
      rates.in_commits = std::min(1.0, seconds(grown(was->live_commit_ticks, w.live_commit_ticks)) * a_second);
    }
    r.sum.units += rates.units;
    r.sum.commits += rates.commits;
    r.sum.steals += rates.steals;
    r.sum.bytes += rates.bytes;
    r.sum.in_commits += rates.in_commits;
    r.sum.faults += rates.faults;
    r.workers.push_back(rates);
  }
  if (!r.workers.empty()) r.sum.in_commits /= static_cast<double>(r.workers.size());
  return r;
}

std::vector<std::string> show(const pool_look& now, const pool_rates& rates, std::size_t width) {
  std::vector<std::string> lines;
  const auto say = [&](const std::string& text) { lines.push_back(cut(text, width)); };
  say(fmt::format("{}: {}, {}", now.report.file.string(), readable_bytes(static_cast<double>(now.report.facts->size())),
                  now.report.holder ? fmt::format("open in process {}", *now.report.holder) : "open in no process"));
  if (!now.report.holder && !now.report.worked_in.empty())
    say(fmt::format("the coordinator is gone: {} at work without it", workers_in_words(now.report) + (now.report.worked_in.size() == 1 ? " is" : " are")));
  if (!now.job) {
    say("no unfinished job");
    return lines;
  }
  std::uint64_t committed = 0, seen = 0;
  for (const worker_state& w : now.workers) {
    if (!w.record || w.record->job != now.job->serial || detail::is_robbed(w.owner)) continue;
    committed += w.record->progress;
    seen += std::max(w.record->progress, w.live_progress);
  }
  say(fmt::format("job \"{}\" {}, task {}, begun {}{}", now.job->name, now.report.in_use() ? "running" : "unfinished",
                  function_of(now.job->task), readable_date(now.job->started_ns),
                  now.job->resumed == 0 ? "" : fmt::format(", resumed {} times", now.job->resumed)));
  say(fmt::format("{} units of work, {} of them committed", seen, committed));
  say("");
  const bool processes = std::ranges::any_of(rates.workers, [](const worker_rates& w) { return w.process.has_value(); });
  say(fmt::format("worker {} units/s commits/s in commits  steals/s  flushed/s  faults  last seen  runs", processes ? " process  " : " "));
  const auto row = [&](const std::string& name, const worker_rates& w, const std::string& silent,
                       const std::string& runs) {
    const std::string process = processes ? fmt::format(" {:>8}", w.process ? std::to_string(*w.process) : "") : "";
    say(fmt::format("{:>6}{} {:>9} {:>9} {:>8.2f} % {:>9} {:>10} {:>7} {:>10}  {}", name, process, count(w.units),
                    count(w.commits), 100 * w.in_commits, count(w.steals), w.bytes > 0 ? readable_bytes(w.bytes) : "0",
                    w.faults, silent, runs));
  };
  for (const worker_rates& w : rates.workers)
    row(std::to_string(w.slot), w, now.report.in_use() ? fmt::format("{:.1f} ms", w.silent_ms) : "-", w.runs);
  row("all", rates.sum, "", "");
  return lines;
}

}  // namespace ppmm::tools
