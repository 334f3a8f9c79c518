/// ppmm: fork-join jobs that survive crashes, and the pools they live in.
///
/// Exit status: 0 done; 1 an error, told on stderr; 2 wrong usage; 4 a query has found nothing; 3 all workers lost to
/// injected hard faults, 130 and 143 interrupted by SIGINT and SIGTERM: to be resumed by the same command line.
#include "call.hpp"
#include "command.hpp"
#include "interrupt.hpp"

#include <csignal>
#include <string>
#include <vector>

int main(int argc, char** argv) {
  using namespace ppmm::tools;
  const std::vector<std::string> words(argv + 1, argv + argc);
  set_command_line(for_shell({argv, argv + argc}));
  set_this_call(words);
  watch_signals();
  std::signal(SIGPIPE, SIG_IGN);
  return run_command(words, commands::all);
}
