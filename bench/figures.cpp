/// figures [--quick] [--json FILE]
///
/// The figures that the design holds itself to, as ratios of things measured in turns in one run: a Markdown table on
/// standard output. Exit status 1 if one is not held (never with --quick, which is for working on this program).
#include "arguments.hpp"
#include "computations.hpp"
#include "crash.hpp"
#include "figure_table.hpp"
#include "kernels.hpp"
#include "measure.hpp"
#include "protocol_runs.hpp"
#include "workbench.hpp"

#include <fmt/format.h>

#include <cstdio>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace {

using namespace bench;

bool quick = false;

figure_table figures;

void add(std::string what, std::string measured, std::string to_hold = "", std::optional<bool> held = {}) {
  figures.add(std::move(what), std::move(measured), std::move(to_hold), held);
}

void forks() {
  const int n = quick ? 26 : 32, tbb_n = quick ? 20 : 25;
  workbench emulated(ppmm::durability::emulated), process(ppmm::durability::process);
  const auto job = [n](workbench& w, const ppmm::run_options& o) {
    return [&w, o, n] { return w.compute(ppmm::task<fib>(n), o).ns / forks_in_fib(n); };
  };
  const auto plain = [](int size, unsigned threads, long (*f)(int)) {
    return [=] { return time_ns(threads, [&] { keep(f(size)); }) / forks_in_fib(size); };
  };
  const auto tbb = [&](unsigned threads) {
    return [once = plain(tbb_n, threads, fib_tbb), threads] {
      double ns = 0;
      with_tbb_threads(static_cast<int>(threads), [&] { ns = once(); });
      return ns;
    };
  };
  turns t;
  const auto serial = t.add(plain(n, 1, fib_calls)), optimised = t.add(plain(n, 1, fib_optimised));
  const auto with = t.add(job(emulated, workers(1))), without = t.add(job(emulated, without_commits(1)));
  const auto in_process = t.add(job(process, workers(1))), onetbb = t.add(tbb(1));
  with_tbb_threads(2, [] {});
  {
    const on_one_core alone(true);
    t.take(quick ? 3 : 41);
  }

  add("a serial call of fib (two calls, one addition)", fmt::format("{:.2f} ns", t.median_of(serial)));
  add("the same as g++ -O3 inlines it",
      fmt::format("{:.2f} ns, {:.2f} × a serial call", t.median_of(optimised), t.ratio(optimised, serial)));
  const double fork = t.ratio(with, serial), commits = t.ratio(with, without);
  add("a fork, `emulated`, 1 worker", fmt::format("{:.2f} ns, {:.2f} × a serial call", t.median_of(with), fork),
      "≤ 2 ×", fork <= 2);
  add("… beside commits off", fmt::format("{:.3f} × ({:.2f} ns)", commits, t.median_of(without)), "< 1.05 ×",
      commits < 1.05);
  add("… beside `process`", fmt::format("{:.3f} × ({:.2f} ns)", t.ratio(with, in_process), t.median_of(in_process)));
  add("… beside oneTBB's parallel_invoke, 1 thread",
      fmt::format("1/{:.0f} ({:.0f} ns)", t.ratio(onetbb, with), t.median_of(onetbb)));

  turns two;
  const auto one_worker =
      two.add([&] { return emulated.compute(ppmm::task<fib>(n), workers(1), CLOCK_MONOTONIC).ns / forks_in_fib(n); });
  const auto two_workers = two.add(job(emulated, workers(2)));
  const auto two_threads = two.add(tbb(2));
  two.take(quick ? 3 : 21);
  add("fib, `emulated`: 2 workers beside 1", fmt::format("{:.2f} × as fast", two.ratio(one_worker, two_workers)));
  add("fib with 2: PPMM beside oneTBB", fmt::format("{:.1f} × as fast", two.ratio(two_threads, two_workers)));
}

void overhead() {
  data_bench emulated(ppmm::durability::emulated), process(ppmm::durability::process);
  for (const computation c : all_computations) {
    if (c == computation::fib) continue;  // above
    turns t;
    const auto serial = t.add([&] { return emulated.run_serial(c); });
    const auto with = t.add([&] { return emulated.run(c, workers(1)); });
    const auto without = t.add([&] { return emulated.run(c, without_commits(1)); });
    const auto in_process = t.add([&] { return process.run(c, workers(1)); });
    const auto process_without = t.add([&] { return process.run(c, without_commits(1)); });  // in the same memory
    const on_one_core alone(true);
    t.take(quick ? 2 : c == computation::sort ? 9 : 31);
    const bool compute_bound = c == computation::queens;
    const double commits = t.ratio(with, without);
    add(fmt::format("{}: `emulated` beside commits off", name_of(c)), fmt::format("{:.3f} ×", commits),
        compute_bound ? "< 1.05 ×" : "", compute_bound ? std::optional(commits < 1.05) : std::nullopt);
    add(fmt::format("{}: `process` beside commits off", name_of(c)),
        fmt::format("{:.3f} ×", t.ratio(in_process, process_without)));
    add(fmt::format("{}: `emulated` beside {}", name_of(c), serial_name_of(c)),
        fmt::format("{:.2f} ×", t.ratio(with, serial)));
  }
}

void protocol() {
  workbench w(ppmm::durability::emulated);
  const unsigned commits = quick ? 200 : 2000;
  std::vector<commit_cost> costs(3);
  turns t;
  const auto line = t.add([&] { return persist_line_ns(w, false); });
  std::vector<std::size_t> by_frames;
  const std::vector<unsigned> frames{0, 1, 8};
  for (std::size_t i = 0; i < frames.size(); ++i)
    by_frames.push_back(t.add([&w, &costs, &frames, commits, i] {
      costs[i] = measure_commits(w, frames[i], commits);
      return costs[i].ns;
    }));
  {
    const on_one_core alone(true);
    t.take(quick ? 2 : 21);
  }
  add("one line written back and fenced", fmt::format("{:.0f} ns", t.median_of(line)));
  for (std::size_t i = 0; i < frames.size(); ++i)
    add(fmt::format("a commit after {} new frames", frames[i]),
        fmt::format("{:g} fences, {:.1f} lines, {:.0f} ns, {:.1f} × one line", costs[i].fences, costs[i].lines,
                    t.median_of(by_frames[i]), t.ratio(by_frames[i], line)),
        "2 fences", costs[i].fences == 2);

  const heartbeat_cost h = measure_heartbeats(w, quick ? 9 : 301);
  add("a commit of fib, at its heartbeat",
      fmt::format("{:.0f} lines, {:.0f} ns, {:.1f} % of the time", h.lines, h.commit_ns, h.percent_of_time));

  const fence_counts f = count_fences(w);
  add("a steal", fmt::format("{:g} fences", f.steal), "3 fences", f.steal == 3);
  add("a two-sided join: who arrives first, second", fmt::format("{:g}, {:g} fences", f.join_first, f.join_second),
      "at most 4 each", f.join_first <= 4 && f.join_second <= 4);
  std::vector<double> thief, right, left;
  for (int i = 0; i < (quick ? 1 : 9); ++i) {
    const steal_latencies l = measure_steals(w, quick ? 100 : 1000);
    thief.push_back(l.to_thief_ns);
    right.push_back(l.join_right_ns);
    left.push_back(l.join_left_ns);
  }
  add("from before the exposing commit to the stolen child's first instruction",
      fmt::format("{:.1f} µs", median(thief) / 1e3));
  add("a join: from the later child's end to the continuation (thief, victim last)",
      fmt::format("{:.1f}, {:.1f} µs", median(right) / 1e3, median(left) / 1e3));
}

void recovery() {
  const std::vector<std::size_t> mib =
      quick ? std::vector<std::size_t>{64, 16384} : std::vector<std::size_t>{64, 1024, 16384};
  const int crashes = quick ? 2 : 25;
  std::vector<std::vector<double>> open(mib.size()), first_work(mib.size());
  std::vector<double> lost;
  for (const unsigned n : {1u, 2u}) {
    for (std::size_t i = 0; i < mib.size(); ++i) {
      crash_site site(mib[i] << 20, n);
      for (int crash = 0; crash < crashes; ++crash) {
        const crash_figures c = site.crash_and_resume();
        open[i].push_back(c.open_ms);
        first_work[i].push_back(c.to_first_work_ms);
        lost.push_back(c.worst_lost_ms / c.heartbeat_ms);
      }
    }
  }
  for (std::size_t i = 0; i < mib.size(); ++i) {
    const double ms = median(first_work[i]);
    add(fmt::format("restart to first useful work, pool of {} MiB", mib[i]),
        fmt::format("{:.2f} ms, beside opening it: {:.1f} ms", ms, median(open[i])), "< 5 ms beside opening", ms < 5);
  }
  const double worst = quantile(lost, 1);
  add(fmt::format("work lost by a worker, {} crashes: median, worst", lost.size()),
      fmt::format("{:.2f}, {:.2f} heartbeats", median(lost), worst), "< 2 heartbeats", worst < 2);
}

}  // namespace

int main(int argc, char** argv) {
  if (is_child(argc, argv)) return child(argv);
  std::string json;
  if (!read_arguments(argc, argv, "figures [--quick] [--json FILE]", quick, {{"--json", &json}})) return 2;
  forks();
  overhead();
  protocol();
  recovery();
  figures.print();
  if (!json.empty()) figures.write_json(json);
  return figures.all_held() || quick ? 0 : 1;
}
