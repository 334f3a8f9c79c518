/// ppmm: fork-join jobs that survive crashes, and the pools they live in.
///
/// Exit status: 0 done; 1 an error, told on stderr; 2 wrong usage; 4 a query has found nothing; 3 all workers lost to
/// injected hard faults, 130 and 143 interrupted by SIGINT and SIGTERM: to be resumed by the same command line.
#include "command.hpp"
#include "interrupt.hpp"
#include "output_file.hpp"

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <exception>
#include <string_view>

namespace ppmm::tools {
namespace {

std::string the_command_line;

std::string quoted(std::string_view word) {
  const auto plain = [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 ||
           std::string_view("-_./=+:,@%").find(c) != std::string_view::npos;
  };
  if (!word.empty() && std::all_of(word.begin(), word.end(), plain)) return std::string(word);
  std::string q = "'";
  for (const char c : word) c == '\'' ? q += R"('\'')" : q += c;
  return q + "'";
}

void set_up(CLI::App& app) {
  app.name("ppmm");
  app.set_version_flag("--version", "ppmm " PPMM_VERSION);
  app.require_subcommand(1);
  app.footer(
      "`ppmm COMMAND --help` tells more. A command that was killed goes on where it was when it is run again.\n"
      "Exit status: 0 done, 1 error, 2 wrong usage, 4 a query has found nothing; to go on by running it again: 3 all\n"
      "workers lost to injected faults, 130 or 143 interrupted.");
  for (const auto add : {add_sort, add_wordcount, add_graph, add_index, add_query, add_matmul, add_fib, add_nqueens,
                         add_create, add_grow, add_info, add_check, add_dump, add_jobs})
    add(app);
}

int explain_interruption(const interrupted& i) {
  fmt::print(stderr, "ppmm: {}; {}\n  {}\n", i.why(), i.what(), the_command_line);
  return i.status();
}

int usage_error(const CLI::App& app, const CLI::ParseError& e) {
  if (e.get_exit_code() == 0) return app.exit(e);  // --help, --version
  fmt::print(stderr, "ppmm: {}\nppmm: `ppmm --help` tells how it is used.\n", e.what());
  return 2;
}

int run(int argc, char** argv) {
  CLI::App app(
      "Fork-join jobs that survive crashes: their state lives in a pool file, and the command that is run again goes "
      "on from there.");
  try {
    set_up(app);
    app.parse(argc, argv);  // runs the subcommand
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

}  // namespace

const std::string& command_line() { return the_command_line; }

}  // namespace ppmm::tools

int main(int argc, char** argv) {
  for (int i = 0; i < argc; ++i) (ppmm::tools::the_command_line += i > 0 ? " " : "") += ppmm::tools::quoted(argv[i]);
  ppmm::tools::watch_signals();
  std::signal(SIGPIPE, SIG_IGN);
  return ppmm::tools::run(argc, argv);
}
