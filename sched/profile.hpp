/// What a run did, for who wants to know where its time and its flushes went: asked for by `run_options::profile` and
/// `run_options::trace`, filled in at the end of the run. Costs nothing where nobody asks.
#pragma once

#include <ppmm/pmem/persist.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace ppmm {

/// Why a strand's position became durable.
enum class commit_cause : std::uint8_t {
  heartbeat,    // it was time
  idle_worker,  // others had nothing to do: a quarter of a heartbeat is enough then
  conflict,     // a task would have overwritten what its capsule had read, or had a CAM to make
  memory,       // the capsule's list of heap changes, or its scratch memory, was full
  user,         // the program asked for it
  every_task,   // run_options said so
  stack,        // the C++ stack was nearly used up
  stop,         // the run was to stop
  start,        // the job's first record
  steal,        // a theft
  join,         // a child of a stolen fork was done
  adoption,     // going on from a record: after a fault, a crash, or from a dead worker's
  end,          // the job's result
};
inline constexpr std::size_t commit_causes = 13;
const char* name_of(commit_cause cause);

/// What a worker's time went into.
enum class activity : std::uint8_t {
  strand,   // something of a strand that is none of the following
  capsule,  // the program's tasks, forks included
  commit,
  join,   // arriving at the join of a stolen fork
  steal,  // a theft that was won
  lost_steal,
  idle,      // looking for something to steal
  restart,   // after a fault: until work goes on
  adoption,  // robbing a grave
  finish,    // making the result durable
};
inline constexpr std::size_t activities = 10;
const char* name_of(activity a);

/// What part of the durability's cost.
struct durability_cost {
  std::uint64_t commits = 0;
  std::uint64_t nanoseconds = 0;  ///< in them
  std::uint64_t fences = 0;
  std::uint64_t frames = 0;      ///< flushed
  std::uint64_t lines = 0;       ///< of 64 bytes, flushed
  std::uint64_t blocks_256 = 0;  ///< of 256 bytes, aligned, that these lines are in
  std::uint64_t bytes = 0;       ///< that the program opened for writing
  std::uint64_t again = 0;       ///< lines flushed a second time in one capsule (an estimate, from a sample of lines)
  std::uint64_t unchanged = 0;   ///< lines flushed as they were when they were last flushed (the same)
  durability_cost& operator+=(const durability_cost& other);
};

/// What a place of the program costs.
struct profile_site {
  enum class kind : std::uint8_t {
    commit,  ///< a safe point where commits happened
    frame,   ///< frames of a type, flushed by commits
    view,    ///< a call that opened a view for writing, or a CAM
  };
  kind what = kind::commit;
  std::uintptr_t code = 0;  ///< return address in the program; 0: the runtime's own
  std::string type;         ///< demangled, of the task that was to run, or of the frame; may be empty
  durability_cost cost;
  std::array<std::uint64_t, commit_causes> causes{};  ///< of its commits
};

struct run_profile {
  double seconds = 0;                                   ///< of the runs that were added
  unsigned workers = 0;                                 ///< of the newest
  std::array<std::uint64_t, activities> nanoseconds{};  ///< of all workers, without what is inside of something else
  std::array<durability_cost, commit_causes> causes;    ///< commits, time and fences; the lines of commits
  std::vector<profile_site> sites;
  flush_counters flushed;  ///< all: frames, views, records, exposure slots, the heap's lists
  std::uint64_t steals = 0, lost_steals = 0, faults = 0, adoptions = 0;
  std::string medium;         ///< in words
  bool needs_flushes = true;  ///< else lines are counted that would be flushed, did the medium need it
  /// The time of all workers that none of the activities says.
  std::uint64_t untold_ns() const;
};

/// One thing that a worker did.
struct trace_event {
  activity what = activity::strand;
  commit_cause cause = commit_cause::heartbeat;  ///< of commits
  bool cut = false;                              ///< by a fault
  std::uint32_t grave = 0;                       ///< adoptions: one more than the dead worker's slot; 0: none
  std::uint64_t begin_ns = 0, end_ns = 0;        ///< since the run began
  std::uint64_t exposure = 0;                    ///< steals and joins: which; 0: none
  std::string_view type;                         ///< demangled; what was to run; may be empty
};
struct trace_track {
  unsigned worker = 0, slot = 0;
  std::vector<trace_event> events;  ///< by their ends; they nest
  struct exposed {
    std::uint64_t exposure, ns;
  };
  std::vector<exposed> exposures;  ///< children that thieves could take from then on
  struct fault {
    bool hard;
    std::uint64_t ns;
  };
  std::vector<fault> faults;
  std::uint64_t left_out = 0;  ///< events after the first million of a worker
};
struct run_trace {
  std::string job;
  std::vector<trace_track> tracks;
};

/// The trace in the JSON of Chrome's trace viewer, which Perfetto opens too: workers are tracks, what they did are
/// slices, arrows lead from victims to thieves, from the dead to who adopts their strand, and over joins. `write` gets
/// it part by part.
void write_chrome_trace(const run_trace& trace, const std::function<void(std::string_view)>& write);

}  // namespace ppmm
