#include "simulation.hpp"

#include "measure.hpp"

#include <ppmm/pmem/persist.hpp>

#include <fmt/format.h>
#include <sched.h>   // sched_yield
#include <unistd.h>  // getpid

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <system_error>
#include <thread>
#include <vector>

namespace bench {
namespace {

struct temporary_pool {
  explicit temporary_pool(const ppmm::pool_options& how)
      : file(std::filesystem::path(std::filesystem::is_directory("/dev/shm") ? "/dev/shm"
                                                                             : std::filesystem::temp_directory_path()) /
             fmt::format("ppmm-simulate-{}.pool", getpid())),
        pool(ppmm::pool::create(file, how)) {}
  ~temporary_pool() {
    std::error_code ignored;
    std::filesystem::remove(file, ignored);
  }
  temporary_pool(const temporary_pool&) = delete;
  temporary_pool& operator=(const temporary_pool&) = delete;

  std::filesystem::path file;
  ppmm::pool pool;
};

/// Nanoseconds of one call of `body`, by the median of many rounds.
template <class Body>
double each(unsigned calls, Body body) {
  std::vector<double> rounds;
  for (int r = 0; r < 31; ++r) {
    const double began = clock_ns(CLOCK_MONOTONIC);
    for (unsigned i = 0; i < calls; ++i) body();
    rounds.push_back((clock_ns(CLOCK_MONOTONIC) - began) / calls);
  }
  return median(std::move(rounds));
}

/// A line stored to by two threads in turns: a round is two transfers. The best of some tries, for both must run.
double ping_pong_ns() {
  alignas(64) std::atomic<unsigned> ball{0};
  constexpr unsigned rounds = 100'000, of_a_try = 100;
  double best = 1e9, began = 0;
  std::thread other([&] {
    for (unsigned i = 0; i < rounds; ++i) {
      while (ball.load(std::memory_order_acquire) != 2 * i + 1) {
      }
      ball.store(2 * i + 2, std::memory_order_release);
    }
  });
  for (unsigned i = 0; i < rounds; ++i) {
    if (i % of_a_try == 0) began = clock_ns(CLOCK_MONOTONIC);
    ball.store(2 * i + 1, std::memory_order_release);
    while (ball.load(std::memory_order_acquire) != 2 * i + 2) {
    }
    if (i % of_a_try == of_a_try - 1) best = std::min(best, (clock_ns(CLOCK_MONOTONIC) - began) / of_a_try / 2);
  }
  other.join();
  return best;
}

}  // namespace

outcome simulate(simulated_machine& on, const simulated_job& job, const setting& s) {
  // Worker slots, exposure slots and 16 chunks of stacks a worker; then what the job writes, whose lines are nobody's.
  const std::size_t shared = (std::size_t{64} << 20) + std::size_t{s.workers} * (std::size_t{1} << 20);
  temporary_pool in(
      {.size = shared + job.region, .max_workers = s.workers, .sparse = true, .level = ppmm::durability::emulated});
  on.take(in.pool, shared);
  outcome o;
  ppmm::run_options run;
  run.workers = s.workers;
  run.heartbeat = s.heartbeat;
  run.region = job.region;
  run.soft_fault_rate = s.soft_faults;
  run.hard_fault_rate = s.hard_faults;
  run.fault_seed = s.seed;
  run.statistics = &o.statistics;
  run.runner = &on;
  run.victims = s.victims;
  run.machine = &on.topology();
  try {
    o.right = job.run(in.pool, job, run) == job.expected;
    o.finished = true;
  } catch (const ppmm::workers_lost&) {
  }
  o.machine = on.last_run();
  return o;
}

costs measure_costs() {
  costs c;
  const temporary_pool in({.sparse = true, .level = ppmm::durability::emulated});
  std::byte* const at = in.pool.segments()[0].data() + (std::size_t{8} << 20);
  ppmm::persister p(in.pool.medium());
  const auto persist = [&](std::size_t lines) {
    return each(2000, [&, i = std::size_t{0}]() mutable {
      std::byte* const first = at + i++ % 256 * 64 * ppmm::line_size;
      for (std::size_t l = 0; l < lines; ++l) first[l * ppmm::line_size] = static_cast<std::byte>(i);
      p.persist(first, lines * ppmm::line_size);
    });
  };
  const double few = persist(1), many = persist(64);
  c.flush_line = (many - few) / 63;
  c.fence = few - c.flush_line;
  c.empty_fence = each(2000, [&] { p.fence(); });
  std::atomic<unsigned> word{0};
  c.locked = each(20'000, [&] { word.fetch_add(1); });
  c.clock = each(20'000, [] { keep(__builtin_ia32_rdtsc()); });
  c.pause = each(2000, [] { __builtin_ia32_pause(); });
  c.yield = each(2000, [] { sched_yield(); });
  if (std::thread::hardware_concurrency() > 1) c.transfer[static_cast<std::size_t>(distance::cache)] = ping_pong_ns();
  return c;
}

}  // namespace bench
