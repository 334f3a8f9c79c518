/// What the protocol's steps cost: commits, steals, joins, beside one line written back and fenced in the same pool.
#include "protocol_runs.hpp"
#include "workbench.hpp"

#include <benchmark/benchmark.h>

namespace {

void persist_line(benchmark::State& state, bool same_line) {
  bench::workbench w(ppmm::durability::emulated);
  for (auto _ : state) state.SetIterationTime(bench::persist_line_ns(w, same_line) / 1e9);
}

/// Commits right after each other: what they write is still in the cache.
void commit(benchmark::State& state, ppmm::durability level) {
  bench::workbench w(level);
  bench::commit_cost c;
  for (auto _ : state) {
    c = bench::measure_commits(w, static_cast<unsigned>(state.range(0)), 2000);
    state.SetIterationTime(c.ns / 1e9);
  }
  state.counters["fences"] = c.fences;
  state.counters["lines"] = c.lines;
}

/// The commits of fib at its heartbeat, and how much of the time they take.
void commit_in_fib(benchmark::State& state, ppmm::durability level) {
  bench::workbench w(level);
  bench::heartbeat_cost h;
  for (auto _ : state) {
    h = bench::measure_heartbeats(w, 101);
    state.SetIterationTime(h.commit_ns / 1e9);
  }
  state.counters["lines"] = h.lines;
  state.counters["us_between"] = h.us_between;
  state.counters["percent_of_time"] = h.percent_of_time;
}

void steal_and_join(benchmark::State& state) {
  bench::workbench w(ppmm::durability::emulated);
  bench::steal_latencies l;
  for (auto _ : state) {
    l = bench::measure_steals(w, 1000);
    state.SetIterationTime(l.to_thief_ns / 1e9);
  }
  state.counters["join_right_last_ns"] = l.join_right_ns;
  state.counters["join_left_last_ns"] = l.join_left_ns;
  state.counters["fences_a_round"] = l.fences_a_round;
  state.counters["lost_steals"] = static_cast<double>(l.statistics.lost_steals);
}

void count_fences(benchmark::State& state) {
  bench::workbench w(ppmm::durability::emulated);
  bench::fence_counts f;
  for (auto _ : state) f = bench::count_fences(w);
  state.counters["steal"] = f.steal;
  state.counters["join_first"] = f.join_first;
  state.counters["join_second"] = f.join_second;
}

BENCHMARK_CAPTURE(persist_line, another_line_each_time, false)->UseManualTime()->Iterations(9);
BENCHMARK_CAPTURE(persist_line, the_same_line, true)->UseManualTime()->Iterations(9);
BENCHMARK_CAPTURE(commit, emulated, ppmm::durability::emulated)->Arg(0)->Arg(1)->Arg(8)->UseManualTime()->Iterations(9);
BENCHMARK_CAPTURE(commit, process, ppmm::durability::process)->Arg(0)->Arg(1)->Arg(8)->UseManualTime()->Iterations(9);
BENCHMARK_CAPTURE(commit_in_fib, emulated, ppmm::durability::emulated)->UseManualTime()->Iterations(3);
BENCHMARK_CAPTURE(commit_in_fib, process, ppmm::durability::process)->UseManualTime()->Iterations(3);
BENCHMARK(steal_and_join)->UseManualTime()->Iterations(3);
BENCHMARK(count_fences)->Iterations(1);

}  // namespace

BENCHMARK_MAIN();
