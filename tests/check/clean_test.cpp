/// The algorithms, the examples and the tests' jobs make none of the mistakes that the check finds.
#include "check_test.hpp"
#include "jobs.hpp"

#include <algorithm>
#include <cstdio>
#include <exception>
#include <functional>

// The examples as they are; only that they are run on less. A function that is not called main must return something.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wreturn-type"
namespace fib_example {
#define main fib_main
#include "fib.cpp"
}  // namespace fib_example
namespace sum_example {
#undef main
#define main sum_main
#include "sum.cpp"
#undef main
}  // namespace sum_example
#pragma GCC diagnostic pop

namespace ppmm::test {
namespace {

struct way {
  const char* name;
  unsigned workers;
  std::chrono::nanoseconds heartbeat;
  bool every_task = false;
  double soft_fault_rate = 0;
};
constexpr way ways[] = {
    {"LongCapsules", 1, std::chrono::hours(1)},
    {"OneWorker", 1, std::chrono::microseconds(200)},
    {"TwoWorkers", 2, std::chrono::microseconds(200)},
    {"TwoWorkersLongCapsules", 2, std::chrono::milliseconds(20)},
    {"EveryTask", 2, std::chrono::microseconds(200), true},
    {"SoftFaults", 2, std::chrono::microseconds(200), false, 0.001},
};

class Clean : public Checked, public ::testing::WithParamInterface<way> {
 protected:
  template <class Task>
  auto run(const Task& task) {
    run_options how = long_capsules();
    how.workers = GetParam().workers;
    how.heartbeat = GetParam().heartbeat;
    how.commit_every_task = GetParam().every_task;
    how.soft_fault_rate = GetParam().soft_fault_rate;
    how.fault_seed = seed();
    return Checked::run(task, how);
  }
  void TearDown() override { EXPECT_TRUE(found().empty()) << all_text(); }
};

INSTANTIATE_TEST_SUITE_P(, Clean, ::testing::ValuesIn(ways),
                         [](const auto& one) { return std::string(one.param.name); });

TEST_P(Clean, FibExample) { EXPECT_EQ(run(task<fib_example::fib>(16)), serial_fib(16)); }

TEST_P(Clean, SumExample) {
  EXPECT_EQ(run(task<sum_example::fill_and_add_up>(array<std::uint64_t>(20'000))), 20'000ull * 19'999 / 2);
}

TEST_P(Clean, Fib) { EXPECT_EQ(run(task<fib>(16)), serial_fib(16)); }

TEST_P(Clean, Tree) {
  const node root{mix(5), 0};
  std::uint64_t nodes = 0;
  EXPECT_EQ(run(task<subtree>(root)), serial_subtree(root, nodes));
}

TEST_P(Clean, Deep) {
  EXPECT_EQ(run(task<deep>(std::uint64_t{3'000})), serial_deep(3'000));
  EXPECT_EQ(run(task<deep_forks>(std::uint64_t{3'000})), 3'001u);
}

TEST_P(Clean, TailsAndChains) {
  EXPECT_EQ(run(task<countdown>(std::uint64_t{5'000}, std::uint64_t{0})), 12'502'500u);
  EXPECT_EQ(run(task<chain>(std::uint64_t{5'000}, std::uint64_t{0})), 12'502'500u);
}

TEST_P(Clean, Squares) { EXPECT_EQ(run(task<squares>(array<std::uint64_t>(20'000))), serial_squares(20'000)); }

/// Elements with padding: what stands in it may look like anything.
struct item {
  std::uint64_t key;
  std::uint32_t number;
};
struct by_key {
  bool operator()(const item& a, const item& b) const { return a.key < b.key; }
};
TEST_P(Clean, Sort) {
  constexpr std::size_t n = 10'000;
  const out<item> data = array<item>(n), scratch = array<item>(n, region_bytes / 2);
  for (std::uint32_t i = 0; i < n; ++i) data.address()[i] = {mix(i) % 5'000, i};
  run(sort(data, scratch, by_key{}));
  const std::span<const item> sorted(data.address(), n);
  EXPECT_TRUE(std::ranges::is_sorted(sorted, by_key{}));
}

/// A conflict of views is met by the runtime: the task is run again as a capsule of its own, which is no mistake.
step<std::uint64_t> add_one(context& cx, out<std::uint64_t> a, out<std::uint64_t> b) {
  const auto from = cx.read(a.as_in());
  const auto to = cx.write(b);
  for (std::size_t i = 0; i < from.size(); ++i) to[i] = from[i] + 1;
  return to[0];
}
step<std::uint64_t> there_and_back(context& cx, out<std::uint64_t> a, out<std::uint64_t> b, unsigned times) {
  if (times == 0) return cx.read(a.as_in())[0];
  return cx.call(task<add_one>(a, b)).then([=](context& c, std::uint64_t) {
    return c.call(task<add_one>(b, a)).then([=](context& d, std::uint64_t) {
      return there_and_back(d, a, b, times - 1);
    });
  });
}
TEST_P(Clean, ViewsInConflictAreTheRuntimesBusiness) {
  const auto a = array<std::uint64_t>(50), b = array<std::uint64_t>(50, region_bytes / 2);
  EXPECT_EQ(run(task<there_and_back>(a, b, 20u)), 40u);
}

}  // namespace
}  // namespace ppmm::test
