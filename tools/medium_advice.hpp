/// What follows from a medium's costs for a job: heartbeat, kind of stores, threads, blocks, nodes. Each with its
/// reason, which is made of measured numbers and nothing else.
#pragma once

#include "medium_cost.hpp"

#include <ppmm/pmem/persist.hpp>

#include <string>
#include <vector>

namespace ppmm::tools {

struct medium_kind {
  granularity grain = granularity::page;
  bool in_memory = false;
};

struct advice {
  std::string topic, what, why;
};

/// How a commit becomes durable there: what the level `power` does, or `emulated` on a medium that is memory.
store_way commit_way(const medium_kind& kind);

/// Lines that a commit flushes before its record, and lines of the record: what `fib` does (docs/performance.md).
inline constexpr unsigned lines_of_a_commit = 16, lines_of_a_record = 2;

/// ns of a commit there; 0 if it was not measured.
double commit_ns(const medium_kind& kind, const medium_costs& costs);

std::vector<advice> advise(const medium_kind& kind, const medium_costs& costs);

/// "125 ns", "3.4 µs", "12 ms".
std::string readable_ns(double ns);

}  // namespace ppmm::tools
