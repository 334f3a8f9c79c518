/// simulate [--quick] [--set NAME]… [--json FILE] [--cost NAME=NS]… [--measure] [--one JOB …]
///
/// The library's own scheduler in virtual time, on machines that are not there (simulated_machine.hpp): speed-up for 1
/// to 4096 workers beside ideal and the model's bound, victim policies, heartbeats, faults, media. Markdown tables on
/// standard output; the JSON is what bench/plot_simulate draws. docs/scale.md says what it shows and what it leaves
/// out. Exit status 1 if a job gave a wrong answer.
#include "simulation.hpp"

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <exception>
#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace {

using namespace bench;
using ppmm::detail::victim_policy;
using std::chrono::microseconds;
using std::chrono::nanoseconds;

constexpr const char* largest = "package:8 node:8 l3:8 core:8 pu:1";  // 4096 cores in 64 nodes
constexpr const char* smaller = "package:2 node:2 l3:2 core:4 pu:1";  // for --quick: 32
constexpr std::array use_names{"work", "flushes", "fences", "records", "lines", "locks", "deques", "pauses"};
static_assert(use_names.size() == uses);

bool quick = false, wrong = false;
costs here;
std::string json = "{";

const char* machine_name() { return quick ? smaller : largest; }
unsigned most_workers() { return quick ? 32 : 4096; }

/// Only one at a time: a machine of 4096 cores is made in a second or two.
simulated_machine& machine(const costs& c, const std::string& name) {
  static std::unique_ptr<simulated_machine> made;
  static std::string of;
  const std::string key = fmt::format("{} {} {} {}", name, c.flush_line, c.fence, c.transfer[1]);
  if (key != of) {
    made.reset();
    made = std::make_unique<simulated_machine>(name, c);
    of = key;
  }
  return *made;
}

outcome run(const simulated_job& job, const setting& s) {
  const outcome o = simulate(machine(here, machine_name()), job, s);
  if (o.finished && !o.right) {
    wrong = true;
    fmt::print(stderr, "simulate: {} by {} workers gave a wrong answer\n", job.name, s.workers);
  }
  return o;
}

std::vector<simulated_job> jobs(bool large) {
  if (quick) return {fib_job(30), sort_job(19), tree_job(7)};
  return large ? std::vector{fib_job(45), sort_job(26), tree_job(11)}
               : std::vector{fib_job(42), sort_job(25), tree_job(10)};
}

/// What the sets of many runs vary something on: fib by all workers, and everything by some hundred.
struct trial {
  simulated_job job;
  unsigned workers;
};
std::vector<trial> trials() {
  const unsigned some = quick ? 8 : 512;
  std::vector<trial> t;
  for (const simulated_job& job : jobs(false)) t.push_back({job, some});
  t.push_back({jobs(true)[0], most_workers()});
  return t;
}

/// What the model says (Blelloch et al. 2018): W/P_A + D·P/P_A·⌈log_{1/(Cf)} W⌉, with constants of one. W: the time of
/// one worker. D: the longest path, where each fork on it waits for a quarter of a heartbeat to be offered, and for the
/// commit, the theft and the join. The logarithm is 1 where there are no faults.
double path_ns(const simulated_job& job, nanoseconds heartbeat) {
  constexpr double commit_steal_join = 2000;
  return job.span_ns + job.forks_on_path * (static_cast<double>(heartbeat.count()) / 4 + commit_steal_join);
}

std::string percent(double part) { return part < 0.0005 ? "0" : fmt::format("{:.1f}", 100 * part); }

std::string columns(std::size_t n) {
  std::string line;
  while (n-- > 0) line += " --- |";
  return line;
}
void uses_header() {
  for (const char* name : use_names) fmt::print(" {} |", name);
}
void print_uses(const simulated& s) {
  for (const double ns : s.spent_ns) fmt::print(" {} |", percent(ns / s.alive_ns));
}

// ---- the sets

void speedup() {
  json += "\n \"speedup\": [";
  bool first = true;
  for (const simulated_job& job : jobs(true)) {
    fmt::print("\n### {} ({}), work {:.2f} s, span {:.1f} µs, {} forks on the longest path\n\n", job.name, job.size,
               job.work_ns / 1e9, job.span_ns / 1e3, job.forks_on_path);
    fmt::print(
        "| P | time | speed-up | of ideal | bound, at least | commits | thefts: in the cache, node, package, beyond | "
        "lost |");
    uses_header();
    fmt::print("\n|{}\n", columns(8 + uses));
    json += fmt::format("{}\n  {{\"job\": \"{}\", \"points\": [", std::exchange(first, false) ? "" : ",", job.name);
    double alone = 0, needed = 0;
    for (unsigned p = 1; p <= most_workers(); p *= 2) {
      const setting s{.workers = p};
      const outcome o = run(job, s);
      const simulated& m = o.machine;
      if (p == 1) alone = m.ns;
      const double d = path_ns(job, s.heartbeat), bound = alone / p + d;
      if (p > 1) needed = std::max(needed, (m.ns - alone / p) / d);
      fmt::print("| {} | {:.3f} ms | {:.1f} | {} % | {:.1f} | {} | {}, {}, {}, {} | {} |", p, m.ns / 1e6, alone / m.ns,
                 percent(alone / m.ns / p), alone / bound, o.statistics.commits, m.thefts[1], m.thefts[2], m.thefts[3],
                 m.thefts[4], o.statistics.lost_steals);
      print_uses(m);
      fmt::print("\n");
      std::fflush(stdout);
      json += fmt::format("{}\n    {{\"P\": {}, \"speedup\": {:.2f}, \"bound\": {:.2f}}}", p == 1 ? "" : ",", p,
                          alone / m.ns, alone / bound);
    }
    fmt::print("\nT <= W/P + c D holds for all P with c = {:.2f} (D = {:.0f} µs).\n", needed,
               path_ns(job, microseconds(50)) / 1e3);
    json += "]}";
  }
  json += "],";
}

struct named_policy {
  const char* name;
  victim_policy policy;
};
constexpr std::uint32_t all = ~0u;
const std::vector<named_policy> policies{
    {"near first, all, in a fixed order", {victim_policy::order::fixed, all}},
    {"near first, all of a distance, from a random one on", {victim_policy::order::near_first, all}},
    {"near first, at most 8 of a distance", {victim_policy::order::near_first, 8}},
    {"near first, at most 4 of a distance", {victim_policy::order::near_first, 4}},
    {"near first, at most 2 of a distance", {victim_policy::order::near_first, 2}},
    {"near first, 1 of a distance", {victim_policy::order::near_first, 1}},
    {"any, 1 a round", {victim_policy::order::uniform, 1}},
    {"any, 4 a round", {victim_policy::order::uniform, 4}},
};

void victims() {
  fmt::print("\n### Victims\n\n| job | workers | victims | speed-up | thefts: in the cache, node, package, beyond |");
  uses_header();
  fmt::print("\n|{}\n", columns(5 + uses));
  json += "\n \"policies\": [";
  bool first = true;
  for (const trial& t : trials())
    for (const named_policy& n : policies) {
      const simulated m = run(t.job, {.workers = t.workers, .victims = n.policy}).machine;
      fmt::print("| {} | {} | {} | {:.0f} | {}, {}, {}, {} |", t.job.name, t.workers, n.name, t.job.work_ns / m.ns,
                 m.thefts[1], m.thefts[2], m.thefts[3], m.thefts[4]);
      print_uses(m);
      fmt::print("\n");
      std::fflush(stdout);
      json += fmt::format("{}\n  {{\"job\": \"{}\", \"P\": {}, \"policy\": \"{}\", \"speedup\": {:.1f}}}",
                          std::exchange(first, false) ? "" : ",", t.job.name, t.workers, n.name, t.job.work_ns / m.ns);
    }
  json += "],";
}

void heartbeats() {
  fmt::print(
      "\n### Heartbeats\n\n| job | heartbeat | 1 worker, beside its work | workers | speed-up | commits |\n| --- | --- "
      "| --- | --- | --- | --- |\n");
  json += "\n \"heartbeats\": [";
  bool first = true;
  for (const trial& t : trials())
    for (const unsigned us : {10u, 20u, 50u, 100u, 200u, 500u, 1000u}) {
      const double alone = run(t.job, {.heartbeat = microseconds(us)}).machine.ns;
      const outcome o = run(t.job, {.workers = t.workers, .heartbeat = microseconds(us)});
      fmt::print("| {} | {} µs | {:.3f} x | {} | {:.0f} | {} |\n", t.job.name, us, alone / t.job.work_ns, t.workers,
                 t.job.work_ns / o.machine.ns, o.statistics.commits);
      std::fflush(stdout);
      json +=
          fmt::format("{}\n  {{\"job\": \"{}\", \"P\": {}, \"us\": {}, \"speedup\": {:.1f}}}",
                      std::exchange(first, false) ? "" : ",", t.job.name, t.workers, us, t.job.work_ns / o.machine.ns);
    }
  json += "],";
}

void faults() {
  const unsigned p = quick ? 8 : 256;
  const simulated_job job = fib_job(quick ? 24 : 34);
  constexpr double none = 1e-300;  // with the injector on, which makes workers look at the clock at each safe point
  const outcome base = run(job, {.workers = p, .soft_faults = none});
  fmt::print(
      "\n### Faults: fib({}) by {} workers\n\n| soft f | hard f | soft faults | workers lost | robbed | time, beside "
      "none | P_A | bound |\n"
      "| --- | --- | --- | --- | --- | --- | --- | --- |\n",
      job.size, p);
  struct rates {
    double soft, hard;
  };
  for (const rates f : {rates{1e-6, 0}, rates{1e-5, 0}, rates{1e-4, 0}, rates{3e-4, 0}, rates{0, 1e-6}, rates{0, 1e-5},
                        rates{0, 3e-5}, rates{1e-4, 1e-5}}) {
    const outcome o = run(job, {.workers = p, .soft_faults = std::max(f.soft, none), .hard_faults = f.hard});
    if (!o.finished) {
      fmt::print("| {:g} | {:g} | {} | all | | | | |\n", f.soft, f.hard, o.statistics.soft_faults);
      continue;
    }
    const double alive = o.machine.alive_ns / o.machine.ns;
    const double cf = static_cast<double>(base.statistics.longest_capsule) * (f.soft + f.hard);
    const double tries =
        cf < 1 ? std::max(1.0, std::ceil(std::log(static_cast<double>(base.statistics.accesses)) / std::log(1 / cf)))
               : 0;
    const double w = base.machine.alive_ns / (1 - std::min(cf, 0.99));
    const double bound = (w + path_ns(job, microseconds(50)) * p * tries) / alive;
    fmt::print("| {:g} | {:g} | {} | {} | {} | {:.3f} x | {:.1f} | {} |\n", f.soft, f.hard, o.statistics.soft_faults,
               o.statistics.hard_faults, o.statistics.robberies, o.machine.ns / base.machine.ns, alive,
               tries == 0 ? "- (C f > 1)" : fmt::format("{:.2f} x", bound / base.machine.ns));
    std::fflush(stdout);
  }
  fmt::print("\nC = {} accesses in the longest capsule, {} in all.\n", base.statistics.longest_capsule,
             base.statistics.accesses);
}

void media() {
  const unsigned p = quick ? 8 : 512;
  fmt::print(
      "\n### Media: {} workers\n\n| medium | a line flushed, a fence | fib | sort | tree |\n| --- | --- | --- | --- | "
      "--- |\n",
      p);
  struct kind {
    const char* name;
    double flush_line, fence;
    bool reads;  // lines come from the medium
    double read;
  };
  const costs before = here;
  for (const kind k :
       {kind{"nothing is flushed (eADR)", 0, 8, false, 0},
        kind{"DRAM, as measured", before.flush_line, before.fence, false, 0}, kind{"Optane DIMM", 28, 62, true, 305},
        kind{"memory on CXL, near", before.flush_line, 250, true, 250},
        kind{"memory on CXL, far", before.flush_line, 400, true, 400}}) {
    here = before;
    here.flush_line = k.flush_line;
    here.fence = k.fence;
    if (k.reads)
      for (std::size_t d = 1; d < distances; ++d) here.transfer[d] = std::max(here.transfer[d], k.read);
    fmt::print("| {} | {:g} ns, {:g} ns |", k.name, k.flush_line, k.fence);
    for (const simulated_job& job : jobs(false))
      fmt::print(" {:.0f} |", job.work_ns / run(job, {.workers = p}).machine.ns);
    fmt::print("\n");
    std::fflush(stdout);
  }
  here = before;
}

const std::map<std::string, std::function<void()>> sets{
    {"speedup", speedup}, {"victims", victims}, {"heartbeats", heartbeats}, {"faults", faults}, {"media", media}};

// ---- what is asked for

double& cost_named(costs& c, const std::string& name) {
  const std::map<std::string, double*> all_costs{{"self", &c.transfer[0]},
                                                 {"cache", &c.transfer[1]},
                                                 {"node", &c.transfer[2]},
                                                 {"package", &c.transfer[3]},
                                                 {"machine", &c.transfer[4]},
                                                 {"locked", &c.locked},
                                                 {"flush_line", &c.flush_line},
                                                 {"fence", &c.fence},
                                                 {"empty_fence", &c.empty_fence},
                                                 {"clock", &c.clock},
                                                 {"record", &c.record},
                                                 {"pause", &c.pause},
                                                 {"yield", &c.yield},
                                                 {"nap", &c.nap},
                                                 {"hot_line", &c.hot_line}};
  const auto found = all_costs.find(name);
  if (found == all_costs.end())
    throw std::invalid_argument(fmt::format("there is no cost \"{}\"; they are those that --measure prints", name));
  return *found->second;
}

void print_costs(costs c) {
  for (const char* name : {"self", "cache", "node", "package", "machine", "locked", "flush_line", "fence",
                           "empty_fence", "clock", "record", "pause", "yield", "nap", "hot_line"})
    fmt::print("{}={:.1f}\n", name, cost_named(c, name));
}

simulated_job job_named(const std::string& name, unsigned size, double fork_ns) {
  if (name == "fib") return fib_job(size, fork_ns);
  if (name == "sort") return sort_job(size);
  if (name == "tree") return tree_job(size);
  throw std::invalid_argument(fmt::format("there is no job \"{}\"; there are fib, sort and tree", name));
}

void one(const simulated_job& job, const std::string& on, const setting& s) {
  simulated_machine& m = machine(here, on);
  const outcome o = simulate(m, job, s);
  wrong = o.finished && !o.right;
  fmt::print(
      "{} ({}), work {:.3f} s, longest path {:.0f} µs, {} workers: {:.6f} s, speed-up {:.3f}; {} commits, {} thefts, {} lost, {} and {} joins, "
      "{} taken back, {} lines in {} fences\n",
      job.name, job.size, job.work_ns / 1e9, path_ns(job, s.heartbeat) / 1e3, s.workers, o.machine.ns / 1e9, job.work_ns / o.machine.ns,
      o.statistics.commits, o.statistics.steals, o.statistics.lost_steals, o.statistics.joins_first,
      o.statistics.joins_second, o.statistics.taken_back, o.statistics.flushed.lines, o.statistics.flushed.fences);
  for (std::size_t u = 0; u < uses; ++u)
    fmt::print("{} {} %  ", use_names[u], percent(o.machine.spent_ns[u] / o.machine.alive_ns));
  fmt::print("\n");
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("The scheduler in virtual time, on machines that are not there");
  std::vector<std::string> chosen, changed;
  std::string json_file, job, on = largest;
  unsigned size = 30, heartbeat_us = 50;
  double fork_ns = 4;
  bool measure = false;
  setting s;
  app.add_flag("--quick", quick, "Small machines and jobs: to see that it works");
  app.add_option("--set", chosen, "Only these: speedup, victims, heartbeats, faults, media")
      ->check(CLI::IsMember({"speedup", "victims", "heartbeats", "faults", "media"}));
  app.add_option("--json", json_file, "Where to write what bench/plot_simulate draws");
  app.add_option("--cost", changed, "NAME=NS: a cost that is another");
  app.add_flag("--measure", measure, "Print what the costs are here, as far as this machine can tell; no simulation");
  app.add_option("--one", job, "One run: of fib, sort or tree");
  app.add_option("--size", size, "… n of fib, log2 of the elements, depth of the tree");
  app.add_option("--workers", s.workers, "… by so many workers")->check(CLI::Range(1u, ppmm::pool::most_workers));
  app.add_option("--machine", on, "… on this machine, as hwloc describes them");
  app.add_option("--heartbeat", heartbeat_us, "… µs between commits");
  app.add_option("--soft", s.soft_faults, "… probability of a soft fault at an access");
  app.add_option("--hard", s.hard_faults, "… of a hard one");
  app.add_option("--fork-ns", fork_ns, "… of fib: what a fork takes");
  app.add_option("--seed", s.seed, "… other random numbers");
  CLI11_PARSE(app, argc, argv);
  try {
    for (const std::string& c : changed) {
      const std::size_t equals = c.find('=');
      if (equals == std::string::npos) throw std::invalid_argument(fmt::format("\"{}\" is no NAME=NS", c));
      cost_named(here, c.substr(0, equals)) = std::stod(c.substr(equals + 1));
    }
    if (measure) {
      print_costs(measure_costs());
      return 0;
    }
    s.heartbeat = microseconds(heartbeat_us);
    if (!job.empty()) {
      one(job_named(job, size, fork_ns), on, s);
      return wrong ? 1 : 0;
    }
    for (const char* name : {"speedup", "victims", "heartbeats", "faults", "media"})
      if (chosen.empty() || std::ranges::find(chosen, name) != chosen.end()) sets.at(name)();
    if (json.back() == ',') json.pop_back();
    if (!json_file.empty() && !(std::ofstream(json_file) << json << "}\n"))
      throw std::runtime_error("cannot write " + json_file);
    return wrong ? 1 : 0;
  } catch (const std::exception& e) {
    fmt::print(stderr, "simulate: {}\n", e.what());
    return 2;
  }
}
