#include <gtest/gtest.h>
#include <ppmm/sched/pace.hpp>

namespace ppmm::detail {
namespace {

constexpr pace::bounds wide{1e3, 1e9};

TEST(Pace, StaysWhereItDoesNotAdapt) {
  pace p(50e3, {});
  for (const double cost : {0.0, 1e3, 1e9}) {
    p.committed(cost);
    EXPECT_EQ(p.heartbeat(), 50e3);
    EXPECT_EQ(p.hungry_heartbeat(), 50e3 / 4);
  }
}

TEST(Pace, SpendsAHundredthOnDurability) {
  pace p(50e3, wide);
  EXPECT_EQ(p.heartbeat(), 50e3) << "until something is known";
  p.committed(2e4);
  EXPECT_EQ(p.heartbeat(), 2e6) << "the first is believed at once";
  for (int i = 0; i < 100; ++i) p.committed(2e4);
  EXPECT_NEAR(p.heartbeat(), 2e6, 1);
  EXPECT_NEAR(p.hungry_heartbeat(), 1e6, 1);
}

TEST(Pace, FollowsADiskThatBecomesSlowerAndFaster) {
  pace p(50e3, wide);
  p.committed(1e3);
  for (int i = 0; i < 12; ++i) p.committed(1e5);
  EXPECT_GT(p.heartbeat(), 0.95 * 1e7);
  for (int i = 0; i < 24; ++i) p.committed(1e3);
  EXPECT_LT(p.heartbeat(), 1.2 * 1e5);
}

TEST(Pace, KeepsTheShareWhateverTheCosts) {
  pace p(50e3, wide);
  double costs = 0, time = 0;
  for (int i = 0; i < 1000; ++i) {
    const double cost = i % 50 == 49 ? 1e6 : 1e4;  // now and then a slow one
    time += p.heartbeat() + cost;
    costs += cost;
    p.committed(cost);
  }
  EXPECT_LT(costs / time, 0.02);
}

TEST(Pace, StaysInItsBounds) {
  pace p(50e3, wide);
  p.committed(0);
  EXPECT_EQ(p.heartbeat(), wide.least);
  p.committed(1e12);
  EXPECT_EQ(p.heartbeat(), wide.most);
}

}  // namespace
}  // namespace ppmm::detail
