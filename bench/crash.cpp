#include "crash.hpp"

#include "kernels.hpp"
#include "measure.hpp"
#include "own_child.hpp"
#include "workbench.hpp"

#include <ppmm/ppmm.hpp>

#include <unistd.h>  // getpid, write

#include <chrono>
#include <cstdint>
#include <span>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>

namespace bench {
namespace {

constexpr std::chrono::microseconds heartbeat{50};

using ppmm::out;

/// One array from the other, for ever.
ppmm::step<void> churn(ppmm::context& cx, out<std::uint64_t> from, out<std::uint64_t> to) {
  return cx.call(ppmm::task<scale>(from.as_in(), to)).then([from, to](ppmm::context& c) -> ppmm::step<void> {
    return c.tail(ppmm::task<churn>(to, from));
  });
}

std::span<std::uint64_t> live_data(const ppmm::pool& pool, std::uint64_t bytes) {
  return {reinterpret_cast<std::uint64_t*>(ppmm::region_of(pool, bytes).data()), bytes / sizeof(std::uint64_t)};
}

/// Parent and child run it, so both are this program: another build would be refused.
void run_endless(ppmm::pool& pool, std::uint64_t live_bytes, ppmm::run_options options) {
  options.heartbeat = heartbeat;
  options.region = live_bytes;
  if (live_bytes == 0) {
    ppmm::run(pool, "endless", ppmm::task<fib>(80), options);
    return;
  }
  const std::span<std::uint64_t> all = live_data(pool, live_bytes);
  const std::size_t half = all.size() / 2;
  const out<std::uint64_t> first(all.data(), half), second(all.data() + half, half);
  ppmm::run(pool, "endless", ppmm::task<churn>(first, second), options);
}

}  // namespace

bool is_child(int argc, char** argv) { return argc == 5 && std::string_view(argv[1]) == "--crash"; }

int child(char** argv) {
  ppmm::pool pool = ppmm::pool::open(argv[2]);
  ppmm::run_options options = workers(static_cast<unsigned>(std::stoul(argv[3])));
  bool told = false;
  options.on_progress = [&](std::uint64_t) {
    if (!told) told = write(STDOUT_FILENO, "w", 1) == 1;  // working since 0.1 s
  };
  run_endless(pool, std::stoull(argv[4]), options);
  return 1;
}

crash_site::crash_site(std::size_t pool_bytes, unsigned workers, std::uint64_t live_bytes)
    : file_(pool_folder() / ("ppmm-bench-" + std::to_string(getpid()) + "-crash.pool")),
      workers_(workers),
      live_(live_bytes) {
  std::filesystem::remove(file_);
  const ppmm::pool pool =
      ppmm::pool::create(file_, {.size = pool_bytes, .sparse = true, .level = ppmm::durability::emulated});
  if (live_ > 0) scatter(live_data(pool, live_));
}

crash_site::~crash_site() {
  std::error_code ignored;
  std::filesystem::remove(file_, ignored);
}

crash_figures crash_site::crash_and_resume() {
  own_child working({"--crash", file_.string(), std::to_string(workers_), std::to_string(live_)});
  char byte = 0;
  const bool works = working.read({&byte, 1}) == 1;
  if (works) std::this_thread::sleep_for(std::chrono::microseconds(1000 + 137 * (crashes_++ % 31)));  // anywhere in a heartbeat
  working.kill();
  if (!works) throw std::runtime_error("the child did not start to work");

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
    run_endless(pool, live_, options);
  } catch (const ppmm::job_interrupted&) {
    figures.to_first_work_ms = statistics.to_first_work_ms;
  }
  return figures;
}

}  // namespace bench
