/// numa: what the machine looks like.
///
/// A `topology` knows the cores that this process may use (its cgroup's cpuset and its affinity honoured), the hardware
/// threads (*PUs*, as hwloc says) in each, and the memory *node* each is near to. It answers what a scheduler asks:
/// where do my workers go (`plan`), whom does a worker steal from first (`victims`), and how is a worker or a range of
/// memory put there (`pin_this_thread`, `place`). It stands on hwloc, and is built from this machine or, to look at
/// another one, from an hwloc synthetic description or XML file. Placement is advice: where the system does not allow
/// it (containers, one node, exotic memory), nothing fails and the reason is given in words.
#pragma once

#include <ppmm/pmem/errors.hpp>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace ppmm::numa {

/// A topology that hwloc cannot read, or that is of another machine than the question.
struct topology_error : error {
  using error::error;
};

/// What a worker gets: a whole core, or one of its hardware threads (the *SMT siblings* of each other).
enum class unit : std::uint32_t { core, smt_sibling };

/// What two workers share, nearest first.
enum class nearness : std::uint32_t { core, cache, node, package, machine };
inline constexpr std::size_t nearnesses = 5;
/// "one core", "one cache", ...
const char* name_of(nearness n);

/// Where one worker goes. PU and node are given by the operating system's index.
struct placement {
  std::uint32_t worker = 0;
  std::uint32_t pu = 0;    ///< the worker's home; where it runs, if pinned
  std::uint32_t node = 0;  ///< nearest to that PU
  bool pinned = false;     ///< false: more workers than units; the operating system moves them about
};

/// Where all workers go.
struct worker_plan {
  std::vector<placement> workers;  ///< by worker index
  std::string note;                ///< for the user, if there is anything to say; else empty

  std::size_t size() const { return workers.size(); }
  const placement& operator[](std::size_t worker) const { return workers[worker]; }
};

/// Whether a placement was accepted. If not, why.
struct outcome {
  bool done = false;
  std::string reason;

  explicit operator bool() const { return done; }
};

/// Read-only after construction: copies share it, and threads may use it without locks.
class topology {
 public:
  /// The machine this runs on. Read once, at the first call: later on the threads that ask may be pinned themselves,
  /// and the process would seem smaller than it is. Never throws topology_error: where hwloc cannot tell, the machine
  /// is taken for a flat one.
  static const topology& this_machine();

  /// From an hwloc synthetic description, e.g. "node:8 l3:1 core:64 pu:2". Throws topology_error.
  static topology from_synthetic(const std::string& description);

  /// From a file that hwloc exported (`lstopo file.xml`). Throws topology_error.
  static topology from_xml(const std::filesystem::path& file);

  std::uint32_t cores() const;  ///< that this process may use
  std::uint32_t pus() const;    ///< hardware threads in them
  std::uint32_t nodes() const;  ///< memory nodes near to them
  std::uint64_t largest_cache() const;  ///< bytes of the largest cache of a core; 32 MiB where nobody tells

  /// Places `workers` workers, one a unit: all units of a node before the next node, nodes in the order of their
  /// distance from the first. If there are more workers than units, they go round again and none is pinned; the note
  /// says so.
  worker_plan plan(std::uint32_t workers, unit each = unit::core) const;

  /// Whom worker `worker` steals from: every other worker of the plan once, in groups, near first: hardware threads of
  /// its core, then those it shares a cache with, its node, its package, then the other nodes by distance. Within a
  /// group the order starts with the next worker. `plan` is of this topology; else throws topology_error.
  std::vector<std::vector<std::uint32_t>> victims(const worker_plan& plan, std::uint32_t worker) const;

  /// What the places of two workers of a plan share. `plan` is of this topology; else throws topology_error.
  nearness between(const worker_plan& plan, std::uint32_t a, std::uint32_t b) const;

  /// A line for each package, node and group of cores in words, as far as this process may use them; memory nodes without
  /// processors too.
  std::string describe() const;

  /// All memory nodes, those without processors (CXL memory, pmem as memory) too, from this one on by distance: by the
  /// firmware's latencies where it gives any, else by the smallest part of the machine that holds both. This one first,
  /// whether the machine has it or not.
  std::vector<std::uint32_t> by_distance(std::uint32_t node) const;

  /// Asks that pages of [p, p + bytes) that are not in memory yet come from this node; from others when it is full.
  /// Has an effect on memory and tmpfs; a DAX or disk file stays where it is.
  outcome place(void* p, std::size_t bytes, std::uint32_t node) const;

  /// The node that the page at p is on: it must be in memory already. Nothing where the system does not tell.
  std::optional<std::uint32_t> node_of(const void* p) const;

 private:
  friend outcome pin_this_thread(const placement& where);

  struct impl;
  explicit topology(std::shared_ptr<const impl> of) : impl_(std::move(of)) {}
  std::shared_ptr<const impl> impl_;
};

/// Ties the calling thread to the PU of a placement on this machine, if the plan pins it. Where that is not possible
/// (the plan does not pin, a container forbids it) the thread runs on where it likes, and the outcome says why.
outcome pin_this_thread(const placement& where);

}  // namespace ppmm::numa
