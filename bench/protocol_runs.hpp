/// Runs that do many commits, steals or joins and little else, so that one of them can be told from the statistics.
#pragma once

#include "workbench.hpp"

#include <cstdint>

namespace bench {

struct commit_cost {
  double ns = 0, fences = 0, lines = 0;  // a commit
};

/// Commits of one worker, each after `frames` new frames.
commit_cost measure_commits(workbench& w, unsigned frames, unsigned commits);

/// The commits of fib at its heartbeat: medians of short runs, most of which nobody disturbs.
struct heartbeat_cost {
  double commit_ns = 0, lines = 0, us_between = 0, percent_of_time = 0;
};
heartbeat_cost measure_heartbeats(workbench& w, unsigned runs);

/// Fences of one steal and of one join, counted, not timed: from runs that are stopped before and after each step.
struct fence_counts {
  double steal = 0, join_first = 0, join_second = 0;
};
fence_counts count_fences(workbench& w);

/// Latencies with two workers, one of them idle until the other has something to take: medians.
struct steal_latencies {
  double to_thief_ns = 0;    ///< from before the commit that exposes the child to the child's first instruction
  double join_right_ns = 0;  ///< the thief arrives last: from its child's end to the continuation
  double join_left_ns = 0;   ///< the victim arrives last
  double fences_a_round = 0;
  ppmm::run_statistics statistics;
};
steal_latencies measure_steals(workbench& w, unsigned rounds);

/// One line written, flushed and fenced, in this pool. A new line each time, or always the same.
double persist_line_ns(workbench& w, bool same_line);

}  // namespace bench
