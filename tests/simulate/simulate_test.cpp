/// The scheduler in virtual time: jobs give what they must, a seed gives one run, and time is what things cost.
#include "bench/simulation.hpp"

#include <gtest/gtest.h>

#include <numeric>

namespace bench {
namespace {

constexpr const char* small = "package:2 node:2 l3:2 core:2 pu:1";  // 16 cores

TEST(Simulate, AllJobsGiveTheirAnswersByAnyNumberOfWorkers) {
  simulated_machine m(small, {});
  for (const simulated_job& job : {fib_job(26), sort_job(17), tree_job(6)})
    for (const unsigned workers : {1u, 2u, 3u, 16u}) {
      const outcome o = simulate(m, job, {.workers = workers});
      EXPECT_TRUE(o.right) << job.name << " by " << workers;
      if (workers > 1) {
        EXPECT_GT(o.statistics.steals, 0u) << job.name << " by " << workers;
      }
    }
}

TEST(Simulate, ASeedGivesOneRun) {
  const auto run = [](std::uint64_t seed) {
    simulated_machine m(small, {});
    return simulate(m, fib_job(26), {.workers = 16, .soft_faults = 1e-5, .seed = seed});
  };
  const outcome a = run(7), b = run(7), c = run(8);
  EXPECT_EQ(a.machine.ns, b.machine.ns);
  EXPECT_EQ(a.machine.thefts, b.machine.thefts);
  EXPECT_EQ(a.statistics.commits, b.statistics.commits);
  EXPECT_EQ(a.statistics.soft_faults, b.statistics.soft_faults);
  EXPECT_NE(a.machine.ns, c.machine.ns);
}

TEST(Simulate, OneWorkerTakesItsWorkAndWhatItsCommitsCost) {
  costs c;
  simulated_machine m(small, c);
  const simulated_job job = fib_job(27);
  const outcome o = simulate(m, job, {});
  const auto spent = [&](use u) { return o.machine.spent_ns[static_cast<std::size_t>(u)]; };
  EXPECT_NEAR(spent(use::work), job.work_ns, 1);
  EXPECT_NEAR(o.machine.ns, std::accumulate(o.machine.spent_ns.begin(), o.machine.spent_ns.end(), 0.0),
              c.pause + c.clock + 1);
  const double commits = static_cast<double>(o.statistics.commits);
  EXPECT_GT(commits, 10);
  EXPECT_NEAR(spent(use::fences), commits * 2 * c.fence, 4 * c.fence + 100) << "two fences a commit";
  EXPECT_EQ(o.statistics.steals, 0u);
}

TEST(Simulate, CommitsComeOnceAHeartbeat) {
  simulated_machine m(small, {});
  const simulated_job job = fib_job(28);
  for (const unsigned us : {20u, 100u}) {
    const outcome o = simulate(m, job, {.heartbeat = std::chrono::microseconds(us)});
    const double beats = o.machine.ns / (us * 1e3);
    EXPECT_GE(static_cast<double>(o.statistics.commits), 0.85 * beats);
    EXPECT_LE(static_cast<double>(o.statistics.commits), beats + 2);
  }
}

TEST(Simulate, MoreWorkersAreFasterAndNeverFasterThanIdeal) {
  simulated_machine m(small, {});
  const simulated_job job = fib_job(30);
  const double alone = simulate(m, job, {}).machine.ns;
  double before = alone;
  for (const unsigned workers : {2u, 4u, 8u, 16u}) {
    const double ns = simulate(m, job, {.workers = workers}).machine.ns;
    EXPECT_LT(ns, 0.7 * before) << workers;
    EXPECT_GE(ns, job.work_ns / workers) << workers;
    before = ns;
  }
}

TEST(Simulate, AFarStealCostsMoreThanANearOne) {
  costs far;
  far.transfer = {2, 5000, 5000, 5000, 5000};
  const simulated_job job = fib_job(27);
  simulated_machine m(small, {});
  const double near_ns = simulate(m, job, {.workers = 16}).machine.ns;
  simulated_machine n(small, far);
  EXPECT_GT(simulate(n, job, {.workers = 16}).machine.ns, near_ns);
}

TEST(Simulate, FaultsAreSurvivedAndTheDeadAreCounted) {
  simulated_machine m(small, {});
  const outcome soft = simulate(m, fib_job(26), {.workers = 8, .soft_faults = 1e-3});
  EXPECT_TRUE(soft.right);
  EXPECT_GT(soft.statistics.soft_faults, 0u);
  const outcome hard = simulate(m, fib_job(26), {.workers = 8, .hard_faults = 2e-4, .seed = 3});
  ASSERT_TRUE(hard.finished);
  EXPECT_TRUE(hard.right);
  EXPECT_GT(hard.statistics.hard_faults, 0u);
  EXPECT_GT(hard.statistics.robberies, 0u);
  EXPECT_LT(hard.machine.alive_ns, 8 * hard.machine.ns);
}

TEST(Simulate, ThousandsOfWorkersWork) {
  simulated_machine m("package:8 node:8 l3:8 core:8 pu:1", {});
  const outcome o = simulate(m, fib_job(34), {.workers = 4096});
  EXPECT_TRUE(o.right);
  EXPECT_GT(o.statistics.steals, 1000u);
}

TEST(Simulate, NotMoreWorkersThanCores) {
  simulated_machine m("core:2 pu:1", {});
  EXPECT_THROW(simulate(m, fib_job(20), {.workers = 3}), std::invalid_argument);
}

}  // namespace
}  // namespace bench
