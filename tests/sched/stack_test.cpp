/// The persistent stack: recursion as deep as the pool has memory for, whatever the C++ stack is.
#include "sched_test.hpp"

namespace ppmm::test {
namespace {

class Stack : public Sched {
 protected:
  Stack() { make({.size = std::size_t{256} << 20}); }
};

TEST_F(Stack, AMillionCallsDeep) { EXPECT_EQ(run(the_pool(), "deep", task<deep>(std::uint64_t{1'000'000}), with(1)), serial_deep(1'000'000)); }

TEST_F(Stack, AMillionForksDeep) { EXPECT_EQ(run(the_pool(), "deep", task<deep_forks>(std::uint64_t{1'000'000}), with(2)), 1'000'001u); }

TEST_F(Stack, AMillionTailSteps) {
  EXPECT_EQ(run(the_pool(), "tail", task<countdown>(std::uint64_t{1'000'000}, std::uint64_t{0}), with(1)), 500'000'500'000u);
}

TEST_F(Stack, AMillionContinuations) {
  EXPECT_EQ(run(the_pool(), "chain", task<chain>(std::uint64_t{1'000'000}, std::uint64_t{0}), with(1)), 500'000'500'000u);
}

TEST_F(Stack, DeepWithSoftFaults) {
  run_options o = with(2);
  o.soft_fault_rate = 0.0002;
  o.fault_seed = seed();
  EXPECT_EQ(run(the_pool(), "deep", task<deep>(std::uint64_t{100'000}), o), serial_deep(100'000));
}

/// Frames that were committed and popped must not pile up: memory goes with the depth, not with the time.
TEST_F(Stack, ManyCommitsNeedNoMoreMemory) {
  make({.size = pool::min_size, .max_workers = 4});
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
  constexpr int n = 29;  // many times slower
#else
  constexpr int n = 39;
#endif
  for (const unsigned workers : {1u, 2u}) {
    run_options o = with(workers);
    o.heartbeat = std::chrono::microseconds(10);
    run_statistics s;
    o.statistics = &s;
    EXPECT_EQ(run(the_pool(), "fib " + std::to_string(workers), task<fib>(n), o), serial_fib(n));
    EXPECT_GT(s.commits, 1'000u);
  }
}

TEST_F(Stack, TooDeepForThePoolIsAnError) {
  make({.size = pool::min_size, .max_workers = 4});
  try {
    run(the_pool(), "deep", task<deep>(std::uint64_t{10'000'000}), with(1));
    FAIL();
  } catch (const job_failed& e) {
    EXPECT_NE(std::string(e.what()).find("larger pool"), std::string::npos) << e.what();
  }
  EXPECT_EQ(run(the_pool(), "not so deep", task<deep>(std::uint64_t{10'000}), with(1)), serial_deep(10'000));
}

}  // namespace
}  // namespace ppmm::test
