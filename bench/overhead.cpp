/// What durability costs where nothing fails: each computation with commits, beside the same with commits off (in
/// turns: `x_commits_off`) and beside serial code. Sorting also beside the standard library's.
#include "computations.hpp"
#include "kernels.hpp"
#include "measure.hpp"

#include <benchmark/benchmark.h>

#include <string>
#include <vector>

namespace {

void settings(benchmark::internal::Benchmark* b) { b->UseManualTime()->Iterations(9)->Unit(benchmark::kMillisecond); }

void in_ppmm(benchmark::State& state, bench::computation c, ppmm::durability level) {
  bench::data_bench b(level);
  const auto n = static_cast<unsigned>(state.range(0));
  std::vector<double> times_off, times_serial;
  b.run(c, bench::workers(n));  // touches what is used
  for (auto _ : state) {
    const double off = b.run(c, bench::without_commits(n)), serial = b.run_serial(c), ns = b.run(c, bench::workers(n));
    times_off.push_back(ns / off);
    times_serial.push_back(ns / serial);
    state.SetIterationTime(ns / 1e9);
  }
  state.counters["x_commits_off"] = bench::median(times_off);
  state.counters["x_serial"] = bench::median(times_serial);
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
