/// processes [--quick] [--only PART] [--json FILE]
///
/// What worker processes cost beside worker threads, and what it costs that they are killed: as ratios of things
/// measured in turns in one run, and times from a SIGKILL to useful work. Markdown on standard output. Exit status 1 if
/// a figure is not held (never with --quick, which is for working on this program).
#include "arguments.hpp"
#include "computations.hpp"
#include "figure_table.hpp"
#include "kernels.hpp"
#include "measure.hpp"
#include "workbench.hpp"

#include <ppmm/algo/algo.hpp>

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <charconv>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <optional>
#include <random>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace {

using namespace bench;
using ppmm::context;
using ppmm::out;
using ppmm::step;
using ppmm::task;

bool quick = false;
figure_table figures;

constexpr unsigned cores = 2;

ppmm::run_options processes(unsigned n) {
  ppmm::run_options o = workers(n);
  o.workers_as = ppmm::worker_kind::processes;
  return o;
}

// ---- jobs that are long enough for their workers' start not to count

/// The task, so many times.
template <class Task>
step<void> repeated(context& cx, Task once, unsigned times) {
  if (times == 0) return {};
  return cx.call(once).then([once, times](context& c, const auto&...) -> step<void> {
    return c.tail(task<repeated<Task>>(once, times - 1));
  });
}

/// The same, timed, after it was done some times: so each process has met the memory, whose pages it has to map by
/// itself.
template <class Task>
step<void> warmed_up(context& cx, Task once, unsigned before, unsigned times) {
  return cx.call(task<repeated<Task>>(once, before)).then([once, times](context& c) -> step<void> {
    const auto all = task<repeated<Task>>(once, times);
    return c.tail(timed<decltype(all)>{all});
  });
}

step<void> shuffle(context& cx, out<std::uint64_t> data) {
  return ppmm::for_each(cx, 0, data.size(), [data](context& c, std::size_t lo, std::size_t hi) {
    c.fill(data.sub(lo, hi - lo), [lo](std::span<std::uint64_t> part, std::size_t at) {
      for (std::size_t i = 0; i < part.size(); ++i) {  // splitmix64 (Steele, Lea, Flood, 2014)
        std::uint64_t x = (lo + at + i) * 0x9e3779b97f4a7c15u;
        x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
        x = (x ^ x >> 27) * 0x94d049bb133111ebu;
        part[i] = x ^ x >> 31;
      }
    });
  });
}

step<void> shuffle_and_sort(context& cx, out<std::uint64_t> data, out<std::uint64_t> scratch) {
  return cx.call(task<shuffle>(data)).then([data, scratch](context& c) -> step<void> {
    return c.tail(task<bench::sort>(data, scratch));
  });
}

/// fib, and each task tells that it has done something.
step<long> counted_fib(context& cx, int n) {
  cx.advance(1);
  if (n < 2) return n;
  return cx.fork(task<counted_fib>(n - 1), task<counted_fib>(n - 2)).then([](context&, long a, long b) -> step<long> {
    return a + b;
  });
}

/// Each computation so often that the job takes about so many seconds.
class long_bench : public workbench {
 public:
  explicit long_bench(ppmm::durability level) : workbench(level, std::size_t{256} << 20) {
    auto* const first = reinterpret_cast<std::uint64_t*>(ppmm::region_of(pool(), region_bytes).data());
    from_ = {first, count};
    to_ = {first + count, count};
    scatter({first, count});
    scatter({first + count, count});
  }

  measured run(computation c, double seconds, ppmm::run_options o) {
    switch (c) {
      case computation::fib:
        return run(task<fib>(quick ? 24 : 34), seconds / 0.0165, o);  // by two workers
      case computation::queens:
        return run(task<queens>(quick ? 8 : 12), seconds / 0.005, o);
      case computation::sum:
        return run(task<sum>(from_.as_in()), seconds / 0.0007, o);
      case computation::scale:
        return run(task<scale>(from_.as_in(), to_), seconds / 0.0015, o);
      default:
        return run(task<shuffle_and_sort>(from_, to_), seconds / 0.14, o);
    }
  }
  /// Once over all the data.
  measured first_pass(ppmm::run_options o) {
    o.region = region_bytes;
    return compute(task<scale>(from_.as_in(), to_), o);
  }
  static constexpr unsigned data_mib = 64;

 private:
  template <class Task>
  measured run(const Task& once, double times, ppmm::run_options o) {
    o.region = region_bytes;
    const auto n = static_cast<unsigned>(std::max(1.0, times));
    return compute(task<warmed_up<Task>>(once, (n + 3) / 4, n), o);
  }

  static constexpr std::size_t count = std::size_t{1} << 22;
  static constexpr std::uint64_t region_bytes = 2 * count * sizeof(std::uint64_t);
  out<std::uint64_t> from_, to_;
};

// ---- killing

/// The children that the thread has forked. No memory is allocated here: while the thread forks, this one goes on.
class family {
 public:
  explicit family(pid_t thread) {
    std::snprintf(file_, sizeof file_, "/proc/self/task/%d/children", static_cast<int>(thread));
  }
  std::span<const pid_t> children() {
    char text[1024];
    const int fd = ::open(file_, O_RDONLY | O_CLOEXEC);
    const ssize_t n = fd < 0 ? 0 : ::read(fd, text, sizeof text);
    if (fd >= 0) ::close(fd);
    std::size_t found = 0;
    for (const char *at = text, *end = text + std::max<ssize_t>(n, 0); at < end && found < std::size(pids_);) {
      const auto [next, failed] = std::from_chars(at, end, pids_[found]);
      if (failed != std::errc()) break;
      ++found;
      at = next + 1;
    }
    return {pids_, found};
  }

 private:
  char file_[64];
  pid_t pids_[64];
};

/// Kills a child of the calling thread's at random, again and again, until it is destroyed.
class killer {
 public:
  enum class rhythm { steady, random };
  killer(std::chrono::microseconds every, rhythm r, unsigned seed)
      : thread_([=, parent = ::gettid()](const std::stop_token& stop) {
          family workers(parent);
          std::mt19937 dice(seed);
          std::exponential_distribution<double> wait(1 / static_cast<double>(every.count()));
          auto next = std::chrono::steady_clock::now();
          for (;;) {
            next += r == rhythm::steady ? every : std::chrono::microseconds(static_cast<std::int64_t>(wait(dice)));
            while (!stop.stop_requested() && std::chrono::steady_clock::now() < next)
              std::this_thread::sleep_until(
                  std::min(next, std::chrono::steady_clock::now() + std::chrono::milliseconds(5)));
            if (stop.stop_requested()) return;
            if (const auto all = workers.children(); !all.empty()) ::kill(all[dice() % all.size()], SIGKILL);
          }
        }) {}

 private:
  std::jthread thread_;
};

// ---- one strand

/// What the strand and the one who kills it see.
struct heartbeat_board {
  std::atomic<std::int64_t> pid{0};     // of the process that runs it
  std::atomic<std::int64_t> killed{0};  // the process that is about to be killed
  std::atomic<double> by_another{0};    // when another one was first here since: nanoseconds of the clock
  std::atomic<bool> stop{false};
};
heartbeat_board& board = in_common<heartbeat_board>();

/// A chain of short tasks that say where they are.
step<std::uint64_t> says_where(context& cx, std::uint64_t n) {
  const std::int64_t me = ::getpid();
  board.pid.store(me);
  if (board.by_another.load() == 0 && board.killed.load() != me)
    board.by_another.store(clock_ns(CLOCK_MONOTONIC));  // in this order
  if (board.stop) return n;
  return cx.tail(task<says_where>(n + 1));
}

struct gaps {
  std::vector<double> ms;
  ppmm::run_statistics statistics;
};

gaps measure_gaps(workbench& w, unsigned n, unsigned kills) {
  gaps g;
  g.ms.reserve(kills);
  board.pid = board.killed = 0;
  board.by_another = 0;
  board.stop = false;
  ppmm::run_options o = processes(n);
  {
    const std::jthread kill([&](const std::stop_token& over) {
      const auto pause = [](int us) { std::this_thread::sleep_for(std::chrono::microseconds(us)); };
      std::mt19937 dice(1);
      while (board.pid == 0 && !over.stop_requested()) pause(100);
      while (g.ms.size() < kills && !over.stop_requested()) {
        pause(20000 +
              static_cast<int>(dice() % 5000));  // the one who was killed is replaced meanwhile, and all is quiet
        const std::int64_t victim = board.pid;
        board.killed = victim;
        board.by_another = 0;  // after it: the victim does not take itself for another
        const double now = clock_ns(CLOCK_MONOTONIC);
        if (::kill(static_cast<pid_t>(victim), SIGKILL) != 0) continue;
        const bool at_once = clock_ns(CLOCK_MONOTONIC) - now < 0.2e6;  // else this thread had to wait for a processor
        while (board.by_another.load() == 0 && !over.stop_requested()) pause(500);
        if (at_once && !over.stop_requested()) g.ms.push_back((board.by_another.load() - now) / 1e6);
      }
      board.stop = true;
    });
    g.statistics = w.compute(task<says_where>(std::uint64_t{0}), o).statistics;
  }
  return g;
}

// ---- the figures

const char* level_name(ppmm::durability level) { return level == ppmm::durability::process ? "process" : "emulated"; }

void beside_threads() {
  const double seconds = quick ? 0.01 : 0.6;
  for (const auto level : {ppmm::durability::process, ppmm::durability::emulated}) {
    long_bench b(level);
    for (const computation c : all_computations) {
      turns t;
      const auto threads = t.add([&] { return b.run(c, seconds, workers(cores)).ns; });
      const auto in_processes = t.add([&] { return b.run(c, seconds, processes(cores)).ns; });
      t.warm_up();
      t.take(quick ? 1 : 7);
      const double ratio = t.ratio(in_processes, threads);
      figures.add(fmt::format("{}, `{}`: 2 processes beside 2 threads", name_of(c), level_name(level)),
                  fmt::format("{:.3f} × ({:.0f} ms; quartiles {:.3f}, {:.3f})", ratio, t.median_of(threads) / 1e6,
                              t.ratio(in_processes, threads, 0.25), t.ratio(in_processes, threads, 0.75)),
                  "≤ 1.03 ×", ratio <= 1.03);
    }
  }
}

void starting() {
  workbench w(ppmm::durability::emulated);
  for (const unsigned n : {2u, 4u}) {
    std::vector<double> first[2], all[2];
    for (unsigned round = 0; round < (quick ? 2u : 41u); ++round)
      for (const unsigned kind : {round % 2, 1 - round % 2}) {
        const ppmm::run_statistics s = w.compute(task<fib>(5), kind == 0 ? workers(n) : processes(n)).statistics;
        first[kind].push_back(s.to_first_work_ms);
        all[kind].push_back(1e3 * s.seconds);
      }
    figures.add(fmt::format("from the call of run to the first work, {} workers: threads, processes", n),
                fmt::format("{:.2f}, {:.2f} ms", median(first[0]), median(first[1])));
    figures.add(fmt::format("a job with nothing to do, {} workers: threads, processes", n),
                fmt::format("{:.2f}, {:.2f} ms", median(all[0]), median(all[1])));
  }
  long_bench b(ppmm::durability::emulated);
  turns t;
  const auto threads = t.add([&] { return b.first_pass(workers(cores)).ns; });
  const auto in_processes = t.add([&] { return b.first_pass(processes(cores)).ns; });
  t.warm_up();
  t.take(quick ? 1 : 21);
  figures.add(fmt::format("the first pass over {} MiB, 2 workers: threads, to which they are mapped already, processes",
                          b.data_mib),
              fmt::format("{:.1f}, {:.1f} ms", t.median_of(threads) / 1e6, t.median_of(in_processes) / 1e6));
}

void under_kills() {
  const double seconds = quick ? 0.05 : 1.6;  // and a quarter of it before
  long_bench b(ppmm::durability::emulated);
  for (const computation c : {computation::fib, computation::sort}) {
    struct death_toll {
      double deaths = 0, renewals = 0, runs = 0;
    } tolls[2];
    const auto job = [&](std::chrono::milliseconds every, death_toll* toll) {
      return [&b, c, seconds, every, toll, seed = 0u]() mutable {
        std::optional<killer> k;
        if (toll != nullptr) k.emplace(every, killer::rhythm::steady, ++seed);
        const ppmm::run_statistics s = b.run(c, seconds, processes(4)).statistics;
        if (toll != nullptr) {
          toll->deaths += static_cast<double>(s.deaths);
          toll->renewals += static_cast<double>(s.renewals);
          ++toll->runs;
        }
        return s.seconds;
      };
    };
    turns t;
    const auto undisturbed = t.add(job({}, nullptr));
    const auto seldom = t.add(job(std::chrono::milliseconds(100), &tolls[0]));
    const auto often = t.add(job(std::chrono::milliseconds(10), &tolls[1]));
    t.take(quick ? 1 : 5);
    const auto tell = [&](const char* every, std::size_t which, const death_toll& toll, const char* to_hold,
                          bool has_bound) {
      const double ratio = t.ratio(which, undisturbed);
      figures.add(fmt::format("{}, 4 processes on 2 cores, one killed each {}, beside none killed", name_of(c), every),
                  fmt::format("{:.3f} × ({:.2f} s; {:.0f} deaths, {:.1f} times new books a run)", ratio,
                              t.median_of(undisturbed), toll.deaths / toll.runs, toll.renewals / toll.runs),
                  to_hold, has_bound ? std::optional(ratio < 1.25) : std::nullopt);
    };
    tell("100 ms", seldom, tolls[0], "< 1.25 ×", true);
    tell("10 ms", often, tolls[1], "", false);
  }
}

void to_running_again() {
  struct case_of {
    unsigned workers;
    std::uint32_t slots;
    const char* what;
  };
  for (const auto& [n, slots, what] :
       {case_of{4, 64, "4 processes, 3 of them idle"}, case_of{1, 64, "1 process: by the one who replaces it"},
        case_of{1, 1, "1 process in a pool with 1 worker slot: from new books"}}) {
    workbench w(ppmm::durability::emulated, std::size_t{64} << 20, slots);
    const gaps g = measure_gaps(w, n, quick ? 3 : 60);
    const double worst = quantile(g.ms, 1);
    figures.add(
        fmt::format("from a kill to its strand running again, {}, {} kills: median, 90 %, worst", what, g.ms.size()),
        fmt::format("{:.2f}, {:.2f}, {:.2f} ms ({} robbed, {} times new books)", median(g.ms), quantile(g.ms, 0.9),
                    worst, g.statistics.robberies, g.statistics.renewals),
        "≤ 15 ms", worst <= 15);
  }
}

/// Units of work a second.
double rate(workbench& w, std::chrono::milliseconds how_long, std::optional<std::chrono::milliseconds> kills,
            unsigned seed, ppmm::run_statistics& s) {
  std::stop_source stop;
  ppmm::run_options o = processes(4);
  o.statistics = &s;
  o.stop = stop.get_token();
  {
    std::optional<killer> k;
    if (kills) k.emplace(*kills, killer::rhythm::random, seed);
    std::jthread ends([&] {
      std::this_thread::sleep_for(how_long);
      stop.request_stop();
    });
    try {
      ppmm::run(w.pool(), "storm", task<counted_fib>(80), o);
    } catch (const ppmm::job_interrupted&) {
    }
  }
  w.pool().drop_job("storm");
  return static_cast<double>(s.units) / s.seconds;
}

void storm() {
  workbench w(ppmm::durability::emulated);
  const std::chrono::milliseconds how_long(quick ? 100 : 2000);
  ppmm::run_statistics s;
  double deaths = 0, renewals = 0;
  unsigned seed = 0;
  turns t;
  const auto undisturbed = t.add([&] { return rate(w, how_long, {}, 0, s); });
  const auto in_storm = t.add([&] {
    const double r = rate(w, how_long, std::chrono::milliseconds(5), ++seed, s);
    deaths += static_cast<double>(s.deaths);
    renewals += static_cast<double>(s.renewals);
    return r;
  });
  t.take(quick ? 1 : 7);
  figures.add(
      "units of work a second, 4 processes on 2 cores, a random one killed each 5 ms on average, beside none killed",
      fmt::format("{:.2f} × (of {:.0f} million; {:.0f} deaths, {:.1f} times new books a run)",
                  t.ratio(in_storm, undisturbed), t.median_of(undisturbed) / 1e6, deaths / seed, renewals / seed));
}

}  // namespace

int main(int argc, char** argv) {
  std::string json, only;
  if (!read_arguments(argc, argv, "processes [--quick] [--only threads|start|kills|gap|storm] [--json FILE]", quick,
                      {{"--json", &json}, {"--only", &only}}))
    return 2;
  try {
    const auto part = [&only](std::string_view name, void (*measure)()) {
      if (only.empty() || only == name) measure();
    };
    part("threads", beside_threads);
    part("start", starting);
    part("kills", under_kills);
    part("gap", to_running_again);
    part("storm", storm);
    figures.print();
    if (!json.empty()) figures.write_json(json);
    return figures.all_held() || quick ? 0 : 1;
  } catch (const std::exception& e) {
    fmt::print(stderr, "processes: {}\n", e.what());
    return 2;
  }
}
