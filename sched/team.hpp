/// What the workers of one run share: all of it ephemeral.
#pragma once

#include <ppmm/alloc/heap.hpp>
#include <ppmm/numa/topology.hpp>
#include <ppmm/sched/image.hpp>
#include <ppmm/sched/job.hpp>
#include <ppmm/sched/record.hpp>
#include <ppmm/sched/stacklet.hpp>

#include <atomic>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

namespace ppmm::detail {

class worker;

/// Free exposure slots, kept at the worker whose table they are in.
class slot_shelf {
 public:
  std::optional<std::uint32_t> take() {
    const std::lock_guard lock(mutex_);
    if (free_.empty()) return std::nullopt;
    const std::uint32_t s = free_.back();
    free_.pop_back();
    return s;
  }
  void give_back(std::uint32_t slot) {
    const std::lock_guard lock(mutex_);
    free_.push_back(slot);
  }

 private:
  std::mutex mutex_;
  std::vector<std::uint32_t> free_;
};

struct team {
  team(pool& p, const run_options& options, std::uint64_t job_serial, const root_task& root_task_);
  ~team();

  // Given.
  const medium& storage;
  const run_options& options;
  const std::uint64_t serial;
  const root_task root;
  std::uint32_t run_number = 0;                                   // of the job: 0, then one more at each resumption
  image img;
  double heartbeat_ticks;

  heap objects;

  // Found by recovery, then shared.
  chunk_pool chunks;
  std::unique_ptr<slot_shelf[]> shelves;                          // by home worker
  std::unique_ptr<std::atomic<bool>[]> graves;                    // by worker slot: its strand waits for a robber, or did
  std::atomic<unsigned> grave_count{0};
  static constexpr unsigned nobody = ~0u, anyone = ~0u - 1;
  std::atomic<unsigned> root_starter{nobody};                     // no strand was found: who starts the job, by worker slot

  /// The frames of a strand that waits at a join, for whoever goes on with it: by exposure slot. Handed over by the
  /// join word. Absent after a crash; then they are found again from the frames.
  std::unique_ptr<std::optional<std::vector<frame*>>[]> parked;

  std::vector<std::unique_ptr<worker>> workers;
  std::vector<std::vector<std::vector<std::uint32_t>>> victims;   // of worker i, near first

  std::atomic<bool> finished{false}, failed{false}, stopping{false};
  std::atomic<unsigned> idle{0};
  std::atomic<unsigned> living{0};
  std::atomic<std::uint64_t> first_work{0};                       // ticks
  std::mutex failure_mutex;
  std::string failure;                                            // what the first task that threw said
  std::exception_ptr medium_failure;                              // the medium failed: the job is not to blame
  std::optional<out_of_pool_memory> no_room;                      // the job can go on in a larger pool
  std::vector<std::byte> result;

  bool over() const {
    return finished.load(std::memory_order_acquire) || failed.load(std::memory_order_acquire) || stopping.load(std::memory_order_relaxed);
  }
  worker* living_in(unsigned slot) const;                         // nullptr: none of this run
  void fail(std::exception_ptr cause) noexcept;
  void bury(unsigned slot) {
    if (!graves[slot].exchange(true)) grave_count.fetch_add(1);
  }
  void empty_grave(unsigned slot) {
    if (graves[slot].exchange(false)) grave_count.fetch_sub(1);
  }
};

/// Units of work (context::advance) that the records of a job have committed: each counts once. Also those of a dead
/// worker whose robber has not copied its record yet.
std::uint64_t committed_units(const image& img, std::uint64_t job);

/// Reads the strands in the pool, checks every frame they reach, and finds what is in use: chunks and exposure slots.
/// Gives the team its workers, at most `wanted`, in slots chosen so that little need be robbed; its shelves, chunks and
/// graves. Changes nothing durable. Throws corrupt_pool.
resume_info recover(team& t, unsigned wanted);

}  // namespace ppmm::detail
