/// The persistent stack: recursion as deep as the pool has memory for, whatever the C++ stack is.
#include "sched_test.hpp"

#include <ppmm/pmem/sanitizers.hpp>

#include <array>

namespace ppmm::test {
namespace {

/// What a frame of N words carries past its children: overwritten, it no longer fits its key.
template <std::size_t N>
struct load {
  std::array<std::uint64_t, N> words;
  explicit load(std::uint64_t key) {
    for (std::size_t i = 0; i < N; ++i) words[i] = mix(key + i);
  }
  bool fits(std::uint64_t key) const {
    for (std::size_t i = 0; i < N; ++i)
      if (words[i] != mix(key + i)) return false;
    return true;
  }
};

/// A random tree of forks and calls whose frames have between one line and a quarter of a chunk. Counts its nodes.
step<std::uint64_t> shapes(context& cx, std::uint64_t key, std::uint32_t depth);
template <std::size_t N>
step<std::uint64_t> shape(context& cx, std::uint64_t key, std::uint32_t depth) {
  if (key % 5 == 0)
    return cx.call(task<shapes>(mix(key + 1), depth - 1)).then([key, l = load<N>(key)](context&, std::uint64_t n) -> step<std::uint64_t> {
      if (!l.fits(key)) throw std::runtime_error("a frame was overwritten");
      return n + 1;
    });
  return cx.fork(task<shapes>(mix(key + 1), depth - 1), task<shapes>(mix(key + 2), depth - 1 - depth / 2))
      .then([key, l = load<N>(key)](context&, std::uint64_t a, std::uint64_t b) -> step<std::uint64_t> {
        if (!l.fits(key)) throw std::runtime_error("a frame was overwritten");
        return a + b + 1;
      });
}
step<std::uint64_t> shapes(context& cx, std::uint64_t key, std::uint32_t depth) {
  if (depth == 0 || depth > 1'000'000) return 1u;
  switch (key >> 8 & 15) {
    case 0: return shape<2000>(cx, key, depth);
    case 1: return shape<700>(cx, key, depth);
    case 2: return shape<100>(cx, key, depth);
    case 3: return shape<20>(cx, key, depth);
    default: return shape<1>(cx, key, depth);
  }
}
std::uint64_t serial_shapes(std::uint64_t key, std::uint32_t depth) {
  if (depth == 0 || depth > 1'000'000) return 1;
  if (key % 5 == 0) return 1 + serial_shapes(mix(key + 1), depth - 1);
  return 1 + serial_shapes(mix(key + 1), depth - 1) + serial_shapes(mix(key + 2), depth - 1 - depth / 2);
}

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
#if PPMM_THREAD_SANITIZER || PPMM_ADDRESS_SANITIZER
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

/// Frames of very different sizes, so that gaps and chunks' ends are met at every offset.
TEST_F(Stack, FramesOfAllSizesKeepTheirBytes) {
  for (const double soft : {0.0, 0.001})
    for (const unsigned workers : {1u, 3u}) {
      run_options o = with(workers);
      o.soft_fault_rate = soft;
      o.fault_seed = seed();
      const std::uint64_t key = mix(seed() + workers);
      EXPECT_EQ(run(the_pool(), "shapes " + std::to_string(soft) + std::to_string(workers), task<shapes>(key, 60u), o), serial_shapes(key, 60));
    }
}

TEST_F(Stack, TooDeepForThePoolIsAnError) {
  make({.size = pool::min_size, .max_workers = 4});
  try {
    run(the_pool(), "deep", task<deep>(std::uint64_t{10'000'000}), with(1));
    FAIL();
  } catch (const out_of_pool_memory& e) {
    EXPECT_NE(std::string(e.what()).find("for the frames of a recursion"), std::string::npos) << e.what();
    EXPECT_NE(std::string(e.what()).find("ppmm grow " + file()), std::string::npos) << e.what();
  }
  EXPECT_EQ(the_pool().find_job("deep")->state, layout::job_state::running);
  the_pool().drop_job("deep");
  EXPECT_EQ(run(the_pool(), "not so deep", task<deep>(std::uint64_t{10'000}), with(1)), serial_deep(10'000));
}

}  // namespace
}  // namespace ppmm::test
