/// What the benchmarks compute, in each of the ways that are compared.
#pragma once

#include <ppmm/algo/matmul.hpp>
#include <ppmm/algo/multiply_tile.hpp>
#include <ppmm/ppmm.hpp>

#include <tbb/global_control.h>
#include <tbb/task_arena.h>

#include <array>
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

/// The rows filled so far, as what they attack in the next row: a bit a column.
struct board {
  std::uint32_t all;                               // columns of the board
  std::uint32_t columns = 0, left = 0, right = 0;  // attacked straight down and on the two diagonals

  std::uint32_t free() const { return all & ~(columns | left | right); }
  board with(std::uint32_t queen) const {
    return {all, columns | queen, (left | queen) << 1 & all, (right | queen) >> 1};
  }
};
inline board empty_board(int n) { return {(1u << n) - 1}; }

long queens_calls(int n);
ppmm::step<long> queens(ppmm::context& cx, int n);

// ---- memory-bound: some instructions a cache line
// --------------------------------------------------------------------

void scale_serial(std::span<const std::uint64_t> from, std::span<std::uint64_t> to);
ppmm::step<void> scale(ppmm::context& cx, ppmm::in<std::uint64_t> from, ppmm::out<std::uint64_t> to);

std::uint64_t sum_serial(std::span<const std::uint64_t> from);
ppmm::step<std::uint64_t> sum(ppmm::context& cx, ppmm::in<std::uint64_t> from);

using numbers = std::span<std::uint64_t>;

/// Numbers in no order, always the same.
void scatter(numbers to);

void sort_std(numbers data);         ///< std::sort
void sort_stable_std(numbers data);  ///< std::stable_sort, with memory of its own
void sort_par(numbers data);         ///< std::sort(std::execution::par, …), on oneTBB
ppmm::step<void> sort(ppmm::context& cx, ppmm::out<std::uint64_t> data, ppmm::out<std::uint64_t> scratch);

// ---- what users of oneTBB write where it has no algorithm, and the serial code
// -------------------------------------------------

void inclusive_scan_tbb(std::span<const std::uint64_t> from, numbers to);
void exclusive_scan_tbb(std::span<const std::uint64_t> from, numbers to);

/// Numbers by their upper 8 bits.
using bucket_counts = std::array<std::uint64_t, 256>;
constexpr auto bucket_of = [](std::uint64_t x) { return x >> 56; };
bucket_counts histogram_serial(std::span<const std::uint64_t> from);
bucket_counts histogram_tbb(std::span<const std::uint64_t> from);  ///< counts by thread, added up

/// Three square matrices; the product c = a b, by the tiles and the code that ppmm::matmul has at its leaves.
struct matrices {
  std::size_t side;  // a multiple of tile_side
  const double *a, *b;
  double* c;
  std::size_t tiles() const { return side / ppmm::detail::tile_side; }  // in a row and in a column
};
void multiply_tile(const matrices& m, std::size_t row, std::size_t column);
void multiply_tiles(const matrices& m);
void multiply_tiles_tbb(const matrices& m);

/// Runs `body` with oneTBB held to so many threads, the calling one among them.
template <class Body>
void with_tbb_threads(int threads, Body body) {
  const tbb::global_control limit(tbb::global_control::max_allowed_parallelism, static_cast<std::size_t>(threads));
  tbb::task_arena(threads).execute(body);
}

}  // namespace bench
