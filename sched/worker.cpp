/// The worker's loop: get a strand, run it until it ends, waits or detaches, get the next.
#include <ppmm/sched/worker.hpp>

#include <ppmm/check/watch.hpp>

#include <sched.h>    // sched_yield

#include <algorithm>
#include <chrono>
#include <thread>

namespace ppmm::detail {

worker::worker(team& t, unsigned index, unsigned slot)
    : team_(t),
      index_(index),
      slot_(slot),
      durable_(t.img.worker(slot)),
      cx_(*this, arena_),
      persister_(t.storage),
      arena_(t.objects, slot, persister_),
      undo_(slot, t.img, t.chunks, persister_),
      stack_(t.img, t.chunks, cx_.room_),
      injecting_(t.options.soft_fault_rate > 0 || t.options.hard_fault_rate > 0) {
  const auto low = [](std::uint64_t n) { return static_cast<std::uint32_t>(n); };
  std::seed_seq seeds{low(t.options.fault_seed), low(t.options.fault_seed >> 32), slot, t.run_number};
  dice_.seed(seeds);
}

/// A soft fault comes back to `setjmp`, and work begins anew; a hard one comes back as well, and nothing is left to do
/// but to be buried. No local variables that hold anything here: what they hold after that is not said.
void worker::live(std::uintptr_t stack_low) {
  const watch::worker_thread watched(&durable_);
  stack_low_ = stack_low;
  if (setjmp(begin_anew_) != static_cast<int>(fault_kind::hard)) work();
  set_idle(false);
  publish_counters();
  if (hard_faults_.get() == 0) return;
  forget();
  arena_.abandon();
  // The job's start is in nobody's record until it is in ours.
  unsigned me = slot_;
  if (newest_record(durable_, team_.serial).kind != record_kind::run) team_.root_starter.compare_exchange_strong(me, team::anyone);
  team_.bury(slot_);
}

/// Until the job is over. Begins with nothing but what is in the pool: at first, and after each soft fault.
[[gnu::noinline]] void worker::work() {
  stack_end_ = reinterpret_cast<std::uintptr_t>(__builtin_frame_address(0));
  forget();
  unsigned rounds = 0;
  bool entered = false;
  while (!looks_over(rounds)) {
    try {
      if (!std::exchange(entered, true)) enter_slot();
      if (const auto next = find_work()) {
        set_idle(false);
        rounds = 0;
        execute(*next);
      } else {
        set_idle(true);
      }
    } catch (...) {
      team_.fail(std::current_exception());
    }
    publish_counters();
  }
}

void worker::set_idle(bool to) {
  if (to != is_idle_) to ? team_.idle.fetch_add(1) : team_.idle.fetch_sub(1);
  is_idle_ = to;
}

void worker::publish_counters() {
  const flush_counters& c = persister_.counters();
  flushes_.add(c.flushes - flushes_.get());
  lines_.add(c.lines - lines_.get());
  bytes_.add(c.bytes - bytes_.get());
  fences_.add(c.fences - fences_.get());
  flush_ns_.add(c.nanoseconds - flush_ns_.get());
}

bool worker::looks_over(unsigned& rounds) {
  if (team_.over()) return true;
  if (team_.options.runner != nullptr) {
    team_.options.runner->pause();
    return team_.over();
  }
  if (++rounds < 64)
    __builtin_ia32_pause();
  else if (rounds < 4096)
    sched_yield();
  else
    std::this_thread::sleep_for(std::chrono::microseconds(50));
  return false;
}

std::optional<position> worker::find_work() {
  if (std::exchange(resume_own_record_, false)) {
    const restart own = newest_record(durable_, team_.serial);
    sequence_ = own.sequence;
    progress_ = own.progress;
    if (unsigned me = slot_; own.kind == record_kind::run) team_.root_starter.compare_exchange_strong(me, team::nobody);
    // It may only have been visible; before the other buffer is overwritten [M].
    persister_.persist(&durable_.records[own.sequence & 1], record_bytes(own.bytes));
    recover_heap(own);
    if (auto p = resume(own)) return p;
  }
  if (is_to_start_root()) return start_root();
  if (team_.grave_count.load() > 0)
    if (auto p = rob_a_grave()) return p;
  for (const auto& group : team_.victims[index_])
    for (const std::uint32_t victim : group)
      if (auto p = steal_from(*team_.workers[victim])) {
        soft_slot_ = slot_;
        return p;
      }
  return std::nullopt;
}

/// What the capsule after the newest record did to the heap, and in place, is undone; what the record's list says is done.
///
/// Invariants after crash: the list's bits are durable when this returns (H2), though a fault may have come between
/// flushing and fencing them; they are the same, however often it is replayed.
void worker::recover_heap(restart own) {
  arena_.go_on_from(own.sequence);
  if (own.has_list) {
    team_.objects.replay(durable_.redo[own.sequence & 1], own.sequence, persister_);
    persister_.fence();
  }
  if (roll_back(slot_, team_.img, own.sequence, persister_)) persist_record(own);  // with another sequence the log is void
}

/// One worker starts the job, and has the start until the root's record is there, whatever faults come between.
bool worker::is_to_start_root() {
  unsigned who = team_.root_starter.load(std::memory_order_relaxed);
  return who == slot_ || (who == team::anyone && team_.root_starter.compare_exchange_strong(who, slot_));
}

/// The job's first record.
///
/// Invariants after crash: before it is durable there is no strand, and the next run starts again; after it, it counts.
/// Recovery: after a soft fault `find_work` looks whether the record is there; a worker that dies before hands the start
/// on (`live`).
position worker::start_root() {
  stand_on(place());
  const position root = position::run(team_.root.task, place());
  commit(root);
  team_.root_starter.store(team::nobody);
  return root;
}

/// Runs a strand on a fresh C++ stack: each step's value is in its place when the step returns, and what comes next
/// follows from the place. Ends when the strand ends, waits for another, or detaches.
void worker::execute(position next) {
  std::uint64_t not_yet = 0;
  if (team_.first_work.load(std::memory_order_relaxed) == 0) team_.first_work.compare_exchange_strong(not_yet, ticks());
  for (;;) {
    frame* f = next.to.parent();
    outcome done;
    place to;  // of the value
    switch (next.kind) {
      case record_kind::run:
        to = next.to;
        done = next.task.type->run(cx_, next.task.bytes, to);
        break;
      case record_kind::right:
        to = place(f, side::right);
        done = type_of(f).right(cx_, f);
        break;
      default:
        to = place(f->parent);
        done = type_of(f).continuation(cx_, f);
        break;
    }
    if (done == outcome::detached) return;
    if (to.word == 0) return finish();

    f = to.parent();
    if (to.which() == side::left && is_fork(f->type)) {
      switch (left_done(f)) {
        case after_left::run_right:
          next = position::right(f);
          continue;
        case after_left::joined:
          next = position::continuation(f);
          break;
        case after_left::gone:
          return;
      }
    } else if (is_stolen_edge(to)) {
      const auto p = arrive(f, side::right, link_exposure(f->link));
      if (!p) return;
      next = *p;
    } else {
      if (to.which() == side::left && !candidates_.empty() && candidates_.back() == f) candidates_.pop_back();
      next = position::continuation(f);
    }
    if (--cx_.fuel_ < 0 && !poll(next)) return;
  }
}

/// The root task's value is there: the job is done when this record is durable.
///
/// Invariants after crash: before DONE is durable the last commit counts, and its capsule gives the same result again.
void worker::finish() {
  flush_touched();
  prepare_list();
  persister_.fence();
  restart r;
  r.kind = record_kind::done;
  r.bytes = static_cast<std::uint16_t>(result_.size());
  std::copy(result_.begin(), result_.end(), r.arguments);
  persist_record(r);
  durable_.live_progress.store(progress_);
  tell_result(r);
}

void worker::tell_result(const restart& done) {
  team_.result.assign(done.arguments, done.arguments + done.bytes);
  team_.finished.store(true, std::memory_order_release);
}

void worker::count(run_statistics& s) const {
  s.commits += commits_.get();
  s.steals += steals_.get();
  s.lost_steals += lost_steals_.get();
  s.joins_first += joins_first_.get();
  s.joins_second += joins_second_.get();
  s.taken_back += taken_back_.get();
  s.soft_faults += soft_faults_.get();
  s.hard_faults += hard_faults_.get();
  s.robberies += robberies_.get();
  s.accesses += accesses_.get();
  s.longest_capsule = std::max(s.longest_capsule, longest_capsule_.get());
  s.restarts_of_tasks += again_.get();
  s.commit_ns += static_cast<std::uint64_t>(static_cast<double>(commit_ticks_.get()) / ticks_per_ns());
  s.flushed.flushes += flushes_.get();
  s.flushed.lines += lines_.get();
  s.flushed.bytes += bytes_.get();
  s.flushed.fences += fences_.get();
  s.flushed.nanoseconds += flush_ns_.get();
}

}  // namespace ppmm::detail
