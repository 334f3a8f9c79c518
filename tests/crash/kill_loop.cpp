/// Kills a job with SIGKILL at random instants, over and over, and compares its answer with a serial program's.
///
///   kill_loop [--job fib|tree|deep|squares|sort|heap|algo] [--kills N] [--workers N] [--level process|emulated] [--soft RATE]
///             [--every-task] [--parts N] [--seed S] [--pool FILE] [--storm MS]
///
/// With --storm the workers are processes: one of them after another is killed, and now and then the coordinator, after which
/// the next one finds orphans at work. Up to MS milliseconds pass between two kills.
///
/// The parent starts itself as a child that runs the job, waits for a random time, kills it, and starts it again, until
/// it has killed often enough and the job under way is done; each done job is followed by another with other arguments.
/// A wrong answer, a unit of work that was counted twice or not at all, or a child that ends in any other way ends it
/// with status 1, the seed, and the pool kept.
#include "jobs.hpp"

#include <CLI/CLI.hpp>  // App
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <thread>
#include <vector>

namespace ppmm::test {
namespace {

struct options {
  std::string job = "fib", level = "emulated", pool;
  unsigned kills = 200, workers = 2, parts = 1;
  double soft = 0;
  bool every_task = false, child = false;
  std::uint64_t seed = 0, number = 0, value = 0, units = 0;
  unsigned patience_ms = 40;
  double storm_ms = 0;
};

struct answer {
  std::uint64_t value = 0, units = 0;
};

constexpr std::uint64_t region_bytes = std::uint64_t{32} << 20;

template <class T>
out<T> array(const pool& p, std::size_t from, std::size_t n) {
  return {reinterpret_cast<T*>(region_of(p, region_bytes).data() + from), n};
}

int fib_argument(std::uint64_t number) { return 34 + static_cast<int>(number % 3); }
node tree_root(std::uint64_t number) { return {mix(number), 0}; }
std::uint64_t deep_argument(std::uint64_t number) { return 300'000 + number % 7; }
std::size_t squares_argument(std::uint64_t number) { return (std::size_t{3} << 20) + number % 1000; }
std::uint32_t heap_depth(std::uint64_t number) { return 11 + static_cast<std::uint32_t>(number % 5); }
std::size_t algo_argument(std::uint64_t number) { return 200'000 + number % 1000; }
std::size_t sort_argument(std::uint64_t number) { return (std::size_t{1} << 20) + number % 1000; }

/// Fills, sorts, and folds the sorted words into one number.
step<std::uint64_t> sorted_fold(context& cx, out<std::uint64_t> a, out<std::uint64_t> b, std::uint64_t key) {
  return cx.call([a, key](context& c) {
             return for_each(c, 0, a.size(), [a, key](context& d, std::size_t lo, std::size_t hi) {
               const auto span = d.write(a.sub(lo, hi - lo));
               for (std::size_t i = lo; i < hi; ++i) span[i - lo] = mix(key + i);
               d.advance(hi - lo);
             });
           })
      .then([a, b](context& c) { return c.call([a, b](context& d) { return sort(d, a, b, std::less<>()); }).then([a](context& d) -> step<std::uint64_t> {
        const auto from = a.as_in();
        return reduce(
            d, 0, from.size(), std::uint64_t{0},
            [from](context& e, std::size_t lo, std::size_t hi) {
              std::uint64_t sum = 0;
              const auto span = e.read(from.sub(lo, hi - lo));
              for (std::size_t i = lo; i < hi; ++i) sum += span[i - lo] * (2 * i + 1);
              return sum;
            },
            [](std::uint64_t x, std::uint64_t y) { return x + y; });
      }); });
}

answer expected(const options& o) {
  answer a;
  if (o.job == "fib") {
    a = {static_cast<std::uint64_t>(serial_fib(fib_argument(o.number))), fib_units(fib_argument(o.number))};
  } else if (o.job == "tree") {
    a.value = serial_subtree(tree_root(o.number), a.units);
  } else if (o.job == "deep") {
    a = {serial_deep(deep_argument(o.number)), deep_argument(o.number)};
  } else if (o.job == "squares") {
    a = {serial_squares(squares_argument(o.number)), squares_argument(o.number)};
  } else if (o.job == "algo") {
    a.value = serial_pipeline(mix(o.number), algo_argument(o.number), a.units);
  } else if (o.job == "heap") {
    a = {serial_forest(o.number + 1, heap_depth(o.number)), (std::uint64_t{2} << heap_depth(o.number)) - 1};
  } else {
    std::vector<std::uint64_t> v(sort_argument(o.number));
    for (std::size_t i = 0; i < v.size(); ++i) v[i] = mix(mix(o.number) + i);
    std::sort(v.begin(), v.end());
    for (std::size_t i = 0; i < v.size(); ++i) a.value += v[i] * (2 * i + 1);
    a.units = v.size();
  }
  return a;
}

answer run_job(pool& p, const options& o) {
  const std::string name = o.job + " " + std::to_string(o.number);
  run_statistics s;
  run_options r;
  r.workers = o.workers;
  r.pin = false;
  r.soft_fault_rate = o.soft;
  r.fault_seed = o.seed;
  r.commit_every_task = o.every_task;
  r.region = o.job == "squares" || o.job == "sort" ? region_bytes : 0;
  r.statistics = &s;
  if (o.storm_ms > 0) r.workers_as = worker_kind::processes;
  answer a;
  if (o.job == "fib")
    a.value = static_cast<std::uint64_t>(run(p, name, task<fib>(fib_argument(o.number)), r));
  else if (o.job == "tree")
    a.value = run(p, name, task<subtree>(tree_root(o.number)), r);
  else if (o.job == "deep")
    a.value = run(p, name, task<deep>(deep_argument(o.number)), r);
  else if (o.job == "squares")
    a.value = run(p, name, task<squares>(array<std::uint64_t>(p, 0, squares_argument(o.number))), r);
  else if (o.job == "heap") {
    a.value = run(p, name, task<forest>(o.number + 1, heap_depth(o.number), o.number > 0), r);
    if (const auto left = find_root<std::uint64_t>(p, "forest"); heap_blocks(p) != 1 || left.size() != 100 || *left.address() != a.value) {
      std::cerr << "WRONG: " << heap_blocks(p) << " blocks are left, and the root has " << left.size() << "\n";
      std::exit(4);
    }
  } else if (o.job == "algo") {
    a.value = run(p, name, task<pipeline>(mix(o.number), algo_argument(o.number), o.number > 0), r);
    if (heap_blocks(p) != 1) {
      std::cerr << "WRONG: " << heap_blocks(p) << " blocks are left, instead of the root's\n";
      std::exit(4);
    }
  } else
    a.value = run(p, name,
                  task<sorted_fold>(array<std::uint64_t>(p, 0, sort_argument(o.number)), array<std::uint64_t>(p, region_bytes / 2, sort_argument(o.number)),
                                    mix(o.number)), r);
  a.units = s.units;
  return a;
}

/// The child: status 0 when the job is done and right, 3 when it is wrong. A job that was done in an earlier life, whose
/// parent killed it before it could say so, has no units to compare.
int child(const options& o) {
  pool_options how;
  how.size = std::size_t{160} << 20;
  for (unsigned i = 1; i < o.parts; ++i) how.further_parts.push_back({o.pool + "." + std::to_string(i)});
  how.sparse = true;
  how.level = o.level == "process" ? durability::process : durability::emulated;
  pool p = pool::open_or_create(o.pool, how);
  const answer a = run_job(p, o), e = {o.value, o.units};
  if (a.value != e.value || (a.units != 0 && a.units != e.units)) {
    std::cerr << "WRONG: " << o.job << " " << o.number << " gave " << a.value << " with " << a.units << " units instead of " << e.value << " with " << e.units
              << "\n";
    return 3;
  }
  p.drop_job(o.job + " " + std::to_string(o.number - 1));  // the one before: its answer was seen
  return 0;
}

pid_t start(const options& o, const answer& e, unsigned workers, std::uint64_t seed) {
  std::vector<std::string> words = {"kill_loop", "--child",    "--job",  o.job,  "--workers", std::to_string(workers), "--level", o.level, "--soft", std::to_string(o.soft),
                                    "--seed",    std::to_string(seed), "--pool", o.pool, "--number",  std::to_string(o.number), "--value", std::to_string(e.value), "--units", std::to_string(e.units)};
  if (o.every_task) words.emplace_back("--every-task");
  words.insert(words.end(), {"--parts", std::to_string(o.parts), "--storm", std::to_string(o.storm_ms)});
  std::vector<char*> arguments;
  for (std::string& w : words) arguments.push_back(w.data());
  arguments.push_back(nullptr);
  const pid_t pid = fork();
  if (pid == 0) {
    execv("/proc/self/exe", arguments.data());
    _exit(127);
  }
  return pid;
}

// ---- a storm

std::vector<pid_t> children_of_process(pid_t pid) {
  std::ifstream list("/proc/" + std::to_string(pid) + "/task/" + std::to_string(pid) + "/children");
  return {std::istream_iterator<pid_t>(list), {}};
}

pid_t parent_of(pid_t pid) {
  std::ifstream stat("/proc/" + std::to_string(pid) + "/stat");
  std::string line;
  std::getline(stat, line);
  std::istringstream rest(line.substr(std::min(line.size(), line.rfind(')') + 2)));
  char state = 0;
  pid_t ppid = 0;
  rest >> state >> ppid;
  return ppid;
}

/// It calls itself a worker: what else a process may have for children (a sanitizer's) is left alone.
bool is_worker(pid_t pid) {
  std::ifstream comm("/proc/" + std::to_string(pid) + "/comm");
  std::string name;
  std::getline(comm, name);
  return name.starts_with("ppmm worker");
}

/// Kills a worker of the coordinator's, or an orphan, which is ours by now (PR_SET_CHILD_SUBREAPER). False: there is none, or
/// it has just ended.
bool kill_a_worker(pid_t coordinator, std::mt19937_64& dice) {
  std::vector<std::pair<pid_t, pid_t>> workers;  // and their parents
  for (const pid_t parent : {coordinator, getpid()})
    for (const pid_t pid : children_of_process(parent))
      if (pid != coordinator && is_worker(pid)) workers.emplace_back(pid, parent);
  if (workers.empty()) return false;
  const auto [pid, parent] = workers[dice() % workers.size()];
  const int fd = static_cast<int>(syscall(SYS_pidfd_open, pid, 0));
  const bool killed = fd >= 0 && parent_of(pid) == parent && syscall(SYS_pidfd_send_signal, fd, SIGKILL, nullptr, 0) == 0;
  if (fd >= 0) close(fd);
  return killed;
}

/// One run of a job under a storm that stops after `most` kills; how many there were. `status` is the coordinator's.
unsigned run_in_storm(const options& o, const answer& e, unsigned most, std::mt19937_64& dice, int& status) {
  const pid_t coordinator = start(o, e, 1 + static_cast<unsigned>(dice() % o.workers), dice());
  unsigned kills = 0;
  for (;;) {
    std::this_thread::sleep_for(std::chrono::duration<double, std::milli>(o.storm_ms * std::uniform_real_distribution<>()(dice)));
    siginfo_t ended{};
    waitid(P_PID, static_cast<id_t>(coordinator), &ended, WEXITED | WNOWAIT | WNOHANG);
    if (ended.si_pid != 0) break;
    if (kills < most) {
      if (dice() % 50 == 0)
        kills += kill(coordinator, SIGKILL) == 0 ? 1u : 0u;
      else
        kills += kill_a_worker(coordinator, dice) ? 1u : 0u;
    }
    for (const pid_t pid : children_of_process(getpid()))
      if (pid != coordinator) waitpid(pid, nullptr, WNOHANG);
  }
  waitpid(coordinator, &status, 0);
  return kills;
}

int parent(options o) {
  prctl(PR_SET_CHILD_SUBREAPER, 1);
  std::mt19937_64 dice(o.seed);
  std::cout << "kill_loop --job " << o.job << " --workers " << o.workers << " --level " << o.level << " --soft " << o.soft << " --seed " << o.seed << std::endl;
  unsigned kills = 0, jobs = 0;
  answer e = expected(o);
  bool in_the_middle = false;  // of a job: the last one is run to its end
  while (kills < o.kills || in_the_middle) {
    int status = 0;
    if (o.storm_ms > 0) {
      kills += run_in_storm(o, e, o.kills - std::min(kills, o.kills), dice, status);
      in_the_middle = true;
      if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) continue;
      if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        std::cout << "FAILED after " << kills << " kills in job " << o.number << ", status " << status << "; the pool is kept: " << o.pool << std::endl;
        return 1;
      }
      ++jobs;
      ++o.number;
      e = expected(o);
      in_the_middle = false;
      continue;
    }
    const bool spare = kills >= o.kills;
    const pid_t pid = start(o, e, 1 + static_cast<unsigned>(dice() % o.workers), dice());
    in_the_middle = true;
    std::atomic<bool> ended{false};
    std::jthread killer([&, wait = std::chrono::microseconds(dice() % (o.patience_ms * 1000))] {
      std::this_thread::sleep_for(wait);
      if (!ended && !spare) kill(pid, SIGKILL);
    });
    // Not reaped before the killer is through: the pid stays the child's.
    siginfo_t info{};
    waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOWAIT);
    ended = true;
    killer.join();
    waitpid(pid, &status, 0);
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) {
      ++kills;
    } else if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
      ++jobs;
      ++o.number;
      e = expected(o);
      in_the_middle = false;
    } else {
      std::cout << "FAILED after " << kills << " kills in job " << o.number << ", status " << status << "; the pool is kept: " << o.pool << std::endl;
      return 1;
    }
  }
  std::cout << kills << " kills, " << jobs << " jobs done, no wrong answer" << std::endl;
  std::filesystem::remove(o.pool);
  for (unsigned i = 1; i < o.parts; ++i) std::filesystem::remove(o.pool + "." + std::to_string(i));
  return 0;
}

}  // namespace
}  // namespace ppmm::test

int main(int argc, char** argv) {
  ppmm::test::options o;
  CLI::App app("Kills a job at random instants and compares its answer.");
  app.add_option("--job", o.job)->check(CLI::IsMember({"fib", "tree", "deep", "squares", "sort", "heap", "algo"}));
  app.add_option("--kills", o.kills);
  app.add_option("--workers", o.workers, "at most; each life has a random number of them")->check(CLI::Range(1, 64));
  app.add_option("--level", o.level)->check(CLI::IsMember({"process", "emulated"}));
  app.add_option("--soft", o.soft, "soft fault rate")->check(CLI::Range(0.0, 0.1));
  app.add_flag("--every-task", o.every_task);
  app.add_option("--parts", o.parts, "files of the pool")->check(CLI::Range(1, 16));
  app.add_option("--seed", o.seed);
  app.add_option("--pool", o.pool);
  app.add_option("--patience", o.patience_ms, "milliseconds a life lasts at most");
  app.add_option("--storm", o.storm_ms, "worker processes, killed so many milliseconds apart at most")->check(CLI::Range(0.0, 1e6));
  app.add_option("--number", o.number)->group("");
  app.add_option("--value", o.value)->group("");
  app.add_option("--units", o.units)->group("");
  app.add_flag("--child", o.child)->group("");
  CLI11_PARSE(app, argc, argv);
  try {
    if (o.child) return ppmm::test::child(o);
    if (o.seed == 0) o.seed = ppmm::test::seed();
    if (o.pool.empty()) o.pool = "/dev/shm/kill_loop-" + std::to_string(getpid()) + ".pool";
    return ppmm::test::parent(o);
  } catch (const std::exception& e) {
    std::cerr << "kill_loop: " << e.what() << "\n";
    return 2;
  }
}
