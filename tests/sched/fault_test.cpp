/// Soft faults (a worker loses its ephemeral memory) and hard faults (a worker never comes back), injected at random
/// persistent accesses.
#include "sched_test.hpp"

#include <ppmm/pmem/sanitizers.hpp>

#if PPMM_ADDRESS_SANITIZER
#include <sanitizer/lsan_interface.h>
#endif

#include <algorithm>
#include <array>
#include <cmath>
#include <exception>
#include <functional>
#include <limits>
#include <thread>

namespace ppmm::test {
namespace {

class Fault : public Sched {
 protected:
  /// Runs until the job is done, in as many runs as it takes: hard faults may take all workers.
  void survives(int n, unsigned workers, double soft, double hard, std::uint64_t variant, bool every_task = false) {
    std::uint64_t soft_faults = 0, hard_faults = 0, robberies = 0;
    for (std::uint64_t run_number = 0;; ++run_number) {
      run_options o = with(run_number == 0 ? workers : 1 + static_cast<unsigned>((run_number + variant) % workers));
      o.heartbeat = std::chrono::microseconds(2);
      o.soft_fault_rate = soft;
      o.hard_fault_rate = hard;
      o.commit_every_task = every_task;
      o.fault_seed = seed() + 1000 * variant + run_number;
      run_statistics s;
      o.statistics = &s;
      std::optional<long> answer;
      const std::string name = "fib " + std::to_string(variant);
      try {
        answer = run(the_pool(), name, task<fib>(n), o);
      } catch (const workers_lost&) {
      }
      soft_faults += s.soft_faults;
      hard_faults += s.hard_faults;
      robberies += s.robberies;
      if (!answer) continue;
      ASSERT_EQ(*answer, serial_fib(n)) << "variant " << variant;
      ASSERT_EQ(s.units, fib_units(n)) << "variant " << variant;
      break;
    }
    soft_ += soft_faults;
    hard_ += hard_faults;
    robbed_ += robberies;
    the_pool().drop_job("fib " + std::to_string(variant));
  }
  std::uint64_t soft_ = 0, hard_ = 0, robbed_ = 0;
};

TEST_F(Fault, SoftWithOneWorker) {
  for (std::uint64_t v = 0; v < 20; ++v) survives(20, 1, 0.001, 0, v);
  EXPECT_GT(soft_, 0u);
}
TEST_F(Fault, SoftWithTwoWorkers) {
  for (std::uint64_t v = 0; v < 20; ++v) survives(20, 2, 0.003, 0, v);
  EXPECT_GT(soft_, 0u);
}
TEST_F(Fault, SoftWithFourWorkers) {
  for (std::uint64_t v = 0; v < 20; ++v) survives(20, 4, 0.01, 0, v);
  EXPECT_GT(soft_, 0u);
}
TEST_F(Fault, SoftWithOneCapsuleATask) {
  for (std::uint64_t v = 0; v < 10; ++v) survives(12, 3, 0.02, 0, v, true);
  EXPECT_GT(soft_, 0u);
}
TEST_F(Fault, HardIsRobbed) {
  for (std::uint64_t v = 0; v < 40; ++v) survives(18, 4, 0, 0.0002, v);
  EXPECT_GT(hard_, 0u);
  EXPECT_GT(robbed_, 0u);
}
TEST_F(Fault, HardAndSoft) {
  for (std::uint64_t v = 0; v < 40; ++v) survives(16, 4, 0.005, 0.001, v);
  EXPECT_GT(hard_, 0u);
  EXPECT_GT(soft_, 0u);
}
TEST_F(Fault, HardAndSoftWithOneCapsuleATask) {
  for (std::uint64_t v = 0; v < 20; ++v) survives(10, 4, 0.01, 0.002, v, true);
  EXPECT_GT(hard_, 0u);
}

// ---- a fault takes everything ephemeral. These tasks keep notes outside of the model, in static variables, to see it.

/// A job of one worker whose every capsule is a task, on a region of one page, with faults.
run_options losing(std::uint64_t seed, double rate) {
  run_options o;
  o.workers = 1;
  o.pin = false;
  o.commit_every_task = true;
  o.region = 4096;
  o.soft_fault_rate = rate;
  o.fault_seed = seed;
  return o;
}
out<std::uint64_t> page_of(const pool& p) { return {reinterpret_cast<std::uint64_t*>(region_of(p, 4096).data()), 512}; }

struct notes {
  int begun = 0, ended = 0, tries = 0, wrong = 0;
  const volatile unsigned char* left = nullptr;  // on the C++ stack: what a fault left there
} noted;

struct counted {
  counted() { ++noted.begun; }
  ~counted() { ++noted.ended; }
};

/// Opens the page many times: each time may be the last thing that it does.
step<int> opens_with_a_local(context& cx, out<std::uint64_t> page) {
  const counted c;
  for (std::size_t i = 0; i < 64; ++i) cx.write(page.sub(i, 1))[0] = i;
  return 1;
}
step<int> again_and_again(context& cx, out<std::uint64_t> page, int times) {
  if (times == 0) return 0;
  return cx.call(task<opens_with_a_local>(page)).then([page, times](context& c, int) {
    return again_and_again(c, page, times - 1);
  });
}

TEST_F(Fault, NoDestructorRuns) {
  noted = {};
  run_statistics s;
  run_options o = losing(seed(), 0.01);
  o.statistics = &s;
  EXPECT_EQ(run(the_pool(), "locals", task<again_and_again>(page_of(the_pool()), 50), o), 0);
  EXPECT_GT(s.soft_faults, 0u);
  EXPECT_GT(noted.begun, noted.ended);  // 64 of about 75 accesses are made while the local is there
  EXPECT_GE(noted.ended, 50);           // some came to their end, and a fault before the commit
  EXPECT_LE(noted.begun - noted.ended, static_cast<int>(s.soft_faults));
}

/// Bytes of dead frames. Not looked at by sanitizers: nobody but a test of what is left there may do this.
__attribute__((noinline, no_sanitize("address", "undefined", "thread"))) bool is_poison(const volatile unsigned char* p,
                                                                                     std::size_t n) {
  for (std::size_t i = 0; i < n; ++i)
    if (p[i] != 0xdb) return false;
  return true;
}

/// Leaves a mark far down the stack, where nothing comes again before the next try looks.
[[gnu::noinline]] void far_down(context& cx, out<std::uint64_t> page) {
  volatile unsigned char deep[256 * 1024];
  for (std::size_t i = 0; i < 64; ++i) deep[128 * 1024 + i] = 0x11;
  noted.left = deep + 128 * 1024;
  for (std::size_t i = 0; i < 64; ++i) cx.write(page.sub(i, 1))[0] = i;
  noted.left = nullptr;
}
step<int> leaves_marks(context& cx, out<std::uint64_t> page) {
  if (noted.left != nullptr) {
    ++noted.tries;
    if (!is_poison(noted.left, 64)) ++noted.wrong;
    noted.left = nullptr;
  }
  far_down(cx, page);
  return 1;
}
step<int> marks_again_and_again(context& cx, out<std::uint64_t> page, int times) {
  if (times == 0) return 0;
  return cx.call(task<leaves_marks>(page)).then([page, times](context& c, int) {
    return marks_again_and_again(c, page, times - 1);
  });
}

TEST_F(Fault, TheStackIsOverwritten) {
  noted = {};
  EXPECT_EQ(run(the_pool(), "marks", task<marks_again_and_again>(page_of(the_pool()), 50), losing(seed(), 0.01)), 0);
  EXPECT_GT(noted.tries, 0);
  EXPECT_EQ(noted.wrong, 0);
}

/// The first try reads the page and faults; the next ones only write it: had the runtime still known of the reading, it
/// would begin the task again as a capsule of its own.
step<int> reads_only_first(context& cx, out<std::uint64_t> page) {
  if (noted.tries++ == 0)
    for (int i = 0; i < 1'000'000; ++i) noted.wrong += static_cast<int>(cx.read(page.as_in())[0]);
  cx.write(page)[0] = 0;
  return noted.tries;
}

TEST_F(Fault, WhatTheCapsuleReadIsForgotten) {
  noted = {};
  run_statistics s;
  run_options o = losing(seed(), 0.01);
  o.commit_every_task = false;
  o.heartbeat = std::chrono::seconds(100);
  o.statistics = &s;
  std::ranges::fill(region_of(the_pool(), o.region), std::byte{0});
  EXPECT_GT(run(the_pool(), "reads", task<reads_only_first>(page_of(the_pool())), o), 1);
  EXPECT_EQ(s.restarts_of_tasks, 0u);
  EXPECT_EQ(noted.wrong, 0);
}

/// Faults inside of a handler: the exception that was being handled is lost as well.
[[gnu::noinline]] void throws() {
#if PPMM_ADDRESS_SANITIZER
  __lsan_disable();  // a fault in the handler leaves the exception on the heap, as it leaves all memory of the task's
#endif
  throw 1;
}
step<int> handles(context& cx, out<std::uint64_t> page) {
  if (std::current_exception() != nullptr || std::uncaught_exceptions() != 0) ++noted.wrong;
  try {
    throws();
  } catch (int) {
#if PPMM_ADDRESS_SANITIZER
    __lsan_enable();
#endif
    for (std::size_t i = 0; i < 64; ++i) cx.write(page.sub(i, 1))[0] = i;
  }
  return 1;
}
step<int> handles_again_and_again(context& cx, out<std::uint64_t> page, int times) {
  if (times == 0) return 0;
  return cx.call(task<handles>(page)).then([page, times](context& c, int) {
    return handles_again_and_again(c, page, times - 1);
  });
}

TEST_F(Fault, AnExceptionUnderWayIsForgotten) {
  noted = {};
  run_statistics s;
  run_options o = losing(seed(), 0.01);
  o.statistics = &s;
  EXPECT_EQ(run(the_pool(), "handlers", task<handles_again_and_again>(page_of(the_pool()), 50), o), 0);
  EXPECT_GT(s.soft_faults, 0u);
  EXPECT_EQ(noted.wrong, 0);
}

// ---- the injector

TEST_F(Fault, TheSameSeedGivesTheSameFaults) {
  std::vector<std::uint64_t> faults;
  for (const std::uint64_t s : {1u, 1u, 2u, 3u, 4u}) {
    run_statistics counted;
    run_options o = with(1);
    o.commit_every_task = true;  // else the clock decides where commits are
    o.soft_fault_rate = 0.01;
    o.fault_seed = seed() + s;
    o.statistics = &counted;
    EXPECT_EQ(run(the_pool(), "fib", task<fib>(14), o), serial_fib(14));
    the_pool().drop_job("fib");
    faults.push_back(counted.soft_faults);
    faults.push_back(counted.accesses);
  }
  EXPECT_GT(faults[0], 0u);
  EXPECT_EQ(faults[0], faults[2]);
  EXPECT_EQ(faults[1], faults[3]);
  EXPECT_FALSE(faults[0] == faults[4] && faults[0] == faults[6] && faults[0] == faults[8] && faults[1] == faults[5] &&
               faults[1] == faults[7]);
}

/// Of each access on average: the binomial distribution's width is about 1 % here.
TEST_F(Fault, TheRateIsThatOfEachAccess) {
  run_statistics s;
  run_options o = with(1);
  o.commit_every_task = true;
  o.soft_fault_rate = 0.02;
  o.fault_seed = seed();
  o.statistics = &s;
  EXPECT_EQ(run(the_pool(), "fib", task<fib>(18), o), serial_fib(18));
  const double expected = o.soft_fault_rate * static_cast<double>(s.accesses);
  EXPECT_GT(s.accesses, 50'000u);
  EXPECT_LT(std::abs(static_cast<double>(s.soft_faults) - expected), 8 * std::sqrt(expected));
}

TEST_F(Fault, ARateIsAProbabilityBelowOne) {
  constexpr double nan = std::numeric_limits<double>::quiet_NaN(), inf = std::numeric_limits<double>::infinity();
  for (const auto& [soft, hard] :
       {std::pair{0.0, 1.0}, {1.0, 0.0}, {-0.1, 0.0}, {0.0, -1e-9}, {nan, 0.0}, {0.0, nan}, {inf, 0.0}, {0.5, 0.5}}) {
    run_options o = with(1);
    o.soft_fault_rate = soft;
    o.hard_fault_rate = hard;
    ASSERT_THROW(run(the_pool(), "fib", task<fib>(5), o), bad_option) << soft << " " << hard;
  }
  EXPECT_FALSE(the_pool().find_job("fib"));
}

/// All workers are lost again and again; the same call, with the same seed, goes on each time and comes to the end.
TEST_F(Fault, AllLostAndRunAgain) {
  for (const unsigned workers : {1u, 2u, 4u}) {
    unsigned all_lost = 0;
    for (std::optional<long> answer; !answer;) {
      run_statistics s;
      run_options o = with(workers);
      o.commit_every_task = true;
      o.hard_fault_rate = 0.03;
      o.fault_seed = seed();
      o.statistics = &s;
      try {
        answer = run(the_pool(), "fib " + std::to_string(workers), task<fib>(9), o);
        EXPECT_EQ(*answer, serial_fib(9));
        EXPECT_EQ(s.units, fib_units(9));
      } catch (const workers_lost&) {
        EXPECT_EQ(s.hard_faults, workers);
        ASSERT_LT(++all_lost, 1000u) << "it does not go on";
        reopen();
      }
    }
    EXPECT_GT(all_lost, 0u);
  }
}

/// Who was to start the job dies before its first record, or robs before and then dies: another one starts it.
TEST_F(Fault, TheJobIsStartedWhoeverDies) {
  std::uint64_t all_lost = 0;
  for (std::uint64_t v = 0; v < 60; ++v) {
    run_options o = with(4);
    o.commit_every_task = true;
    o.hard_fault_rate = 0.1;  // six accesses until the first record is there
    o.soft_fault_rate = 0.1;
    o.fault_seed = seed() + v;
    for (std::optional<long> answer; !answer;) {
      try {
        answer = run(the_pool(), "fib", task<fib>(3), o);
        EXPECT_EQ(*answer, 2);
      } catch (const workers_lost&) {
        ++all_lost;
      }
    }
    the_pool().drop_job("fib");
  }
  EXPECT_GT(all_lost, 0u);
}

/// Some workers are lost, and others take over what they were at. Runs until that was seen; each run is right.
TEST_F(Fault, HardIsRobbedByWhoIsLeft) {
  for (std::uint64_t v = 0, robbed = 0; robbed == 0; ++v) {
    ASSERT_LT(v, 1000u) << "no grave was ever robbed";
    run_statistics s;
    run_options o = with(4);
    o.commit_every_task = true;
    o.hard_fault_rate = 0.0001;  // of some 30,000 accesses
    o.fault_seed = seed() + v;
    o.statistics = &s;
    try {
      EXPECT_EQ(run(the_pool(), "fib", task<fib>(16), o), serial_fib(16));
      EXPECT_EQ(s.units, fib_units(16));
      robbed = s.robberies;
    } catch (const workers_lost&) {
      EXPECT_EQ(s.hard_faults, 4u);
      EXPECT_EQ(run(the_pool(), "fib", task<fib>(16), with(2)), serial_fib(16));
    }
    the_pool().drop_job("fib");
  }
}

// ---- every job, at every rate, with one, two and four workers

struct small_job {
  const char* name;
  std::uint64_t region;
  std::function<bool(pool&, const run_options&)> is_right;
};
const small_job small_jobs[] = {
    {"fib", 0,
     [](pool& p, const run_options& o) {
       return run(p, "fib", task<fib>(13), o) == serial_fib(13) && o.statistics->units == fib_units(13);
     }},
    {"tree", 0,
     [](pool& p, const run_options& o) {
       const node root{seed(), 0};
       std::uint64_t nodes = 0;
       const std::uint64_t expected = serial_subtree(root, nodes);
       return run(p, "tree", task<subtree>(root), o) == expected && o.statistics->units == nodes;
     }},
    {"deep", 0,
     [](pool& p, const run_options& o) {
       return run(p, "deep", task<deep>(std::uint64_t{1000}), o) == serial_deep(1000) && o.statistics->units == 1000;
     }},
    {"deep_forks", 0,
     [](pool& p, const run_options& o) {
       return run(p, "deep_forks", task<deep_forks>(std::uint64_t{500}), o) == 501;
     }},
    {"countdown", 0,
     [](pool& p, const run_options& o) {
       return run(p, "countdown", task<countdown>(std::uint64_t{1000}, std::uint64_t{0}), o) == 500'500;
     }},
    {"chain", 0,
     [](pool& p, const run_options& o) {
       return run(p, "chain", task<chain>(std::uint64_t{1000}, std::uint64_t{0}), o) == 500'500;
     }},
    {"squares", 8 * 20'000,
     [](pool& p, const run_options& o) {
       const out<std::uint64_t> to(reinterpret_cast<std::uint64_t*>(region_of(p, o.region).data()), 20'000);
       return run(p, "squares", task<squares>(to), o) == serial_squares(20'000) && o.statistics->units == 20'000;
     }},
};

class EveryJobFault : public Sched, public ::testing::WithParamInterface<std::tuple<std::size_t, unsigned, double>> {};

TEST_P(EveryJobFault, GivesItsAnswer) {
  const auto& [job, workers, rate] = GetParam();
  run_statistics s;
  run_options o = with(workers);
  // Where faults are frequent a heartbeat's capsule would hardly ever come to its end: C is at most 1/(2f) in the
  // paper.
  o.commit_every_task = rate >= 0.01;
  o.soft_fault_rate = rate;
  o.fault_seed = seed() + workers;
  o.region = small_jobs[job].region;
  o.statistics = &s;
  EXPECT_TRUE(small_jobs[job].is_right(the_pool(), o));
  if (rate >= 0.05) {
    EXPECT_GT(s.soft_faults, 0u);
  }
}
INSTANTIATE_TEST_SUITE_P(Rates, EveryJobFault,
                         ::testing::Combine(::testing::Range(std::size_t{0}, std::size(small_jobs)),
                                            ::testing::Values(1u, 2u, 4u),
                                            ::testing::Values(0.0001, 0.001, 0.01, 0.05)),
                         [](const auto& p) {
                           return std::string(small_jobs[std::get<0>(p.param)].name) +
                                  std::to_string(std::get<1>(p.param)) + "WorkersPer" +
                                  std::to_string(std::lround(1 / std::get<2>(p.param)));
                         });

}  // namespace
}  // namespace ppmm::test
