/// A job run by the command: the pool it lives in, its options, its progress, and how it is interrupted and resumed.
#pragma once

#include "interrupt.hpp"
#include "progress.hpp"

#include <ppmm/alloc/space.hpp>
#include <ppmm/sched/job.hpp>

#include <cstdint>
#include <filesystem>
#include <optional>
#include <stop_token>
#include <string>

namespace CLI {
class App;
}

namespace ppmm::tools {

/// What all jobs of the command can be told alike.
struct job_options {
  std::filesystem::path pool;  // empty: a pool of the command's own, removed after success
  bool keep_pool = false;
  bool restart = false;
  unsigned workers = 0;
  std::optional<ppmm::durability> durability;
  std::optional<double> heartbeat_us;
  std::string commit = "heartbeat";
  progress_mode progress = progress_mode::automatic;
  bool statistics = false;
  double soft_fault_rate = 0, hard_fault_rate = 0;
  std::uint64_t fault_seed = 1;

  void add_to(CLI::App& command);
};

/// --durability power|process|emulated
void add_durability_option(CLI::App& command, std::optional<durability>& level);

/// What a job is called and what it needs.
struct job_demand {
  std::string name;
  std::filesystem::path own_pool;  // where it lives if the user names no pool
  std::uint64_t region = 0;        // bytes of pool memory
  std::uint64_t heap = 0;          // bytes that it will allocate, about: a pool of its own grows where they do not do
  std::uint64_t input = 0;         // mark of what it works on
};

class job_session {
 public:
  /// Opens the job's pool, or creates it large enough. Throws if the pool holds that job for another input.
  job_session(const job_options& options, job_demand demand);

  ppmm::pool& pool() { return *pool_; }

  /// Runs or resumes the job with signals and progress seen to. `total_units`: of context::advance, for the whole job;
  /// the rate is told in `amount` bytes a second if there are any. A pool of the command's own that is full is made
  /// larger, and the job goes on.
  template <task_like Task>
  auto run(const Task& root, std::uint64_t total_units, std::uint64_t amount_bytes = 0) {
    for (;;) {
      try {
        return run_once(root, total_units, amount_bytes);
      } catch (const out_of_pool_memory& e) {
        if (!own_pool()) throw;
        grow_pool(e.asked);
      }
    }
  }

  /// The result has been delivered: removes the job, and the pool if it was the command's own.
  void delivered();

  bool own_pool() const { return options_.pool.empty(); }

 private:
  template <task_like Task>
  auto run_once(const Task& root, std::uint64_t total_units, std::uint64_t amount_bytes) {
    progress_meter meter(options_.progress, demand_.name, total_units, amount_bytes);
    run_options how = how_to_run(meter, total_units);
    try {
      auto finish = [&] {
        meter.finish();
        if (options_.statistics) print_statistics();
      };
      if constexpr (std::is_void_v<task_result<Task>>) {
        ppmm::run(*pool_, demand_.name, root, how);
        finish();
      } else {
        const auto result = ppmm::run(*pool_, demand_.name, root, how);
        finish();
        return result;
      }
    } catch (...) {
      explain_failure();
    }
  }
  void open_pool();
  void create_pool();
  void check_pool();
  void grow_pool(std::uint64_t asked);
  run_options how_to_run(progress_meter& meter, std::uint64_t total_units);
  [[noreturn]] void explain_failure() const;  // what is being thrown, with what to do
  void print_statistics() const;

  const job_options& options_;
  job_demand demand_;
  std::filesystem::path file_;
  std::optional<ppmm::pool> pool_;
  std::stop_source stop_;
  run_statistics statistics_;
};

/// Bytes of a pool file in which a job can have `region` bytes of pool memory.
std::uint64_t pool_size_for(std::uint64_t region);

}  // namespace ppmm::tools
