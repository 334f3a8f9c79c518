/// The subcommands: each adds itself to the command line and runs when it was chosen.
#pragma once

#include <string>
#include <vector>

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
void add_uts(CLI::App& app);
void add_create(CLI::App& app);
void add_grow(CLI::App& app);
void add_parts(CLI::App& app);
void add_info(CLI::App& app);
void add_topology(CLI::App& app);
void add_check(CLI::App& app);
void add_dump(CLI::App& app);
void add_jobs(CLI::App& app);
void add_profile(CLI::App& app);
void add_top(CLI::App& app);
void add_resume(CLI::App& app);
void add_join(CLI::App& app);

/// Those that run jobs.
void add_job_commands(CLI::App& app);

enum class commands { all, those_of_jobs };

/// Does what the words say, which are those behind the program's name, and tells errors on stderr. The exit status.
int run_command(std::vector<std::string> words, commands which);

/// Thrown by a subcommand that has said what there is to say: ends the command with this exit status.
struct exit_status {
  int code;
};

/// Of a query without an answer: no error, and no other command's.
inline constexpr int exit_nothing_found = 4;

/// The command line as it was typed, quoted for a shell: how a job goes on that is interrupted.
const std::string& command_line();
void set_command_line(std::string line);

}  // namespace ppmm::tools
