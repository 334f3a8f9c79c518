#include "job_report.hpp"

#include "progress.hpp"

#include <ppmm/sched/names.hpp>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <iterator>
#include <string_view>
#include <utility>

namespace ppmm::tools {
namespace {

double ratio(std::uint64_t part, std::uint64_t whole) {
  return whole == 0 ? 0 : static_cast<double>(part) / static_cast<double>(whole);
}

std::string bytes(std::uint64_t n) { return readable_bytes(static_cast<double>(n)); }

cost_row& row_of(std::vector<cost_row>& rows, const std::string& function, const std::string& line) {
  const auto at =
      std::ranges::find_if(rows, [&](const cost_row& r) { return r.function == function && r.line == line; });
  return at != rows.end() ? *at : *rows.insert(rows.end(), {function, line, {}, {}});
}

void add(cost_row& row, const profile_site& site) {
  row.cost += site.cost;
  for (std::size_t i = 0; i < commit_causes; ++i) row.causes[i] += site.causes[i];
}

/// Frames and views have no time of their own: by lines, where two have as many ns.
bool costs_more(const cost_row& a, const cost_row& b) {
  return std::pair(a.cost.nanoseconds, a.cost.lines) > std::pair(b.cost.nanoseconds, b.cost.lines);
}

std::string amplification(double x) { return x > 0 ? fmt::format("{:.2f}", x) : "-"; }

std::string causes_in_words(const std::array<std::uint64_t, commit_causes>& causes) {
  std::string text;
  for (std::size_t i = 0; i < commit_causes; ++i)
    if (causes[i] != 0)
      text += fmt::format("{}{} {}", text.empty() ? "" : ", ", name_of(static_cast<commit_cause>(i)), causes[i]);
  return text;
}

const durability_cost& of(const job_report& r, commit_cause c) { return r.profile.causes[static_cast<std::size_t>(c)]; }
std::uint64_t of(const job_report& r, activity a) { return r.profile.nanoseconds[static_cast<std::size_t>(a)]; }

std::string place_of(const cost_row& row) {
  return row.line.empty() ? row.function : fmt::format("{} ({})", row.function, row.line);
}

}  // namespace

void add_rows(job_report& report, const std::map<std::uintptr_t, source_place>& places) {
  std::map<std::string, std::map<std::string, std::uint64_t>> weight;  // of a function's lines
  for (const profile_site& site : report.profile.sites) {
    source_place place;
    if (const auto at = places.find(site.code); at != places.end()) place = at->second;
    if (place.function.empty()) place.function = site.type.empty() ? "(not known)" : function_of(site.type);
    add(row_of(report.functions, place.function, ""), site);
    if (!place.line.empty()) {
      add(row_of(report.lines, place.function, place.line), site);
      weight[place.function][place.line] += site.cost.nanoseconds + site.cost.lines;
    }
  }
  for (cost_row& row : report.functions) {
    std::uint64_t most = 0;
    for (const auto& [line, w] : weight[row.function])
      if (w > most) most = w, row.line = line;
  }
  std::ranges::sort(report.functions, costs_more);
  std::ranges::sort(report.lines, costs_more);
}

double share(const job_report& r, std::uint64_t ns) {
  const double all = r.profile.seconds * 1e9 * r.profile.workers;
  return all > 0 ? static_cast<double>(ns) / all : 0;
}

double amplification_64(const durability_cost& c) {
  return c.bytes == 0 ? 0 : static_cast<double>(c.lines * 64) / static_cast<double>(c.bytes);
}
double amplification_256(const durability_cost& c) {
  return c.bytes == 0 ? 0 : static_cast<double>(c.blocks_256 * 256) / static_cast<double>(c.bytes);
}

durability_cost sum_of(const job_report& r) {
  durability_cost sum;
  for (const profile_site& s : r.profile.sites) sum += s.cost;
  return sum;
}

std::vector<advice> advise(const job_report& r) {
  constexpr double few = 0.02, many = 0.1;
  std::vector<advice> all;
  const auto time_by = [&](commit_cause c) { return share(r, of(r, c).nanoseconds); };
  const durability_cost& beats = of(r, commit_cause::heartbeat);
  const durability_cost& offers = of(r, commit_cause::idle_worker);
  const double by_time = time_by(commit_cause::heartbeat) + time_by(commit_cause::idle_worker);
  const double idle = share(r, of(r, activity::idle));
  if (by_time > few)
    all.push_back(
        {"heartbeat", fmt::format("a longer --heartbeat: {:.1f} times as long for 2 %", by_time / few),
         fmt::format(
             "commits by time take {:.1f} % of the workers' time, {} each; {} of {} came early since a worker was idle",
             100 * by_time,
             readable_ns(static_cast<double>(beats.nanoseconds + offers.nanoseconds) /
                         std::max(1.0, static_cast<double>(beats.commits + offers.commits))),
             offers.commits, beats.commits + offers.commits)});
  if (time_by(commit_cause::every_task) > few)
    all.push_back({"every task", "commits at heartbeats (--commit heartbeat)",
                   fmt::format("commits at every task take {:.1f} % of the workers' time",
                               100 * time_by(commit_cause::every_task))});
  if (idle > many && r.profile.workers > 1)
    all.push_back(
        {"parallelism",
         "fewer workers, or more forks near the root of the computation, or a shorter --heartbeat: only committed "
         "forks can be stolen",
         fmt::format("workers look for something to steal {:.0f} % of their time, with {} thefts won and {} lost",
                     100 * idle, r.profile.steals, r.profile.lost_steals)});
  std::uint64_t in_all = 0;
  for (const durability_cost& c : r.profile.causes) in_all += c.commits;
  for (const cost_row& row : r.functions) {
    const auto conflicts = row.causes[static_cast<std::size_t>(commit_cause::conflict)];
    if (time_by(commit_cause::conflict) > few && ratio(conflicts, in_all) > many)
      all.push_back(
          {"conflicts",
           fmt::format("let {} write elsewhere than what was read before it, or write it in a task of its own turn",
                       place_of(row)),
           fmt::format("{} of {} commits happen because it would overwrite what its capsule has read", conflicts,
                       in_all)});
    const auto asked = row.causes[static_cast<std::size_t>(commit_cause::user)];
    if (time_by(commit_cause::user) > few && ratio(asked, in_all) > many)
      all.push_back({"commit_next", fmt::format("fewer calls of commit_next in {}", place_of(row)),
                     fmt::format("{} of {} commits happen because it asks for them", asked, in_all)});
    constexpr std::uint64_t worth = 10000;  // lines: less is not worth a word
    if (row.cost.lines < worth) continue;
    if (row.cost.bytes > 0 && amplification_64(row.cost) > 2)
      all.push_back(
          {"amplification",
           fmt::format("let {} write more of each line: neighbours together, or several values before a commit",
                       place_of(row)),
           fmt::format("it writes {}, and {} are flushed for it: {:.1f} times as much", bytes(row.cost.bytes),
                       bytes(row.cost.lines * 64), amplification_64(row.cost))});
    if (ratio(row.cost.unchanged, row.cost.lines) > 0.2)
      all.push_back(
          {"unchanged", fmt::format("open in {} only what changes", place_of(row)),
           fmt::format(
               "about {:.0f} % of the lines that are flushed for it are as they were when they were last flushed",
               100 * ratio(row.cost.unchanged, row.cost.lines))});
    if (ratio(row.cost.again, row.cost.lines) > 0.2)
      all.push_back(
          {"again", fmt::format("let {} write a line once in a capsule", place_of(row)),
           fmt::format("about {:.0f} % of the lines that are flushed for it were flushed in the same capsule before",
                       100 * ratio(row.cost.again, row.cost.lines))});
  }
  if (all.empty())
    all.push_back({"nothing", "nothing to be gained by this profile",
                   fmt::format("commits take {:.2f} % of the workers' time, idling {:.1f} %",
                               100 * share(r, of(r, activity::commit)), 100 * idle)});
  return all;
}

std::string to_text(const job_report& r) {
  std::string out;
  const auto say = [&]<class... Arguments>(fmt::format_string<Arguments...> format, Arguments&&... arguments) {
    fmt::format_to(std::back_inserter(out), format, std::forward<Arguments>(arguments)...);
    out += '\n';
  };
  const durability_cost sum = sum_of(r);
  say("profile of \"{}\": {:.3f} s, {} worker{}; {}", r.job, r.profile.seconds, r.profile.workers,
      r.profile.workers == 1 ? "" : "s", r.profile.medium);
  say("\nThe workers' time");
  for (std::size_t i = 0; i < activities; ++i)
    if (r.profile.nanoseconds[i] != 0)
      say("  {:<12} {:>6.2f} %  {:>9}", name_of(static_cast<activity>(i)), 100 * share(r, r.profile.nanoseconds[i]),
          readable_ns(static_cast<double>(r.profile.nanoseconds[i])));
  say("  {:<12} {:>6.2f} %  (starting, ending, waiting for the operating system)", "the rest",
      100 * share(r, r.profile.untold_ns()));
  say("\nRecords by cause  {:>10} {:>10} {:>8} {:>8} {:>8}", "number", "each", "fences", "lines", "of time");
  for (std::size_t i = 0; i < commit_causes; ++i)
    if (const durability_cost& c = r.profile.causes[i]; c.commits != 0)
      say("  {:<15} {:>10} {:>9} {:>8.2f} {:>8.1f} {:>6.2f} %", name_of(static_cast<commit_cause>(i)), c.commits,
          readable_ns(static_cast<double>(c.nanoseconds) / static_cast<double>(c.commits)), ratio(c.fences, c.commits),
          ratio(c.lines, c.commits), 100 * share(r, c.nanoseconds));
  say("  (fences and lines: of one)  {} steals, {} lost; {} faults, {} graves robbed", r.profile.steals,
      r.profile.lost_steals, r.profile.faults, r.profile.adoptions);
  say("\n{}: {} lines ({}) in {} fences; frames and views {} lines, the rest records, exposures, heap lists, undo "
      "logs",
      r.profile.needs_flushes ? "Flushed" : "To be flushed, did this medium need it", r.profile.flushed.lines,
      bytes(r.profile.flushed.lines * 64), r.profile.flushed.fences, sum.lines);
  say("Written through views: {}; written back for each of their bytes, all told: {} by lines of 64 bytes, {} by "
      "blocks of 256",
      bytes(sum.bytes),
      amplification(
          sum.bytes == 0 ? 0 : static_cast<double>(r.profile.flushed.lines * 64) / static_cast<double>(sum.bytes)),
      amplification(amplification_256(sum)));
  const auto table = [&](const char* title, const std::vector<cost_row>& rows) {
    constexpr std::size_t most = 20;
    say("\n{:<44} {:>9} {:>8} {:>9} {:>10} {:>10} {:>6} {:>6} {:>6} {:>6}", title, "commits", "of time", "frames",
        "lines", "written", "x64", "x256", "again", "same");
    for (std::size_t i = 0; i < std::min(most, rows.size()); ++i) {
      const cost_row& row = rows[i];
      std::string name = place_of(row);
      if (name.size() > 44) name.replace(0, name.size() - 41, "...");
      say("{:<44} {:>9} {:>6.2f} % {:>9} {:>10} {:>10} {:>6} {:>6} {:>4.0f} % {:>4.0f} %", name, row.cost.commits,
          100 * share(r, row.cost.nanoseconds), row.cost.frames, row.cost.lines,
          row.cost.bytes == 0 ? "-" : bytes(row.cost.bytes), amplification(amplification_64(row.cost)),
          amplification(amplification_256(row.cost)), 100 * ratio(row.cost.again, row.cost.lines),
          100 * ratio(row.cost.unchanged, row.cost.lines));
      if (const std::string causes = causes_in_words(row.causes); !causes.empty()) say("    commits by: {}", causes);
    }
    if (rows.size() > most) say("    and {} more", rows.size() - most);
  };
  table("By function", r.functions);
  if (!r.lines.empty())
    table("By source line", r.lines);
  else
    say("No source lines: the program has no debug information (-g), or addr2line (binutils) is not installed.");
  say("x64, x256: bytes written back for each that was written, by lines and by blocks of 256 bytes. again, same: "
      "lines that were\n"
      "flushed twice in a capsule, or as they were when they were last flushed (from a sample of lines).");
  say("\nHardware");
  for (const auto& c : r.counters) say("  {:<32} {:.4g}", c.name, c.value);
  if (!r.counters_missing.empty()) say("  left out: {}", r.counters_missing);
  say("\nAdvice");
  for (const advice& a : advise(r)) say("  {:<13} {}\n{:16}because {}", a.topic + ":", a.what, "", a.why);
  return out;
}

std::string to_json(const job_report& r) {
  using json = nlohmann::ordered_json;
  const auto cost = [](const durability_cost& c) {
    return json{{"commits", c.commits},
                {"ns", c.nanoseconds},
                {"fences", c.fences},
                {"frames", c.frames},
                {"lines", c.lines},
                {"blocks_256", c.blocks_256},
                {"bytes", c.bytes},
                {"lines_again", c.again},
                {"lines_unchanged", c.unchanged},
                {"amplification_64", amplification_64(c)},
                {"amplification_256", amplification_256(c)}};
  };
  const auto causes = [](const auto& counts) {
    json j = json::object();
    for (std::size_t i = 0; i < commit_causes; ++i)
      if (counts[i] != 0) j[name_of(static_cast<commit_cause>(i))] = counts[i];
    return j;
  };
  json out = {{"version", 1},
              {"job", r.job},
              {"seconds", r.profile.seconds},
              {"workers", r.profile.workers},
              {"needs_flushes", r.profile.needs_flushes},
              {"medium", r.profile.medium}};
  for (std::size_t i = 0; i < activities; ++i) out["ns"][name_of(static_cast<activity>(i))] = r.profile.nanoseconds[i];
  out["ns"]["the rest"] = r.profile.untold_ns();
  out["causes"] = json::object();
  for (std::size_t i = 0; i < commit_causes; ++i)
    if (r.profile.causes[i].commits != 0)
      out["causes"][name_of(static_cast<commit_cause>(i))] = cost(r.profile.causes[i]);
  out["steals"] = {{"won", r.profile.steals}, {"lost", r.profile.lost_steals}};
  out["faults"] = r.profile.faults;
  out["adoptions"] = r.profile.adoptions;
  out["flushed"] = {{"lines", r.profile.flushed.lines},
                    {"bytes", r.profile.flushed.bytes},
                    {"fences", r.profile.flushed.fences},
                    {"ns", r.profile.flushed.nanoseconds}};
  out["program"] = cost(sum_of(r));
  for (const auto& [name, rows] : {std::pair{"functions", &r.functions}, std::pair{"lines", &r.lines}}) {
    out[name] = json::array();
    for (const cost_row& row : *rows)
      out[name].push_back(
          {{"function", row.function}, {"line", row.line}, {"cost", cost(row.cost)}, {"causes", causes(row.causes)}});
  }
  out["sites"] = json::array();
  constexpr const char* kinds[] = {"commit", "frame", "view"};
  for (const profile_site& site : r.profile.sites)
    out["sites"].push_back({{"what", kinds[static_cast<std::size_t>(site.what)]},
                            {"type", site.type},
                            {"cost", cost(site.cost)},
                            {"causes", causes(site.causes)}});
  out["counters"] = json::object();
  for (const auto& c : r.counters) out["counters"][c.name] = c.value;
  out["counters_missing"] = r.counters_missing;
  out["advice"] = json::array();
  for (const advice& a : advise(r)) out["advice"].push_back({{"topic", a.topic}, {"what", a.what}, {"why", a.why}});
  return out.dump(2) + "\n";
}

}  // namespace ppmm::tools
