/// Multiplying matrices, by divide and conquer on tiles.
///
/// The recursion halves the result's rows or columns down to tiles that fit a cache near the core, each of which is
/// multiplied in capsules (Blelloch, Gibbons, Gu, McGuffey, Shun, SPAA 2018, section 7). The inner dimension is gone
/// through in turns: no two tasks add to the same element, and what one turn has added up the next one reads and writes
/// elsewhere.
#pragma once

#include <ppmm/algo/views.hpp>
#include <ppmm/sched/context.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <type_traits>
#include <utility>

namespace ppmm {

namespace detail {

inline constexpr std::size_t tile_side = 64;    // of the result: what a turn works on fits a cache near the core
inline constexpr std::size_t inner_turn = 1024;  // of the inner dimension, in a turn: some 200 µs

/// Rows in memory, `stride` elements apart.
template <class T>
struct rows {
  T* first = nullptr;
  std::size_t stride = 0;
  T* operator[](std::size_t r) const { return first + r * stride; }
};

/// c = (before, if it is not null) + a b, where c has m × n elements, both at most tile_side, and a has k columns.
void multiply_tile(std::size_t m, std::size_t n, std::size_t k, rows<const double> a, rows<const double> b,
                   rows<const double> before, rows<double> c);

/// Opens all rows of a tile. None of its sides is zero.
template <class V, class Open>
auto open_rows(const tile<V>& t, Open open) {
  using pointer = decltype(open(t.row(0)).data());
  rows<std::remove_pointer_t<pointer>> all;
  for (std::size_t r = 0; r < t.rows(); ++r) {
    const pointer p = open(t.row(r)).data();
    if (r == 0) all.first = p;
    if (r == 1) all.stride = static_cast<std::size_t>(p - all.first);
  }
  return all;
}

/// The task that computes one tile of the result.
struct multiply_loop {
  tile<in<double>> a, b;
  tile<out<double>> c;
  std::uint64_t units;
  std::size_t done = 0;                    // of the inner dimension
  std::array<array<double>, 2> sums = {};  // what is added up so far, in turns

  step<void> operator()(context& cx) const {
    multiply_loop rest = *this;
    for (std::size_t k = a.columns(); rest.done < k;) {
      const std::size_t some = std::min(inner_turn, k - rest.done);
      if (!cx.turn(rest, [&] { rest.add(cx, some); })) return step<void>::detached();
      rest.done += some;
      std::swap(rest.sums[0], rest.sums[1]);
    }
    cx.free(rest.sums[0]);
    cx.free(rest.sums[1]);
    return {};
  }

 private:
  void add(context& cx, std::size_t some) const {
    const auto read = [&cx](const in<double>& row) { return cx.read(row); };
    const auto write = [&cx](const out<double>& row) { return cx.write(row); };
    const std::size_t m = c.rows(), n = c.columns();
    const auto left = open_rows(a.sub(0, done, m, some), read);
    const auto right = open_rows(b.sub(done, 0, some, n), read);
    const auto before = done == 0 ? rows<const double>() : rows<const double>{cx.read(sums[0]).data(), n};
    const auto to = done + some == a.columns() ? open_rows(c, write) : rows<double>{cx.write(sums[1]).data(), n};
    multiply_tile(m, n, some, left, right, before, to);
    if (units != 0) cx.advance(units * m * n * some);
  }
};

/// The task that halves the longer side of the result.
struct multiply_tree {
  tile<in<double>> a, b;
  tile<out<double>> c;
  std::uint64_t units;

  step<void> operator()(context& cx) const {
    const std::size_t m = c.rows(), n = c.columns(), k = a.columns();
    if (m <= tile_side && n <= tile_side) return leaf(cx);
    const bool by_rows = m >= n;
    const std::size_t i = by_rows ? half(m) : m, j = by_rows ? n : half(n);
    const multiply_tree first{a.sub(0, 0, i, k), b.sub(0, 0, k, j), c.sub(0, 0, i, j), units};
    const multiply_tree second = by_rows ? multiply_tree{a.sub(i, 0, m - i, k), b, c.sub(i, 0, m - i, n), units}
                                         : multiply_tree{a, b.sub(0, j, k, n - j), c.sub(0, j, m, n - j), units};
    return cx.fork(first, second).then([](context&) -> step<void> { return {}; });
  }

 private:
  static std::size_t half(std::size_t side) { return (side / 2 + tile_side - 1) / tile_side * tile_side; }

  step<void> leaf(context& cx) const {
    if (a.columns() == 0)
      for (std::size_t r = 0; r < c.rows(); ++r) std::ranges::fill(cx.write(c.row(r)), 0.0);
    multiply_loop loop{a, b, c, units};
    if (a.columns() > inner_turn) loop.sums[0] = cx.alloc<double>(c.rows() * c.columns());
    if (a.columns() > inner_turn) loop.sums[1] = cx.alloc<double>(c.rows() * c.columns());
    return loop(cx);
  }
};

}  // namespace detail

/// The task that writes the product of `a` and `b` to `c`, which is apart from them. O(mnk/(B√M)) transfers for m × k
/// by k × n elements, where M elements fit a cache: those of a tile of 64 × 64. The sums are always made in the same
/// order. Counts `units` with context::advance for each of the mnk products. Throws error, which fails the job, if the
/// sides do not fit.
inline auto matmul(const tile<in<double>>& a, const tile<in<double>>& b, const tile<out<double>>& c,
                   std::uint64_t units = 0) {
  return [a, b, c, units](context& cx) -> step<void> {
    const auto shape = [](const auto& t) { return std::to_string(t.rows()) + " × " + std::to_string(t.columns()); };
    if (a.columns() != b.rows() || c.rows() != a.rows() || c.columns() != b.columns())
      throw error("matmul: " + shape(a) + " times " + shape(b) + " does not give " + shape(c));
    if (c.rows() == 0 || c.columns() == 0) return {};
    return detail::multiply_tree{a, b, c, units}(cx);
  };
}
inline step<void> matmul(context& cx, const tile<in<double>>& a, const tile<in<double>>& b,
                         const tile<out<double>>& c, std::uint64_t units = 0) {
  return matmul(a, b, c, units)(cx);
}

}  // namespace ppmm
