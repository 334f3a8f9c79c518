/// SIGINT and SIGTERM: the first asks the command to stop at the next good place, the second ends it at once.
#pragma once

#include <exception>
#include <string>
#include <utility>

namespace ppmm::tools {

/// From now on the first signal is noted; it also restores the default action of both.
void watch_signals();

/// The signal that came, or 0.
int signal_received();

/// The command ends before its job does. `main` says why, and how to go on.
class interrupted : public std::exception {
 public:
  /// By a signal: exit status 128 + signal. `state` says in a sentence what is saved and where.
  interrupted(int signal, std::string state) : interrupted(128 + signal, "interrupted", std::move(state)) {}
  interrupted(int status, std::string why, std::string state)
      : status_(status), why_(std::move(why)), state_(std::move(state)) {}
  int status() const { return status_; }
  const std::string& why() const { return why_; }
  const char* what() const noexcept override { return state_.c_str(); }

 private:
  int status_;
  std::string why_, state_;
};

/// Exit status when all workers were lost to injected hard faults.
inline constexpr int exit_workers_lost = 3;

/// Throws `interrupted` if a signal came.
inline void stop_if_interrupted(const char* state) {
  if (const int signal = signal_received()) throw interrupted(signal, state);
}

}  // namespace ppmm::tools
