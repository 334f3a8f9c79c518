/// One worker: a thread that lives in a worker slot of the pool and executes one strand at a time.
///
/// Everything in here is ephemeral. A soft fault loses the C++ stack and `strand_state`; the worker goes on from its
/// record. The protocol is in the .cpp files, one operation each, in the order in which things happen: commit, steal,
/// join, adopt.
#pragma once

#include <ppmm/alloc/arena.hpp>
#include <ppmm/pmem/persist.hpp>
#include <ppmm/sched/clock.hpp>
#include <ppmm/sched/context.hpp>
#include <ppmm/sched/deque.hpp>
#include <ppmm/sched/record.hpp>
#include <ppmm/sched/scratch.hpp>
#include <ppmm/sched/stacklet.hpp>
#include <ppmm/sched/team.hpp>
#include <ppmm/sched/undo.hpp>

#include <atomic>
#include <csetjmp>
#include <cstdint>
#include <optional>
#include <random>
#include <vector>

namespace ppmm::detail {

/// Where a strand goes on: what is about to run.
struct position {
  record_kind kind = record_kind::idle;  // run, right or continuation
  place to;                              // run: the place of the task's value. Else: a frame (and its right side)
  task_ref task{};                       // run only

  static position run(task_ref t, place value_to) { return {record_kind::run, value_to, t}; }
  static position right(frame* f) { return {record_kind::right, place(f, side::right), {}}; }
  static position continuation(frame* f) { return {record_kind::continuation, place(f, side::right), {}}; }
};

enum class fault_kind : int { soft = 1, hard = 2 };  // what setjmp gives

/// A value that its worker writes and others read for the record.
class tally {
 public:
  void add(std::uint64_t n = 1) { value_.store(value_.load(std::memory_order_relaxed) + n, std::memory_order_relaxed); }
  void raise_to(std::uint64_t n) {
    if (n > get()) value_.store(n, std::memory_order_relaxed);
  }
  std::uint64_t get() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<std::uint64_t> value_{0};
};

/// What a worker knows of its strand and its capsule, and nothing else does: lost at a fault, as a whole. What has no
/// initial value here is set from the record when the worker begins anew (`enter_slot`, `find_work`), and is poison
/// until then.
struct strand_state {
  // Who and where.
  identity self_;
  unsigned soft_slot_;
  std::uint64_t sequence_;                 // of the newest record
  std::uint64_t progress_;                 // units, committed or not
  bool resume_own_record_ = true;
  restart resumed_;                        // what a resumed task's arguments are read from
  std::vector<std::byte> result_;          // of the root task, if it ended here

  // The strand.
  std::vector<frame*> candidates_;         // committed frames on whose left side the strand stands, outermost first
  std::size_t exposed_ = 0;                // of them, from the start: looked at for exposing

  // The capsule: since the last commit.
  std::vector<frame*> touched_;            // committed frames that got a result
  std::vector<exposure_slot*> touched_slots_;
  struct byte_range {
    std::uintptr_t first, last;
    bool overlaps(std::uintptr_t f, std::uintptr_t l) const { return f < last && first < l; }
  };
  std::vector<byte_range> written_, read_;
  std::vector<byte_range> to_flush_;       // of what was written
  std::vector<byte_range> cells_;          // shared cells that were read or changed
  bool read_a_cell_ = false;
  task_undo updated_;                      // by the running task
  byte_range read_hull_{~std::uintptr_t{0}, 0};
  bool list_is_prepared_ = false;          // for the next record …
  bool has_list_ = false;                  // … which has one: not all that was allocated was freed again
  std::optional<std::uint64_t> unfenced_;  // heap bits were changed and flushed after so many fences
  std::uint64_t accesses_since_record_ = 0;

  // Time.
  std::uint64_t last_commit_ = ticks(), last_poll_ = last_commit_;
  std::int64_t fuel_granted_ = 1;
  bool slow_tasks_ = false;                // a task takes a good part of a heartbeat: look at the clock at every safe point
};

class alignas(64) worker : strand_state {
 public:
  worker(team& t, unsigned index, unsigned slot);
  ~worker() = default;
  worker(const worker&) = delete;
  worker& operator=(const worker&) = delete;

  /// Until the job is over or the worker is lost. Strands are detached when the C++ stack has grown below `stack_low`.
  void live(std::uintptr_t stack_low);

  hint_deque& hints() { return hints_; }
  void count(run_statistics& s) const;
  unsigned slot() const { return slot_; }

 private:
  friend class ppmm::context;

  // ---- worker.cpp: the loop, and running a strand from a position by the thunks of its frames
  void work();
  void enter_slot();
  std::optional<position> find_work();
  void execute(position next);
  bool looks_over(unsigned& rounds);       // backs off; true if the job is over
  void recover_heap(restart own);
  bool is_to_start_root();
  position start_root();
  void finish();
  void tell_result(const restart& done);
  void set_idle(bool to);
  void publish_counters();

  // ---- safepoint.cpp: what the fast path calls when it cannot go on by itself
  bool poll(const position& next);         // false: detach
  after_left left_done(frame* f);
  bool pop_linked(frame* f);
  std::byte* grow(std::size_t bytes);
  void refuel(std::uint64_t now);

  // ---- fault.cpp: losing everything ephemeral
  void access();                           // a persistent access: the fault injector's chance
  [[noreturn, gnu::noinline]] void fault(fault_kind kind);
  void forget();

  // ---- commit.cpp
  void commit(const position& next);
  void flush_new_frames(place newest);
  void flush_touched();
  void expose_some();
  void publish_exposed();
  void prepare_list();                     // before the first fence of a record that ends a capsule
  void persist_record(restart& r);         // r.sequence, job, progress, when and has_list are filled in
  void settle();                           // after a record: what it no longer reaches is free

  // ---- steal.cpp
  std::optional<position> steal_from(worker& victim);
  std::optional<position> steal(exposure e);
  std::optional<position> finish_steal(exposure e, identity thief);

  // ---- join.cpp
  std::optional<position> arrive(frame* f, side s, exposure e);   // nullopt: somebody else goes on, or has gone on
  std::optional<position> finish_arrive(exposure e, side s);

  // ---- adopt.cpp
  std::optional<position> resume(const restart& r);
  std::optional<position> rob_a_grave();
  std::optional<position> finish_rob(unsigned slot, std::uint32_t life, identity robber);
  void stand_on(place newest);             // the next frame goes on top of this one, in its stacklet
  void find_candidates(place newest);      // its frames that may be exposed

  bool is_live(exposure e, const frame* f) const;  // does the frame's link count?
  bool is_stolen_edge(place p) const;              // was the strand that stands at p started by a theft of p?
  const node_type& type_of(const frame* f) const;

  // The processor, and what it works with.
  alignas(64) team& team_;                 // aligned: nothing of ours stands in the padding of strand_state
  const unsigned index_;                   // in the team
  const unsigned slot_;                    // in the pool
  worker_slot& durable_;
  context cx_;
  persister persister_;
  arena arena_;                            // its superblocks are books: see below
  undo_log undo_;
  scratch_memory scratch_;                 // its blocks stay; what is in them is lost with the capsule
  std::uintptr_t stack_low_ = 0;           // of the C++ stack: below this a strand is detached

  // The team's books, as far as they are kept here: whose what is. They outlive a fault.
  hint_deque hints_;
  stacklet stack_;                         // its chunks
  std::vector<exposure> fresh_;            // exposures of the commit under way
  std::vector<std::uint32_t> joined_slots_;  // free once the next own record is durable
  bool is_idle_ = false;                   // and counted so

  // Fault injection.
  const bool injecting_;
  std::mt19937_64 dice_;
  std::jmp_buf begin_anew_;                // in `live`
  std::uintptr_t stack_end_ = 0;           // from here down the C++ stack is lost

  tally accesses_, longest_capsule_;
  tally commits_, steals_, lost_steals_, joins_first_, joins_second_, taken_back_, soft_faults_, hard_faults_, robberies_, again_, commit_ticks_;
  tally flushes_, lines_, bytes_, fences_, flush_ns_;
};

}  // namespace ppmm::detail
