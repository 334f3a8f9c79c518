#include "algo_test.hpp"

#include <algorithm>
#include <functional>
#include <numeric>

namespace ppmm::test {
namespace {

using Loop = Algorithm;
INSTANTIATE_TEST_SUITE_P(Ways, Loop, ::testing::ValuesIn(ways), name_of);

constexpr std::size_t sizes[] = {0, 1, 2, 3, 17, 1000, 300'000};

/// Writes its index to every element.
step<void> number(context& cx, out<std::uint32_t> to) {
  return for_each(cx, 0, to.size(), [to](context& c, std::size_t lo, std::size_t hi) {
    std::uint32_t next = static_cast<std::uint32_t>(lo);
    for (std::uint32_t& x : c.write(to.sub(lo, hi - lo))) x = next++;
  });
}

TEST_P(Loop, ForEachReachesEveryIndex) {
  for (const std::size_t n : sizes) {
    forget_jobs();
    const auto to = array<std::uint32_t>(n + 2);  // one on either side is nobody's
    std::ranges::fill(elements(to), 0xffffffffu);
    run(task<number>(to.sub(1, n)));
    EXPECT_EQ(elements(to).front(), 0xffffffffu);
    EXPECT_EQ(elements(to).back(), 0xffffffffu);
    for (std::uint32_t i = 0; i < n; ++i) ASSERT_EQ(elements(to)[i + 1], i) << "of " << n;
  }
}

/// What a loop has counted is counted once, whatever is repeated.
step<std::uint64_t> count_subranges(context& cx, std::size_t n) {
  return reduce(
      cx, 0, n, std::uint64_t{0}, [](context&, std::size_t lo, std::size_t hi) { return std::uint64_t{hi - lo}; },
      std::plus<std::uint64_t>());
}

TEST_P(Loop, SubrangesAreDisjointAndCover) {
  for (const std::size_t n : sizes) {
    forget_jobs();
    EXPECT_EQ(run(task<count_subranges>(n)), n);
  }
}

step<void> add_one(context& cx, in<std::uint64_t> from, out<std::uint64_t> to) {
  return for_each(cx, 0, from.size(), [from, to](context& c, std::size_t lo, std::size_t hi) {
    const auto a = c.read(from.sub(lo, hi - lo));
    const auto b = c.write(to.sub(lo, hi - lo));
    for (std::size_t i = 0; i < a.size(); ++i) b[i] = a[i] + 1;
  });
}
step<void> there_and_back(context& cx, out<std::uint64_t> a, out<std::uint64_t> b) {
  return cx.call(task<add_one>(a.as_in(), b)).then([a, b](context& c) -> step<void> {
    return add_one(c, b.as_in(), a);
  });
}

TEST_P(Loop, OverwritesWhatAnEarlierLoopHasRead) {
  const auto a = array<std::uint64_t>(100'000), b = array<std::uint64_t>(100'000);
  std::iota(elements(a).begin(), elements(a).end(), 0u);
  run(task<there_and_back>(a, b));
  for (std::size_t i = 0; i < a.size(); ++i) ASSERT_EQ(elements(a)[i], i + 2);
}

/// A monoid that does not commute: the word of a range is its first and last index, and whether it has no gaps.
struct word {
  std::uint64_t first = 0, end = 0;
  std::uint64_t in_order = 1;
};
step<word> spell(context& cx, std::size_t n) {
  return reduce(
      cx, 0, n, word{},
      [](context&, std::size_t lo, std::size_t hi) {
        return word{lo, hi, 1};
      },
      [](const word& a, const word& b) {
        if (a.first == a.end) return b;
        if (b.first == b.end) return a;
        return word{a.first, b.end, std::uint64_t{a.in_order != 0 && b.in_order != 0 && a.end == b.first}};
      });
}

TEST_P(Loop, ReduceCombinesFromLeftToRight) {
  for (const std::size_t n : sizes) {
    forget_jobs();
    const word w = run(task<spell>(n));
    EXPECT_EQ(w.in_order, 1u);
    EXPECT_EQ(w.end - w.first, n);
  }
}

step<std::uint64_t> sum(context& cx, in<std::uint64_t> numbers) {
  return reduce(
      cx, 0, numbers.size(), std::uint64_t{0},
      [numbers](context& c, std::size_t lo, std::size_t hi) {
        const auto some = c.read(numbers.sub(lo, hi - lo));
        return std::accumulate(some.begin(), some.end(), std::uint64_t{0});
      },
      std::plus<std::uint64_t>());
}

TEST_P(Loop, ReduceEqualsASerialSum) {
  std::mt19937_64 random(seed());
  const auto numbers = array<std::uint64_t>(1'000'000);
  for (auto& x : elements(numbers)) x = random();
  const auto expected = std::accumulate(elements(numbers).begin(), elements(numbers).end(), std::uint64_t{0});
  EXPECT_EQ(run(task<sum>(numbers.as_in())), expected);
}

/// Loops of loops.
step<void> fill_row(context& cx, out<std::uint32_t> row, std::uint32_t r) {
  return for_each(cx, 0, row.size(), [row, r](context& c, std::size_t lo, std::size_t hi) {
    std::uint32_t column = static_cast<std::uint32_t>(lo);
    for (auto& x : c.write(row.sub(lo, hi - lo))) x = r * 1000 + column++;
  });
}
step<void> fill_rows(context& cx, out<std::uint32_t> all, std::uint32_t first, std::uint32_t last) {
  if (last - first == 1) return fill_row(cx, all.sub(first * 1000, 1000), first);
  const std::uint32_t middle = first + (last - first) / 2;
  return cx.fork(task<fill_rows>(all, first, middle), task<fill_rows>(all, middle, last))
      .then([](context&) -> step<void> { return {}; });
}

TEST_P(Loop, LoopsInsideForks) {
  const auto all = array<std::uint32_t>(300'000);
  run(task<fill_rows>(all, 0u, 300u));
  for (std::uint32_t i = 0; i < all.size(); ++i) ASSERT_EQ(elements(all)[i], i);
}

}  // namespace
}  // namespace ppmm::test
