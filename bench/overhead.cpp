/// What durability costs where nothing fails: each computation with commits, beside the same with commits off (in
/// turns: `x_commits_off`) and beside serial code, and the same with a profile taken beside it (`x_profiled`); one also on a
/// disk, by page. Sorting also beside the standard library's.
#include "computations.hpp"
#include "kernels.hpp"
#include "measure.hpp"

#include <benchmark/benchmark.h>

#include <chrono>
#include <string>
#include <vector>

namespace {

void settings(benchmark::internal::Benchmark* b) { b->UseManualTime()->Iterations(9)->Unit(benchmark::kMillisecond); }

void in_ppmm(benchmark::State& state, bench::computation c, ppmm::durability level) {
  bench::data_bench b(level);
  const auto n = static_cast<unsigned>(state.range(0));
  std::vector<double> times_off, times_serial, times_profiled;
  ppmm::run_profile profile;
  ppmm::run_options profiled = bench::workers(n);
  profiled.profile = &profile;
  b.run(c, bench::workers(n));  // touches what is used
  for (auto _ : state) {
    times_profiled.push_back(b.run(c, profiled));
    const double off = b.run(c, bench::without_commits(n)), serial = b.run_serial(c), ns = b.run(c, bench::workers(n));
    times_profiled.back() /= ns;
    times_off.push_back(ns / off);
    times_serial.push_back(ns / serial);
    state.SetIterationTime(ns / 1e9);
  }
  state.counters["x_commits_off"] = bench::median(times_off);
  state.counters["x_serial"] = bench::median(times_serial);
  state.counters["x_profiled"] = bench::median(times_profiled);
}

/// On a disk a job must be long enough for some heartbeats. A sync waits, so what counts is the worker's processor time and
/// what it waited for syncs. Where others compute on the machine that says too much: heartbeats go by the time on the wall, and
/// so does `in_syncs`, the share that was waited. Beside it a heartbeat that does not adapt.
void on_disk(benchmark::State& state) {
  constexpr int size = 44;
  try {
    bench::workbench b(ppmm::durability::power);
    ppmm::run_statistics statistics;
    const auto once = [&](const ppmm::run_options& o) {
      const bench::measured m = b.compute(ppmm::task<bench::fib>(size), o);
      statistics = m.statistics;
      return m.ns + static_cast<double>(statistics.flushed.nanoseconds);
    };
    once(bench::without_commits(1));
    ppmm::run_options fixed = bench::workers(1);
    fixed.heartbeat = std::chrono::milliseconds(50);
    std::vector<double> ratios, ratios_fixed, heartbeats, shares;
    for (auto _ : state) {
      const double off = once(bench::without_commits(1)), with = once(bench::workers(1));
      heartbeats.push_back(static_cast<double>(statistics.heartbeat_ns) / 1e6);
      shares.push_back(static_cast<double>(statistics.flushed.nanoseconds) / 1e9 / statistics.seconds);
      ratios.push_back(with / off);
      ratios_fixed.push_back(once(fixed) / off);
      state.SetIterationTime(with / 1e9);
    }
    state.counters["x_commits_off"] = bench::median(ratios);
    state.counters["x_at_50_ms"] = bench::median(ratios_fixed);
    state.counters["heartbeat_ms"] = bench::median(heartbeats);
    state.counters["in_syncs"] = bench::median(shares);
  } catch (const ppmm::durability_refused& e) {
    state.SkipWithError(e.what());
  }
}

void sorting_with(benchmark::State& state, void (*sort)(std::span<std::uint64_t>)) {
  bench::data_bench b(ppmm::durability::process);
  const auto n = static_cast<int>(state.range(0));
  bench::with_tbb_threads(n, [&] {
    for (auto _ : state) {
      bench::scatter(b.numbers());
      state.SetIterationTime(bench::time_ns(static_cast<unsigned>(n), [&] { sort(b.numbers()); }) / 1e9);
    }
  });
}

BENCHMARK(on_disk)->Name("power/fib")->UseManualTime()->Iterations(7)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(sorting_with, std_sort, bench::sort_std)->Arg(1)->Apply(settings);
BENCHMARK_CAPTURE(sorting_with, std_stable_sort, bench::sort_stable_std)->Arg(1)->Apply(settings);
BENCHMARK_CAPTURE(sorting_with, std_par, bench::sort_par)->Arg(1)->Arg(2)->Apply(settings);

}  // namespace

int main(int argc, char** argv) {
  for (const bench::computation c : bench::all_computations)
    for (const auto level : {ppmm::durability::emulated, ppmm::durability::process}) {
      const std::string name = std::string(level == ppmm::durability::emulated ? "emulated/" : "process/") + name_of(c);
      benchmark::RegisterBenchmark(name.c_str(), in_ppmm, c, level)->Arg(1)->Arg(2)->Apply(settings);
    }
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
}
