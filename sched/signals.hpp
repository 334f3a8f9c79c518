/// Signals that the processor or the medium raises in a task, as soft faults: the capsule is repeated, a bounded number of
/// times; then the job fails, and says where.
///
/// SIGBUS comes from memory that is not there: a bad block of the medium, a file that somebody has cut off, a memory file
/// system that is full. It is always taken so. SIGSEGV, SIGFPE and SIGILL come from a mistake in a task, and only where the
/// run asks for it (run_options::crash_repeats).
#pragma once

#include <signal.h>

#include <array>

namespace ppmm::detail {

class worker;

/// The handlers, as long as a run lasts; runs of several threads share them. A signal that is no worker's in a task goes
/// where it would have gone.
class signal_handlers {
 public:
  explicit signal_handlers(bool crashes);
  ~signal_handlers();
  signal_handlers(const signal_handlers&) = delete;
  signal_handlers& operator=(const signal_handlers&) = delete;

 private:
  const bool crashes_;
};

/// A stack for the handlers of this thread, for a task may have used up its own.
class signal_stack {
 public:
  signal_stack();
  ~signal_stack();
  signal_stack(const signal_stack&) = delete;
  signal_stack& operator=(const signal_stack&) = delete;

 private:
  void* memory_;
};

}  // namespace ppmm::detail
