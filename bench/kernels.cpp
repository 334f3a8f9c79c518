#include "kernels.hpp"

#include "measure.hpp"

#include <ppmm/algo/algo.hpp>

#include <tbb/blocked_range.h>
#include <tbb/blocked_range2d.h>
#include <tbb/enumerable_thread_specific.h>
#include <tbb/parallel_for.h>
#include <tbb/parallel_invoke.h>
#include <tbb/parallel_scan.h>

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

// The queen of the next row stands on one of the candidates: the first, or one of the others.
[[gnu::noipa, gnu::optimize("no-optimize-sibling-calls")]] long place_calls(board b, std::uint32_t candidates) {
  if (b.columns == b.all) return 1;
  if (candidates == 0) return 0;
  const std::uint32_t first = candidates & -candidates;
  const board next = b.with(first);
  return place_calls(next, next.free()) + place_calls(b, candidates ^ first);
}

ppmm::step<long> place(ppmm::context& cx, const board& b, std::uint32_t candidates) {
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

void scatter(numbers to) {
  std::uint64_t state = 1;
  for (std::uint64_t& n : to) {  // xorshift64 (Marsaglia, 2003)
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    n = state;
  }
}

void sort_std(numbers data) { std::sort(data.begin(), data.end()); }
void sort_stable_std(numbers data) { std::stable_sort(data.begin(), data.end()); }
void sort_par(numbers data) { std::sort(std::execution::par, data.begin(), data.end()); }
ppmm::step<void> sort(ppmm::context& cx, ppmm::out<std::uint64_t> data, ppmm::out<std::uint64_t> scratch) {
  return ppmm::sort(cx, data, scratch, std::less<>());
}

// ---- with oneTBB
// -----------------------------------------------------------------------------------------------------

namespace {

using range = tbb::blocked_range<std::size_t>;

template <bool inclusive>
void scan_tbb(std::span<const std::uint64_t> from, numbers to) {
  keep(tbb::parallel_scan(
      range(0, from.size()), std::uint64_t{0},
      [&](const range& r, std::uint64_t s, bool final) {
        if (!final) return std::accumulate(&from[r.begin()], &from[r.begin()] + r.size(), s);
        for (std::size_t i = r.begin(); i < r.end(); ++i) {
          if (!inclusive) to[i] = s;
          s += from[i];
          if (inclusive) to[i] = s;
        }
        return s;
      },
      std::plus<>()));
}

void count(std::span<const std::uint64_t> from, bucket_counts& to) {
  for (const std::uint64_t x : from) ++to[bucket_of(x)];
}

}  // namespace

void inclusive_scan_tbb(std::span<const std::uint64_t> from, numbers to) { scan_tbb<true>(from, to); }
void exclusive_scan_tbb(std::span<const std::uint64_t> from, numbers to) { scan_tbb<false>(from, to); }

bucket_counts histogram_serial(std::span<const std::uint64_t> from) {
  bucket_counts all{};
  count(from, all);
  return all;
}

bucket_counts histogram_tbb(std::span<const std::uint64_t> from) {
  tbb::enumerable_thread_specific<bucket_counts> by_thread;
  tbb::parallel_for(range(0, from.size()),
                    [&](const range& r) { count(from.subspan(r.begin(), r.size()), by_thread.local()); });
  bucket_counts all{};
  for (const bucket_counts& c : by_thread)
    for (std::size_t k = 0; k < c.size(); ++k) all[k] += c[k];
  return all;
}

void multiply_tile(const matrices& m, std::size_t row, std::size_t column) {
  using ppmm::detail::tile_side;
  const std::size_t i = row * tile_side, j = column * tile_side;
  ppmm::detail::multiply_tile(tile_side, tile_side, m.side, {m.a + i * m.side, m.side}, {m.b + j, m.side}, {},
                              {m.c + i * m.side + j, m.side});
}

void multiply_tiles(const matrices& m) {
  for (std::size_t i = 0; i < m.tiles(); ++i)
    for (std::size_t j = 0; j < m.tiles(); ++j) multiply_tile(m, i, j);
}

void multiply_tiles_tbb(const matrices& m) {
  tbb::parallel_for(tbb::blocked_range2d<std::size_t>(0, m.tiles(), 0, m.tiles()), [&](const auto& r) {
    for (std::size_t i = r.rows().begin(); i < r.rows().end(); ++i)
      for (std::size_t j = r.cols().begin(); j < r.cols().end(); ++j) multiply_tile(m, i, j);
  });
}

}  // namespace bench
