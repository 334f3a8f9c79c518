/// What a medium costs: measured by way, number of lines, pattern, threads and NUMA nodes. Knows no library and no
/// file: it is given memory to write to.
///
/// All cells are measured in turns, round after round, each round beginning with another one, so that what disturbs the
/// machine for a while meets all of them alike. A sample is the mean of a batch of some µs; a cell has the median of
/// its samples, and where the middle four fifths of them lie.
#pragma once

#include "store_ways.hpp"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace ppmm::tools {

/// Where the lines of an operation are.
enum class line_pattern : std::uint8_t {
  same,        // those of the operation before
  sequential,  // the next ones
  random_64,   // anywhere, line by line
  random_256,  // anywhere, four lines that are neighbours and aligned (what Optane writes at a time)
};
inline constexpr std::array all_line_patterns{line_pattern::same, line_pattern::sequential, line_pattern::random_64,
                                              line_pattern::random_256};
std::string_view name_of(line_pattern pattern);

struct spread {
  double median = 0, low = 0, high = 0;  // of the middle four fifths
  std::size_t samples = 0;
};
spread spread_of(std::vector<double> values);

/// ns of one operation: storing that many lines and waiting for them.
struct line_cost {
  store_way way;
  line_pattern pattern;
  unsigned lines;
  spread ns;
};
/// Bytes a second of that many threads, each with lines of its own, 64 of them an operation.
struct thread_cost {
  store_way way;
  unsigned threads;
  spread bytes_per_second;
};
/// ns of one operation, by the NUMA node of the thread and that of the memory.
struct node_cost {
  store_way way;
  unsigned lines;
  unsigned thread_node, medium_node;
  spread ns;
};

struct medium_costs {
  std::vector<line_cost> lines;
  std::vector<thread_cost> threads;
  std::vector<node_cost> nodes;
  bool msync_failed = false;

  const line_cost* find(store_way way, line_pattern pattern, unsigned lines) const;
};

inline constexpr unsigned lines_a_thread_writes = 64;

/// The numbers of lines that are measured: 1 to 4096.
inline constexpr std::array measured_lines{1u, 2u, 4u, 8u, 16u, 64u, 256u, 1024u, 4096u};
/// A target must have room for this many lines.
inline constexpr std::size_t most_lines = 4096;

/// The memory on one node, and how a thread gets to one.
struct node_target {
  unsigned node = 0;
  store_target memory;
};

struct cost_plan {
  std::vector<store_way> ways;       // by lines; each must be there
  std::vector<store_way> wide_ways;  // by threads and by nodes
  store_target memory;
  unsigned max_threads = 1;
  std::vector<node_target> memories;  // by node
  std::vector<unsigned> thread_nodes;
  std::function<void(unsigned thread, unsigned threads)> place_thread = nullptr;  // called on a thread by threads
  std::function<void(unsigned node)> place_on_node = nullptr;                     // called on a thread by nodes
  double seconds = 10;                              // about; every cell is measured once at least
  std::function<bool(double part)> told = nullptr;  // how much is done, now and then; false: stop
};

/// Throws nothing of its own. What was stopped before its first sample has no cell.
medium_costs measure_costs(const cost_plan& plan);

}  // namespace ppmm::tools
