#include <ppmm/algo/matmul.hpp>
#include <ppmm/algo/multiply_tile.hpp>

#include <algorithm>
#include <array>
#include <string>
#include <utility>

namespace ppmm::detail {
namespace {

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
    const std::size_t m = c.rows(), n = c.columns();
    const auto left = cx.read(a.sub(0, done, m, some));
    const auto right = cx.read(b.sub(done, 0, some, n));
    const auto before = done == 0 ? rows<const double>() : rows<const double>{cx.read(sums[0]).data(), n};
    const auto to = done + some == a.columns() ? cx.write(c) : rows<double>{cx.write(sums[1]).data(), n};
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

}  // namespace

step<void> multiplication::operator()(context& cx) const {
  const auto shape = [](const auto& t) { return std::to_string(t.rows()) + " × " + std::to_string(t.columns()); };
  if (a.columns() != b.rows() || c.rows() != a.rows() || c.columns() != b.columns())
    throw error("matmul: " + shape(a) + " times " + shape(b) + " does not give " + shape(c));
  if (c.rows() == 0 || c.columns() == 0) return {};
  return multiply_tree{a, b, c, units}(cx);
}

}  // namespace ppmm::detail
