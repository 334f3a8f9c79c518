/// A pool for measuring in, and jobs timed without their start and end.
#pragma once

#include "measure.hpp"

#include <ppmm/ppmm.hpp>

#include <cstddef>
#include <filesystem>
#include <utility>

namespace bench {

/// Where pools for measuring go: PPMM_BENCH_DIR, else /dev/shm, else the folder for temporary files.
std::filesystem::path pool_folder();

/// When the computation began and ended, on the clock of its number of workers. Written by the job's tasks.
struct stopwatch {
  clockid_t clock = CLOCK_MONOTONIC;
  double began = 0, ended = 0;
};
inline stopwatch watch;

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
  explicit workbench(ppmm::durability level, std::size_t bytes = std::size_t{64} << 20);
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
    options.statistics = &m.statistics;
    watch.clock = clock;
    ppmm::run(pool_, "measured", timed<Task>{task}, options);
    pool_.drop_job("measured");
    m.ns = watch.ended - watch.began;
    return m;
  }

 private:
  std::filesystem::path file_;
  ppmm::pool pool_;
};

/// How a job is run in the comparisons.
inline ppmm::run_options workers(unsigned n, bool commits = true) {
  ppmm::run_options o;
  o.workers = n;
  o.commits = commits;
  return o;
}
inline ppmm::run_options without_commits(unsigned n) { return workers(n, false); }

}  // namespace bench
