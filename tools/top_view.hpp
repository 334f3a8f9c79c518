/// What `ppmm top` shows: two looks at a pool from outside, and what has happened between them.
#pragma once

#include "pool_reader.hpp"

#include <ppmm/pmem/inspect.hpp>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace ppmm::tools {

/// One look.
struct pool_look {
  std::chrono::steady_clock::time_point when;
  pool_report report;
  std::optional<layout::job_entry> job;  // the unfinished one
  std::vector<worker_state> workers;     // those with a record of that job, or that are at work on it
};

/// Reads the pool, without its lock. Throws what inspect() throws; error if it is no pool that can be read.
pool_look look_at(const std::filesystem::path& file);

/// What one worker did between two looks, a second.
struct worker_rates {
  unsigned slot = 0;
  std::optional<std::uint64_t> process;  // its own, if it is one
  std::string runs;  // in words
  double units = 0, commits = 0, steals = 0, bytes = 0;
  double in_commits = 0;     // part of its time
  std::uint64_t faults = 0;  // since the run began
  double silent_ms = 0;      // since its last sign of life
};
struct pool_rates {
  double seconds = 0;
  std::vector<worker_rates> workers;
  worker_rates sum;
};
pool_rates between(const pool_look& before, const pool_look& after);

/// Lines of text, without control characters, none longer than `width`.
std::vector<std::string> show(const pool_look& now, const pool_rates& rates, std::size_t width);

}  // namespace ppmm::tools
