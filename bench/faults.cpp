/// faults [--quick] [--json FILE]
///
/// How much slower a job gets when its workers lose their ephemeral state with probability f at each persistent access
/// (soft faults), beside the model's bound 1/(1 − f·C), and when some of them never come back (hard faults). All as
/// ratios to the same job without a fault, measured in turns in one run. Markdown tables on standard output; the JSON
/// is what bench/plot_faults draws. Exit status 1 if a figure is not held (never with --quick).
#include "arguments.hpp"
#include "kernels.hpp"
#include "measure.hpp"
#include "workbench.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <fstream>
#include <limits>
#include <map>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace {

using namespace bench;

bool quick = false, held = true;

/// With the injector on: it looks at each access, and the worker at the clock at each safe point. A rate of which no
/// fault comes gives what the others are compared with.
constexpr double no_fault = std::numeric_limits<double>::min();

struct point {
  double f = 0, faults = 0, q = 0, slowdown = 0, bound = 0;
};
struct curve {
  std::string name;
  double mean_capsule = 0, longest_capsule = 0;  // persistent accesses
  double capsule_ns = 0;
  std::vector<point> points;
};
std::vector<curve> curves;

struct deaths {
  unsigned workers = 0, died = 0;
  std::size_t runs = 0;
  double slowdown = 0;
};
std::vector<deaths> graveyard;

/// One run a rate and round, each round with another seed.
void soft(const std::string& name, int fib_n, bool every_task, const std::vector<double>& rates) {
  workbench w(ppmm::durability::emulated);
  struct sum {
    double faults = 0, capsules = 0, accesses = 0, longest = 0;
  };
  std::vector<sum> sums(rates.size() + 1);
  std::uint64_t seed = 0;
  const auto job = [&](double rate, sum& s) {
    return [&w, &s, &seed, fib_n, every_task, rate] {
      ppmm::run_options o = workers(1);
      o.commit_every_task = every_task;
      o.soft_fault_rate = rate;
      o.fault_seed = ++seed;
      const measured m = w.compute(ppmm::task<fib>(fib_n), o);
      s.faults += static_cast<double>(m.statistics.soft_faults);
      s.capsules += static_cast<double>(m.statistics.commits);
      s.accesses += static_cast<double>(m.statistics.accesses);
      s.longest = std::max(s.longest, static_cast<double>(m.statistics.longest_capsule));
      return m.ns;
    };
  };
  turns t;
  const std::size_t base = t.add(job(no_fault, sums[0]));
  for (std::size_t i = 0; i < rates.size(); ++i) t.add(job(rates[i], sums[i + 1]));
  const unsigned rounds = quick ? 2 : 31;
  t.take(rounds);

  curve c{
      name, sums[0].accesses / sums[0].capsules, sums[0].longest, t.median_of(base) * rounds / sums[0].capsules, {}};
  for (std::size_t i = 0; i < rates.size(); ++i) {
    const sum& s = sums[i + 1];
    // Each fault is one more try of a capsule. Where each task is one, their number is that without faults.
    const double tries = s.faults + (every_task ? sums[0].capsules : s.capsules);
    const double bound = 1 / (1 - rates[i] * c.longest_capsule);
    c.points.push_back({rates[i], s.faults / rounds, s.faults / tries, t.ratio(base + i + 1, base), bound});
  }
  curves.push_back(std::move(c));
}

/// Runs until each number of deaths was met some times. A run in which all die is no measurement.
void hard(unsigned count) {
  workbench w(ppmm::durability::emulated);
  const int fib_n = quick ? 22 : 27;
  ppmm::run_options o = workers(count);
  o.hard_fault_rate = no_fault;
  const auto accesses = static_cast<double>(w.compute(ppmm::task<fib>(fib_n), o).statistics.accesses);
  std::map<unsigned, std::vector<double>> by_deaths;
  for (unsigned round = 0; round < (quick ? 4u : 80u); ++round) {
    o.hard_fault_rate = no_fault;
    const double undisturbed = w.compute(ppmm::task<fib>(fib_n), o).ns;
    o.hard_fault_rate = 0.7 * count / accesses;
    o.fault_seed = round + 1;
    try {
      const measured m = w.compute(ppmm::task<fib>(fib_n), o);
      by_deaths[static_cast<unsigned>(m.statistics.hard_faults)].push_back(m.ns / undisturbed);
    } catch (const ppmm::workers_lost&) {
      w.pool().drop_job("measured");
    }
  }
  for (const auto& [died, ratios] : by_deaths) graveyard.push_back({count, died, ratios.size(), median(ratios)});
}

void print_tables() {
  for (const curve& c : curves) {
    fmt::print(
        "\n{}: {:.1f} persistent accesses a capsule on average, C = {:.0f} in the longest; {:.2f} µs a capsule\n\n",
        c.name, c.mean_capsule, c.longest_capsule, c.capsule_ns / 1e3);
    fmt::print(
        "| f | faults a run | q, a capsule's probability to fault | time, beside none | 1/(1 − q) | bound 1/(1 − f·C) "
        "| "
        "throughput / (1 − q) | |\n| --- | --- | --- | --- | --- | --- | --- | --- |\n");
    for (const point& p : c.points) {
      const double throughput = 1 / p.slowdown / (1 - p.q);
      const bool good = throughput >= 0.9;
      held = held && good;
      fmt::print("| {:g} | {:.0f} | {:.2g} | {:.3f} × | {:.3f} | {} | {:.2f} | {} |\n", p.f, p.faults, p.q, p.slowdown,
                 1 / (1 - p.q), p.f * c.longest_capsule <= 0.5 ? fmt::format("{:.3f}", p.bound) : "– (f > 1/(2C))",
                 throughput, good ? "held" : "**not held**");
    }
  }
  fmt::print("\n| workers | died in the run | runs | time, beside no fault |\n| --- | --- | --- | --- |\n");
  for (const deaths& d : graveyard) fmt::print("| {} | {} | {} | {:.2f} × |\n", d.workers, d.died, d.runs, d.slowdown);
}

void write_json(const std::string& file) {
  std::ofstream out(file);
  out << "{\"soft\": [";
  for (const curve& c : curves) {
    out << fmt::format("{}\n  {{\"name\": \"{}\", \"C\": {}, \"points\": [", &c == &curves.front() ? "" : ",", c.name,
                       c.longest_capsule);
    for (const point& p : c.points)
      out << fmt::format("{}\n    {{\"f\": {:g}, \"q\": {:g}, \"slowdown\": {:g}}}", &p == &c.points.front() ? "" : ",",
                         p.f, p.q, p.slowdown);
    out << "]}";
  }
  out << "],\n \"hard\": [";
  for (const deaths& d : graveyard)
    out << fmt::format("{}\n  {{\"workers\": {}, \"died\": {}, \"runs\": {}, \"slowdown\": {:g}}}",
                       &d == &graveyard.front() ? "" : ",", d.workers, d.died, d.runs, d.slowdown);
  out << "]}\n";
  if (!out.flush()) throw std::runtime_error("cannot write " + file);
}

}  // namespace

int main(int argc, char** argv) {
  std::string json;
  if (!read_arguments(argc, argv, "faults [--quick] [--json FILE]", quick, {{"--json", &json}})) return 2;
  try {
    soft("each task a capsule", quick ? 14 : 18, true, {1e-6, 1e-5, 1e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1});
    soft("a capsule a heartbeat", quick ? 20 : 25, false, {1e-6, 1e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3});
    for (const unsigned count : {2u, 4u}) hard(count);
    print_tables();
    if (!json.empty()) write_json(json);
    return held || quick ? 0 : 1;
  } catch (const std::exception& e) {
    fmt::print(stderr, "faults: {}\n", e.what());
    return 2;
  }
}
