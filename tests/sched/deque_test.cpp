#include <gtest/gtest.h>
#include <ppmm/sched/deque.hpp>

#include <atomic>
#include <memory>
#include <thread>
#include <vector>

namespace ppmm::detail {
namespace {

TEST(Deque, ThievesTakeTheOldest) {
  hint_deque d;
  d.push({1, 1});
  d.push({2, 1});
  EXPECT_EQ(d.steal(), (exposure{1, 1}));
  EXPECT_EQ(d.steal(), (exposure{2, 1}));
  EXPECT_EQ(d.steal(), std::nullopt);
}

TEST(Deque, OwnerTakesBackOnlyTheNewestAndOnlyIfItIsThatOne) {
  hint_deque d;
  d.push({1, 1});
  d.push({2, 1});
  d.pop_if({1, 1});
  d.pop_if({2, 1});
  d.pop_if({2, 1});
  EXPECT_EQ(d.steal(), (exposure{1, 1}));
  EXPECT_TRUE(d.empty());
}

TEST(Deque, FullDropsTheHint) {
  hint_deque d;
  for (std::uint32_t i = 0; i < 1000; ++i) d.push({i, 1});
  std::uint32_t n = 0;
  while (const auto e = d.steal()) EXPECT_EQ(e->slot, n++);
  EXPECT_EQ(n, 512u);
}

TEST(Deque, NoHintIsTakenTwice) {
  constexpr std::uint32_t n = 200'000;
  hint_deque d;
  auto taken = std::make_unique<std::atomic<int>[]>(n);
  std::atomic<bool> done{false};
  std::vector<std::jthread> thieves;
  for (int t = 0; t < 3; ++t)
    thieves.emplace_back([&] {
      while (!done || !d.empty())
        if (const auto e = d.steal()) taken[e->slot].fetch_add(1);
    });
  std::uint32_t kept = 0;
  for (std::uint32_t i = 0; i < n; ++i) {
    d.push({i, 1});
    if (i % 3 == 0) d.pop_if({i, 1});
  }
  done = true;
  thieves.clear();
  for (std::uint32_t i = 0; i < n; ++i) {
    EXPECT_LE(taken[i], 1) << i;
    kept += static_cast<std::uint32_t>(taken[i]);
  }
  EXPECT_GT(kept, 0u);
}

}  // namespace
}  // namespace ppmm::detail
