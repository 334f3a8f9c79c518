/// The worker's loop: get a strand, run it until it ends, waits or detaches, get the next.
#include <ppmm/sched/worker.hpp>

#include <ppmm/check/watch.hpp>

#include <sched.h>    // sched_yield
#include <sys/mman.h>

#include <algorithm>
#include <chrono>
#include <new>
#include <thread>

namespace ppmm::detail {

worker::worker(team& t, unsigned index, unsigned slot, unsigned part)
    : team_(t),
      index_(index),
      slot_(slot),
      durable_(t.img.worker(slot)),
      desk_(t.desks[slot]),
      hints_(desk_.hints),
      counts_(desk_.counts),
      cx_(*this, arena_),
      persister_(t.storage),
      arena_(t.objects, slot, part, t.arenas[slot], persister_),
      undo_(slot, part, t.img, t.chunks, persister_),
      pace_(t.first_pace),
      stack_(t.img, t.chunks, part, desk_.stack, cx_.room_),
      seen_(t.observe(index, slot)),
      injecting_(t.options.soft_fault_rate > 0 || t.options.hard_fault_rate > 0) {
  const auto low = [](std::uint64_t n) { return static_cast<std::uint32_t>(n); };
  std::seed_seq seeds{low(t.options.fault_seed), low(t.options.fault_seed >> 32), slot, t.run_number};
  dice_.seed(seeds);
  desk_.lived_in.store(true);
  hints_.clear();
  arena_.begin();
  stack_.begin();
  stack_.stock_up();
}

worker_owner worker::make(team& t, unsigned index, unsigned slot, unsigned part) {
  void* const at = ::mmap(nullptr, sizeof(worker), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (at == MAP_FAILED) throw std::bad_alloc();
  if (t.machine.nodes() > 1) {
    static_cast<void>(t.machine.place(at, sizeof(worker), t.plan[t.own(index)].node));
    static_cast<void>(t.machine.place(&t.desks[slot], sizeof(desk), t.plan[t.own(index)].node));
  }
  try {
    return worker_owner(new (at) worker(t, index, slot, part));
  } catch (...) {
    ::munmap(at, sizeof(worker));
    throw;
  }
}

void worker_memory::operator()(worker* w) const {
  w->~worker();
  ::munmap(w, sizeof(worker));
}

/// A soft fault comes back to `setjmp`, and work begins anew; a hard one comes back as well, and nothing is left to do
/// but to be buried. No local variables that hold anything here: what they hold after that is not said.
void worker::live(std::uintptr_t stack_low) {
  const watch::worker_thread watched(&durable_);
  stack_low_ = stack_low;
  current = this;
  if (setjmp(begin_anew_) != static_cast<int>(fault_kind::hard)) work();
  current = nullptr;
  set_idle(false);
  if (seen_ != nullptr) seen_->close_all(ticks());
  show(0);
  publish_counters();
  if (!lost_) return;
  forget();
  bury(team_, slot_);
}

void bury(team& t, unsigned slot, std::uint64_t tenant) {
  const std::lock_guard lock(t.books->burials);
  std::atomic<std::uint64_t>& there = t.desks[slot].tenant;
  if (tenant == 0 || there.load() != tenant) return;
  bury(t, slot);
  there.store(0);  // last: nobody moves in before
}

void look_for_dead(team& t) {
  for (unsigned seat = 0; seat < t.books->crowd.load(); ++seat) {
    const unsigned slot = t.seats[seat].slot.load();
    const std::uint64_t tenant = t.desks[slot].tenant.load();
    if (tenant != 0 && !t.watch->is_held(slot)) bury(t, slot, tenant);
  }
}

void bury(team& t, unsigned slot) {
  t.arenas[slot].abandon();
  // The job's start is in nobody's record until it is in the worker's.
  unsigned starter = slot;
  if (newest_record(t.img.worker(slot), t.serial).kind != record_kind::run) t.books->root_starter.compare_exchange_strong(starter, run_books::anyone);
  t.books->bury(slot);
}

/// Until the job is over. Begins with nothing but what is in the pool: at first, and after each soft fault.
[[gnu::noinline]] void worker::work() {
  stack_end_ = reinterpret_cast<std::uintptr_t>(__builtin_frame_address(0));
  forget();
  in_task_ = false;
  if (signal_.number != 0) {
    if (seen_ != nullptr) seen_->faulted(false, ticks());  // only here: it needs memory, which a signal's handler may not ask for
    judge_signal();
  }
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
      in_task_ = false;
      desk_.why.note(std::current_exception());
      team_.books->failed.store(true, std::memory_order_release);
    }
    publish_counters();
  }
}

void worker::set_idle(bool to) {
  if (to && !is_idle_) show(0);
  is_idle_ = to;
  if (seen_ != nullptr && to) seen_->idle_begins(ticks());
}

void worker::show(std::uint64_t type) {
  durable_.live_commits.store(counts_.commits.get());
  durable_.live_commit_ticks.store(counts_.commit_ticks.get());
  durable_.live_lines.store(persister_.counters().lines);
  durable_.live_steals.store(counts_.steals.get());
  durable_.live_faults.store(counts_.soft_faults.get() + counts_.hard_faults.get());
  durable_.live_type.store(type);
}

/// The task that is to run there, or the frame that goes on.
std::uint64_t worker::type_at(const position& p) const { return p.kind == record_kind::run ? p.task.type->id : p.to.parent()->type >> 16; }

void worker::publish_counters() {
  const flush_counters& c = persister_.counters();
  counts_.flushes.add(c.flushes - published_.flushes);
  counts_.lines.add(c.lines - published_.lines);
  counts_.bytes.add(c.bytes - published_.bytes);
  counts_.fences.add(c.fences - published_.fences);
  counts_.flush_ns.add(c.nanoseconds - published_.nanoseconds);
  published_ = c;
}

bool worker::looks_over(unsigned& rounds) {
  if (is_over()) return true;
  ++rounds;
  if (team_.options.runner != nullptr) {
    team_.options.runner->pause(rounds);
    return team_.over();
  }
  if (rounds < 64)
    __builtin_ia32_pause();
  else if (rounds < 4096)
    sched_yield();
  else
    std::this_thread::sleep_for(std::chrono::microseconds(50));
  if (team_.watch && rounds % 64 == 0 && rounds >= 4096) look_for_dead(team_);  // about each 5 ms; the coordinator may be dead, too
  return false;
}

std::optional<position> worker::find_work() {
  if (std::exchange(resume_own_record_, false)) {
    const restart own = newest_record(durable_, team_.serial);
    sequence_ = own.sequence;
    progress_ = own.progress;
    if (unsigned me = slot_; own.kind == record_kind::run) team_.books->root_starter.compare_exchange_strong(me, run_books::nobody);
    // It may only have been visible; before the other buffer is overwritten [M].
    persister_.persist(&durable_.records[own.sequence & 1], record_bytes(own.bytes));
    recover_heap(own);
    if (auto p = resume(own)) return p;
  }
  // The job's result may be in this worker's record, and nowhere else: no theft or robbery, which would overwrite it.
  if (team_.books->finished) return std::nullopt;
  if (is_to_start_root()) return start_root();
  if (team_.books->any_grave(team_.img.workers()))
    if (auto p = rob_a_grave(); p || team_.books->finished) return p;
  victim_order& victims = team_.victims[team_.own(index_)];
  victims.begin_round();
  while (const auto victim = victims.next())
    if (auto p = steal_from(*victim)) {
      soft_slot_ = slot_;
      return p;
    }
  const unsigned known = team_.first_seat + team_.crowd, all = team_.books->crowd.load(std::memory_order_relaxed);
  if (known < all) [[unlikely]] {  // who joined later
    newcomer_ = (newcomer_ + 1) % (all - known);
    if (auto p = steal_from(known + newcomer_)) {
      soft_slot_ = slot_;
      return p;
    }
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
  unsigned who = team_.books->root_starter.load(std::memory_order_relaxed);
  return who == slot_ || (who == run_books::anyone && team_.books->root_starter.compare_exchange_strong(who, slot_));
}

/// The job's first record.
///
/// Invariants after crash: before it is durable there is no strand, and the next run starts again; after it, it counts.
/// Recovery: after a soft fault `find_work` looks whether the record is there; a worker that dies before hands the start
/// on (`live`).
position worker::start_root() {
  stand_on(place());
  const position root = position::run(team_.root.task, place());
  site_ = nullptr;
  commit(root, commit_cause::start);
  team_.books->root_starter.store(run_books::nobody);
  return root;
}

/// Runs a strand on a fresh C++ stack: each step's value is in its place when the step returns, and what comes next
/// follows from the place. Ends when the strand ends, waits for another, or detaches.
void worker::execute(position next) {
  std::uint64_t not_yet = 0;
  if (team_.books->first_work.load(std::memory_order_relaxed) == 0) team_.books->first_work.compare_exchange_strong(not_yet, ticks());
  show(type_at(next));
  if (seen_ != nullptr) seen_->strand_begins(ticks(), type_at(next));
  run_strand(next);
  if (seen_ != nullptr) seen_->strand_ends(ticks());
}

void worker::run_strand(position next) {
  for (;;) {
    frame* f = next.to.parent();
    outcome done;
    place to;  // of the value
    in_task_ = true;
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
    in_task_ = false;
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
    site_ = nullptr;
    if (--cx_.fuel_ < 0 && !poll(next)) return;
  }
}

/// The root task's value is there: the job is done when this record is durable.
///
/// Invariants after crash: before DONE is durable the last commit counts, and its capsule gives the same result again.
void worker::finish() {
  if (seen_ != nullptr) seen_->record_begins(activity::finish, persister_.counters());
  flush_touched();
  prepare_list();
  persister_.fence();
  restart r;
  r.kind = record_kind::done;
  r.bytes = static_cast<std::uint16_t>(result_.size());
  std::copy(result_.begin(), result_.end(), r.arguments);
  persist_record(r);
  durable_.live_progress.store(progress_);
  if (seen_ != nullptr) seen_->record_ends(commit_cause::end, persister_.counters());
  tell_finished();
}

/// The result is in a record, which is durable.
void worker::tell_finished() { team_.books->finished.store(true, std::memory_order_release); }

void worker::say_not_pinned(const std::string& why) { why.copy(desk_.not_pinned, sizeof desk_.not_pinned - 1); }

void add_counts(const worker_counts& c, run_statistics& s) {
  s.commits += c.commits.get();
  s.steals += c.steals.get();
  s.lost_steals += c.lost_steals.get();
  s.joins_first += c.joins_first.get();
  s.joins_second += c.joins_second.get();
  s.taken_back += c.taken_back.get();
  s.soft_faults += c.soft_faults.get();
  s.hard_faults += c.hard_faults.get();
  s.robberies += c.robberies.get();
  s.accesses += c.accesses.get();
  s.longest_capsule = std::max(s.longest_capsule, c.longest_capsule.get());
  s.restarts_of_tasks += c.again.get();
  s.commit_ns += static_cast<std::uint64_t>(static_cast<double>(c.commit_ticks.get()) / ticks_per_ns());
  s.heartbeat_ns = std::max(s.heartbeat_ns, static_cast<std::uint64_t>(c.heartbeat_ticks.load(std::memory_order_relaxed) / ticks_per_ns()));
  s.flushed.flushes += c.flushes.get();
  s.flushed.lines += c.lines.get();
  s.flushed.bytes += c.bytes.get();
  s.flushed.fences += c.fences.get();
  s.flushed.nanoseconds += c.flush_ns.get();
}

}  // namespace ppmm::detail
