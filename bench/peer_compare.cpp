#include "peer_compare.hpp"

#include "kernels.hpp"
#include "openmp.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <tbb/parallel_for.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <limits>
#include <memory>
#include <system_error>
#include <thread>

namespace bench {
namespace {

constexpr double enough_ns = 3e9;  // of rounds for one workload
constexpr unsigned fewest_rounds = 5, most_rounds = 30, quick_rounds = 2, most_placements = 3;

/// Threads that wait for more work spin for some milliseconds: they are to be asleep when others are measured.
void let_threads_sleep(unsigned threads) {
  if (threads > 1) std::this_thread::sleep_for(std::chrono::milliseconds(10));
}

/// In an arena of oneTBB's: its threads come.
void wake_tbb(unsigned threads) {
  tbb::parallel_for(0u, 16 * threads, [](unsigned) {
    for (const double until = clock_ns(CLOCK_MONOTONIC) + 20e3; clock_ns(CLOCK_MONOTONIC) < until;) continue;
  });
}

void make_ready(workload& w, unsigned threads) {
  constexpr std::size_t many = std::size_t{4} << 20;
  w.prepare();
  if (w.bytes > many) empty_caches();
  let_threads_sleep(threads);
}

/// PPMM's workers are awake when its time begins; so are the threads of its peers.
double time_of(workload& w, peer p, unsigned threads) {
  make_ready(w, threads);
  const auto timed = [&] { return time_ns(threads, [&] { w.by(p)(threads); }); };
  if (p == peer::serial) return time_ns(1, [&] { w.by(p)(1); });
  if (p == peer::openmp) return openmp::wake(threads), timed();
  double ns = 0;
  with_tbb_threads(static_cast<int>(threads), [&] {
    wake_tbb(threads);
    ns = timed();
  });
  return ns;
}

measured run_ours(workload& w, workbench& in, const ppmm::run_options& options) {
  make_ready(w, options.workers);
  return w.ours(in, options);
}

void check(const workload& w, std::uint64_t expected, std::string_view who, unsigned threads) {
  if (w.answer() != expected)
    throw wrong_answer(
        fmt::format("{} ({}): {} with {} threads gives another answer than serial code", w.name, w.size, who, threads));
}

/// Takes the time of serial code on the way.
std::uint64_t serial_answer(workload& w) {
  time_of(w, peer::serial, 1);  // touches the memory
  w.serial_ns = time_of(w, peer::serial, 1);
  return w.answer();
}

workload made(const workload_kind& kind) {
  workload w;
  w.name = kind.name;
  return w;
}

/// An application's checkpoint: its state in a file, as durable as the medium gives.
class checkpoint_file {
 public:
  checkpoint_file() : file_(pool_folder() / fmt::format("ppmm-bench-{}-state", getpid())) {}
  ~checkpoint_file() {
    std::error_code ignored;
    std::filesystem::remove(file_, ignored);
  }
  checkpoint_file(const checkpoint_file&) = delete;
  checkpoint_file& operator=(const checkpoint_file&) = delete;

  void write(std::span<const std::byte> state) const {
    const int fd = open(file_.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    std::size_t at = 0;
    while (fd >= 0 && at < state.size()) {
      const ssize_t n = ::write(fd, state.data() + at, state.size() - at);
      if (n <= 0) break;
      at += static_cast<std::size_t>(n);
    }
    const bool done = fd >= 0 && at == state.size() && fsync(fd) == 0;
    if (fd >= 0) close(fd);
    if (!done) throw std::system_error(errno, std::generic_category(), "cannot write " + file_.string());
  }

 private:
  std::filesystem::path file_;
};

/// Gives how many; after a round that does not count, for it touches all memory.
unsigned take_rounds(turns& t, double enough, unsigned fewest, unsigned most, bool quick) {
  t.warm_up();
  if (quick) return t.take(quick_rounds), quick_rounds;
  const double round = time_ns(2, [&] { t.take(1); });
  const auto rounds = static_cast<unsigned>(std::clamp<double>(enough / round, fewest, most));
  t.take(rounds - 1);
  return rounds;
}

/// A workload in pools that were just made. Which pages of memory they got makes a difference to loops that go over much.
struct placed {
  rooms in;
  workload peers, durable;
  placed(const workload_kind& kind, std::uint64_t region) : in(region), peers(made(kind)), durable(made(kind)) {
    kind.make(peers, rooms::memory(in.process, region));
    kind.make(durable, rooms::memory(in.emulated, region));
  }
};

/// All answers are serial code's.
void check_all(placed& at, unsigned threads) {
  const std::uint64_t expected = serial_answer(at.peers);
  for (const peer p : all_peers)
    if (at.peers.by(p) && p != peer::serial) {
      time_of(at.peers, p, threads);
      check(at.peers, expected, name_of(p), threads);
    }
  run_ours(at.peers, at.in.process, at.in.options(threads));
  check(at.peers, expected, "PPMM at level process", threads);
  run_ours(at.durable, at.in.emulated, at.in.options(threads));
  check(at.durable, expected, "PPMM at level emulated", threads);
}

}  // namespace

std::size_t room_for(std::uint64_t region) { return 4 * region + (std::size_t{64} << 20); }

rooms::rooms(std::uint64_t bytes)
    : process(ppmm::durability::process, room_for(bytes)),
      emulated(ppmm::durability::emulated, room_for(bytes)),
      flushed(ppmm::durability::emulated, room_for(bytes)),
      region(bytes) {}

double rooms::written_back_ns_a_byte(unsigned threads) {
  const std::span<std::byte> all = memory(flushed, region);
  return bench::written_back_ns_a_byte(
      flushed, numbers(reinterpret_cast<std::uint64_t*>(all.data()), all.size() / sizeof(std::uint64_t)), threads);
}

ppmm::run_options rooms::options(unsigned count) const {
  ppmm::run_options o = bench::workers(count);
  o.region = region;
  // One worker is where its peers' thread is (on_one_core). Several are pinned, as always: threads as young as a run of
  // milliseconds are not spread over the cores yet.
  o.pin = count > 1;
  return o;
}

std::optional<double> comparison::checkpointed_ns() const {
  if (!checkpoint_ns) return {};
  return *peer_ns[number_of(peer::onetbb)] * (1 + *checkpoint_ns / 1e9);
}

comparison compare(const workload_kind& kind, std::uint64_t region, unsigned workers, bool quick) {
  auto at = std::make_unique<placed>(kind, region);
  check_all(*at, workers);
  const on_one_core alone(workers == 1);

  comparison c;
  c.workload = kind.name, c.size = at->peers.size, c.fine_grained = at->peers.fine_grained, c.workers = workers;
  c.state_bytes = static_cast<double>(at->peers.state.size());
  turns t;
  std::array<std::optional<std::size_t>, all_peers.size()> of_peer{};
  for (const peer p : all_peers)
    if (at->peers.by(p)) of_peer[number_of(p)] = t.add([&at, p, workers] { return time_of(at->peers, p, workers); });
  const auto process = t.add([&] { return run_ours(at->peers, at->in.process, at->in.options(workers)).ns; });
  std::vector<double> lines, commits;
  const auto emulated = t.add([&] {
    const measured m = run_ours(at->durable, at->in.emulated, at->in.options(workers));
    lines.push_back(static_cast<double>(m.statistics.flushed.lines));
    commits.push_back(static_cast<double>(m.statistics.commits));
    return m.ns;
  });
  const auto flushing = t.add([&] { return at->in.written_back_ns_a_byte(workers); });
  const checkpoint_file file;
  std::optional<std::size_t> checkpoint;
  if (!at->peers.state.empty()) checkpoint = t.add([&] { return time_ns(2, [&] { file.write(at->peers.state); }); });

  const unsigned placements = quick || c.fine_grained ? 1 : most_placements;
  for (unsigned i = 0; i < placements; ++i) {
    if (i > 0) {
      at.reset();
      at = std::make_unique<placed>(kind, region);
      serial_answer(at->peers);
    }
    c.rounds += take_rounds(t, enough_ns / placements, (fewest_rounds + placements - 1) / placements + 1,
                            most_rounds / placements, quick);
  }

  c.process_ns = t.median_of(process), c.emulated_ns = t.median_of(emulated);
  double least = std::numeric_limits<double>::infinity();
  for (const peer p : all_peers) {
    const std::size_t i = number_of(p);
    if (!of_peer[i]) continue;
    c.peer_ns[i] = t.median_of(*of_peer[i]);
    c.process_beside[i] = t.ratio(process, *of_peer[i]);
    c.emulated_beside[i] = t.ratio(emulated, *of_peer[i]);
    if (p == peer::serial && workers > 1) continue;
    if (*c.peer_ns[i] < least) least = *c.peer_ns[i], c.fastest = p;
  }
  if (checkpoint) c.checkpoint_ns = t.median_of(*checkpoint);
  c.flushed_bytes = 64 * median(lines);
  c.flushed_ns = c.flushed_bytes * t.median_of(flushing);
  c.commits = median(commits);
  c.beside_fastest = c.process_beside[number_of(c.fastest)];
  c.beside_larger = std::min(c.emulated_beside[number_of(c.fastest)], c.emulated_ns / c.flushed_ns);
  return c;
}

// ---- settings ------------------------------------------------------------------------------------------------------

namespace {

struct setting {
  workbench* in;
  ppmm::run_options options;
};

/// Each setting beside serial code and beside the first setting with the same pool.
variation vary(const workload_kind& kind, std::uint64_t region, const std::vector<setting>& settings, bool quick) {
  std::vector<workload> there(settings.size());  // each where its pool is
  turns t;
  std::vector<std::vector<ppmm::run_statistics>> seen(settings.size());
  std::vector<std::size_t> at, beside;
  workload* serial = nullptr;
  std::uint64_t expected = 0;
  for (std::size_t i = 0; i < settings.size(); ++i) {
    const auto same =
        std::find_if(settings.begin(), settings.end(), [&](const setting& s) { return s.in == settings[i].in; });
    beside.push_back(static_cast<std::size_t>(same - settings.begin()));
    workload& w = there[beside.back()];
    if (!w.answer) {
      w = made(kind);
      kind.make(w, rooms::memory(*settings[i].in, region));
    }
    if (serial == nullptr) {
      serial = &w;
      expected = serial_answer(w);
      at.push_back(t.add([serial] { return time_of(*serial, peer::serial, 1); }));
    }
    run_ours(w, *settings[i].in, settings[i].options);
    check(w, expected, "PPMM with another setting", 1);
    at.push_back(t.add([&, i, of = &w, seed = std::uint64_t{0}]() mutable {
      ppmm::run_options options = settings[i].options;
      options.fault_seed = ++seed;
      const measured m = run_ours(*of, *settings[i].in, options);
      seen[i].push_back(m.statistics);
      return m.ns;
    }));
  }
  const on_one_core alone(std::ranges::all_of(settings, [](const setting& s) { return s.options.workers == 1; }));
  take_rounds(t, enough_ns, fewest_rounds, most_rounds, quick);
  variation v{kind.name, {}};
  for (std::size_t i = 0; i < settings.size(); ++i) {
    const auto median_of = [&](auto field) {
      std::vector<double> all;
      for (const ppmm::run_statistics& s : seen[i]) all.push_back(static_cast<double>(field(s)));
      return median(all);
    };
    v.results.push_back({t.ratio(at[i + 1], at[0]), t.ratio(at[i + 1], at[beside[i] + 1]),
                         median_of([](const auto& s) { return s.commits; }),
                         64 * median_of([](const auto& s) { return s.flushed.lines; }),
                         median_of([](const auto& s) { return s.soft_faults; })});
  }
  return v;
}

}  // namespace

variation vary_level(rooms& in, const workload_kind& kind, bool quick) {
  ppmm::run_options off = in.options(1);
  off.commits = false;
  return vary(kind, in.region,
              {{&in.process, off}, {&in.process, in.options(1)}, {&in.emulated, off}, {&in.emulated, in.options(1)}},
              quick);
}

variation vary_heartbeat(rooms& in, const workload_kind& kind, bool quick) {
  ppmm::run_options off = in.options(1);
  off.commits = false;
  std::vector<setting> settings{{&in.emulated, off}};
  for (const int us : heartbeats_us) {
    settings.push_back({&in.emulated, in.options(1)});
    settings.back().options.heartbeat = std::chrono::microseconds(us);
  }
  return vary(kind, in.region, settings, quick);
}

variation vary_faults(rooms& in, const workload_kind& kind, bool quick) {
  constexpr double no_fault = std::numeric_limits<double>::min();  // the injector is on, and looks at each access
  std::vector<setting> settings{{&in.emulated, in.options(1)}};
  settings.back().options.soft_fault_rate = no_fault;
  for (const double rate : fault_rates) {
    settings.push_back({&in.emulated, in.options(1)});
    settings.back().options.soft_fault_rate = rate;
  }
  return vary(kind, in.region, settings, quick);
}

}  // namespace bench
