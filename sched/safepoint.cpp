/// What the fast path calls when it cannot go on by itself: the fuel is used up, or a frame's link is not zero.
#include <ppmm/sched/worker.hpp>

#include <fmt/core.h>  // format

#include <algorithm>
#include <cstring>

namespace ppmm {

namespace {

/// Adds [first, last): to the last range, if it goes on there.
template <class Ranges>
void add_range(Ranges& ranges, std::uintptr_t first, std::uintptr_t last) {
  if (!ranges.empty() && ranges.back().last == first)
    ranges.back().last = last;
  else
    ranges.push_back({first, last});
}

}  // namespace

using detail::after_left;
using detail::frame;
using detail::place;
using detail::position;

// What the program calls, inlined into its functions, says where in them it is: for a profile.
std::byte* context::grow(std::size_t bytes) {
  const detail::out_of_task runtime(*worker_);
  return worker_->grow(bytes);
}
bool context::poll(detail::task_ref next, const void* site) {
  const detail::out_of_task runtime(*worker_);
  worker_->site_ = site;
  return worker_->poll(position::run(next, place(cur_)));
}
after_left context::left_done(frame* f) {
  const detail::out_of_task runtime(*worker_);
  worker_->site_ = __builtin_return_address(0);
  return worker_->left_done(f);
}
bool context::pop_linked(frame* f) {
  const detail::out_of_task runtime(*worker_);
  worker_->site_ = __builtin_return_address(0);
  return worker_->pop_linked(f);
}

void context::commit(detail::task_ref next, place to, const void* site) {
  const detail::out_of_task runtime(*worker_);
  cur_ = to.word;
  worker_->counts_.again.add();
  worker_->site_ = site;
  worker_->commit(position::run(next, to), commit_cause::conflict);
}
void context::commit_right(frame* f) {
  const detail::out_of_task runtime(*worker_);
  cur_ = place(f, detail::side::right).word;
  worker_->counts_.again.add();
  worker_->site_ = __builtin_return_address(0);
  worker_->commit(position::right(f), commit_cause::conflict);
}
void context::commit_continuation(frame* f) {
  const detail::out_of_task runtime(*worker_);
  cur_ = f->parent;
  if ((f->link & detail::link_flag::committed) != 0) worker_->touched_.push_back(f);
  worker_->counts_.again.add();
  worker_->site_ = __builtin_return_address(0);
  worker_->commit(position::continuation(f), commit_cause::conflict);
}

void context::deliver(place to, const void* value, std::size_t bytes) {
  detail::worker& w = *worker_;
  if (to.word == 0) {
    if (bytes != w.team_.root.result_bytes) throw corrupt_pool("the job's result has the wrong size: a frame or record that is not the root's says it is");
    w.result_.assign(static_cast<const std::byte*>(value), static_cast<const std::byte*>(value) + bytes);
    return;
  }
  frame* f = to.parent();
  const detail::node_type& type = w.type_of(f);
  const auto which = static_cast<std::size_t>(to.which());
  if (type.result[which] != bytes) throw corrupt_pool("a result does not fit its frame: the pool was written by another build");
  std::memcpy(reinterpret_cast<std::byte*>(f) + type.offset[which], value, bytes);
  w.touched_.push_back(f);
}

void context::advance(std::uint64_t units) { worker_->progress_ += units; }
std::byte* context::scratch_bytes(std::size_t bytes, std::size_t alignment) {
  detail::scratch_memory& scratch = worker_->scratch_;
  if (scratch.is_full()) commit_next();
  return scratch.take(bytes, alignment);
}
void context::put_root(std::string_view name, std::uintptr_t address, std::uint64_t count, const char* type, std::uint64_t bytes) {
  const detail::out_of_task runtime(*worker_);
  worker_->access();
  worker_->team_.objects.set_root(name, address, count, detail::hash_of_name(type), bytes, worker_->persister_);
}
detail::root_value context::get_root(std::string_view name, const char* type, std::uint64_t bytes) const {
  return detail::typed_root(worker_->team_.objects.chunks(), name, type, bytes);
}
unsigned context::hard_id() const { return worker_->slot_; }
unsigned context::soft_id() const { return worker_->soft_slot_; }

/// What the capsule reads, unless it wrote it itself: a repeated capsule writes that again before it reads it.
void context::note_read(const void* p, std::size_t n) {
  detail::worker& w = *worker_;
  const auto first = reinterpret_cast<std::uintptr_t>(p), last = first + n;
  if (n == 0) return;
  w.access();
  for (const auto& b : w.written_)
    if (b.first <= first && last <= b.last) return;
  w.read_hull_ = {std::min(w.read_hull_.first, first), std::max(w.read_hull_.last, last)};
  add_range(w.read_, first, last);
  if (w.read_.size() > detail::worker::many_ranges) spill_fuel();
}

/// The same of a tile, which has something in it: rows, so many bytes apart.
void context::note_read(const void* p, std::size_t n, std::size_t stride, std::size_t rows) {
  detail::worker& w = *worker_;
  const auto first = reinterpret_cast<std::uintptr_t>(p), last = first + (rows - 1) * stride + n;
  if (rows == 1 || n == stride) return note_read(p, rows * n);
  if (std::ranges::any_of(w.written_, [=](const auto& b) { return b.overlaps(first, last); })) {
    for (std::size_t r = 0; r < rows; ++r) note_read(reinterpret_cast<const void*>(first + r * stride), n);
    return;
  }
  w.access();
  w.read_hull_ = {std::min(w.read_hull_.first, first), std::max(w.read_hull_.last, last)};
  w.read_rows_.push_back({first, n, stride, rows});
  if (w.read_rows_.size() > detail::worker::many_ranges) spill_fuel();
}

/// The running task is to be run again, after a commit of what was before it: it has updated, allocated and freed nothing.
void context::undo_task() {
  const detail::out_of_task runtime(*worker_);
  detail::watch::task_undone();
  worker_->updated_.take_back(stamp());  // before its blocks go back
  worker_->arena_.take_back(stamp());
}

/// The write-after-read rule (Blelloch et al. 2018, section 3): a capsule that overwrites what it has read cannot be repeated.
void context::note_write(const void* p, std::size_t n, bool flushed, const void* site) {
  detail::worker& w = *worker_;
  const auto first = reinterpret_cast<std::uintptr_t>(p), last = first + n;
  if (n == 0) return;
  w.access();
  const auto hit = [=](const auto& b) { return b.overlaps(first, last); };
  if (w.read_hull_.overlaps(first, last) && (std::ranges::any_of(w.read_, hit) || std::ranges::any_of(w.read_rows_, hit))) {
    undo_task();
    throw detail::overwrite{p, n};
  }
  add_range(w.written_, first, last);
  if (!flushed) add_range(w.to_flush_, first, last);
  if (w.seen_ != nullptr) [[unlikely]]
    w.seen_->written(site, p, n, !flushed);
}
void context::note_write(const void* p, std::size_t n) { note_write(p, n, false, __builtin_return_address(0)); }

/// Invariants after crash: as for any view that is written. Its blocks are on their way to the medium, in any order, and
/// the first fence of the capsule's commit waits for them; until then the record from before counts, and a repeated
/// capsule writes all of them again. Recovery: none of its own.
bool context::note_fill(const void* p, std::size_t n) {
  const bool in_blocks = n > detail::copy_block_bytes && worker_->persister_.copies_past_caches();
  note_write(p, n, in_blocks, __builtin_return_address(0));
  return in_blocks;
}
/// The same, where the task had better store past the caches itself; else notes nothing.
bool context::note_stores(const void* p, std::size_t n, std::size_t whole) {
  const bool by_itself = n > detail::copy_block_bytes && worker_->persister_.stores_past_caches(whole > worker_->team_.machine.largest_cache());
  if (by_itself) note_write(p, n, true, __builtin_return_address(0));
  return by_itself;
}
unsigned context::parts() const { return worker_->team_.img.parts(); }
unsigned context::part_on(unsigned node) const {
  const std::vector<std::optional<unsigned>>& nodes = worker_->team_.part_nodes;
  const auto there = std::find(nodes.begin(), nodes.end(), node);
  return there == nodes.end() ? near_part() : static_cast<unsigned>(there - nodes.begin());
}
void context::copy_block(void* to, const void* from, std::size_t n) {
  worker_->access();
  worker_->persister_.copy(to, from, n);
  if (worker_->seen_ != nullptr) [[unlikely]]
    worker_->seen_->copied(__builtin_return_address(0), to, n);
}

void context::stored(const void* p, std::size_t n) {
  worker_->persister_.stored_past_caches(p, n);
  worker_->access();
  if (worker_->seen_ != nullptr) [[unlikely]]
    worker_->seen_->copied(__builtin_return_address(0), p, n);
}

/// Invariants after crash: the old bytes are in the log, durably, before the first of them is changed; the log counts until
/// the next record is durable. A block that this capsule allocated is not saved: after a crash it may be somebody else's.
/// Recovery: roll_back (undo.hpp), before the worker or its robber resumes.
void context::note_update(const void* p, std::size_t n, std::size_t alignment) {
  const detail::out_of_task runtime(*worker_);
  detail::worker& w = *worker_;
  const auto first = reinterpret_cast<std::uintptr_t>(p), last = first + n;
  if (n == 0) return;
  if (!w.team_.img.holds_data(first, n)) throw error(fmt::format("a task updates {} bytes at {} in place, which are not in the pool's data", n, p));
  if (first % alignment != 0) throw error(fmt::format("a task updates {} bytes at {} in place, which is not a multiple of {} as their type needs", n, p, alignment));
  w.access();
  const bool fresh = w.arena_.is_fresh(p);
  if (!fresh || w.arena_.is_fresh_of_earlier_task(p, stamp())) w.updated_.save(p, n, stamp());
  if (!fresh) w.undo_.save(p, n, w.sequence_);
  add_range(w.written_, first, last);
  add_range(w.to_flush_, first, last);
  if (w.seen_ != nullptr) [[unlikely]]
    w.seen_->written(__builtin_return_address(0), p, n, true);
}

namespace {

__extension__ typedef unsigned __int128 cell16;

/// The value before. The builtin, for instrumented builds see it.
[[gnu::target("cx16")]] cell16 compare_exchange_16(void* cell, cell16 expected, cell16 desired) {
  return __sync_val_compare_and_swap(static_cast<cell16*>(cell), expected, desired);
}

}  // namespace

void context::load_cell(const void* cell, void* value, std::size_t n) {
  detail::worker& w = *worker_;
  const auto first = reinterpret_cast<std::uintptr_t>(cell);
  const detail::watch::runtimes_own not_the_users;
  if (n == 8) {
    const std::uint64_t v = static_cast<const detail::durable_word<std::uint64_t>*>(cell)->load();
    std::memcpy(value, &v, n);
  } else {
    const cell16 v = compare_exchange_16(const_cast<void*>(cell), 0, 0);
    std::memcpy(value, &v, n);
  }
  w.read_a_cell_ = true;
  w.cells_.push_back({first, first + n});  // flushed before a record is built on it, and so before a later CAM [M]
  if (w.cells_.size() > 256) spill_fuel();
}

/// Invariants after crash: the cell has the old value, the new one, or what others made of it. The capsule is repeated
/// with the same arguments, for they are in its record; its CAM changes nothing a second time, as a cell never returns
/// to an old value. Everything that `desired` may lead to was durable before. One CAM is durable before the next.
void context::cam_cell(void* cell, const void* expected, const void* desired, std::size_t n) {
  detail::worker& w = *worker_;
  const auto first = reinterpret_cast<std::uintptr_t>(cell);
  if (!w.team_.img.holds_data(first, n)) throw error(fmt::format("a task changes a shared cell at {}, which is not in the pool's data", cell));
  if (w.read_a_cell_ || !w.written_.empty() || !w.arena_.nothing_noted()) {
    undo_task();
    throw detail::overwrite{cell, n, true};
  }
  w.access();
  if (!w.cells_.empty()) w.persister_.fence();
  {
    const detail::watch::runtimes_own not_the_users;
    if (n == 8) {
      std::uint64_t from, to;
      std::memcpy(&from, expected, n);
      std::memcpy(&to, desired, n);
      static_cast<detail::durable_word<std::uint64_t>*>(cell)->cam(from, to);
    } else {
      cell16 from, to;
      std::memcpy(&from, expected, n);
      std::memcpy(&to, desired, n);
      compare_exchange_16(cell, from, to);
    }
  }
  w.persister_.flush(cell, n);
  if (w.seen_ != nullptr) [[unlikely]]
    w.seen_->flushed_at_once(__builtin_return_address(0), cell, n);
  w.cells_.push_back({first, first + n});
  w.access();
}

namespace detail {

void overwrites_its_own_input(const overwrite& o) {
  if (o.cell)
    throw error(fmt::format("a task changes the shared cell at {} after it has read a cell, written a view, allocated or freed: repeated after a crash it "
                            "might change it otherwise; do the CAM first, or in a task of its own", o.address));
  throw error(fmt::format("a task opens {} bytes at {} for writing that it has itself opened for reading: repeated after a crash it would read its own "
                          "output; write elsewhere, or read and write in two tasks", o.bytes, o.address));
}

/// Room for a frame that does not fit where the last one went: beyond the newest committed frame, or in a further chunk.
std::byte* worker::grow(std::size_t bytes) {
  access();
  const place p(cx_.cur_);
  if (p.word != 0 && (p.parent()->link & link_flag::committed) == 0) p.parent()->link |= link_flag::last_in_chunk;  // its pop comes back here
  return stack_.grow(bytes);
}

/// A safe point: `next` is about to run. Commits when it is time. False: the caller must detach, for the run stops, or
/// the C++ stack is used up and the strand goes on from its record.
bool worker::poll(const position& next) {
  access();
  const std::uint64_t now = ticks();
  durable_.live_when.store(now);
  durable_.live_progress.store(progress_);
  virtual_time::looks_at(index_, true);
  const bool stop = is_over();
  const bool low = reinterpret_cast<std::uintptr_t>(__builtin_frame_address(0)) < stack_low_;
  const auto since = static_cast<double>(now - last_commit_);
  const bool hungry = hints_.asked() > 0;
  const bool every_task = team_.options.commit_every_task || now < team_.books->careful_until.load(std::memory_order_relaxed);
  const bool due = team_.options.commits && since >= (hungry ? pace_.hungry_heartbeat() : pace_.heartbeat());
  if (stop || low || due || cx_.commit_next_ || every_task)
    commit(next, stop                              ? commit_cause::stop
                 : low                             ? commit_cause::stack
                 : every_task                      ? commit_cause::every_task
                 : cx_.commit_next_                ? (arena_.is_full() || scratch_.is_full() ? commit_cause::memory : commit_cause::user)
                 : since >= pace_.heartbeat()      ? commit_cause::heartbeat
                                                   : commit_cause::idle_worker);
  refuel(now);
  if (every_task) cx_.fuel_ = 0;
  if (slow_tasks_ && next.kind == record_kind::run && next.to.word != 0 && (next.to.parent()->link & link_flag::committed) == 0)
    next.to.parent()->link |= link_flag::watched;
  if (low) resume_own_record_ = true;
  return !stop && !low;
}

/// Chooses how many safe points may pass until the clock is looked at again: some 4 µs' worth, for a look takes 40 ns; but
/// at least a sixteenth of a heartbeat's, and at most a quarter.
void worker::refuel(std::uint64_t now) {
  static const double worth_a_look = 4000 * ticks_per_ns();
  const double target = std::clamp(worth_a_look, pace_.heartbeat() / 16, pace_.heartbeat() / 4);
  const auto took = static_cast<double>(now - last_poll_);
  const auto granted = static_cast<double>(fuel_granted_);
  fuel_granted_ = static_cast<std::int64_t>(std::clamp(granted * target / std::max(took, 1.0), 1.0, std::min(2 * granted, 512.0)));
  slow_tasks_ = took / granted > target;
  last_poll_ = now;
  ++cx_.polls_;
  cx_.fuel_ = injecting_ ? 0 : fuel_granted_ - 1;
}

/// The left child of f is done and its result stored; f's link says that this needs a look.
after_left worker::left_done(frame* f) {
  if ((f->link & link_flag::committed) != 0) {
    touched_.push_back(f);
    if (!candidates_.empty() && candidates_.back() == f) candidates_.pop_back();
    exposed_ = std::min(exposed_, candidates_.size());
    const exposure e = link_exposure(f->link);
    if (e.generation != 0) touched_slots_.push_back(&team_.img.slot(e.slot));  // whatever it says is acted on [M]
    if (e.generation != 0 && is_live(e, f)) {
      exposure_slot& s = team_.img.slot(e.slot);
      const std::uint64_t available = right_word(e.generation, right_state::available), inlined = right_word(e.generation, right_state::inlined);
      // Taking the child back: by the word that thieves use. What it says now goes with the next commit [M].
      access();
      const bool was_available = s.right.load() == available;
      s.right.cam(available, inlined);
      const std::uint64_t right = s.right.load();
      if (right >> 32 == e.generation && static_cast<right_state>(right & 3) == right_state::stolen)
        return arrive(f, side::left, e) ? after_left::joined : after_left::gone;
      if (was_available && right == inlined) {  // else it was taken back before a fault, and the slot is free or reused
        counts_.taken_back.add();
        hints_.pop_if(e);
        team_.shelves[image::home_of(e.slot)].give_back(e.slot);  // at once: a later generation is no longer this frame's
      }
    }
  }
  cx_.cur_ = place(f, side::right).word;
  if (--cx_.fuel_ >= 0) return after_left::run_right;
  return poll(position::right(f)) ? after_left::run_right : after_left::gone;
}

/// f's children are done and their results stored; its link says that its memory may not simply be reused, or that
/// this is a safe point worth a look at the clock.
bool worker::pop_linked(frame* f) {
  if (--cx_.fuel_ < 0) {
    if ((f->link & link_flag::committed) != 0) touched_.push_back(f);
    if (!poll(position::continuation(f))) return false;
  }
  while (!touched_.empty() && touched_.back() == f) touched_.pop_back();  // no later record reaches its results
  if ((f->link & link_flag::committed) != 0) {  // the last record reaches it, so its memory may not be reused yet
    const place to(f->parent);
    stack_.open_gap(f, to.word == 0 || is_stolen_edge(to) ? nullptr : to.parent());
    return true;
  }
  cx_.room_.top = reinterpret_cast<std::byte*>(f);
  if ((f->link & link_flag::last_in_chunk) != 0) stack_.return_to(f);
  return true;
}

}  // namespace detail
}  // namespace ppmm
