#include "own_child.hpp"

#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <stdexcept>

namespace bench {

own_child::own_child(std::vector<std::string> arguments) {
  int out[2];
  if (pipe(out) != 0) throw std::runtime_error("pipe() failed");
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, out[1], STDOUT_FILENO);
  posix_spawn_file_actions_addclose(&actions, out[0]);
  std::string program = "/proc/self/exe";
  std::vector<char*> argv{program.data()};
  for (std::string& a : arguments) argv.push_back(a.data());
  argv.push_back(nullptr);
  const int failed = posix_spawn(&child_, program.c_str(), &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  close(out[1]);
  out_ = out[0];
  if (failed == 0) return;
  close(out_);
  throw std::runtime_error("posix_spawn() failed");
}

own_child::~own_child() { close(out_); }

std::size_t own_child::read(std::span<char> to) {
  const ssize_t n = ::read(out_, to.data(), to.size());
  return n > 0 ? static_cast<std::size_t>(n) : 0;
}

void own_child::kill() {
  ::kill(child_, SIGKILL);
  wait();
}

int own_child::wait() {
  int status = 0;
  if (waitpid(child_, &status, 0) != child_) throw std::runtime_error("waitpid() failed");
  return status;
}

}  // namespace bench
