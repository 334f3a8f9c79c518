/// ppmm resume: goes on with the unfinished jobs of pools, by calling the commands again that began them.
///
/// A pool keeps how the newest job in it was called (pool::keep_call). Those words are not believed: they are parsed as
/// a command line of this program that can only be a job, with the rights of whoever owns the pool; and it only goes on
/// with a job of that pool (session.hpp:resumption). A pool that others may write to is left alone.
#include "call.hpp"
#include "command.hpp"
#include "interrupt.hpp"
#include "job_words.hpp"
#include "session.hpp"

#include <ppmm/pmem/file.hpp>
#include <ppmm/pmem/inspect.hpp>
#include <ppmm/sched/describe.hpp>
#include <ppmm/sched/job.hpp>

#include <fmt/format.h>
#include <grp.h>
#include <pwd.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <CLI/CLI.hpp>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <memory>
#include <set>
#include <string>
#include <system_error>
#include <variant>
#include <vector>

namespace ppmm::tools {
namespace {

namespace fs = std::filesystem;

struct resume_options {
  std::vector<fs::path> places;
  bool all = false, dry_run = false;
  resumption how;
};

// ---- which pools ---------------------------------------------------------------------------------------------------

/// A DAX device, by its name: other devices are not even opened, for some do things then.
bool is_dax_device(const fs::directory_entry& entry) {
  std::error_code gone;
  if (!entry.is_character_file(gone)) return false;
  const std::string name = fs::canonical(entry.path(), gone).filename().string();
  unsigned region = 0, number = 0;
  int length = 0;
  return std::sscanf(name.c_str(), "dax%u.%u%n", &region, &number, &length) == 2 && name.size() == static_cast<std::size_t>(length);
}

/// It says so in its first bytes, or by its name.
bool may_be_a_pool(const fs::directory_entry& entry) {
  std::error_code gone;
  const bool is_file = entry.is_regular_file(gone);
  if (!is_file && !is_dax_device(entry)) return false;
  if (is_file && entry.path().extension() == ".ppmm") return true;
  try {
    std::array<char, 8> start{};
    detail::read_at(detail::open_pool_file(entry.path(), detail::access::read), entry.path(), 0, start.data(), start.size());
    return std::memcmp(start.data(), "PMEMOBJ", start.size()) == 0;
  } catch (const error&) {  // too short, or not ours to read
    return false;
  }
}

/// Each once, in the order of their names.
std::vector<fs::path> pools_in(const fs::path& directory) {
  std::vector<fs::path> found;
  std::error_code problem;
  fs::directory_iterator entry(directory, problem);
  for (; !problem && entry != fs::directory_iterator(); entry.increment(problem)) {
    if (may_be_a_pool(*entry)) found.push_back(entry->path());
  }
  if (problem)
    throw error(fmt::format("{}: cannot be read as a directory of pools: {}", directory.string(), problem.message()));
  std::ranges::sort(found);
  return found;
}

// ---- what becomes of them ------------------------------------------------------------------------------------------

enum class outcome { no_pool, nothing, left_alone, to_do, finished, failed, again };

struct tally {
  unsigned pools = 0, to_do = 0, finished = 0, failed = 0, again = 0, left_alone = 0;

  void count(outcome o) {
    pools += o != outcome::no_pool;
    to_do += o == outcome::to_do;
    finished += o == outcome::finished;
    failed += o == outcome::failed;
    again += o == outcome::again;
    left_alone += o == outcome::left_alone;
  }
  void tell() const {
    const auto plural = [](unsigned n) { return n == 1 ? "" : "s"; };
    std::string text = fmt::format("{} pool{}", pools, plural(pools));
    if (to_do > 0) text += fmt::format(", {} job{} to resume", to_do, plural(to_do));
    text += fmt::format(", {} job{} finished", finished, plural(finished));
    if (failed + again > 0) text += fmt::format(", {} not", failed + again);
    if (left_alone > 0) text += fmt::format("; {} left alone", left_alone);
    fmt::print("{}\n", text);
  }
};

void say(const fs::path& pool, const std::string& what) {
  fmt::print("{}: {}\n", pool.string(), what);
  std::fflush(stdout);
}

outcome fail(const fs::path& pool, const std::string& what) {
  fmt::print(stderr, "ppmm: {}: {}\n", pool.string(), what);
  return outcome::failed;
}

/// Messages about a pool begin with its name.
std::string without_name(std::string message, const fs::path& pool) {
  const std::string name = pool.string() + ": ";
  return message.starts_with(name) ? message.substr(name.size()) : message;
}

std::string user_name(uid_t uid) {
  const passwd* user = getpwuid(uid);
  return user != nullptr ? user->pw_name : std::to_string(uid);
}

/// From now on this process has the rights of that user and no others. False if that cannot be.
bool become(uid_t uid, gid_t gid) {
  if (const passwd* user = getpwuid(uid)) {
    if (initgroups(user->pw_name, user->pw_gid) != 0 || setgid(user->pw_gid) != 0) return false;
  } else if (setgroups(0, nullptr) != 0 || setgid(gid) != 0) {
    return false;
  }
  return setuid(uid) == 0;
}

/// In a process of its own: the rest of its life is the command's.
[[noreturn]] void call_again(const saved_call& call, const resumption& how, const struct stat& pool) {
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  int status = 1;
  if (geteuid() != pool.st_uid && !become(pool.st_uid, pool.st_gid)) {
    fmt::print(stderr, "ppmm: cannot become user {}: {}\n", user_name(pool.st_uid), std::strerror(errno));
  } else if (chdir(call.directory.c_str()) != 0) {
    fmt::print(stderr, "ppmm: the folder {}, where the job was begun: {}\n", call.directory.string(),
               std::strerror(errno));
  } else {
    set_command_line(for_shell(call));
    resume_only(how);
    status = run_command(call.words, commands::those_of_jobs);
  }
  std::fflush(nullptr);
  _exit(status);
}

/// Its wait status. A signal that comes to this process goes on to it.
int wait_for(pid_t child) {
  int status = 0;
  bool passed_on = false;
  for (;;) {
    const pid_t ended = waitpid(child, &status, WNOHANG);
    if (ended == child || (ended < 0 && errno != EINTR)) return status;
    if (const int signal = signal_received(); signal != 0 && !passed_on) {
      kill(child, signal);
      passed_on = true;
    }
    usleep(10'000);
  }
}

/// Whatever the command says.
bool is_unfinished(const fs::path& file, const layout::job_entry& job) {
  std::error_code ignored;
  if (!fs::exists(file, ignored)) return false;  // a pool of the job's own, removed after success
  const auto jobs = inspect(file).jobs;
  return std::ranges::any_of(jobs, [&](const layout::job_entry& j) {
    return j.serial == job.serial && j.state == layout::job_state::running;
  });
}

/// A job that is to be resumed, and how.
struct plan {
  struct stat owner {};
  layout::job_entry job;
  saved_call call;
  std::string name() const { return fmt::format("\"{}\"", job.name); }
};

/// What there is to do in a pool; if nothing or if it cannot be done, the reason has been told.
std::variant<outcome, plan> look_at_pool(const fs::path& file, bool tell_all) {
  struct stat st {};
  if (stat(file.c_str(), &st) != 0) return fail(file, std::strerror(errno));
  if (geteuid() != 0 && st.st_uid != geteuid()) {
    say(file, fmt::format("left alone: it belongs to {}", user_name(st.st_uid)));
    return outcome::left_alone;
  }
  const pool_report report = inspect(file);
  const auto newest = std::ranges::max_element(report.jobs, {}, &layout::job_entry::serial);
  if (report.holder) {
    say(file, fmt::format("left alone: in use by process {}", *report.holder));
    return outcome::left_alone;
  }
  if (!report.ok())
    return fail(file, fmt::format("damaged ({}): {}", report.failed.front().check,
                                  without_name(report.failed.front().message, file)));
  if (report.facts->part != 0) {  // the first part is the pool; this file is of it
    if (!tell_all) return outcome::no_pool;
    return fail(file, fmt::format("it is part {} of the pool {}: name that one", report.facts->part,
                                  report.facts->parts[0].file.string()));
  }
  const auto nothing = [&](const std::string& why) {
    if (tell_all) say(file, "nothing to resume: " + why);
    return outcome::nothing;
  };
  if (newest == report.jobs.end()) return nothing("it holds no job");
  plan found{st, *newest, {}};
  const layout::job_entry& job = found.job;
  const std::string name = found.name();
  const auto call = report.call ? decode(*report.call) : std::nullopt;
  if (job.state == layout::job_state::failed) return nothing(name + " has failed");
  if (job.state == layout::job_state::finished && !(call && call->to_file)) return nothing(name + " is finished");
  if (const auto open_file = open_to_others(*report.facts, st.st_uid))
    return fail(file, fmt::format("{} is not resumed: others than the pool's owner may write to {}, and so make up a "
                                  "command. If none has: chmod go-w, chown",
                                  name, open_file->string()));
  const auto this_build = build_id();
  if (job.state == layout::job_state::running && std::memcmp(job.build_id, this_build.data(), this_build.size()) != 0)
    return fail(file,
                fmt::format("{} was begun by another program or another build of this one ({}, this is {}): only "
                            "that one can finish it. To give it up: ppmm jobs {} --drop {}",
                            name, detail::describe_build(job.build_id), detail::describe_build(this_build.data()),
                            for_shell(std::vector{file.string()}), for_shell(std::vector<std::string>{job.name})));
  if (!call)
    return fail(file, fmt::format("{}: how it was called is not kept here (it was a very long command line, or no "
                                  "command's). Give the command again that began it",
                                  name));
  found.call = *call;
  return found;
}

outcome go_on(const fs::path& file, const plan& what, resumption how) {
  say(file, fmt::format("resuming {}: {}", what.name(), for_shell(what.call)));
  const auto begun = std::chrono::steady_clock::now();
  how.pool = fs::canonical(file);
  std::fflush(nullptr);
  const pid_t child = fork();
  if (child < 0) return fail(file, fmt::format("no process for it: {}", std::strerror(errno)));
  if (child == 0) call_again(what.call, how, what.owner);
  const int status = wait_for(child);
  if (WIFSIGNALED(status)) {
    fail(file, fmt::format("{} was killed by signal {}; it can be resumed again", what.name(), WTERMSIG(status)));
    return outcome::again;
  }
  if (const int code = WEXITSTATUS(status); code != 0) {
    fail(file, fmt::format("{} did not finish (exit status {})", what.name(), code));
    return code == exit_workers_lost || code == 128 + SIGINT || code == 128 + SIGTERM ? outcome::again
                                                                                      : outcome::failed;
  }
  if (is_unfinished(file, what.job))
    return fail(file, fmt::format("{} did not finish, though its command has ended without an error", what.name()));
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begun;
  say(file, fmt::format("{} finished, {:.3f} s after it was resumed", what.name(), took.count()));
  return outcome::finished;
}

outcome resume(const fs::path& file, const resume_options& options) {
  const auto found = look_at_pool(file, !options.all);
  if (const auto* told = std::get_if<outcome>(&found)) return *told;
  const plan& what = std::get<plan>(found);
  if (!options.dry_run) return go_on(file, what, options.how);
  say(file, fmt::format("would resume {}: {}", what.name(), for_shell(what.call)));
  return outcome::to_do;
}

void resume_all(const resume_options& options) {
  tally count;
  std::set<fs::path> seen;
  for (const fs::path& place : options.places) {
    for (const fs::path& file : options.all ? pools_in(place) : std::vector{place}) {
      std::error_code ignored;
      if (!seen.insert(fs::weakly_canonical(file, ignored)).second) continue;
      try {
        count.count(resume(file, options));
      } catch (const std::exception& e) {
        count.count(fail(file, without_name(e.what(), file)));
      }
      stop_if_interrupted("what was resumed has committed. The command again:");
    }
  }
  count.tell();
  if (count.failed > 0) throw exit_status{1};
  if (count.again > 0) throw exit_status{exit_workers_lost};
}

}  // namespace

void add_resume(CLI::App& app) {
  auto options = std::make_shared<resume_options>();
  CLI::App* command =
      app.add_subcommand("resume", "Go on with the unfinished jobs in pools, with the commands that began them");
  command->footer(
      "A pool keeps the command line of its newest job and the folder in which it was given. An answer is written to\n"
      "the file that --output names; one that would go to standard output stays in the pool, and the command, given\n"
      "again, tells it. Run by root, a job has the rights of the pool's owner.\n"
      "Left alone: pools in use, and those of other users. Exit status: 0 nothing is unfinished now but in those, 1 "
      "an\n"
      "error (the other pools are seen to), 3 a job was killed and can be resumed again, 130 or 143 interrupted.");
  command->add_option("POOL", options->places, "Pool files, or DAX devices; with --all, directories of them")->required();
  command->add_flag("--all", options->all,
                    "All pools in these directories, DAX devices too, one after another (not in their subdirectories)");
  command->add_flag("--dry-run", options->dry_run, "Only tell what would be resumed, and how");
  command->add_option("--workers", options->how.workers, "Workers, instead of what each command says")
      ->check(CLI::Range(1u, 1024u))
      ->type_name("N");
  add_progress_option(*command, [options](progress_mode mode) { options->how.progress = mode; });
  command->add_flag("--statistics", options->how.statistics, "Tell after each job what the workers did, on stderr");
  command->callback([options] { resume_all(*options); });
}

}  // namespace ppmm::tools
