/// What only a process of its own can tell: peak memory, and level `power` beside a libpmemobj that syncs pages.
#include "kernels.hpp"
#include "own_child.hpp"
#include "peer_compare.hpp"

#include <fmt/format.h>
#include <malloc.h>  // malloc_trim

#include <array>
#include <fstream>
#include <memory>
#include <sstream>
#include <stdexcept>

namespace bench {
namespace {

/// Runs this program with these arguments; gives what it prints.
std::string output_of(const std::vector<std::string>& arguments) {
  own_child child(arguments);
  std::string text;
  std::array<char, 256> some;
  while (const std::size_t n = child.read(some)) text.append(some.data(), n);
  if (child.wait() != 0) throw std::runtime_error(fmt::format("a child process failed: peers {}", fmt::join(arguments, " ")));
  return text;
}

child_options child_of(const child_options& base, const std::string& what, const std::string& workload,
                       unsigned workers, const std::string& way) {
  child_options all{"--child", what, "--only", workload, "--workers", std::to_string(workers), "--way", way};
  all.insert(all.end(), base.begin(), base.end());
  return all;
}

double peak_since_reset() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.starts_with("VmHWM:")) return 1024 * std::stod(line.substr(6));
  throw std::runtime_error("/proc/self/status tells no VmHWM");
}
void reset_peak() {
  if (!(std::ofstream("/proc/self/clear_refs") << 5).flush())
    throw std::runtime_error("cannot write /proc/self/clear_refs");
}

}  // namespace

double peak_bytes(const child_options& base, const std::string& workload, std::optional<peer> by, unsigned workers) {
  return std::stod(output_of(child_of(base, "memory", workload, workers, by ? name_of(*by) : "PPMM")));
}

double own_peak_bytes(const workload_kind& kind, std::optional<peer> by, unsigned workers, std::uint64_t region) {
  workload w;
  w.name = kind.name;
  if (!by) {
    workbench in(ppmm::durability::emulated, room_for(region));
    kind.make(w, rooms::memory(in, region));
    w.prepare();
    malloc_trim(0);
    reset_peak();
    ppmm::run_options options = bench::workers(workers);
    options.region = region;
    w.ours(in, options);
    return peak_since_reset();
  }
  const auto memory = std::make_unique_for_overwrite<std::byte[]>(region);  // pages count when they are written
  kind.make(w, {memory.get(), region});
  w.prepare();
  if (by == peer::pmemobj) {  // whose blocks follow it
    w.serial_ns = time_ns(1, [&] { w.by(peer::serial)(1); });
    w.prepare();
  }
  malloc_trim(0);
  reset_peak();
  with_tbb_threads(static_cast<int>(workers), [&] { w.by (*by)(workers); });
  return peak_since_reset();
}

power_result measure_power(const child_options& base, const std::string& workload) {
  std::istringstream told(output_of(child_of(base, "power", workload, 1, "PPMM")));
  power_result r;
  if (!(told >> r.beside_no_commits >> r.heartbeat_ms))
    throw std::runtime_error("the child told no figures of level power");
  return r;
}

power_result own_power(const workload_kind& kind, std::uint64_t region, bool quick) {
  workbench disk(ppmm::durability::power, room_for(region));
  workload w;
  w.name = kind.name;
  kind.make(w, rooms::memory(disk, region));
  power_result r;
  turns t;
  const auto run = [&](bool commits) {
    return t.add([&, commits] {
      ppmm::run_options options = workers(1, commits);
      options.region = region;
      w.prepare();
      // Waiting for the disk is what it costs: time on the wall, from the call to the end.
      ppmm::run_statistics s = w.ours(disk, options).statistics;
      if (commits) r.heartbeat_ms = static_cast<double>(s.heartbeat_ns) / 1e6;
      return s.seconds;
    });
  };
  const std::size_t without = run(false), with = run(true);
  t.take(1);
  t.forget();
  t.take(quick ? 1 : 5);
  r.beside_no_commits = t.ratio(with, without);
  return r;
}

}  // namespace bench
