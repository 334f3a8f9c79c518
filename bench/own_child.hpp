/// A process that runs this program again, with other arguments, and whose output is read here.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <span>
#include <string>
#include <vector>

namespace bench {

class own_child {
 public:
  /// Throws std::runtime_error.
  explicit own_child(std::vector<std::string> arguments);
  ~own_child();
  own_child(const own_child&) = delete;
  own_child& operator=(const own_child&) = delete;

  /// Waits for output; how many bytes came, 0 at its end.
  std::size_t read(std::span<char> to);
  /// Ends it by SIGKILL, and waits for that.
  void kill();
  /// Waits for its end: its wait status.
  int wait();

 private:
  pid_t child_ = 0;
  int out_ = -1;
};

}  // namespace bench
