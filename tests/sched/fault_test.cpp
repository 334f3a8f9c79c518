/// Soft faults (a worker loses its ephemeral memory) and hard faults (a worker never comes back), injected at random
/// persistent accesses.
#include "sched_test.hpp"

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

}  // namespace
}  // namespace ppmm::test
