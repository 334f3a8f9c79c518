/// Runs of jobs on simulated machines.
#pragma once

#include "simulated_jobs.hpp"
#include "simulated_machine.hpp"

#include <chrono>
#include <cstdint>
#include <string>

namespace bench {

struct setting {
  unsigned workers = 1;
  std::chrono::nanoseconds heartbeat = std::chrono::microseconds(50);
  ppmm::detail::victim_policy victims = {};
  double soft_faults = 0, hard_faults = 0;  ///< probability at a persistent access
  std::uint64_t seed = 1;
};

struct outcome {
  simulated machine;
  ppmm::run_statistics statistics;
  bool right = false;     ///< the job gave what it must
  bool finished = false;  ///< not all workers were lost
};

/// One run, in a pool of its own on memory.
outcome simulate(simulated_machine& on, const simulated_job& job, const setting& s);

/// What the costs are on the machine that this runs on, as far as it can tell (transfers: between two of its cores).
costs measure_costs();

}  // namespace bench
