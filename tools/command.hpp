/// The subcommands: each adds itself to the command line and runs when it was chosen.
#pragma once

#include <string>

namespace CLI {
class App;
}

namespace ppmm::tools {

void add_sort(CLI::App& app);
void add_wordcount(CLI::App& app);
void add_graph(CLI::App& app);
void add_index(CLI::App& app);
void add_query(CLI::App& app);
void add_matmul(CLI::App& app);
void add_fib(CLI::App& app);
void add_nqueens(CLI::App& app);
void add_create(CLI::App& app);
void add_grow(CLI::App& app);
void add_info(CLI::App& app);
void add_check(CLI::App& app);
void add_dump(CLI::App& app);
void add_jobs(CLI::App& app);

/// Thrown by a subcommand that has said what there is to say: ends the command with this exit status.
struct exit_status {
  int code;
};

/// Of a query without an answer: no error, and no other command's.
inline constexpr int exit_nothing_found = 4;

/// The command line as it was typed, quoted for a shell.
const std::string& command_line();

}  // namespace ppmm::tools
