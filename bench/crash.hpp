/// A computation in a process of its own that is killed, and what its resumption in this process finds.
///
/// main() of a program that uses it begins with `if (bench::is_child(argc, argv)) return bench::child(argv);`.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>

namespace bench {

struct crash_figures {
  double open_ms = 0;           ///< pool::open, after the crash
  double to_first_work_ms = 0;  ///< from the call of run to the first task
  double worst_lost_ms = 0;     ///< of a worker: from its last commit to its last sign of life
  unsigned strands = 0;         ///< of the crashed run, still to be done
  double heartbeat_ms = 0;
};

bool is_child(int argc, char** argv);
int child(char** argv);

/// A pool with an endless job in it, killed and resumed again and again: fib, or where there are `live_bytes` of data,
/// one that goes over all of them, again and again.
class crash_site {
 public:
  explicit crash_site(std::size_t pool_bytes, unsigned workers = 1, std::uint64_t live_bytes = 0);
  ~crash_site();
  crash_site(const crash_site&) = delete;
  crash_site& operator=(const crash_site&) = delete;

  /// Starts a child that goes on with the computation, kills it with SIGKILL, opens the pool and resumes for a moment.
  crash_figures crash_and_resume();

 private:
  std::filesystem::path file_;
  unsigned workers_;
  std::uint64_t live_;
  unsigned crashes_ = 0;
};

}  // namespace bench
