/// The command inside a fuzz target.
#pragma once

#include "command.hpp"

#include <CLI/CLI.hpp>

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <initializer_list>
#include <string>
#include <vector>

namespace ppmm::fuzz {

/// Standard output goes nowhere meanwhile.
class quiet {
 public:
  quiet() : nowhere_(::open("/dev/null", O_WRONLY | O_CLOEXEC)), before_(::dup(STDOUT_FILENO)) {
    std::fflush(stdout);
    ::dup2(nowhere_, STDOUT_FILENO);
  }
  ~quiet() {
    std::fflush(stdout);
    ::dup2(before_, STDOUT_FILENO);
    ::close(before_);
    ::close(nowhere_);
  }
  quiet(const quiet&) = delete;
  quiet& operator=(const quiet&) = delete;

 private:
  int nowhere_, before_;
};

/// Runs a subcommand as the command line would, without `ppmm`; gives its exit status, where it throws no other error.
inline int run_command(std::initializer_list<void (*)(CLI::App&)> known, std::vector<std::string> words) {
  CLI::App app;
  app.require_subcommand(1);
  for (const auto add : known) add(app);
  std::ranges::reverse(words);  // as parse wants them
  try {
    app.parse(std::move(words));
    return 0;
  } catch (const tools::exit_status& s) {
    return s.code;
  }
}

}  // namespace ppmm::fuzz
