/// From a SIGKILL to useful work, by size of the pool. The time that is reported is that from the call of run to the
/// first task; opening the pool is beside it.
#include "crash.hpp"
#include "measure.hpp"

#include <benchmark/benchmark.h>

#include <algorithm>
#include <vector>

namespace {

void restart(benchmark::State& state) {
  bench::crash_site site(static_cast<std::size_t>(state.range(0)) << 20, static_cast<unsigned>(state.range(1)));
  std::vector<double> open, first_work, lost;
  for (auto _ : state) {
    const bench::crash_figures f = site.crash_and_resume();
    state.SetIterationTime(f.to_first_work_ms / 1e3);
    open.push_back(f.open_ms);
    first_work.push_back(f.to_first_work_ms);
    lost.push_back(f.worst_lost_ms / f.heartbeat_ms);
  }
  state.counters["open_ms"] = bench::median(open);
  state.counters["to_first_work_ms"] = bench::median(first_work);
  state.counters["lost_heartbeats"] = bench::median(lost);
  state.counters["lost_heartbeats_max"] = bench::quantile(lost, 1);
}
BENCHMARK(restart)
    ->ArgNames({"MiB", "workers"})
    ->Args({64, 1})
    ->Args({1024, 1})
    ->Args({16384, 1})
    ->Args({64, 2})
    ->Args({16384, 2})
    ->UseManualTime()
    ->Iterations(15)
    ->Unit(benchmark::kMillisecond);

}  // namespace

int main(int argc, char** argv) {
  if (bench::is_child(argc, argv)) return bench::child(argv);
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
}
