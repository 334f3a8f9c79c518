#include "crash.hpp"

#include "kernels.hpp"
#include "measure.hpp"
#include "workbench.hpp"

#include <ppmm/ppmm.hpp>

#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>

namespace bench {
namespace {

constexpr std::chrono::microseconds heartbeat{50};

/// Parent and child run it, so both are this program: another build would be refused.
void run_endless(ppmm::pool& pool, ppmm::run_options options) {
  options.heartbeat = heartbeat;
  ppmm::run(pool, "endless", ppmm::task<fib>(80), options);
}

}  // namespace

bool is_child(int argc, char** argv) { return argc == 4 && std::string_view(argv[1]) == "--child"; }

int child(char** argv) {
  ppmm::pool pool = ppmm::pool::open(argv[2]);
  ppmm::run_options options = workers(static_cast<unsigned>(std::stoul(argv[3])));
  bool told = false;
  options.on_progress = [&](std::uint64_t) {
    if (!told) told = write(STDOUT_FILENO, "w", 1) == 1;  // working since 0.1 s
  };
  run_endless(pool, options);
  return 1;
}

crash_site::crash_site(std::size_t pool_bytes, unsigned workers)
    : file_(pool_folder() / ("ppmm-bench-" + std::to_string(getpid()) + "-crash.pool")), workers_(workers) {
  std::filesystem::remove(file_);
  ppmm::pool::create(file_, {.size = pool_bytes, .sparse = true, .level = ppmm::durability::emulated});
}

crash_site::~crash_site() {
  std::error_code ignored;
  std::filesystem::remove(file_, ignored);
}

crash_figures crash_site::crash_and_resume() {
  int working[2];
  if (pipe(working) != 0) throw std::runtime_error("pipe() failed");
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, working[1], STDOUT_FILENO);
  posix_spawn_file_actions_addclose(&actions, working[0]);
  std::string program = "/proc/self/exe", flag = "--child", file = file_.string(), count = std::to_string(workers_);
  char* arguments[] = {program.data(), flag.data(), file.data(), count.data(), nullptr};
  pid_t killed = 0;
  const int failed = posix_spawn(&killed, program.c_str(), &actions, nullptr, arguments, environ);
  posix_spawn_file_actions_destroy(&actions);
  close(working[1]);
  char byte = 0;
  const bool works = failed == 0 && read(working[0], &byte, 1) == 1;
  close(working[0]);
  if (!works) throw std::runtime_error("the child did not start to work");
  std::this_thread::sleep_for(std::chrono::microseconds(1000 + 137 * (crashes_++ % 31)));  // anywhere in a heartbeat
  kill(killed, SIGKILL);
  waitpid(killed, nullptr, 0);

  crash_figures figures;
  figures.heartbeat_ms = std::chrono::duration<double, std::milli>(heartbeat).count();
  const double began = clock_ns(CLOCK_MONOTONIC);
  ppmm::pool pool = ppmm::pool::open(file_);
  figures.open_ms = (clock_ns(CLOCK_MONOTONIC) - began) / 1e6;
  ppmm::run_statistics statistics;
  ppmm::run_options options = workers(workers_);
  std::stop_source stop;
  options.stop = stop.get_token();
  options.statistics = &statistics;
  options.on_resume = [&](const ppmm::resume_info& found) {
    figures.worst_lost_ms = found.worst_lost_ms;
    figures.strands = found.strands;
  };
  options.on_progress = [&](std::uint64_t) { stop.request_stop(); };
  try {
    run_endless(pool, options);
  } catch (const ppmm::job_interrupted&) {
    figures.to_first_work_ms = statistics.to_first_work_ms;
  }
  return figures;
}

}  // namespace bench
