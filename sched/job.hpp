/// sched: fork-join computations that survive crashes.
///
/// A *job* is a root task with a name, run on a pool by worker threads. `run` starts it, or resumes it from what a
/// crashed run committed, or gives the stored result. This module promises that the result, and everything written
/// through views, is that of an undisturbed run; that a fork costs a few stores; and that at most about a heartbeat of
/// work a worker is done again after a crash. It stands on pmem (a durable byte range) and numa (where workers run).
///
/// Read next: layout.hpp (what is in the pool), context.hpp (a task's view and the fast path), then the protocol:
/// commit.cpp, steal.cpp, join.cpp, adopt.cpp, recover.cpp.
#pragma once

#include <ppmm/numa/topology.hpp>
#include <ppmm/pmem/padding.hpp>
#include <ppmm/pmem/pool.hpp>
#include <ppmm/sched/context.hpp>
#include <ppmm/sched/profile.hpp>
#include <ppmm/sched/victims.hpp>

#include <array>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <type_traits>
#include <typeinfo>
#include <vector>

namespace ppmm {

/// A job of that name exists with another task, other arguments, or was begun by another build. Says which.
struct job_mismatch : error { using error::error; };
/// The pool holds another job that is not finished.
struct job_unfinished : error { using error::error; };
/// A task threw; the text is what its exception said. The job stays failed until it is dropped.
struct job_failed : error { using error::error; };
/// The stop token was raised: everything is committed, run again to go on.
struct job_interrupted : error { using error::error; };
/// Every worker was lost, to hard faults or killed, and was not to be replaced; run again to go on.
struct workers_lost : error { using error::error; };
/// A run_options field has a value that it cannot have. Says which, and what it may be. Nothing was done.
struct bad_option : error { using error::error; };

/// What the workers of a run did. Sums over all workers.
struct run_statistics {
  unsigned workers = 0;
  double seconds = 0;               ///< from the call to the end
  double to_first_work_ms = 0;      ///< from the call until the first task ran
  std::uint64_t units = 0;          ///< of context::advance, committed, by all runs of the job: each counted exactly once
  std::uint64_t commits = 0, steals = 0, lost_steals = 0, joins_first = 0, joins_second = 0;
  std::uint64_t taken_back = 0;     ///< exposed children that their strand ran itself
  std::uint64_t soft_faults = 0, hard_faults = 0, robberies = 0, restarts_of_tasks = 0;
  std::uint64_t deaths = 0, replaced = 0;  ///< of worker processes
  std::uint64_t renewals = 0;       ///< how often the books of the run were made anew after deaths
  std::uint64_t accesses = 0;       ///< persistent accesses, as far as faults are injected at them
  std::uint64_t longest_capsule = 0;  ///< most of them between two records of a worker, without a fault
  std::uint64_t commit_ns = 0;      ///< time in commits
  std::uint64_t heartbeat_ns = 0;   ///< between commits, as it was at the end; the longest of the workers'. 0: none was made
  flush_counters flushed;
  std::string placement;            ///< why workers were not pinned, where they were not; empty: each is
};

/// How a resumed job stands, told once before it goes on.
struct resume_info {
  std::uint64_t units_done = 0;     ///< of context::advance, committed
  std::uint64_t units_lost = 0;     ///< were counted by the crashed run and are not committed
  double lost_ms = 0;               ///< sum over workers of the time from the last commit to the last sign of life
  double worst_lost_ms = 0;         ///< the largest of these
  unsigned strands = 0;             ///< found in the pool
};

/// What a worker is.
enum class worker_kind : std::uint8_t { threads, processes };

namespace detail {
/// Runs the workers: threads, unless a test gives one that lets them take turns as it likes.
class runner {
 public:
  virtual ~runner() = default;
  /// Runs all bodies to their ends. Each is told how low its C++ stack may grow.
  virtual void run(std::vector<std::function<void(std::uintptr_t stack_low)>> bodies) = 0;
  /// A worker has found nothing to do, for so many rounds.
  virtual void pause(unsigned rounds) = 0;
  /// The worker in this slot has a new record, and takes it for durable; what its flushes have cost so far.
  virtual void recorded(unsigned slot, record_kind kind, const flush_counters& cost) = 0;
};
}  // namespace detail

struct run_options {
  unsigned workers = 0;                          ///< 0: one a usable core (or hardware thread)
  /// Of worker processes any may be killed at any time, by anybody, and the job goes on (docs/design.md, "Worker
  /// processes"). Not with a profile, a trace, a runner or a machine. They are forked by the calling thread: what other threads
  /// of the program hold (locks) stays held in them.
  worker_kind workers_as = worker_kind::threads;
  std::uint64_t respawn = ~std::uint64_t{0};     ///< worker processes that die and are replaced, at most
  /// A task that raises SIGSEGV, SIGFPE or SIGILL has a soft fault: its capsule is repeated so often, then the job fails, and
  /// says where. 0: such signals do what they do in any program. (SIGBUS is always taken so, three times.) A task that was
  /// in the middle of malloc leaves its lock behind: use it to find a mistake, not to live with it.
  unsigned crash_repeats = 0;
  bool smt_siblings = false;                     ///< workers: one a hardware thread instead of a core
  bool pin = true;                               ///< pin workers to cores (more workers than cores are never pinned)
  std::chrono::nanoseconds heartbeat{-1};        ///< between commits; negative: the durability level's default, which on a disk follows what a sync costs
  bool commit_every_task = false;                ///< the paper's model: each task its own capsule
  bool commits = true;                           ///< false: none at heartbeats, for measuring; a crash loses all since the last theft or join
  std::stop_token stop = {};                          ///< commit and throw job_interrupted
  std::uint64_t region = 0;                      ///< bytes of pool memory the job uses (see `region_of`)
  std::uint64_t input = 0;                       ///< the user's mark for what the job works on; another mark is refused
  /// How the program was called, in its own words, kept in the pool with the newest job (pool::keep_call): so that it can
  /// find its unfinished jobs after a crash and call itself again. Empty: a new job has none, a resumed one keeps its own.
  std::string_view call = {};
  /// Probability at each persistent access that the worker loses its C++ stack and all else that is ephemeral, and goes
  /// on from its record (a soft fault), or never comes back (a hard one). In [0, 1), also together. Destructors of what
  /// a task has on its stack then do not run: its memory on the ordinary heap leaks, a lock stays locked.
  double soft_fault_rate = 0, hard_fault_rate = 0;
  std::uint64_t fault_seed = 1;                  ///< each run of a job draws other faults from it
  std::function<void(const resume_info&)> on_resume = nullptr;           ///< called on the calling thread before work goes on
  /// Called on the calling thread, once, if worker processes are at work in the pool whose coordinator is gone: the call waits
  /// for them, telling the progress, and then goes on with what they have left. When it is to stop, they are asked to leave.
  std::function<void(unsigned workers)> on_orphans = nullptr;
  std::function<void(std::uint64_t units)> on_progress = nullptr;        ///< called on the calling thread about ten times a second
  run_statistics* statistics = nullptr;          ///< filled in at the end, also when run throws
  /// Filled in at the end, also when run throws: what it cost, added to what is there already; what each worker did,
  /// appended to it. Cost: under 2 % of the time; a trace some 100 bytes a commit. Null: nothing.
  run_profile* profile = nullptr;
  run_trace* trace = nullptr;
  detail::runner* runner = nullptr;              ///< for tests; null: a thread a worker
  detail::victim_policy victims = {};            ///< for measuring
  const numa::topology* machine = nullptr;       ///< for tests: where the workers are taken to be; null: this machine
};

namespace detail {
struct root_task {
  task_ref task;
  std::uint32_t result_bytes;
};
void run_job(pool& p, std::string_view name, const root_task& root, const run_options& options, void* result);
root_value find_root(const pool& p, std::string_view name, const char* type, std::uint64_t bytes);
}  // namespace detail

/// Runs the job of that name to its end and gives its result: starts it, resumes it, or, if it is finished, gives the
/// stored result. Durable on return: the result and all the job wrote.
/// The job's arguments are compared byte by byte with those it was begun with. Padding does not count, but where clang
/// before 20 compiles: there an argument that is a struct with padding in it must have that filled with zeros.
/// Throws bad_option, job_mismatch, job_unfinished, job_failed, type_clash, corrupt_pool; where all commits stand and the
/// job goes on when it is run again: job_interrupted, workers_lost, medium_error, and out_of_pool_memory (grow the pool).
template <task_like Task>
auto run(pool& p, std::string_view name, const Task& task, const run_options& options = {}) {
  using result = typename step<task_result<Task>>::value_type;
  static_assert(sizeof(result) <= layout::max_job_result, "a job's result is at most 256 bytes; put more into pool memory");
  result value{};
  Task root = task;  // its bytes are compared from run to run: the padding must not differ
  detail::clear_padding(&root);
  detail::run_job(p, name, {detail::ref(root), detail::value_bytes<result>}, options, &value);
  if constexpr (!std::is_void_v<task_result<Task>>) return value;
}

/// No job of that name runs in the pool, with processes for workers.
struct nothing_to_join : error { using error::error; };

/// What became of workers that had joined a job.
struct join_report {
  unsigned workers = 0;
  std::uint64_t deaths = 0, replaced = 0;
  bool job_ended = false;  ///< false: they have left, or are lost
};
namespace detail {
join_report join_job(pool& p, std::string_view name, const root_task& root, const run_options& options);
}  // namespace detail

/// Adds worker processes, forked from this one, to a job that another process runs with processes for workers. They share
/// the work until it is done, and may be killed like the others. The program must be the same build as the one that runs the
/// job, and call this as that one calls `run`. Of the options those count that are about workers: how many, where, respawn,
/// stop (they commit and leave; the job goes on without them), on_progress; the others are those of the run.
/// `p` is what pool::attach gives. Durable on return: nothing of its own. Throws nothing_to_join; job_mismatch, naming what
/// differs; bad_option.
template <task_like Task>
join_report join(pool& p, std::string_view name, const Task& task, const run_options& options = {}) {
  using result = typename step<task_result<Task>>::value_type;
  Task root = task;
  detail::clear_padding(&root);
  return detail::join_job(p, name, {detail::ref(root), detail::value_bytes<result>}, options);
}

/// The pool memory of a job that asked for `bytes` (run_options::region): the same in every run of the job, zero or
/// what an earlier job left there at its start. Written through views by tasks. Throws pool_too_small.
std::span<std::byte> region_of(const pool& p, std::uint64_t bytes);

/// What the last job that finished and set the root of that name left there; empty if it set it to nothing. To be
/// handed to the tasks of a later job. Throws root_error if there is no such root or it is of another type;
/// corrupt_pool.
template <class T>
array<T> find_root(const pool& p, std::string_view name) {
  const detail::root_value v = detail::find_root(p, name, typeid(T).name(), sizeof(T));
  return {reinterpret_cast<T*>(v.address), v.count};
}

/// The linker's build id of the running program, as it stands in the jobs that it begins; zeros if it has none.
std::array<std::uint8_t, layout::build_id_bytes> build_id();

/// Bytes that region_of can give while leaving room for stacklets.
std::uint64_t max_region(const pool& p);

}  // namespace ppmm
