/// `ppmm top`: what two looks at a pool make, and how it is shown.
#include "top_view.hpp"

#include <ppmm/ppmm.hpp>
#include <ppmm/sched/clock.hpp>

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <string>

namespace ppmm::tools {
namespace {

pool_look made_up(double at_seconds, std::uint64_t serial) {
  pool_look look;
  look.when =
      std::chrono::steady_clock::time_point(std::chrono::nanoseconds(static_cast<std::int64_t>(1e9 * at_seconds)));
  look.report.file = "x";
  look.report.facts.emplace();
  look.report.holder = 17;
  look.job.emplace();
  look.job->serial = serial;
  std::strcpy(look.job->name, "some\033[31mjob");
  worker_state w;
  w.slot = 3;
  w.record.emplace();
  w.record->job = serial;
  look.workers.push_back(w);
  return look;
}

TEST(Top, TellsRatesFromTwoLooks) {
  pool_look before = made_up(1, 5), after = made_up(3, 5);
  before.workers[0].live_commits = 100;
  after.workers[0].live_commits = 300;
  after.workers[0].live_lines = 2000;
  after.workers[0].live_steals = 4;
  after.workers[0].live_progress = 10;
  after.workers[0].live_faults = 7;
  after.workers[0].live_commit_ticks = static_cast<std::uint64_t>(0.5e9 * detail::ticks_per_ns());
  const pool_rates r = between(before, after);
  ASSERT_EQ(r.workers.size(), 1u);
  EXPECT_DOUBLE_EQ(r.seconds, 2);
  EXPECT_DOUBLE_EQ(r.sum.commits, 100);
  EXPECT_DOUBLE_EQ(r.sum.bytes, 2000 * 64 / 2);
  EXPECT_DOUBLE_EQ(r.sum.steals, 2);
  EXPECT_DOUBLE_EQ(r.sum.units, 5);
  EXPECT_EQ(r.sum.faults, 7u);
  EXPECT_NEAR(r.sum.in_commits, 0.25, 0.001);
}

TEST(Top, ARunThatBeganAnewCountsFromItsBeginning) {
  pool_look before = made_up(1, 5), after = made_up(2, 5);
  before.workers[0].live_commits = 1000;
  after.workers[0].live_commits = 30;
  EXPECT_DOUBLE_EQ(between(before, after).sum.commits, 30);
  EXPECT_DOUBLE_EQ(between(made_up(1, 4), after).sum.commits, 0) << "another job's counts are no difference";
}

TEST(Top, ShowsNothingThatATerminalWouldObey) {
  pool_look look = made_up(1, 5);
  for (const std::string& line : show(look, between(look, look), 40)) {
    EXPECT_EQ(line.find('\033'), std::string::npos) << line;
    EXPECT_LE(line.size(), 40u);
  }
}

bool any_says(const std::vector<std::string>& lines, const std::string& what) {
  return std::ranges::any_of(lines, [&](const std::string& l) { return l.find(what) != std::string::npos; });
}

TEST(Top, ShowsWhichProcessesWorkersAre) {
  pool_look look = made_up(1, 5);
  EXPECT_FALSE(any_says(show(look, between(look, look), 200), "worker  process"));
  look.workers[0].process = 4711;
  worker_state idle;  // has just begun: there is no record of it
  idle.slot = 4;
  idle.process = 4712;
  look.workers.push_back(idle);
  look.report.worked_in = {3, 4};
  const auto lines = show(look, between(look, look), 200);
  EXPECT_TRUE(any_says(lines, "worker  process   units/s"));
  EXPECT_TRUE(any_says(lines, "     3     4711 "));
  EXPECT_TRUE(any_says(lines, "     4     4712 "));
  EXPECT_TRUE(any_says(lines, "open in process 17"));
  EXPECT_FALSE(any_says(lines, "coordinator"));
  EXPECT_EQ(users_in_words(look.report), "process 17 and 2 worker processes");
}

TEST(Top, SaysThatTheCoordinatorIsGone) {
  pool_look look = made_up(1, 5);
  look.report.holder.reset();
  EXPECT_EQ(users_in_words(look.report), "nobody");
  EXPECT_TRUE(any_says(show(look, between(look, look), 200), "unfinished"));
  look.report.worked_in = {3};
  const auto lines = show(look, between(look, look), 200);
  EXPECT_TRUE(any_says(lines, "the coordinator is gone: 1 worker process is at work without it"));
  EXPECT_TRUE(any_says(lines, "running"));
  EXPECT_EQ(users_in_words(look.report), "1 worker process whose coordinator is gone");
}

step<int> count_down(context& cx, int n) {
  cx.advance(1);
  if (n == 0) throw error("enough");
  return cx.tail(task<count_down>(n - 1));
}

/// The live words are those of the newest run, and name what it was at.
TEST(Top, ReadsWhatAWorkerLeftInItsSlot) {
  const std::string file = "/dev/shm/ppmm-top-" + std::to_string(getpid()) + ".pool";
  std::filesystem::remove(file);
  {
    pool p = pool::create(file, {.size = pool::min_size, .max_workers = 2});
    run_options o;
    o.workers = 1;
    o.commit_every_task = true;
    o.hard_fault_rate = 0.01;
    EXPECT_THROW(run(p, "count", task<count_down>(1000000), o), workers_lost);
  }
  const pool_look look = look_at(file);
  ASSERT_TRUE(look.job);
  ASSERT_EQ(look.workers.size(), 1u);
  EXPECT_GT(look.workers[0].live_commits, 0u);
  EXPECT_GT(look.workers[0].live_lines, 0u);
  EXPECT_EQ(look.workers[0].live_faults, 1u);
  {
    pool p = pool::open(file);
    std::stop_source stop;
    stop.request_stop();
    run_options o;
    o.workers = 1;
    o.stop = stop.get_token();
    EXPECT_THROW(run(p, "count", task<count_down>(1000000), o), job_interrupted);
  }
  EXPECT_EQ(look_at(file).workers[0].live_faults, 0u) << "of the run before";
  std::filesystem::remove(file);
}

}  // namespace
}  // namespace ppmm::tools
