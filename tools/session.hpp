/// A job run by the command: the pool it lives in, its options, its progress, and how it is interrupted and resumed.
#pragma once

#include "interrupt.hpp"
#include "progress.hpp"

#include <ppmm/alloc/space.hpp>
#include <ppmm/sched/job.hpp>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
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
  worker_kind workers_as = worker_kind::threads;
  std::optional<std::uint64_t> respawn;
  unsigned crash_repeats = 0;
  bool smt = false, no_pin = false;
  std::optional<ppmm::durability> durability;
  std::optional<double> heartbeat_us;
  std::string commit = "heartbeat";
  progress_mode progress = progress_mode::automatic;
  bool statistics = false;
  bool profile = false;  // told on stderr
  std::filesystem::path profile_json, profile_html, trace, medium_costs;
  double soft_fault_rate = 0, hard_fault_rate = 0;
  std::uint64_t fault_seed = 1;

  void add_to(CLI::App& command);
};

/// --durability power|process|emulated
void add_durability_option(CLI::App& command, std::optional<durability>& level);
struct cost_watch;

/// --progress auto|bar|plain|none
void add_progress_option(CLI::App& command, const std::function<void(progress_mode)>& use);

/// What a job is called and what it needs.
struct job_demand {
  std::string name;
  std::filesystem::path own_pool;  // where it lives if the user names no pool
  std::uint64_t region = 0;        // bytes of pool memory
  std::uint64_t heap = 0;          // bytes that it will allocate, about: a pool of its own grows where they do not do
  std::uint64_t input = 0;         // mark of what it works on
  bool to_file = false;            // its answer goes to a file or stays in the pool, not to standard output
};

/// What `ppmm resume` asks of a command that it calls again: to go on with the job in this pool, and to begin nothing.
/// Where the answer would go to standard output, which nobody may be reading, the finished job is left in the pool.
struct resumption {
  std::filesystem::path pool;  // not relative
  unsigned workers = 0;        // 0: as the command line says
  std::optional<progress_mode> progress;
  bool statistics = false;
};

/// From now on all jobs are resumed so. Before a command is called.
void resume_only(resumption r);

/// What `ppmm join` asks of a command that it calls: to add workers to the job that runs in this pool, and nothing else.
struct joining {
  std::filesystem::path pool;  // not relative
  unsigned workers = 0;        // 0: one a usable core
  bool no_pin = false;
  std::optional<std::uint64_t> respawn;
  std::optional<progress_mode> progress;
};

/// From now on jobs are joined so. Before a command is called.
void join_only(joining j);

/// The file that the answer goes to: of a job that is only joined none, for whoever runs it has it open.
std::filesystem::path output_to_open(const std::filesystem::path& output);

class job_session {
 public:
  /// Opens the job's pool, or creates it large enough. Throws if the pool holds that job for another input.
  job_session(const job_options& options, job_demand demand);
  ~job_session();

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
    if (is_joining()) leave_joined(ppmm::join(*pool_, demand_.name, root, how), meter);
    try {
      auto finish = [&] {
        meter.finish();
        tell_costs();
        if (options_.statistics) print_statistics();
        leave_answer();
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
  void open_pool_to_resume();
  void attach_pool();
  void check_is_pool(const std::filesystem::path& expected) const;
  static bool is_joining();
  [[noreturn]] void leave_joined(const join_report& r, progress_meter& meter) const;
  void create_pool();
  void check_pool();
  void tell_medium() const;
  void grow_pool(std::uint64_t asked);
  run_options how_to_run(progress_meter& meter, std::uint64_t total_units);
  void leave_answer() const;
  [[noreturn]] void explain_failure();  // what is being thrown, with what to do
  void print_statistics() const;
  void watch_costs(run_options& how);
  void tell_costs();

  const job_options& options_;
  job_demand demand_;
  std::filesystem::path file_;
  std::string call_;
  std::optional<ppmm::pool> pool_;
  std::stop_source stop_;
  run_statistics statistics_;
  std::unique_ptr<cost_watch> watch_;  // if a profile or a trace was asked for
};

/// Bytes of a pool file in which a job can have `region` bytes of pool memory.
std::uint64_t pool_size_for(std::uint64_t region);

}  // namespace ppmm::tools
