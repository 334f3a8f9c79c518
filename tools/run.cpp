/// The command line, from its words to an exit status.
#include "command.hpp"
#include "interrupt.hpp"
#include "output_file.hpp"

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <exception>

namespace ppmm::tools {
namespace {

std::string the_command_line;

constexpr auto job_commands = {add_sort, add_wordcount, add_graph, add_index, add_matmul, add_fib, add_nqueens, add_uts};
constexpr auto other_commands = {add_query, add_create, add_grow, add_parts, add_info, add_topology, add_check,
                               add_dump, add_jobs, add_resume, add_join, add_profile, add_top};

void set_up(CLI::App& app, commands which) {
  app.name("ppmm");
  app.set_version_flag("--version", "ppmm " PPMM_VERSION);
  app.require_subcommand(1);
  app.footer(
      "`ppmm COMMAND --help` tells more. A command that was killed goes on where it was when it is run again.\n"
      "Exit status: 0 done, 1 error, 2 wrong usage, 4 a query has found nothing; to go on by running it again: 3 all\n"
      "workers lost to injected faults, 130 or 143 interrupted.");
  add_job_commands(app);
  if (which == commands::all)
    for (const auto add : other_commands) add(app);
}

int explain_interruption(const interrupted& i) {
  fmt::print(stderr, "ppmm: {}; {}\n  {}\n", i.why(), i.what(), command_line());
  return i.status();
}

int usage_error(const CLI::App& app, const CLI::ParseError& e) {
  if (e.get_exit_code() == 0) return app.exit(e);  // --help, --version
  fmt::print(stderr, "ppmm: {}\nppmm: `ppmm --help` tells how it is used.\n", e.what());
  return 2;
}

}  // namespace

void add_job_commands(CLI::App& app) {
  for (const auto add : job_commands) add(app);
}

const std::string& command_line() { return the_command_line; }
void set_command_line(std::string line) { the_command_line = std::move(line); }

int run_command(std::vector<std::string> words, commands which) {
  std::ranges::reverse(words);  // as CLI11 wants them
  CLI::App app(
      "Fork-join jobs that survive crashes: their state lives in a pool file, and the command that is run again goes "
      "on from there.");
  try {
    set_up(app, which);
    app.parse(words);  // runs the subcommand
    return 0;
  } catch (const CLI::ParseError& e) {
    return usage_error(app, e);
  } catch (const exit_status& s) {
    return s.code;
  } catch (const interrupted& i) {
    return explain_interruption(i);
  } catch (const reader_gone&) {
    std::signal(SIGPIPE, SIG_DFL);  // end as any filter whose reader has gone
    std::raise(SIGPIPE);
    return 1;
  } catch (const std::exception& e) {
    fmt::print(stderr, "ppmm: {}\n", e.what());
    return 1;
  }
}

}  // namespace ppmm::tools
