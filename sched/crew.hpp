/// Who runs the workers of a team: threads of this process, or processes of their own.
#pragma once

#include <ppmm/numa/topology.hpp>
#include <ppmm/sched/team.hpp>

#include <pthread.h>

#include <functional>

namespace ppmm::detail {

/// A worker's thread, with a C++ stack of known size, on its processor. Ends when the worker's life does; the destructor
/// waits for that. Throws system_error.
class worker_thread {
 public:
  worker_thread(worker& w, const numa::placement& where, std::function<void()> when_over);
  ~worker_thread() { pthread_join(thread_, nullptr); }
  worker_thread(const worker_thread&) = delete;
  worker_thread& operator=(const worker_thread&) = delete;

 private:
  void body();

  worker& worker_;
  numa::placement where_;
  std::function<void()> when_over_;
  pthread_t thread_{};
};

/// How many workers a run asks for, and what each is to have for itself.
struct wanted {
  unsigned workers;
  numa::unit each;
};
wanted wanted_workers(const run_options& options, const numa::topology& machine);

/// Where the worker of that seat is to run; pinned if the run's options say so.
numa::placement placement_of(const team& t, unsigned seat);

/// By own seat: the part of the pool whose memory is nearest.
std::vector<unsigned> near_parts(const team& t);

/// Tells run_options::on_progress how many units of work are done.
void tell_progress(const team& t);

/// Starts the workers and waits until the job is over, or all are lost. As threads, or as a test's runner does it.
void run_as_threads(team& t);

/// What became of a run's worker processes.
struct losses {
  std::uint64_t deaths = 0, replaced = 0, renewals = 0;
  // The task that the last worker ended with, how often in a row, and since when.
  restart last = {};
  unsigned in_a_row = 0;
  std::uint64_t since = 0;  // ticks
};

/// The same as processes, of which any may be killed at any time: others rob its grave, and a new one takes its seat. The
/// books are to be made anew when this returns with `renewing` set.
void run_as_processes(pool& p, team& t, losses& so_far);

/// Waits until no worker process of an earlier coordinator is at work in the pool. Tells the progress meanwhile; when the
/// run is to stop they are asked to leave. Gives the number of the books that are now made: nobody starts a worker any more
/// with earlier ones, as who had joined might, and was asleep when all the others died.
std::uint64_t wait_for_orphans(const pool& p, const run_options& options);

}  // namespace ppmm::detail
