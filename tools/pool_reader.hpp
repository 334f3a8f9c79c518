/// The data plane of a pool, read from outside: nothing is locked or changed. For `ppmm info` and `check`.
#pragma once

#include "mapped_parts.hpp"

#include <ppmm/alloc/inspect.hpp>
#include <ppmm/numa/topology.hpp>
#include <ppmm/pmem/inspect.hpp>
#include <ppmm/sched/layout.hpp>
#include <ppmm/sched/record.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace ppmm::tools {

/// What stands in one worker slot.
struct worker_state {
  unsigned slot = 0;
  std::uint64_t owner = 0;
  std::optional<detail::restart> record;  // the newest valid one, whatever job it is of
  bool damaged = false;                   // there are records, but none is valid
  std::uint64_t live_when = 0, live_progress = 0;
  std::uint64_t steals_of = 0;                       // serial of the job of which these are
  std::array<std::uint64_t, numa::nearnesses> steals{};  // by what thief and victim shared
  std::uint64_t live_commits = 0, live_commit_ticks = 0, live_lines = 0, live_steals = 0, live_faults = 0, live_type = 0;  // of the newest run
  std::optional<std::uint64_t> process;  // the worker process that lives here now, if it is one
};

/// What every frame begins with.
struct frame_head {
  std::uint64_t parent, link, type;
};
static_assert(sizeof(frame_head) == sizeof(detail::frame));

struct exposure_words {
  std::uint64_t generation, right, join, frame;
};

class pool_reader {
 public:
  /// `report.facts` must be there, of a first part. Throws ppmm::error if a file cannot be read.
  explicit pool_reader(const pool_report& report);

  std::vector<worker_state> workers() const;
  std::uint32_t exposure_slots() const { return places_.workers * detail::exposure_slots_per_worker; }
  exposure_words exposure(std::uint32_t slot) const;
  /// The frame at an address of the mapped pool; nothing if no frame can be there.
  std::optional<frame_head> frame(std::uint64_t address) const;
  /// Walks over the heap, mapped for reading, where the file has data. `running`: serial of the unfinished job, or 0.
  /// Addresses are those of the mapped pool.
  detail::heap_report heap(std::uint64_t running, const std::function<void(const detail::heap_block&)>& on_block = {}) const;
  /// What is wrong with the lists of heap changes that the restart records of that job name; how many there are. None
  /// while somebody has the pool open: they change.
  std::vector<std::string> list_problems(std::uint64_t running, std::size_t& lists) const;

 private:
  std::uint64_t first_segment(unsigned worker) const;  // of the worker's part: offset in its file

  part_files files_;
  detail::slot_places places_;
  bool in_use_;
};

/// How many worker processes are at work in the pool.
std::string workers_in_words(const pool_report& report);
/// They and who has it open.
std::string users_in_words(const pool_report& report);

/// What a worker was about to do, in words.
std::string describe(const detail::restart& record);

}  // namespace ppmm::tools
