#include "sched_test.hpp"

#include <array>
#include <atomic>
#include <cstddef>
#include <cstring>
#include <stdexcept>
#include <vector>

namespace ppmm::test {
namespace {

using Job = Sched;

TEST_F(Job, GivesTheAnswerWithAnyNumberOfWorkers) {
  for (const unsigned w : {1u, 2u, 3u, 4u, 8u}) {
    run_statistics s;
    run_options o = with(w);
    o.statistics = &s;
    EXPECT_EQ(run(the_pool(), "fib " + std::to_string(w), task<fib>(24), o), serial_fib(24));
    EXPECT_EQ(s.units, fib_units(24));
    EXPECT_EQ(s.workers, w);
  }
}

TEST_F(Job, GivesTheAnswerWithOneCapsuleATask) {
  for (const unsigned w : {1u, 2u, 4u}) {
    run_options o = with(w);
    o.commit_every_task = true;
    run_statistics s;
    o.statistics = &s;
    EXPECT_EQ(run(the_pool(), "fib " + std::to_string(w), task<fib>(14), o), serial_fib(14));
    EXPECT_EQ(s.units, fib_units(14));
    EXPECT_GE(s.commits + s.joins_first + 2 * s.joins_second, 3 * fib_units(14));  // left, right and continuation of each fork; a join commits too
  }
}

TEST_F(Job, UnbalancedTree) {
  std::uint64_t nodes = 0;
  const std::uint64_t expected = serial_subtree({seed(), 0}, nodes);
  run_statistics s;
  run_options o = with(4);
  o.statistics = &s;
  EXPECT_EQ(run(the_pool(), "tree", task<subtree>(node{seed(), 0}), o), expected);
  EXPECT_EQ(s.units, nodes);
}

TEST_F(Job, LoopsThroughViews) {
  constexpr std::size_t n = 1u << 20;
  run_options o = with(3);
  o.region = n * sizeof(std::uint64_t);
  const out<std::uint64_t> to(reinterpret_cast<std::uint64_t*>(region_of(the_pool(), o.region).data()), n);
  EXPECT_EQ(run(the_pool(), "squares", task<squares>(to), o), serial_squares(n));
}

TEST_F(Job, VoidResultsAndManyChildren) {
  const auto root = [](context& cx) -> step<long> {
    return cx
        .fork([](context&) -> step<long> { return 1; }, [](context&) -> step<void> { return {}; }, [](context&) -> step<long> { return 20; },
              [](context&) -> step<long> { return 300; })
        .then([](context&, long a, long b, long c) -> step<long> { return a + b + c; });
  };
  EXPECT_EQ(run(the_pool(), "many", root, with(2)), 321);
}

TEST_F(Job, IsIdempotentByName) {
  EXPECT_EQ(run(the_pool(), "fib", task<fib>(20), with(2)), serial_fib(20));
  reopen();
  run_statistics s;
  run_options o = with(2);
  o.statistics = &s;
  EXPECT_EQ(run(the_pool(), "fib", task<fib>(20), o), serial_fib(20));
  EXPECT_EQ(s.commits, 0u);  // the stored result: nothing ran
}

TEST_F(Job, RefusesOtherArgumentsAndOtherTasks) {
  run(the_pool(), "fib", task<fib>(10), with(1));
  EXPECT_THROW(run(the_pool(), "fib", task<fib>(11), with(1)), job_mismatch);
  EXPECT_THROW(run(the_pool(), "fib", task<deep>(std::uint64_t{10}), with(1)), job_mismatch);
  run_options o = with(1);
  o.input = 7;
  EXPECT_THROW(run(the_pool(), "fib", task<fib>(10), o), job_mismatch);
}

/// Padding behind an array of structs: what GCC 12 clears in the wrong place (pmem/padding.hpp).
struct entries {
  struct one {
    std::uint32_t a, b, c, d;
  };
  std::uint64_t first;
  std::array<one, 6> all;
  std::uint32_t last;
};

#if __has_builtin(__builtin_clear_padding)
TEST(Padding, IsClearedAndNothingElse) {
  entries e;
  std::memset(static_cast<void*>(&e), 0xff, sizeof e);
  detail::clear_padding(&e);
  std::array<unsigned char, sizeof e> bytes;
  std::memcpy(bytes.data(), &e, sizeof e);
  for (std::size_t i = 0; i < sizeof e; ++i) EXPECT_EQ(bytes[i], i < offsetof(entries, last) + sizeof e.last ? 0xff : 0) << i;
}
#endif

/// Of the arguments of a task; by hand, where the compiler cannot tell.
step<int> padded(context&, std::uint64_t, std::uint32_t, bool) { return 0; }
TEST(Padding, BetweenArgumentsIsCleared) {
  auto t = task<padded>(~std::uint64_t{0}, ~std::uint32_t{0}, true);
  static_assert(sizeof t == 16);
  std::array<unsigned char, sizeof t> bytes, clean{};
  clean.fill(0xff);
  clean[12] = 1;
  std::fill(clean.begin() + 13, clean.end(), 0);
  std::memset(reinterpret_cast<unsigned char*>(&t) + 13, 0xff, 3);
  detail::clear_padding(&t);
  std::memcpy(bytes.data(), &t, sizeof t);
  EXPECT_EQ(bytes, clean);
}

step<std::uint64_t> sum_entries(context&, entries e, std::uint16_t more) {
  std::uint64_t sum = e.first + e.last + more;
  for (const entries::one& x : e.all) sum += x.a + x.b + x.c + x.d;
  return sum;
}
TEST_F(Job, KeepsAllThatItsRootCarries) {
  entries e{1, {}, 2};
  for (std::uint32_t i = 0; auto& x : e.all) x = {++i, 10 * i, 100 * i, 1000 * i};
  EXPECT_EQ(run(the_pool(), "bound", task<sum_entries>(e, std::uint16_t{3}), with(1)), 6u + 21 * 1111);
  EXPECT_EQ(run(the_pool(), "closure", [e, more = std::uint16_t{3}](context& cx) { return sum_entries(cx, e, more); }, with(1)), 6u + 21 * 1111);
  e.all[0].b = 1;
  EXPECT_THROW(run(the_pool(), "bound", task<sum_entries>(e, std::uint16_t{3}), with(1)), job_mismatch);
}

TEST_F(Job, RefusesAnotherBuild) {
  run_options o = with(1);
  std::stop_source stop;
  stop.request_stop();
  o.stop = stop.get_token();
  EXPECT_THROW(run(the_pool(), "fib", task<fib>(30), o), job_interrupted);
  auto entry = the_pool().find_job("fib");
  ASSERT_TRUE(entry);
  entry->build_id[0] ^= 1;
  the_pool().put_job(*entry);
  EXPECT_THROW(run(the_pool(), "fib", task<fib>(30), with(1)), job_mismatch);
}

TEST_F(Job, OneUnfinishedJobAPool) {
  run_options o = with(1);
  std::stop_source stop;
  stop.request_stop();
  o.stop = stop.get_token();
  EXPECT_THROW(run(the_pool(), "first", task<fib>(30), o), job_interrupted);
  EXPECT_THROW(run(the_pool(), "second", task<fib>(5), with(1)), job_unfinished);
  EXPECT_TRUE(the_pool().drop_job("first"));
  EXPECT_EQ(run(the_pool(), "second", task<fib>(5), with(1)), 5);
}

TEST_F(Job, StoresWhatATaskThrew) {
  const auto throws = [](context& cx) -> step<long> {
    return cx.fork(task<fib>(20), [](context&) -> step<long> { throw std::runtime_error("no such luck"); }).then([](context&, long a, long) -> step<long> {
      return a;
    });
  };
  for (int i = 0; i < 2; ++i) {  // at once, and from the catalog
    try {
      run(the_pool(), "bad", throws, with(2));
      FAIL();
    } catch (const job_failed& e) {
      EXPECT_NE(std::string(e.what()).find("no such luck"), std::string::npos) << e.what();
    }
    reopen();
  }
  EXPECT_EQ(run(the_pool(), "good", task<fib>(10), with(2)), 55);  // a failed job does not block the pool
}

/// A fib that pulls a plug after some number of additions: the test stops it where it is, without a clock.
struct fuse {
  std::atomic<std::int64_t> left{0};
  std::stop_source stop;
};
fuse* burning = nullptr;

step<long> fused_fib(context& cx, int n) {
  if (n < 2) return n;
  return cx.fork(task<fused_fib>(n - 1), task<fused_fib>(n - 2)).then([](context& c, long a, long b) -> step<long> {
    c.advance(1);
    if (burning->left.fetch_sub(1) == 1) burning->stop.request_stop();
    return a + b;
  });
}

TEST_F(Job, InterruptedAgainAndAgainByOtherNumbersOfWorkers) {
  constexpr int n = 20;
  std::mt19937_64 dice(seed());
  for (unsigned interruptions = 0;; ++interruptions) {
    fuse f;
    f.left = static_cast<std::int64_t>(1 + dice() % 1000);
    burning = &f;
    run_options o = with(1 + static_cast<unsigned>(dice() % 6));
    o.stop = f.stop.get_token();
    run_statistics s;
    o.statistics = &s;
    try {
      EXPECT_EQ(run(the_pool(), "fib", task<fused_fib>(n), o), serial_fib(n));
      EXPECT_EQ(s.units, fib_units(n));
      EXPECT_GT(interruptions, 5u);
      break;
    } catch (const job_interrupted&) {
    }
    reopen();
  }
}

TEST_F(Job, ResumeTellsWhereItStands) {
  run_options o = with(2);
  std::stop_source stop;
  o.stop = stop.get_token();
  o.on_progress = [&](std::uint64_t units) {
    if (units > 0) stop.request_stop();
  };
  try {
    run(the_pool(), "fib", task<fib>(40), o);
    FAIL() << "fib(40) was done before it was interrupted";
  } catch (const job_interrupted&) {
  }
  reopen();
  std::optional<resume_info> told;
  std::stop_source at_once;
  run_options again = with(2);
  again.stop = at_once.get_token();
  again.on_resume = [&](const resume_info& r) {
    told = r;
    at_once.request_stop();
  };
  EXPECT_THROW(run(the_pool(), "fib", task<fib>(40), again), job_interrupted);
  ASSERT_TRUE(told);
  EXPECT_GT(told->units_done, 0u);
  EXPECT_EQ(told->units_lost, 0u);  // interrupted, not killed: all is committed
  EXPECT_GE(told->strands, 1u);
}

TEST_F(Job, CommitsCostTwoFencesEach) {
  run_options o = with(1);
  run_statistics s;
  o.statistics = &s;
  run(the_pool(), "fib", task<fib>(29), o);
  ASSERT_GT(s.commits, 100u);
  // Besides: one when the worker looks at its own record, two for DONE.
  EXPECT_EQ(s.flushed.fences, 2 * s.commits + 3);
}

TEST_F(Job, HardAndSoftWhoAmI) {
  const auto who = [](context& cx) -> step<std::uint64_t> { return std::uint64_t{cx.hard_id()} << 32 | cx.soft_id(); };
  const std::uint64_t id = run(the_pool(), "who", who, with(1));
  EXPECT_EQ(id >> 32, id & 0xffffffff);
}

// A task that overwrites what its capsule has read is run again as a capsule of its own, with the same answer.
step<std::uint64_t> add_one(context& cx, out<std::uint64_t> from, out<std::uint64_t> to) {
  const auto source = cx.read(from.as_in());
  const auto target = cx.write(to);
  for (std::size_t i = 0; i < source.size(); ++i) target[i] = source[i] + 1;
  return std::uint64_t{target[0]};
}
step<std::uint64_t> back_and_forth(context& cx, out<std::uint64_t> a, out<std::uint64_t> b, int times) {
  if (times == 0) return cx.read(a.as_in())[0];
  return cx.call(task<add_one>(a, b)).then([a, b, times](context& c, std::uint64_t) { return back_and_forth(c, b, a, times - 1); });
}

TEST_F(Job, WriteAfterReadStartsACapsule) {
  for (const double faults : {0.0, 0.02}) {
    run_options o = with(1);
    o.heartbeat = std::chrono::seconds(10);  // no commit but for the conflicts
    o.region = 2 * 4096;
    o.soft_fault_rate = faults;
    o.fault_seed = seed();
    run_statistics s;
    o.statistics = &s;
    auto* words = reinterpret_cast<std::uint64_t*>(region_of(the_pool(), o.region).data());
    std::memset(words, 0, o.region);
    const out<std::uint64_t> a(words, 512), b(words + 512, 512);
    EXPECT_EQ(run(the_pool(), faults > 0 ? "faults" : "none", task<back_and_forth>(a, b, 100), o), 100u);
    EXPECT_GT(s.restarts_of_tasks, 0u);
  }
}

TEST_F(Job, ATaskThatOverwritesItsOwnInputFails) {
  run_options o = with(1);
  o.region = 4096;
  const out<std::uint64_t> a(reinterpret_cast<std::uint64_t*>(region_of(the_pool(), o.region).data()), 16);
  const auto bad = [a](context& cx) -> step<void> {
    const auto from = cx.read(a.as_in());
    const auto to = cx.write(a);
    to[0] = from[0] + 1;
    return {};
  };
  EXPECT_THROW(run(the_pool(), "bad", bad, o), job_failed);
}

TEST_F(Job, MoreWorkersThanSlotsAreRefused) {
  make({.max_workers = 2});
  EXPECT_THROW(run(the_pool(), "fib", task<fib>(5), with(3)), pool_error);
  EXPECT_EQ(run(the_pool(), "fib", task<fib>(5), with(2)), 5);
}

TEST_F(Job, RegionTooLargeIsRefused) {
  run_options o = with(1);
  o.region = max_region(the_pool()) + 1;
  EXPECT_THROW(run(the_pool(), "fib", task<fib>(5), o), pool_too_small);
  EXPECT_FALSE(the_pool().find_job("fib"));
  o.region = max_region(the_pool());
  EXPECT_EQ(run(the_pool(), "fib", task<fib>(20), o), serial_fib(20));
}

}  // namespace
}  // namespace ppmm::test
