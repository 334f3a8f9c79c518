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

/// The command was asked to stop and has. `main` says how to go on and ends with 128 + signal.
class interrupted : public std::exception {
 public:
  /// `state` says in a sentence what is saved and where.
  interrupted(int signal, std::string state) : signal_(signal), state_(std::move(state)) {}
  int signal() const { return signal_; }
  const char* what() const noexcept override { return state_.c_str(); }

 private:
  int signal_;
  std::string state_;
};

/// Throws `interrupted` if a signal came.
inline void stop_if_interrupted(const char* state) {
  if (const int signal = signal_received()) throw interrupted(signal, state);
}

}  // namespace ppmm::tools
