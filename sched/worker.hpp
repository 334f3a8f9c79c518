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
#include <ppmm/sched/observer.hpp>
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
  struct byte_rows {
    std::uintptr_t first;
    std::size_t bytes, stride, rows;
    bool overlaps(std::uintptr_t f, std::uintptr_t l) const {
      const std::uintptr_t from = std::max(f, first), row = (from - first) / stride, begin = first + row * stride;
      return row < rows && from < l && (from < begin + bytes || (row + 1 < rows && begin + stride < l));
    }
  };
  static constexpr std::size_t many_ranges = 256;  // looking through more would cost more than a commit
  std::vector<byte_range> written_, read_;
  std::vector<byte_rows> read_rows_;       // of tiles
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

/// This worker process is to leave: it commits, and lets others have its strand (set by a signal handler).
inline std::atomic<bool> asked_to_leave{false};

class alignas(64) worker : strand_state {
 public:
  /// `part`: of the pool, near the worker: where its memory is taken first.
  worker(team& t, unsigned index, unsigned slot, unsigned part);
  ~worker() = default;
  /// In memory of the node that the plan has for it, as far as the system allows it.
  static worker_owner make(team& t, unsigned index, unsigned slot, unsigned part);
  worker(const worker&) = delete;
  worker& operator=(const worker&) = delete;

  /// Until the job is over or the worker is lost. Strands are detached when the C++ stack has grown below `stack_low`.
  void live(std::uintptr_t stack_low);

  /// The worker of this thread.
  static inline thread_local worker* current = nullptr;
  /// Called by a signal's handler, in the thread of the worker, which has raised it itself at `address`. Does not return if it
  /// is a soft fault: where it is not in a task, what it was doing cannot be left.
  void met_signal(int signal, const void* address);

  /// When it has ended: what was seen of it.
  observer* seen() const { return seen_; }
  unsigned slot() const { return slot_; }
  /// Its thread could not be pinned: for the statistics.
  void say_not_pinned(const std::string& why);

 private:
  friend class ppmm::context;

  // ---- worker.cpp: the loop, and running a strand from a position by the thunks of its frames
  void work();
  void enter_slot();
  std::optional<position> find_work();
  void execute(position next);
  void run_strand(position next);
  bool is_over() const { return team_.over() || asked_to_leave.load(std::memory_order_relaxed); }
  bool looks_over(unsigned& rounds);       // backs off; true if the job is over, or this worker is to leave
  void recover_heap(restart own);
  bool is_to_start_root();
  position start_root();
  void finish();
  void tell_finished();
  void set_idle(bool to);
  void publish_counters();
  void show(std::uint64_t type);           // the live words, for who looks from outside: not so much as a fence
  std::uint64_t type_at(const position& p) const;

  // ---- safepoint.cpp: what the fast path calls when it cannot go on by itself
  bool poll(const position& next);         // false: detach
  after_left left_done(frame* f);
  bool pop_linked(frame* f);
  std::byte* grow(std::size_t bytes);
  void refuel(std::uint64_t now);

  // ---- fault.cpp: losing everything ephemeral
  void access();                           // a persistent access: the fault injector's chance
  [[noreturn, gnu::noinline]] void fault(fault_kind kind);
  [[noreturn]] void abandon_stack(fault_kind kind);
  void forget();
  void judge_signal();                     // once too often: the job fails

  // ---- commit.cpp
  void commit(const position& next, commit_cause cause);
  void flush_new_frames(place newest);
  void flush_touched();
  void expose_some();
  void publish_exposed();
  void prepare_list();                     // before the first fence of a record that ends a capsule
  void persist_record(restart& r);         // r.sequence, job, progress, when and has_list are filled in
  void settle(const restart& r);           // after a record: what it no longer reaches is free

  // ---- steal.cpp
  std::optional<position> steal_from(unsigned victim);  // by seat
  void tell_steal(unsigned victim);
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
  desk& desk_;
  hint_deque& hints_;
  worker_counts& counts_;
  alignas(64) context cx_;                  // the fast path is in one line
  persister persister_;
  arena arena_;                            // its superblocks are books: see below
  undo_log undo_;
  scratch_memory scratch_;                 // its blocks stay; what is in them is lost with the capsule
  std::uintptr_t stack_low_ = 0;           // of the C++ stack: below this a strand is detached
  pace pace_;
  std::uint64_t spent_before_ = 0;         // on durability, up to the newest commit: ns of persister_

  // The team's books, as far as they are kept here: whose what is. They outlive a fault.
  stacklet stack_;                         // its chunks
  std::vector<exposure> fresh_;            // exposures of the commit under way
  std::vector<std::uint32_t> joined_slots_;  // free once the next own record is durable
  bool is_idle_ = false;

  // Who looks on, if anybody does. Measurements: no part of the computation, so a fault leaves them.
  observer* const seen_;                   // nullptr: nobody
  const void* site_ = nullptr;             // where the program called what is under way

  // Fault injection.
  const bool injecting_;
  std::mt19937_64 dice_;
  std::jmp_buf begin_anew_;                // in `live`
  std::uintptr_t stack_end_ = 0;           // from here down the C++ stack is lost

  flush_counters published_;               // of persister_'s
  bool lost_ = false;                      // by a hard fault
  unsigned newcomer_ = 0;
  struct {
    int number = 0;                        // 0: none since it was judged
    const void* address = nullptr;
    restart at;                            // what the last one ended
    unsigned in_a_row = 0;
  } signal_;

  friend class out_of_task;
  volatile bool in_task_ = false;          // the program's code, or what is inlined there
};

/// What the program's code calls of the runtime: it changes books, and is not to be left in the middle.
class out_of_task {
 public:
  explicit out_of_task(worker& w) : worker_(w), before_(w.in_task_) { w.in_task_ = false; }
  ~out_of_task() { worker_.in_task_ = before_; }
  out_of_task(const out_of_task&) = delete;
  out_of_task& operator=(const out_of_task&) = delete;

 private:
  worker& worker_;
  const bool before_;
};

/// Whoever lived in the slot is lost: its strand is there for a robber.
void bury(team& t, unsigned slot);
/// The same, of a worker process, unless it was done. Any number may do so at once, and be killed while they do.
void bury(team& t, unsigned slot, std::uint64_t tenant);
/// Buries the worker processes whose locks are gone.
void look_for_dead(team& t);

void add_counts(const worker_counts& c, run_statistics& s);

}  // namespace ppmm::detail
