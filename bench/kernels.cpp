#include "kernels.hpp"

#include <ppmm/algo/algo.hpp>

#include <tbb/parallel_invoke.h>

#include <algorithm>
#include <bit>
#include <execution>
#include <functional>
#include <numeric>

namespace bench {

// ---- fib
// -------------------------------------------------------------------------------------------------------------

// Else the second call becomes a loop, and the first is inlined several levels deep.
[[gnu::noipa, gnu::optimize("no-optimize-sibling-calls")]] long fib_calls(int n) {
  if (n < 2) return n;
  return fib_calls(n - 1) + fib_calls(n - 2);
}

long fib_optimised(int n) {
  if (n < 2) return n;
  return fib_optimised(n - 1) + fib_optimised(n - 2);
}

long fib_tbb(int n) {
  if (n < 2) return n;
  long a = 0, b = 0;
  tbb::parallel_invoke([&] { a = fib_tbb(n - 1); }, [&] { b = fib_tbb(n - 2); });
  return a + b;
}

ppmm::step<long> fib(ppmm::context& cx, int n) {
  if (n < 2) return n;
  return cx.fork(ppmm::task<fib>(n - 1), ppmm::task<fib>(n - 2))
      .then([](ppmm::context&, long a, long b) -> ppmm::step<long> { return a + b; });
}

// ---- queens
// ----------------------------------------------------------------------------------------------------------

namespace {

/// The rows filled so far, as what they attack in the next row: a bit a column.
struct board {
  std::uint32_t all;                               // columns of the board
  std::uint32_t columns = 0, left = 0, right = 0;  // attacked straight down and on the two diagonals

  std::uint32_t free() const { return all & ~(columns | left | right); }
  board with(std::uint32_t queen) const {
    return {all, columns | queen, (left | queen) << 1 & all, (right | queen) >> 1};
  }
};
board empty_board(int n) { return {(1u << n) - 1}; }

// The queen of the next row stands on one of the candidates: the first, or one of the others.
[[gnu::noipa, gnu::optimize("no-optimize-sibling-calls")]] long place_calls(board b, std::uint32_t candidates) {
  if (b.columns == b.all) return 1;
  if (candidates == 0) return 0;
  const std::uint32_t first = candidates & -candidates;
  const board next = b.with(first);
  return place_calls(next, next.free()) + place_calls(b, candidates ^ first);
}

ppmm::step<long> place(ppmm::context& cx, board b, std::uint32_t candidates) {
  if (b.columns == b.all) return 1;
  if (candidates == 0) return 0;
  const std::uint32_t first = candidates & -candidates;
  const board next = b.with(first);
  return cx.fork(ppmm::task<place>(next, next.free()), ppmm::task<place>(b, candidates ^ first))
      .then([](ppmm::context&, long m, long n) -> ppmm::step<long> { return m + n; });
}

}  // namespace

long queens_calls(int n) { return place_calls(empty_board(n), empty_board(n).free()); }
ppmm::step<long> queens(ppmm::context& cx, int n) { return place(cx, empty_board(n), empty_board(n).free()); }

// ---- memory-bound
// ----------------------------------------------------------------------------------------------------

void scale_serial(std::span<const std::uint64_t> from, std::span<std::uint64_t> to) {
  for (std::size_t i = 0; i < from.size(); ++i) to[i] = 3 * from[i] + 1;
}

ppmm::step<void> scale(ppmm::context& cx, ppmm::in<std::uint64_t> from, ppmm::out<std::uint64_t> to) {
  return ppmm::for_each(cx, 0, to.size(), [from, to](ppmm::context& c, std::size_t lo, std::size_t hi) {
    const std::span<const std::uint64_t> some = c.read(from.sub(lo, hi - lo));
    c.fill(to.sub(lo, hi - lo), [some](std::span<std::uint64_t> part, std::size_t at) { scale_serial(some.subspan(at, part.size()), part); });
  });
}

std::uint64_t sum_serial(std::span<const std::uint64_t> from) {
  return std::accumulate(from.begin(), from.end(), std::uint64_t{0});
}

ppmm::step<std::uint64_t> sum(ppmm::context& cx, ppmm::in<std::uint64_t> from) {
  const auto part = [from](ppmm::context& c, std::size_t lo, std::size_t hi) {
    return sum_serial(c.read(from.sub(lo, hi - lo)));
  };
  return ppmm::reduce(cx, 0, from.size(), std::uint64_t{0}, part, std::plus<>());
}

void scatter(std::span<std::uint64_t> numbers) {
  std::uint64_t state = 1;
  for (std::uint64_t& n : numbers) {  // xorshift64 (Marsaglia, 2003)
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    n = state;
  }
}

void sort_std(std::span<std::uint64_t> numbers) { std::sort(numbers.begin(), numbers.end()); }
void sort_stable_std(std::span<std::uint64_t> numbers) { std::stable_sort(numbers.begin(), numbers.end()); }
void sort_par(std::span<std::uint64_t> numbers) { std::sort(std::execution::par, numbers.begin(), numbers.end()); }
ppmm::step<void> sort(ppmm::context& cx, ppmm::out<std::uint64_t> numbers, ppmm::out<std::uint64_t> scratch) {
  return ppmm::sort(cx, numbers, scratch, std::less<>());
}

}  // namespace bench
