/// The algorithms, the examples and the tests' jobs make none of the mistakes that the check finds.
#include "check_test.hpp"
#include "crash/scenario.hpp"
#include "jobs.hpp"

#include <algorithm>
#include <cstdio>
#include <exception>
#include <functional>
#include <numeric>

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
    return Checked::run(task, this_way());
  }
  static run_options this_way() {
    run_options how = long_capsules();
    how.workers = GetParam().workers;
    how.heartbeat = GetParam().heartbeat;
    how.commit_every_task = GetParam().every_task;
    how.soft_fault_rate = GetParam().soft_fault_rate;
    how.fault_seed = seed();
    return how;
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

/// Every algorithm, on views that share lines, beside the standard library's.
TEST_P(Clean, Algorithms) {
  for (const scenario& s : algorithm_scenarios()) {
    if (s.large || s.soft > 0 || s.hard > 0) continue;
    SCOPED_TRACE(s.name);
    const std::span<std::byte> region = region_of(the_pool(), s.region);
    std::ranges::fill(region, std::byte{0});
    s.prepare(region);
    run_options how = this_way();
    how.region = s.region;
    EXPECT_EQ(s.run(the_pool(), how), s.expected.value);
    EXPECT_TRUE(s.right(region));
    EXPECT_TRUE(found().empty()) << all_text();
    the_pool().drop_job(job_name);
  }
}

TEST_P(Clean, Forest) {
  for (const bool again : {false, true})
    EXPECT_EQ(run(task<forest>(std::uint64_t{5}, 9u, again)), serial_forest(5, 9));
}

/// In place, each element several times a capsule: in the job's memory, in blocks, in blocks of the capsule's own.
step<std::uint64_t> twice(context& cx, inout<std::uint64_t> v) {
  if (v.size() > 100) {
    const std::size_t half = v.size() / 2;
    return cx.fork(task<twice>(v.first(half)), task<twice>(v.drop(half)))
        .then([](context&, std::uint64_t a, std::uint64_t b) -> step<std::uint64_t> { return a + b; });
  }
  const auto sums = cx.alloc<std::uint64_t>(v.size());
  for (std::uint64_t& x : cx.write(sums)) x = 1;
  const auto s = cx.update(v), t = cx.update(sums);
  for (std::size_t i = 0; i < s.size(); ++i) t[i] += s[i] *= 2;
  for (std::size_t i = 0; i < s.size(); ++i) t[i] += s[i] *= 2;
  const std::uint64_t sum = std::accumulate(t.begin(), t.end(), std::uint64_t{0});
  cx.free(sums);
  return sum;
}
step<std::uint64_t> twice_in_a_block(context& cx, std::uint64_t n) {
  return cx.call([n](context& c) -> step<ppmm::array<std::uint64_t>> {
             const auto a = c.alloc<std::uint64_t>(n);
             std::ranges::fill(c.write(a), 5u);
             return a;
           })
      .then([](context& c, ppmm::array<std::uint64_t> a) {
        return c.tail(task<twice>(inout<std::uint64_t>(a.address(), a.size())));
      });
}
TEST_P(Clean, UpdatesInPlace) {
  const auto v = array<std::uint64_t>(10'000);
  std::fill_n(v.address(), v.size(), 5);
  EXPECT_EQ(run(task<twice>(inout<std::uint64_t>(v.address(), v.size()))), 31u * 10'000);
  for (const std::uint64_t n : {300u, 30'000u}) EXPECT_EQ(run(task<twice_in_a_block>(n)), 31u * n);
}

/// Keys put into a table of cells by strands in parallel; how many were put there first.
struct cell16 {
  std::uint64_t key, who;
  friend bool operator==(const cell16&, const cell16&) = default;
};
template <class Cell>
Cell cell_of(std::uint64_t key, std::uint64_t who) {
  if constexpr (sizeof(Cell) == 8)
    return key << 32 | who;
  else
    return {key, who};
}
template <class Cell>
step<std::uint64_t> put(context& cx, ppmm::array<Cell> table, std::uint64_t from, std::uint64_t to) {
  if (to - from > 1) {
    const std::uint64_t middle = from + (to - from) / 2;
    return cx.fork(task<put<Cell>>(table, from, middle), task<put<Cell>>(table, middle, to))
        .then([](context&, std::uint64_t a, std::uint64_t b) -> step<std::uint64_t> { return a + b; });
  }
  const std::uint64_t key = from % table.size();
  const shared<Cell> cell(table[key].address());
  cx.cam(cell, Cell{}, cell_of<Cell>(key + 1, from + 1));
  return cx.load(cell) == cell_of<Cell>(key + 1, from + 1) ? 1u : 0u;
}
template <class Cell>
step<std::uint64_t> put_all(context& cx, std::uint64_t n) {
  const auto table = cx.alloc<Cell>(60);
  std::ranges::fill(cx.write(table), Cell{});
  return cx.tail(task<put<Cell>>(table, std::uint64_t{0}, n));
}
TEST_P(Clean, SharedCells) {
  EXPECT_EQ(run(task<put_all<std::uint64_t>>(std::uint64_t{300})), 60u);
  EXPECT_EQ(run(task<put_all<cell16>>(std::uint64_t{300})), 60u);
}

step<void> transpose(context& cx, tile<in<std::uint32_t>> from, tile<out<std::uint32_t>> to) {
  if (from.rows() > 8) {
    const std::size_t half = from.rows() / 2, rest = from.rows() - half, n = from.columns();
    return cx.fork(task<transpose>(from.sub(0, 0, half, n), to.sub(0, 0, n, half)),
                   task<transpose>(from.sub(half, 0, rest, n), to.sub(0, half, n, rest)))
        .then([](context&) -> step<void> { return {}; });
  }
  for (std::size_t r = 0; r < to.rows(); ++r) {
    const auto row = cx.write(to.row(r));
    for (std::size_t c = 0; c < to.columns(); ++c) row[c] = cx.read(from.row(c))[r];
  }
  return {};
}
TEST_P(Clean, Tiles) {
  constexpr std::size_t rows = 60, columns = 40;
  const auto a = array<std::uint32_t>(rows * columns), b = array<std::uint32_t>(rows * columns, region_bytes / 2);
  std::iota(a.address(), a.address() + a.size(), 0u);
  run(task<transpose>(tile(a.as_in(), columns), tile(b, rows)));
  for (std::size_t r = 0; r < rows; ++r)
    for (std::size_t c = 0; c < columns; ++c) ASSERT_EQ(b.address()[c * rows + r], r * columns + c);
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
