/// What a fork costs: fib without a cut-off, in PPMM, beside serial calls and oneTBB. Each is measured in turns with
/// the serial call, so `x_serial` holds also where the machine is disturbed.
#include "kernels.hpp"
#include "measure.hpp"
#include "workbench.hpp"

#include <benchmark/benchmark.h>

#include <functional>
#include <vector>

namespace {

constexpr int n = 32, serial_n = 32, tbb_n = 24;  // some 10 ms each

double serial_ns() {
  return bench::time_ns(1, [] { bench::keep(bench::fib_calls(serial_n)); }) / bench::forks_in_fib(serial_n);
}

/// `once` gives nanoseconds a fork.
void report(benchmark::State& state, const std::function<double()>& once) {
  std::vector<double> ns, times_serial;
  for (auto _ : state) {
    const double serial = serial_ns(), fork = once();
    ns.push_back(fork);
    times_serial.push_back(fork / serial);
    state.SetIterationTime(fork / 1e9);
  }
  state.counters["ns_a_fork"] = bench::median(ns);
  state.counters["x_serial"] = bench::median(times_serial);
}

void serial_calls(benchmark::State& state) { report(state, serial_ns); }

void serial_optimised(benchmark::State& state) {
  report(state, [] {
    return bench::time_ns(1, [] { bench::keep(bench::fib_optimised(serial_n)); }) / bench::forks_in_fib(serial_n);
  });
}

void ppmm_fork(benchmark::State& state, ppmm::durability level, bool commits) {
  bench::workbench w(level);
  const auto threads = static_cast<unsigned>(state.range(0));
  report(state, [&] {
    return w.compute(ppmm::task<bench::fib>(n), bench::workers(threads, commits)).ns / bench::forks_in_fib(n);
  });
}

void onetbb(benchmark::State& state) {
  const auto threads = static_cast<int>(state.range(0));
  bench::with_tbb_threads(threads, [&] {
    report(state, [threads] {
      return bench::time_ns(static_cast<unsigned>(threads), [] { bench::keep(bench::fib_tbb(tbb_n)); }) /
             bench::forks_in_fib(tbb_n);
    });
  });
}

void settings(benchmark::internal::Benchmark* b) { b->UseManualTime()->Iterations(15)->Unit(benchmark::kNanosecond); }

BENCHMARK(serial_calls)->Apply(settings);
BENCHMARK(serial_optimised)->Apply(settings);
BENCHMARK_CAPTURE(ppmm_fork, emulated, ppmm::durability::emulated, true)->Arg(1)->Arg(2)->Apply(settings);
BENCHMARK_CAPTURE(ppmm_fork, process, ppmm::durability::process, true)->Arg(1)->Arg(2)->Apply(settings);
BENCHMARK_CAPTURE(ppmm_fork, commits_off, ppmm::durability::emulated, false)->Arg(1)->Arg(2)->Apply(settings);
BENCHMARK(onetbb)->Arg(1)->Arg(2)->Apply(settings);

}  // namespace

BENCHMARK_MAIN();
