/// Scratch memory: good until the capsule ends, whatever faults come, and not a moment longer.
#include "sched_test.hpp"

#include <ppmm/pmem/sanitizers.hpp>
#include <ppmm/sched/scratch.hpp>

#include <atomic>
#include <cstring>

namespace ppmm::test {
namespace {

// ---- by itself

TEST(ScratchMemory, IsAlignedAndApart) {
  detail::scratch_memory scratch;
  std::mt19937_64 random(seed());
  for (int capsule = 0; capsule < 20; ++capsule) {
    struct piece {
      std::byte* at;
      std::size_t bytes;
      int value;
    };
    std::vector<piece> all;
    for (int i = 0; i < 300; ++i) {
      const std::size_t bytes = random() % 50 == 0 ? random() % 200'000 : random() % 600, alignment = std::size_t{1} << random() % 16;
      std::byte* at = scratch.take(bytes, alignment);
      EXPECT_EQ(reinterpret_cast<std::uintptr_t>(at) % alignment, 0u);
      std::memset(at, i & 0xff, bytes);
      all.push_back({at, bytes, i & 0xff});
    }
    for (const piece& p : all)
      for (std::size_t i = 0; i < p.bytes; ++i) ASSERT_EQ(std::to_integer<int>(p.at[i]), p.value);
    scratch.end();
  }
}

TEST(ScratchMemory, IsHandedOutAgain) {
  detail::scratch_memory scratch;
  std::byte* first = scratch.take(100, 8);
  EXPECT_NE(scratch.take(100, 8), first);
  scratch.end();
  EXPECT_EQ(scratch.take(100, 8), first);
  for (int i = 0; i < 10'000; ++i) scratch.take(1000, 8);
  EXPECT_TRUE(scratch.is_full());
  scratch.end();
  EXPECT_FALSE(scratch.is_full());
  EXPECT_EQ(scratch.take(1, 1), first);
}

TEST(ScratchMemory, RefusesWhatNoMachineHas) {
  detail::scratch_memory scratch;
  EXPECT_THROW(scratch.take(std::size_t{1} << 62, 8), error);
  EXPECT_NE(scratch.take(8, 8), nullptr);
}

#if PPMM_ADDRESS_SANITIZER
TEST(ScratchMemoryDeathTest, IsPoisonedAfterItsCapsule) {
  for (const std::size_t bytes : {std::size_t{8}, std::size_t{500'000}}) {
    detail::scratch_memory scratch;
    volatile std::byte* kept = scratch.take(bytes, 8);
    kept[0] = std::byte{1};
    scratch.end();
    EXPECT_DEATH(kept[0] = std::byte{1}, "AddressSanitizer");
    scratch.take(bytes, 8);
    scratch.lose();
    EXPECT_DEATH(kept[0] = std::byte{1}, "AddressSanitizer");
  }
  detail::scratch_memory scratch;
  volatile std::byte* beyond = scratch.take(20, 8);
  EXPECT_DEATH(beyond[20] = std::byte{1}, "AddressSanitizer");
}
#else
TEST(ScratchMemory, IsOverwrittenByAFault) {
  detail::scratch_memory scratch;
  std::byte* kept = scratch.take(8, 8);
  std::memset(kept, 1, 8);
  scratch.lose();
  for (int i = 0; i < 8; ++i) EXPECT_EQ(std::to_integer<int>(kept[i]), detail::scratch_memory::poison);
}
#if !defined(NDEBUG) || defined(PPMM_INSTRUMENT)
TEST(ScratchMemory, IsOverwrittenAfterItsCapsule) {
  detail::scratch_memory scratch;
  std::byte* kept = scratch.take(8, 8);
  std::memset(kept, 1, 8);
  scratch.end();
  for (int i = 0; i < 8; ++i) EXPECT_EQ(std::to_integer<int>(kept[i]), detail::scratch_memory::poison);
}
#endif
#endif

// ---- in tasks

class Scratch : public Sched {};

/// Sums squares of a window by way of scratch memory of all sizes, at each level of a tree.
step<std::uint64_t> windows(context& cx, std::uint64_t lo, std::uint64_t hi) {
  const auto size = static_cast<std::size_t>(mix(lo ^ hi) % 64 == 0 ? 5000 + mix(hi) % 5000 : 1 + mix(hi) % 40);
  const std::span<std::uint64_t> a = cx.scratch<std::uint64_t>(size), b = cx.scratch<std::uint64_t>(size);
  for (std::size_t i = 0; i < size; ++i) a[i] = lo + i;
  for (std::size_t i = 0; i < size; ++i) b[i] = a[i] * a[i];
  std::uint64_t sum = 0;
  for (const std::uint64_t x : b) sum += x;
  if (hi - lo < 2) return sum;
  const std::uint64_t middle = lo + (hi - lo) / 2;
  return cx.fork(task<windows>(lo, middle), task<windows>(middle, hi)).then([sum](context& c, std::uint64_t x, std::uint64_t y) -> step<std::uint64_t> {
    const std::span<std::uint64_t> three = c.scratch<std::uint64_t>(3);
    three[0] = x, three[1] = y, three[2] = sum;
    return three[0] + three[1] * 3 + three[2];
  });
}
std::uint64_t serial_windows(std::uint64_t lo, std::uint64_t hi) {
  const auto size = static_cast<std::size_t>(mix(lo ^ hi) % 64 == 0 ? 5000 + mix(hi) % 5000 : 1 + mix(hi) % 40);
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < size; ++i) sum += (lo + i) * (lo + i);
  if (hi - lo < 2) return sum;
  const std::uint64_t middle = lo + (hi - lo) / 2;
  return serial_windows(lo, middle) + 3 * serial_windows(middle, hi) + sum;
}

TEST_F(Scratch, ServesTasksWhateverHappens) {
  for (const bool every_task : {false, true}) {
    for (const double rate : {0.0, 0.002}) {
      run_options o = with(3);
      o.commit_every_task = every_task;
      o.soft_fault_rate = rate;
      o.fault_seed = seed();
      EXPECT_EQ(run(the_pool(), "windows", task<windows>(std::uint64_t{0}, std::uint64_t{3000}), o), serial_windows(0, 3000));
      the_pool().drop_job("windows");
    }
  }
}

std::atomic<std::uintptr_t> kept;

#if PPMM_ADDRESS_SANITIZER || !defined(NDEBUG) || defined(PPMM_INSTRUMENT)
/// The second task is another capsule.
step<int> keeps_scratch(context& cx, std::size_t n) {
  const std::span<std::uint64_t> mine = cx.scratch<std::uint64_t>(n);
  mine[0] = 7;
  kept = reinterpret_cast<std::uintptr_t>(mine.data());
  cx.commit_next();
  return cx.call([](context&) -> step<int> { return static_cast<int>(*reinterpret_cast<const volatile std::uint64_t*>(kept.load())); })
      .then([](context&, int found) -> step<int> { return found; });
}

#if PPMM_ADDRESS_SANITIZER
using ScratchDeathTest = Scratch;
TEST_F(ScratchDeathTest, KeptBeyondItsCapsuleIsFound) {
  EXPECT_DEATH(run(the_pool(), "keeps", task<keeps_scratch>(std::size_t{3}), with(1)), "use-after-poison");
  make({});
  EXPECT_DEATH(run(the_pool(), "keeps", task<keeps_scratch>(std::size_t{30'000}), with(1)), "heap-use-after-free");
}
#else
TEST_F(Scratch, KeptBeyondItsCapsuleIsFound) {
  EXPECT_EQ(run(the_pool(), "keeps", task<keeps_scratch>(std::size_t{3}), with(1)), static_cast<int>(0xdbdb'dbdb));
}
#endif
#endif

#if !PPMM_ADDRESS_SANITIZER
/// Runs until a fault; what it finds after that is what the fault has left of its scratch memory.
step<std::uint64_t> until_a_fault(context& cx, in<std::uint64_t> some) {
  if (kept != 0) return *reinterpret_cast<const volatile std::uint64_t*>(kept.load());
  const std::span<std::uint64_t> mine = cx.scratch<std::uint64_t>(1);
  mine[0] = 7;
  kept = reinterpret_cast<std::uintptr_t>(mine.data());
  for (int i = 0; i < 100'000; ++i) static_cast<void>(cx.read(some));
  return 0u;
}
TEST_F(Scratch, IsLostInAFault) {
  run_options o = with(1);
  o.soft_fault_rate = 0.01;
  o.fault_seed = seed();
  o.region = 4096;
  const in<std::uint64_t> some(reinterpret_cast<std::uint64_t*>(region_of(the_pool(), o.region).data()), 1);
  kept = 0;
  EXPECT_EQ(run(the_pool(), "faults", task<until_a_fault>(some), o), 0xdbdb'dbdb'dbdb'dbdbu);
}
#endif

/// Two capsules get the same memory: what the first had is over.
step<bool> same_again(context& cx) {
  kept = reinterpret_cast<std::uintptr_t>(cx.scratch(100).data());
  cx.commit_next();
  return cx.call([](context& c) -> step<bool> { return kept == reinterpret_cast<std::uintptr_t>(c.scratch(100).data()); })
      .then([](context&, bool same) -> step<bool> { return same; });
}
TEST_F(Scratch, IsReusedByTheNextCapsule) {
  EXPECT_TRUE(run(the_pool(), "same", task<same_again>(), with(1)));
}

/// Without commits a capsule would never end, and its memory grow with time.
step<std::uint64_t> many(context& cx, std::uint64_t n) {
  if (n == 0) return 0u;
  cx.scratch(30'000)[0] = std::byte{1};
  return cx.tail(task<many>(n - 1));
}
TEST_F(Scratch, DoesNotGrowWithTime) {
  run_options o = with(1);
  o.commits = false;
  run_statistics s;
  o.statistics = &s;
  run(the_pool(), "many", task<many>(std::uint64_t{3000}), o);
  EXPECT_GT(s.commits, 3000u * 30'000 / (std::uint64_t{8} << 20));
}

step<int> too_much(context& cx) {
  cx.scratch<std::uint64_t>(~std::size_t{0} / 8);
  return 0;
}
TEST_F(Scratch, TooMuchFailsTheJobAndSaysSo) {
  try {
    run(the_pool(), "too much", task<too_much>(), with(1));
    ADD_FAILURE();
  } catch (const job_failed& e) {
    EXPECT_NE(std::string(e.what()).find("bytes of scratch memory"), std::string::npos) << e.what();
  }
}

}  // namespace
}  // namespace ppmm::test
