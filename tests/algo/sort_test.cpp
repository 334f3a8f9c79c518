#include "algo_test.hpp"

#include <algorithm>
#include <vector>

namespace ppmm::test {
namespace {

using Sort = Algorithm;
INSTANTIATE_TEST_SUITE_P(Ways, Sort, ::testing::ValuesIn(ways), name_of);

step<void> sort_entries(context& cx, out<entry> data, out<entry> scratch) { return sort(cx, data, scratch, by_key()); }

constexpr std::size_t sizes[] = {0, 1, 2, 3, 4, 100, 2047, 2048, 2049, 4097, 10'000, 200'000};

TEST_P(Sort, EqualsStableSort) {
  std::mt19937_64 random(seed());
  const auto data = array<entry>(std::ranges::max(sizes)), scratch = array<entry>(data.size());
  for (const std::size_t n : sizes)
    for (const input& in : inputs) {
      forget_jobs();
      const std::span<entry> entries = elements(data.first(n));
      for (std::size_t i = 0; i < n; ++i) entries[i] = {in.key(i, n, random), static_cast<std::uint32_t>(i)};
      std::vector<entry> expected(entries.begin(), entries.end());
      std::ranges::stable_sort(expected, by_key());
      run(task<sort_entries>(data.first(n), scratch));
      ASSERT_TRUE(std::ranges::equal(entries, expected)) << in.name << ", " << n;
    }
}

/// A comparison that carries a value of its own.
struct by_distance {
  std::uint32_t centre;
  std::uint32_t from(const entry& e) const { return e.key < centre ? centre - e.key : e.key - centre; }
  bool operator()(const entry& a, const entry& b) const { return from(a) < from(b); }
};
step<void> sort_by_distance(context& cx, out<entry> data, out<entry> scratch, by_distance order) {
  return sort(cx, data, scratch, order);
}

TEST_P(Sort, ByAClosure) {
  std::mt19937_64 random(seed());
  const auto data = array<entry>(50'000), scratch = array<entry>(50'000);
  for (std::uint32_t i = 0; auto& e : elements(data)) e = {static_cast<std::uint32_t>(random() % 1000), i++};
  std::vector<entry> expected(elements(data).begin(), elements(data).end());
  std::ranges::stable_sort(expected, by_distance{500});
  run(task<sort_by_distance>(data, scratch, by_distance{500}));
  EXPECT_TRUE(std::ranges::equal(elements(data), expected));
}

step<std::uint64_t> sort_and_count(context& cx, out<entry> data, out<entry> scratch) {
  return cx.call(sort(data, scratch, by_key())).then([data](context& c) -> step<std::uint64_t> {
    const auto sorted = c.read(data.as_in());
    return std::uint64_t{std::ranges::is_sorted(sorted, by_key())};
  });
}

TEST_P(Sort, AsACallWithAContinuation) {
  std::mt19937_64 random(seed());
  const auto data = array<entry>(30'000), scratch = array<entry>(30'000);
  for (auto& e : elements(data)) e = {static_cast<std::uint32_t>(random()), 0};
  EXPECT_EQ(run(task<sort_and_count>(data, scratch)), 1u);
}

TEST(CoRank, CutsAStableMerge) {
  std::mt19937_64 random(seed());
  for (int round = 0; round < 200; ++round) {
    std::vector<entry> a(random() % 30), b(random() % 30), merged;
    for (auto* side : {&a, &b}) {
      for (auto& e : *side) e = {static_cast<std::uint32_t>(random() % 6), side == &a ? 0u : 1u};
      std::ranges::stable_sort(*side, by_key());
    }
    std::ranges::merge(a, b, std::back_inserter(merged), by_key());
    for (std::size_t k = 0; k <= merged.size(); ++k) {
      const auto from_a = std::count_if(merged.begin(), merged.begin() + static_cast<std::ptrdiff_t>(k),
                                        [](const entry& e) { return e.place == 0; });
      ASSERT_EQ(detail::co_rank<entry>(k, a, b, by_key()), static_cast<std::size_t>(from_a));
    }
  }
}

TEST(SortLevels, EndInData) {
  for (const std::size_t n :
       {std::size_t{0}, std::size_t{1}, std::size_t{5000}, std::size_t{1} << 20, std::size_t{1} << 40})
    EXPECT_EQ(sort_levels(n) % 2, 1u);
}

}  // namespace
}  // namespace ppmm::test
