/// What the benchmarks compute, in each of the ways that are compared.
#pragma once

#include <ppmm/ppmm.hpp>

#include <tbb/global_control.h>
#include <tbb/task_arena.h>

#include <cstddef>
#include <cstdint>
#include <span>

namespace bench {

// ---- fib without a cut-off: nothing but calls, or forks ------------------------------------------------------------

long fib_calls(int n);      ///< each call is a call: the compiler may not make loops of them
long fib_optimised(int n);  ///< what g++ -O3 makes of the same source: calls inlined some levels deep
long fib_tbb(int n);        ///< tbb::parallel_invoke at each fork
ppmm::step<long> fib(ppmm::context& cx, int n);

/// Forks in fib(n): one at each call with n > 1.
constexpr double forks_in_fib(int n) {
  double forks = 0, before = 0;  // of n - 1 and of n - 2
  for (int i = 2; i <= n; ++i) {
    const double sum = 1 + forks + before;
    before = forks;
    forks = sum;
  }
  return forks;
}

// ---- queens: irregular, a few dozen instructions a fork
// --------------------------------------------------------------

long queens_calls(int n);
ppmm::step<long> queens(ppmm::context& cx, int n);

// ---- memory-bound: some instructions a cache line
// --------------------------------------------------------------------

void scale_serial(std::span<const std::uint64_t> from, std::span<std::uint64_t> to);
ppmm::step<void> scale(ppmm::context& cx, ppmm::in<std::uint64_t> from, ppmm::out<std::uint64_t> to);

std::uint64_t sum_serial(std::span<const std::uint64_t> from);
ppmm::step<std::uint64_t> sum(ppmm::context& cx, ppmm::in<std::uint64_t> from);

/// Numbers in no order, always the same.
void scatter(std::span<std::uint64_t> numbers);

void sort_std(std::span<std::uint64_t> numbers);         ///< std::sort
void sort_stable_std(std::span<std::uint64_t> numbers);  ///< std::stable_sort, with memory of its own
void sort_par(std::span<std::uint64_t> numbers);         ///< std::sort(std::execution::par, …), on oneTBB
ppmm::step<void> sort(ppmm::context& cx, ppmm::out<std::uint64_t> numbers, ppmm::out<std::uint64_t> scratch);

/// Runs `body` with oneTBB held to so many threads, the calling one among them.
template <class Body>
void with_tbb_threads(int threads, Body body) {
  const tbb::global_control limit(tbb::global_control::max_allowed_parallelism, static_cast<std::size_t>(threads));
  tbb::task_arena(threads).execute(body);
}

}  // namespace bench
