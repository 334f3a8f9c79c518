/// The worker's loop: get a strand, run it until it ends, waits or detaches, get the next.
#include <ppmm/sched/worker.hpp>

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
      undo_(durable_, t.img, t.chunks, persister_),
      soft_slot_(slot),
      stack_(t.img, t.chunks, cx_.room_),
      injecting_(t.options.soft_fault_rate > 0 || t.options.hard_fault_rate > 0),
      dice_(t.options.fault_seed * 1000003 + slot) {}

void worker::live(std::uintptr_t stack_low) {
  stack_low_ = stack_low;
  last_poll_ = last_commit_ = ticks();
  unsigned rounds = 0;
  bool entered = false, is_idle = false;
  const auto set_idle = [&](bool to) {
    if (to != is_idle) to ? team_.idle.fetch_add(1) : team_.idle.fetch_sub(1);
    is_idle = to;
  };
  while (!looks_over(rounds)) {
    try {
      if (!entered) enter_slot();
      entered = true;
      if (const auto next = find_work()) {
        set_idle(false);
        rounds = 0;
        execute(*next);
      } else {
        set_idle(true);
      }
    } catch (const soft_fault&) {
      soft_faults_.add();
      forget();
    } catch (const hard_fault&) {
      hard_faults_.add();
      arena_.forget();
      break;
    } catch (...) {
      team_.fail(std::current_exception());
    }
    const flush_counters& c = persister_.counters();  // published for the statistics
    flushes_.add(c.flushes - flushes_.get());
    lines_.add(c.lines - lines_.get());
    bytes_.add(c.bytes - bytes_.get());
    fences_.add(c.fences - fences_.get());
    flush_ns_.add(c.nanoseconds - flush_ns_.get());
  }
  set_idle(false);
  if (hard_faults_.get() > 0) team_.bury(slot_);
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
    progress_ = own.progress;
    persister_.persist(durable_.records, sizeof durable_.records);  // it may only have been visible; before its other buffer is overwritten [M]
    if (own.sequence <= sequence_)
      arena_.forget();
    else if (arena_.committed())  // a fault came after the record was written: what the capsule did to the heap counts
      unfenced_ = persister_.counters().fences;
    sequence_ = std::max(sequence_, own.sequence);
    if (roll_back(durable_, team_.img, own.sequence, persister_)) {
      restart again = own;  // with another sequence the log is void: the repeated capsule begins it anew
      persist_record(again);
    }
    if (auto p = resume(own)) return p;
  }
  if (team_.start_root.load(std::memory_order_relaxed) && team_.start_root.exchange(false)) return start_root();
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

/// The job's first record.
///
/// Invariants after crash: before it is durable there is no strand, and the next run starts again; after it, it counts.
position worker::start_root() {
  stand_on(place());
  const position root = position::run(team_.root.task, place());
  try {
    commit(root);
  } catch (...) {  // a fault before the record was there: somebody else may start
    // Not only an idle record may stand there: also a ROB that came to nothing.
    if (newest_record(durable_, team_.serial).kind != record_kind::run) team_.start_root.store(true);
    throw;
  }
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

void worker::forget() {
  has_list_ = false;
  cells_.clear();
  read_a_cell_ = false;
  candidates_.clear();
  exposed_ = 0;
  touched_.clear();
  touched_slots_.clear();
  written_.clear();
  read_.clear();
  read_hull_ = {~std::uintptr_t{0}, 0};
  for (const exposure e : fresh_) team_.shelves[image::home_of(e.slot)].give_back(e.slot);
  fresh_.clear();
  result_.clear();
  cx_.room_ = {};
  cx_.cur_ = 0;
  cx_.fuel_ = 0;
  cx_.commit_next_ = cx_.split_wanted_ = false;
  soft_slot_ = slot_;
  resume_own_record_ = true;
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
  s.restarts_of_tasks += again_.get();
  s.commit_ns += static_cast<std::uint64_t>(static_cast<double>(commit_ticks_.get()) / ticks_per_ns());
  s.flushed.flushes += flushes_.get();
  s.flushed.lines += lines_.get();
  s.flushed.bytes += bytes_.get();
  s.flushed.fences += fences_.get();
  s.flushed.nanoseconds += flush_ns_.get();
}

}  // namespace ppmm::detail
