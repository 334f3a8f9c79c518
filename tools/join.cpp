/// ppmm join: adds workers to a job that runs in another process, by calling the command that began it in a way that only
/// joins. What a pool says of that call is believed as far as `ppmm resume` believes it (resume.cpp).
#include "call.hpp"
#include "command.hpp"
#include "session.hpp"

#include <ppmm/pmem/inspect.hpp>

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>
#include <CLI/CLI.hpp>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <memory>

namespace ppmm::tools {
namespace {

namespace fs = std::filesystem;

struct join_command {
  fs::path file;
  joining how;
};

void join(const join_command& options) {
  const fs::path& file = options.file;
  struct stat st {};
  if (stat(file.c_str(), &st) != 0) throw no_such_pool(fmt::format("{}: {}", file.string(), std::strerror(errno)));
  if (st.st_uid != geteuid())
    throw error(fmt::format("{}: expected a pool of yours, found one of the user with id {}. Join the job as that user", file.string(), st.st_uid));
  const pool_report report = inspect(file);
  if (!report.facts) throw corrupt_pool(report.failed.front().message);
  const auto job = std::ranges::find_if(report.jobs, [](const layout::job_entry& j) { return j.state == layout::job_state::running; });
  if (job == report.jobs.end()) throw nothing_to_join(fmt::format("{}: expected a running job, found none", file.string()));
  if (const auto open_file = open_to_others(*report.facts, st.st_uid))
    throw error(fmt::format("\"{}\" is not joined: others than the pool's owner may write to {}, and so make up a command. If none has: chmod go-w, chown", job->name,
                            open_file->string()));
  const auto call = report.call ? decode(*report.call) : std::nullopt;
  if (!call)
    throw error(fmt::format("{}: how \"{}\" was called is not kept here (it was a very long command line, or no command's). A program of your own joins with ppmm::join",
                            file.string(), job->name));
  joining how = options.how;
  how.pool = fs::canonical(file);
  if (chdir(call->directory.c_str()) != 0)
    throw error(fmt::format("the folder {}, where the job was begun: {}", call->directory.string(), std::strerror(errno)));
  join_only(how);
  throw exit_status{run_command(call->words, commands::those_of_jobs)};
}

}  // namespace

void add_join(CLI::App& app) {
  auto options = std::make_shared<join_command>();
  CLI::App* command = app.add_subcommand("join", "Add worker processes to a job that runs, until it is done or they are to leave");
  command->footer(
      "The job must have been started with --workers-as processes, by this program. The workers share its work, and may be\n"
      "killed at any time. Ctrl-C, or SIGTERM to one of them (`ppmm top` has their process ids): they commit and leave, and the\n"
      "job goes on without them. Exit status: 0 the job has ended or they have left, 1 an error, 3 all were lost.");
  command->add_option("POOL", options->file, "The job's pool file")->required();
  command->add_option("--workers", options->how.workers, "Workers (default: one a usable core)")->check(CLI::Range(1u, pool::most_workers))->type_name("N");
  command->add_flag("--no-pin", options->how.no_pin, "Do not pin them to cores");
  command->add_option("--respawn", options->how.respawn, "Replace so many that die, and no more (default: all)")->type_name("N");
  add_progress_option(*command, [options](progress_mode mode) { options->how.progress = mode; });
  command->callback([options] { join(*options); });
}

}  // namespace ppmm::tools
