#include "peer_report.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <svg_chart.hpp>

#include <algorithm>
#include <utility>

namespace bench {
namespace {

constexpr double process_bound = 1.05, emulated_bound = 1.10, pmemobj_bound = 5, reload_bound = 100;

std::string readable_ns(double ns) {
  if (ns < 1e3) return fmt::format("{:.3g} ns", ns);
  if (ns < 1e6) return fmt::format("{:.3g} µs", ns / 1e3);
  return ns < 1e9 ? fmt::format("{:.3g} ms", ns / 1e6) : fmt::format("{:.3g} s", ns / 1e9);
}
std::string readable_mib(double bytes) {
  const double mib = bytes / (1 << 20);
  return mib < 100 ? fmt::format("{:.3g}", mib) : fmt::format("{:.0f}", mib);
}
std::string times(double ratio) { return ratio < 10 ? fmt::format("{:.2f} ×", ratio) : fmt::format("{:.0f} ×", ratio); }

void header(const std::vector<std::string>& columns) {
  fmt::print("| {} |\n|", fmt::join(columns, " | "));
  for (std::size_t i = 0; i < columns.size(); ++i) fmt::print(" --- |");
  fmt::print("\n");
}

/// The ways in their order: who, how long.
std::vector<std::pair<std::string, double>> times_of(const comparison& c) {
  std::vector<std::pair<std::string, double>> all;
  for (const peer p : all_peers)
    if (const auto& ns = c.peer_ns[number_of(p)]) all.emplace_back(name_of(p), *ns);
  if (const auto ns = c.checkpointed_ns()) all.emplace_back("oneTBB, a checkpoint a second", *ns);
  all.emplace_back("PPMM, process", c.process_ns);
  all.emplace_back("PPMM, emulated", c.emulated_ns);
  return all;
}

std::string of_workers(unsigned n) { return fmt::format("{} worker{}", n, n == 1 ? "" : "s"); }

}  // namespace

void print_comparison(const std::vector<comparison>& all) {
  if (all.empty()) return;
  fmt::print("\n## {}\n\nTimes, and beside serial code:\n\n", of_workers(all.front().workers));
  std::vector<std::string> columns{"", "size"};
  for (const peer p : all_peers) columns.emplace_back(name_of(p));
  columns.insert(columns.end(), {"oneTBB, a checkpoint a second", "PPMM, `process`", "PPMM, `emulated`"});
  header(columns);
  for (const comparison& c : all) {
    const double serial = *c.peer_ns[number_of(peer::serial)];
    const auto cell = [serial](std::optional<double> ns) {
      return ns ? fmt::format("{}, {}", readable_ns(*ns), times(*ns / serial)) : "";
    };
    fmt::print("| {} | {} |", c.workload, c.size);
    for (const auto& ns : c.peer_ns) fmt::print(" {} |", cell(ns));
    fmt::print(" {} | {} | {} |\n", cell(c.checkpointed_ns()), cell(c.process_ns), cell(c.emulated_ns));
  }

  fmt::print("\nPPMM beside each, `process` / `emulated`; the fastest peer, and what `emulated` must write back:\n\n");
  columns = {""};
  for (const peer p : all_peers) columns.emplace_back(name_of(p));
  columns.insert(columns.end(), {"fastest", "`process` / fastest", "MiB written back", "time of that",
                                 "`emulated` / the larger", "rounds"});
  header(columns);
  for (const comparison& c : all) {
    fmt::print("| {} |", c.workload);
    for (std::size_t i = 0; i < c.peer_ns.size(); ++i)
      fmt::print(" {} |",
                 c.peer_ns[i] ? fmt::format("{:.3g} / {:.3g}", c.process_beside[i], c.emulated_beside[i]) : "");
    fmt::print(" {} | {} | {} | {} | {} | {} |\n", name_of(c.fastest), times(c.beside_fastest),
               readable_mib(c.flushed_bytes), readable_ns(c.flushed_ns), times(c.beside_larger), c.rounds);
  }
}

void print_memory(const peers_report& r) {
  if (r.memory.empty()) return;
  fmt::print(
      "\n## Peak memory\n\nMiB resident at most while it computes, the input included; each in a process of its own, "
      "{}.\n\n",
      of_workers(r.most_workers));
  std::vector<std::string> columns{""};
  for (const peer p : all_peers) columns.emplace_back(name_of(p));
  columns.emplace_back("PPMM, `emulated`");
  header(columns);
  for (const memory_row& m : r.memory) {
    fmt::print("| {} |", m.workload);
    for (const auto& bytes : m.peers) fmt::print(" {} |", bytes ? readable_mib(*bytes) : "");
    fmt::print(" {} |\n", readable_mib(m.ppmm));
  }
}

void print_settings(const peers_report& r) {
  if (r.levels.empty()) return;
  fmt::print(
      "\n## By level\n\nOne worker, beside commits off; `power` on the disk of PPMM_BENCH_DISK, time on the wall.\n\n");
  header({"", "commits off, beside serial code", "`process`", "`emulated`", "MiB written back", "`power`",
          "its heartbeat"});
  for (std::size_t i = 0; i < r.levels.size(); ++i) {
    const auto& of = r.levels[i].results;
    const bool power = i < r.power.size();
    fmt::print("| {} | {} | {} | {} | {} | {} | {} |\n", r.levels[i].workload, times(of[0].beside_serial),
               times(of[1].beside_no_commits), times(of[3].beside_no_commits), readable_mib(of[3].flushed_bytes),
               power ? times(r.power[i].beside_no_commits) : "not measured",
               power ? fmt::format("{:.3g} ms", r.power[i].heartbeat_ms) : "");
  }
  fmt::print("\n## By heartbeat\n\nOne worker, `emulated`: beside commits off; commits, MiB written back.\n\n");
  std::vector<std::string> columns{""};
  for (const int us : heartbeats_us) columns.push_back(fmt::format("{} µs", us));
  header(columns);
  for (const variation& v : r.heartbeats) {
    fmt::print("| {} |", v.workload);
    for (std::size_t i = 1; i < v.results.size(); ++i)
      fmt::print(" {}; {:.0f}, {} |", times(v.results[i].beside_no_commits), v.results[i].commits,
                 readable_mib(v.results[i].flushed_bytes));
    fmt::print("\n");
  }
  fmt::print(
      "\n## By rate of soft faults\n\nOne worker, `emulated`, a probability at each persistent access: beside no "
      "fault; faults a run.\n\n");
  columns = {""};
  for (const double rate : fault_rates) columns.push_back(fmt::format("{:g}", rate));
  header(columns);
  for (const variation& v : r.faults) {
    fmt::print("| {} |", v.workload);
    for (std::size_t i = 1; i < v.results.size(); ++i)
      fmt::print(" {}; {:.0f} |", times(v.results[i].beside_no_commits), v.results[i].faults);
    fmt::print("\n");
  }
}

void print_reload(const reload_figures& r) {
  fmt::print("\n## After a crash\n\n");
  header({"", "time"});
  fmt::print("| reading a checkpoint of {} MiB into memory, from the page cache | {} |\n", readable_mib(r.bytes),
             readable_ns(r.reload_ns));
  fmt::print("| opening a pool with {} MiB of live data | {} |\n", readable_mib(r.bytes), readable_ns(r.open_ns));
  fmt::print("| from there to the first useful work | {} |\n", readable_ns(r.to_first_work_ns));
  fmt::print("| reloading beside both | {} |\n", times(r.ratio));
  fmt::print("| work lost in the worst crash (a checkpoint a second: up to 1 s) | {} |\n", readable_ns(r.lost_ns));
}

std::vector<claim> claims(const peers_report& r) {
  std::vector<claim> all;
  for (const comparison& c : r.comparisons) {
    const std::string what = fmt::format("{}, {}", c.workload, of_workers(c.workers));
    all.push_back({what + ": `process`", fmt::format("{:.3f} × {}", c.beside_fastest, name_of(c.fastest)),
                   fmt::format("≤ {:.2f} × the fastest peer", process_bound), c.beside_fastest <= process_bound});
    all.push_back({what + ": `emulated`", fmt::format("{:.3f} ×", c.beside_larger),
                   fmt::format("≤ {:.2f} × that or the write-back", emulated_bound),
                   c.beside_larger <= emulated_bound});
    if (c.fine_grained) {
      const double beside = 1 / c.emulated_beside[number_of(peer::pmemobj)];
      all.push_back({what + ": libpmemobj, as much lost", fmt::format("{:.2f} × `emulated`", beside),
                     fmt::format("≥ {:g} ×", pmemobj_bound), beside >= pmemobj_bound});
    }
  }
  if (r.reload)
    all.push_back({fmt::format("reloading {} MiB", readable_mib(r.reload->bytes)),
                   fmt::format("{:.0f} × resuming", r.reload->ratio), fmt::format("≥ {:g} ×", reload_bound),
                   r.reload->ratio >= reload_bound});
  return all;
}

void print_claims(const std::vector<claim>& all) {
  fmt::print("\n## To hold\n\n");
  header({"", "measured", "to hold", ""});
  for (const claim& c : all)
    fmt::print("| {} | {} | {} | {} |\n", c.what, c.measured, c.to_hold, c.held ? "held" : "**not held**");
}

std::string as_json(const peers_report& r) {
  using nlohmann::json;
  json all{{"comparisons", json::array()}, {"memory", json::array()}, {"claims", json::array()}};
  for (const comparison& c : r.comparisons) {
    json one{{"workload", c.workload},
             {"size", c.size},
             {"workers", c.workers},
             {"rounds", c.rounds},
             {"commits", c.commits},
             {"bytes_written_back", c.flushed_bytes},
             {"write_back_ns", c.flushed_ns},
             {"state_bytes", c.state_bytes},
             {"fastest", name_of(c.fastest)},
             {"process_beside_fastest", c.beside_fastest},
             {"emulated_beside_larger", c.beside_larger}};
    if (c.checkpoint_ns) one["checkpoint_ns"] = *c.checkpoint_ns;
    for (const auto& [who, ns] : times_of(c)) one["ns"][who] = ns;
    for (const peer p : all_peers)
      if (c.peer_ns[number_of(p)])
        one["ratio"][name_of(p)] = {{"process", c.process_beside[number_of(p)]},
                                    {"emulated", c.emulated_beside[number_of(p)]}};
    all["comparisons"].push_back(one);
  }
  for (const memory_row& m : r.memory) {
    json one{{"workload", m.workload}, {"workers", r.most_workers}, {"peak_bytes", {{"PPMM", m.ppmm}}}};
    for (const peer p : all_peers)
      if (const auto& bytes = m.peers[number_of(p)]) one["peak_bytes"][name_of(p)] = *bytes;
    all["memory"].push_back(one);
  }
  const auto put = [&all](const char* name, const std::vector<variation>& of, const json& settings) {
    all[name] = {{"settings", settings}, {"workloads", json::array()}};
    for (const variation& v : of) {
      json one{{"workload", v.workload}, {"results", json::array()}};
      for (const setting_result& s : v.results)
        one["results"].push_back({{"beside_serial", s.beside_serial},
                                  {"beside_first", s.beside_no_commits},
                                  {"commits", s.commits},
                                  {"bytes_written_back", s.flushed_bytes},
                                  {"faults", s.faults}});
      all[name]["workloads"].push_back(one);
    }
  };
  put("levels", r.levels, {"process, commits off", "process", "emulated, commits off", "emulated"});
  json heartbeats{"commits off"}, rates{"no fault"};
  for (const int us : heartbeats_us) heartbeats.push_back(fmt::format("{} us", us));
  for (const double rate : fault_rates) rates.push_back(rate);
  put("heartbeats", r.heartbeats, heartbeats);
  put("faults", r.faults, rates);
  for (std::size_t i = 0; i < r.power.size(); ++i)
    all["power"].push_back({{"workload", r.levels[i].workload},
                            {"beside_no_commits", r.power[i].beside_no_commits},
                            {"heartbeat_ms", r.power[i].heartbeat_ms}});
  if (r.reload)
    all["reload"] = {{"bytes", r.reload->bytes},     {"reload_ns", r.reload->reload_ns},
                     {"open_ns", r.reload->open_ns}, {"to_first_work_ns", r.reload->to_first_work_ns},
                     {"ratio", r.reload->ratio},     {"lost_ns", r.reload->lost_ns}};
  for (const claim& c : claims(r))
    all["claims"].push_back({{"what", c.what}, {"measured", c.measured}, {"to_hold", c.to_hold}, {"held", c.held}});
  return all.dump(1) + "\n";
}

std::string as_svg(const peers_report& r) {
  std::vector<std::string> charts;
  for (const comparison& c : r.comparisons) {
    const double serial = *c.peer_ns[number_of(peer::serial)];
    ppmm::tools::bar_chart chart{fmt::format("{}, {}: {}", c.workload, c.size, of_workers(c.workers)), {"time"}, {}};
    for (const auto& [who, ns] : times_of(c))
      chart.bars.push_back({who, {ns}, fmt::format("{}, {}", readable_ns(ns), times(ns / serial))});
    charts.push_back(to_svg(chart));
  }
  return ppmm::tools::svg_file(charts);
}

}  // namespace bench
