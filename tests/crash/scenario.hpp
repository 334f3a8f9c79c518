/// Small jobs for the explorer: each makes one thing happen that a crash could break, and knows its answer.
#pragma once

#include <ppmm/ppmm.hpp>

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

namespace ppmm::test {

/// A job's answer: its value, and the units of work it counted: an exactly-once counter.
struct answer {
  std::uint64_t value = 0, units = 0;
  friend bool operator==(const answer&, const answer&) = default;
};

/// What happened in the runs of a scenario, summed up.
struct coverage {
  std::uint64_t steals = 0, lost_steals = 0, taken_back = 0, joins_first = 0, joins_second = 0, left_claims = 0, right_claims = 0, robberies = 0,
                soft_faults = 0, hard_faults = 0, restarts = 0;
};

struct scenario {
  std::string name, about;
  unsigned workers = 1;  ///< at most; a restarted run has from one to as many
  bool every_task = true;
  bool large = false;    ///< for random walks only
  double soft = 0, hard = 0;
  std::uint64_t region = 0;
  std::uint64_t blocks = 0;  ///< of the heap that are allocated at the end
  answer expected;
  std::function<std::uint64_t(pool&, const run_options&)> run;
  std::function<void(pool&)> earlier = nullptr;                    ///< runs jobs that leave something in the pool
  std::function<void(std::span<std::byte>)> prepare = nullptr;     ///< fills the region before the first run
  std::function<bool(std::span<const std::byte>)> right = nullptr; ///< is the region as it must be at the end?
  std::function<bool(const coverage&)> covered;                    ///< did it make happen what it is for?
};

/// All of them, the smallest first.
const std::vector<scenario>& scenarios();
/// Those of them that run an algorithm of algo/ (algorithms.cpp).
std::vector<scenario> algorithm_scenarios();

/// The name of the job in the pool.
inline constexpr const char* job_name = "explored";

}  // namespace ppmm::test
