/// k-means: points in the pool's heap are gathered round eight centres, round by round, until no centre moves.
///
///     kmeans         prints the centres, and leaves kmeans.pool
///
/// After a kill, run it again: it says how many rounds were done, and goes on within the next. The answer is the same
/// to the last bit, whoever did what and however often it was killed. For that, the brackets of a sum of floating-point
/// numbers must stand where they always do: each block of points is summed up by itself, then all blocks in order.
#include <ppmm/ppmm.hpp>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <span>

struct point { double x, y; friend bool operator==(const point&, const point&) = default; };
using centres = std::array<point, 8>;  // small enough to be an argument, and a result
struct sum { double x, y, count; };    // of the points that are nearest to a centre
using sums = std::array<sum, 8>;
static constexpr std::size_t size = 300'000, in_block = 200;  // points

static const auto random_point = [](std::size_t i) {
  const auto spread = [i](std::uint64_t by) { return static_cast<double>(i * by >> 40) * 0x1p-24; };  // in [0, 1)
  return point{spread(0x9e3779b97f4a7c15) * spread(0xd1b54a32d192ed03), spread(0xbf58476d1ce4e5b9)};
};

static void add(sum& to, const sum& s) { to = {to.x + s.x, to.y + s.y, to.count + s.count}; }
static sums sums_of(std::span<const point> points, const centres& at) {
  sums s{};
  for (const point& p : points) {
    const auto distance = [&p](const point& c) { return (p.x - c.x) * (p.x - c.x) + (p.y - c.y) * (p.y - c.y); };
    add(s[static_cast<std::size_t>(std::ranges::min_element(at, {}, distance) - at.begin())], {p.x, p.y, 1});
  }
  return s;
}

static ppmm::step<centres> next_round(ppmm::context& cx, ppmm::array<point> points, ppmm::array<sums> blocks, centres at);
// All blocks' sums give the new centres. When none has moved, they are the answer.
static ppmm::step<centres> move(ppmm::context& cx, ppmm::array<point> points, ppmm::array<sums> blocks, centres from) {
  sums all{};
  for (const sums& s : cx.read(blocks))
    for (std::size_t i = 0; i < all.size(); ++i) add(all[i], s[i]);
  cx.advance(1);
  centres to = from;
  for (std::size_t i = 0; i < to.size(); ++i)
    if (all[i].count > 0) to[i] = {all[i].x / all[i].count, all[i].y / all[i].count};
  if (to == from) return to;
  return cx.tail(ppmm::task<next_round>(points, blocks, to));
}

static ppmm::step<centres> next_round(ppmm::context& cx, ppmm::array<point> points, ppmm::array<sums> blocks, centres at) {
  const auto sum_up = [points, blocks, at](ppmm::context& c, std::size_t lo, std::size_t hi) {
    const auto from = c.read(ppmm::as_in(points).sub(lo * in_block, (hi - lo) * in_block));
    const auto to = c.write(ppmm::as_out(blocks).sub(lo, hi - lo));
    for (std::size_t b = 0; b < hi - lo; ++b) to[b] = sums_of(from.subspan(b * in_block, in_block), at);
  };
  return cx.call(ppmm::for_each(0, blocks.size(), sum_up)).then(ppmm::task<move>(points, blocks, at));
}

// What a task allocates, its job has until it is done, and beyond it only if it sets a root. A crash leaks nothing.
static ppmm::step<centres> kmeans(ppmm::context& cx) {
  const auto points = cx.alloc<point>(size);
  const auto blocks = cx.alloc<sums>(size / in_block);
  centres first;
  for (std::size_t i = 0; i < first.size(); ++i) first[i] = random_point(i);
  return cx.call(ppmm::tabulate(points, random_point)).then(ppmm::task<next_round>(points, blocks, first));
}

int main() try {
  ppmm::run_options options;
  options.on_resume = [](const ppmm::resume_info& found) {
    std::fprintf(stderr, "kmeans: resumed, %u rounds were done\n", static_cast<unsigned>(found.units_done));
  };
  ppmm::pool pool = ppmm::pool::open_or_create("kmeans.pool");
  for (const point& c : ppmm::run(pool, "k-means", ppmm::task<kmeans>(), options)) std::printf("%.17g %.17g\n", c.x, c.y);
} catch (const std::exception& e) {
  return std::fprintf(stderr, "kmeans: %s\n", e.what()), 1;
}
