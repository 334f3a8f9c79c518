/// Measuring workloads beside their peers: what `peers` prints.
#pragma once

#include "peers.hpp"

#include <array>
#include <chrono>
#include <cstddef>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

namespace bench {

/// The pools that workloads stand in: PPMM's at both levels, and of the first one the memory that the peers work on
/// too.
struct rooms {
  explicit rooms(std::uint64_t region);
  workbench process, emulated;
  workbench flushed;  ///< written and flushed for the limit
  std::uint64_t region;
  double written_back_ns_a_byte(unsigned threads);
  static std::span<std::byte> memory(workbench& w, std::uint64_t region) { return ppmm::region_of(w.pool(), region); }
  ppmm::run_options options(unsigned workers) const;
};

/// Bytes of a pool with such a region, and room for what jobs allocate.
std::size_t room_for(std::uint64_t region);

/// A workload by so many workers or threads: medians of rounds in turns.
struct comparison {
  std::string workload, size;
  bool fine_grained = false;
  unsigned workers = 0, rounds = 0;
  std::array<std::optional<double>, all_peers.size()> peer_ns;
  double process_ns = 0, emulated_ns = 0;
  std::array<double, all_peers.size()> process_beside{}, emulated_beside{};  ///< medians of the rounds' ratios
  std::optional<double> checkpoint_ns;  ///< to write the state to a file and sync it
  double state_bytes = 0;
  double flushed_bytes = 0, flushed_ns = 0;  ///< at `emulated`; how long writing back as much takes
  double commits = 0;
  peer fastest = peer::serial;  ///< serial code counts where one thread computes
  double beside_fastest = 0;    ///< `process`
  double beside_larger = 0;     ///< `emulated`, beside that or the time of the flushes

  /// oneTBB with a checkpoint of the application each second.
  std::optional<double> checkpointed_ns() const;
};

/// Throws wrong_answer where one of the ways gives another answer than serial code.
struct wrong_answer : std::runtime_error {
  using std::runtime_error::runtime_error;
};
comparison compare(const workload_kind& kind, std::uint64_t region, unsigned workers, bool quick);

// ---- what changes with a setting: one worker, beside serial code ----------------------------------------------------

struct setting_result {
  double beside_serial = 0, beside_no_commits = 0;  ///< the latter in the same pool
  double commits = 0, flushed_bytes = 0, faults = 0;
};
struct variation {
  std::string workload;
  std::vector<setting_result> results;  ///< one for each setting
};

inline constexpr std::array heartbeats_us{20, 50, 200, 1000};
inline constexpr std::array fault_rates{1e-6, 1e-5, 1e-4};
inline constexpr std::array varied{"queens", "merge sort", "inclusive scan"};

/// At `process` commits off and on, at `emulated` off and on.
variation vary_level(rooms& in, const workload_kind& kind, bool quick);
variation vary_heartbeat(rooms& in, const workload_kind& kind, bool quick);
/// `beside_no_commits` is here: beside the injector on, and no fault.
variation vary_faults(rooms& in, const workload_kind& kind, bool quick);

// ---- children: what a process of its own tells ----------------------------------------------------------------------

/// Options of this program for a child that makes the same workloads.
using child_options = std::vector<std::string>;

/// Peak resident memory of a process that has the workload's data and computes it once: by a peer, or by PPMM.
double peak_bytes(const child_options& base, const std::string& workload, std::optional<peer> by, unsigned workers);
/// In the child.
double own_peak_bytes(const workload_kind& kind, std::optional<peer> by, unsigned workers, std::uint64_t region);

struct power_result {
  double beside_no_commits = 0, heartbeat_ms = 0;
};
/// At level `power`, in PPMM_BENCH_DISK; a process of its own, for libpmemobj must not flush lines only.
power_result measure_power(const child_options& base, const std::string& workload);
power_result own_power(const workload_kind& kind, std::uint64_t region, bool quick);

// ---- after a crash --------------------------------------------------------------------------------------------------

struct reload_figures {
  double bytes = 0;
  double reload_ns = 0;                      ///< reading a checkpoint of so many bytes into memory
  double open_ns = 0, to_first_work_ns = 0;  ///< opening a pool of so many bytes of live data, and its job's first work
  double ratio = 0;                          ///< reload beside the sum of both
  double lost_ns = 0;                        ///< by a worker of the job, in the worst crash
};
reload_figures measure_reload(std::size_t bytes, bool quick);

}  // namespace bench
