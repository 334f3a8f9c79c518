/// What the workers of one run share: all of it ephemeral.
#pragma once

#include <ppmm/alloc/heap.hpp>
#include <ppmm/numa/topology.hpp>
#include <ppmm/pmem/slot_lock.hpp>
#include <ppmm/sched/books.hpp>
#include <ppmm/sched/image.hpp>
#include <ppmm/sched/job.hpp>
#include <ppmm/sched/observer.hpp>
#include <ppmm/sched/pace.hpp>
#include <ppmm/sched/record.hpp>
#include <ppmm/sched/stacklet.hpp>
#include <ppmm/sched/victims.hpp>

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace ppmm::detail {

class worker;

/// A worker's memory, on the node of its processor.
struct worker_memory {
  void operator()(worker* w) const;
};
using worker_owner = std::unique_ptr<worker, worker_memory>;

struct team {
  team(pool& p, const run_options& options, std::uint64_t job_serial, const root_task& root_task_, commons common = {});
  ~team();

  // Given.
  const medium& storage;
  const run_options& options;
  const std::uint64_t serial;
  const root_task root;
  std::uint32_t run_number = 0;                                   // of the job: 0, then one more at each resumption
  image img;
  const pace first_pace;                                          // of every worker, before it knows what commits cost
  std::vector<std::optional<unsigned>> part_nodes;                // NUMA node of each part of the pool, where it is known
  const numa::topology& machine;
  numa::worker_plan plan;

  commons shared;
  shared_object<run_books> books;                                 // made first: whoever joins looks there for the terms
  heap objects;

  // Found by recovery, then shared.
  chunk_pool chunks;
  shared_array<slot_shelf> shelves;                               // by home worker
  shared_array<desk> desks;                                       // by worker slot
  shared_array<arena_books> arenas;                               // by worker slot
  /// A worker's place in the order of victims: in which worker slot somebody lives there.
  struct chair {
    std::atomic<unsigned> slot;
  };
  shared_array<chair> seats;
  unsigned first_seat = 0, crowd = 0;                             // seats of this process and its children; of all: in the books
  unsigned own(unsigned seat) const { return seat - first_seat; }
  bool is_own(unsigned seat) const { return own(seat) < crowd; }
  std::vector<unsigned> near;                                     // by own seat: the part of the pool that it is near
  std::optional<slot_watch> watch;                                // worker processes: whether they live

  /// The frames of a strand that waits at a join, for whoever goes on with it: by exposure slot. Handed over by the
  /// join word. Absent after a crash; then they are found again from the frames.
  std::unique_ptr<std::optional<std::vector<frame*>>[]> parked;

  std::vector<std::unique_ptr<observer>> observers;               // of worker i, if anybody looks on; they outlive the workers
  std::vector<worker_owner> workers;                              // of seat i, if they are threads
  std::vector<victim_order> victims;                              // by own seat: all who were there at the beginning
  failure coordinators;                                           // what went wrong outside of workers

  bool over() const { return books->over(); }
  /// Its workers will be processes. Before recovery.
  void share(const pool& p, std::string_view job);
  /// Who looks on at that worker; nullptr: nobody asked.
  observer* observe(unsigned index, unsigned slot);
  /// What has ended the run, if something failed.
  const failure* why_failed() const;
};

/// Units of work (context::advance) that the records of a job have committed: each counts once. Also those of a dead
/// worker whose robber has not copied its record yet.
std::uint64_t committed_units(const image& img, std::uint64_t job);

/// Reads the strands in the pool, checks every frame they reach, and finds what is in use: chunks and exposure slots.
/// Gives the team its seats, one for each of `near` at most, the part of the pool that it is to be near; in slots chosen so
/// that little need be robbed, then near; its shelves, chunks and graves. Changes nothing durable. Throws corrupt_pool.
resume_info recover(team& t, const std::vector<unsigned>& near);

}  // namespace ppmm::detail
