/// A pool for measuring in, and jobs timed without their start and end.
#pragma once

#include "measure.hpp"

#include <ppmm/ppmm.hpp>

#include <sys/mman.h>  // mmap

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <new>
#include <span>
#include <type_traits>
#include <utility>

namespace bench {

/// Where pools for measuring go: PPMM_BENCH_DIR, else /dev/shm, else the folder for temporary files.
std::filesystem::path pool_folder();

/// Where pools of level `power` go: PPMM_BENCH_DISK, else /var/tmp.
std::filesystem::path disk_folder();

/// One that worker processes, which are forked later, have in common with this program. It is never taken away.
template <class T>
  requires std::is_trivially_destructible_v<T>
T& in_common() {
  void* const at = mmap(nullptr, sizeof(T), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (at == MAP_FAILED) throw std::bad_alloc();
  return *new (at) T();
}

/// When the computation began and ended, on the clock of its number of workers. Written by the job's tasks.
struct stopwatch {
  clockid_t clock = CLOCK_MONOTONIC;
  double began = 0, ended = 0;
};
inline stopwatch& watch = in_common<stopwatch>();

/// The task, timed: without starting threads, and without making the job's entry and result durable.
template <ppmm::task_like Task>
struct timed {
  Task inner;
  auto operator()(ppmm::context& cx) const {
    watch.began = clock_ns(watch.clock);
    return cx.call(inner).then([](ppmm::context&, const auto&... result) -> ppmm::step<ppmm::task_result<Task>> {
      watch.ended = clock_ns(watch.clock);
      return {result...};
    });
  }
};

struct measured {
  double ns = 0;
  ppmm::run_statistics statistics;
};

/// A pool that is removed at the end.
class workbench {
 public:
  explicit workbench(ppmm::durability level, std::size_t bytes = std::size_t{64} << 20, std::uint32_t max_workers = 64);
  ~workbench();
  workbench(const workbench&) = delete;
  workbench& operator=(const workbench&) = delete;

  ppmm::pool& pool() { return pool_; }

  /// Runs the task as a new job.
  template <ppmm::task_like Task>
  measured compute(const Task& task, const ppmm::run_options& options) {
    return compute(task, options, clock_for(options.workers));
  }
  template <ppmm::task_like Task>
  measured compute(const Task& task, ppmm::run_options options, clockid_t clock) {
    measured m;
    run(timed<Task>{task}, options, clock, m);
    return m;
  }
  /// The same; gives what `finish(cx, result)` makes of the task's result, or `finish(cx)` of none. That is not timed.
  template <ppmm::task_like Task, ppmm::durable_value Finish>
  auto answer(const Task& task, const Finish& finish, const ppmm::run_options& options, measured& m) {
    const auto all = [timed_task = timed<Task>{task}, finish](ppmm::context& cx) {
      return cx.call(timed_task).then(finish);
    };
    return run(all, options, clock_for(options.workers), m);
  }

 private:
  template <ppmm::task_like Task>
  auto run(const Task& task, ppmm::run_options options, clockid_t clock, measured& m) {
    const auto ended = [&] {
      pool_.drop_job("measured");
      m.ns = watch.ended - watch.began;
    };
    options.statistics = &m.statistics;
    watch.clock = clock;
    if constexpr (std::is_void_v<ppmm::task_result<Task>>) {
      ppmm::run(pool_, "measured", task, options);
      ended();
    } else {
      const auto result = ppmm::run(pool_, "measured", task, options);
      ended();
      return result;
    }
  }

  std::filesystem::path file_;
  ppmm::pool pool_;
};

/// Nanoseconds a byte for storing to all of `to`, memory of the workbench's pool, and writing it back, a heartbeat's worth
/// at a time, by so many threads. What must be written back takes that, whoever computes it: the flush limit.
double written_back_ns_a_byte(workbench& w, std::span<std::uint64_t> to, unsigned threads);

/// Nothing of what was measured before is in the caches any more: else whoever comes second on the same memory finds a part
/// of it there.
void empty_caches();

/// How a job is run in the comparisons.
inline ppmm::run_options workers(unsigned n, bool commits = true) {
  ppmm::run_options o;
  o.workers = n;
  o.commits = commits;
  return o;
}
inline ppmm::run_options without_commits(unsigned n) { return workers(n, false); }

}  // namespace bench
