/// Commit: making a strand's position durable. Two fences, whatever changed.
///
/// ```
///  flush new frames, touched words, written views      the record about it        thieves may come
///  |---------------------------------------------|F1|---------------------|F2|----------------------->
///                                                    ^ a crash before F2's end: the old record counts
/// ```
#include <ppmm/sched/clock.hpp>
#include <ppmm/sched/worker.hpp>

#include <algorithm>
#include <cassert>
#include <cstring>
#include <utility>

namespace ppmm::detail {

// Invariants after crash:
//  - before the new record is durable as a whole, the old one counts. Nothing it reaches was overwritten: committed
//    frames keep their bytes but for results (whose meaning does not change) and links, and memory above them was only
//    reused where no record reached it.
//  - once it is durable, everything that it reaches is: all of that was flushed before F1.
//  - an exposure counts only when generation, frame and right word agree with the frame's link. The right word comes
//    last, after the link is durable: so a crash anywhere leaves the child with the strand or stealable, never both.
// Recovery: `resume` (adopt.cpp) reads the record and goes on.
void worker::commit(const position& next, commit_cause cause) {
  const std::uint64_t start = ticks();
  if (seen_ != nullptr) [[unlikely]]
    seen_->commit_begins(start, cause, persister_.counters());
  access();
  flush_new_frames(next.to);
  flush_touched();
  prepare_list();
  expose_some();
  access();
  persister_.fence();
  access();

  restart r;
  r.kind = next.kind;
  r.at = next.to.word;
  if (next.kind == record_kind::run) {
    r.type = next.task.type->id;
    r.bytes = static_cast<std::uint16_t>(next.task.type->bytes);
    std::memcpy(r.arguments, next.task.bytes, r.bytes);
  }
  persist_record(r);
  publish_exposed();
  stand_on(next.to);
  counts_.commits.add();
  const std::uint64_t end = ticks();
  counts_.commit_ticks.add(end - start);
  const std::uint64_t spent = persister_.counters().nanoseconds;
  pace_.committed(static_cast<double>(spent - std::exchange(spent_before_, spent)) * ticks_per_ns());
  counts_.heartbeat_ticks.store(pace_.heartbeat(), std::memory_order_relaxed);
  show(type_at(next));
  if (seen_ != nullptr) [[unlikely]]
    seen_->commit_ends(end, site_, type_at(next), persister_.counters());
}

/// From the newest frame down to the first that an earlier record reached. They are `committed` from here on: their
/// memory is not reused while a record may reach it, and a return to them is seen (left_done, pop_linked).
void worker::flush_new_frames(place newest) {
  const std::size_t old = candidates_.size();
  for (place p = newest; p.word != 0; p = place(p.parent()->parent)) {
    frame* f = p.parent();
    if ((f->link & link_flag::committed) != 0) break;
    f->link |= link_flag::committed;
    if (seen_ != nullptr) [[unlikely]]
      seen_->frame_flushed(f, true);  // before it is: a line may be out of the caches then
    persister_.flush(f, frame_bytes(f->type));
    if (p.which() == side::left && is_fork(f->type)) candidates_.push_back(f);
  }
  std::reverse(candidates_.begin() + static_cast<std::ptrdiff_t>(old), candidates_.end());
}

/// What older commits made durable and this capsule changed or acted on: results, right words read as INLINE or
/// STOLEN [M: a decision built on a word that is not durable is undone by a crash that the decision survives], views.
void worker::flush_touched() {
  if (seen_ != nullptr) [[unlikely]] {
    for (const frame* f : touched_) seen_->frame_flushed(f, false);
    seen_->views_flushed();
  }
  for (const frame* f : touched_) persister_.flush(f, frame_bytes(f->type));
  for (const exposure_slot* s : touched_slots_) persister_.flush(s, sizeof *s);
  for (const byte_range& c : cells_) persister_.flush(reinterpret_cast<const void*>(c.first), c.last - c.first);
  for (const byte_range& w : to_flush_) persister_.flush(reinterpret_cast<const void*>(w.first), w.last - w.first);
}

/// Prepares the oldest frames that nobody can take yet: one a commit, and one for each thief that has asked.
///
/// Invariants after crash: generation first [M: with it last, a link to the old generation still counts for a slot
/// that is on its way to another frame]; the link goes with the first fence, the right word after the second.
void worker::expose_some() {
  if (team_.books->crowd.load(std::memory_order_relaxed) < 2) return;
  unsigned wanted = 1 + std::min(hints_.asked(), 8u);
  for (; wanted > 0 && exposed_ < candidates_.size(); ++exposed_) {
    frame* f = candidates_[exposed_];
    if (const exposure old = link_exposure(f->link); old.generation != 0 && is_live(old, f)) continue;  // found so by recovery
    std::optional<std::uint32_t> number = team_.shelves[slot_].take(slot_);
    while (number && team_.img.slot(*number).generation.load() >= max_generation) number = team_.shelves[slot_].take(slot_);  // used up
    if (!number) break;
    exposure_slot& s = team_.img.slot(*number);
    const exposure e{*number, static_cast<std::uint32_t>(s.generation.load()) + 1};
    fresh_.push_back(e);
    s.generation.store(e.generation);
    s.join.store(join_word(e.generation, join_state::none));
    s.frame_address.store(reinterpret_cast<std::uintptr_t>(f));
    f->link = exposed_link(e);
    persister_.flush(&s, sizeof s);
    persister_.flush(f, sizeof *f);
    --wanted;
  }
}

/// Lets thieves see what the commit prepared: its record is durable, so is the link.
void worker::publish_exposed() {
  for (const exposure e : fresh_) {
    team_.img.slot(e.slot).right.store(right_word(e.generation, right_state::available));
    hints_.push(e);
    if (seen_ != nullptr) [[unlikely]]
      seen_->exposed(e, ticks());
    virtual_time::pushes(index_);
  }
  fresh_.clear();
  cx_.split_wanted_ = team_.books->crowd.load(std::memory_order_relaxed) > 1 && (candidates_.empty() || (hints_.empty() && hints_.asked() > 0));
  hints_.answer();
}

/// What the capsule did to the heap: written beside the buffer of the record to come, and flushed.
void worker::prepare_list() {
  list_is_prepared_ = true;
  has_list_ = !arena_.nothing_noted() && arena_.write_list(durable_.redo[(sequence_ + 1) & 1], sequence_ + 1);
}

/// Writes and persists a record. Two fences make a commit: the caller's, which made durable what the record reaches,
/// and this one.
///
/// Invariants after crash: the other buffer holds the previous record, durable since its own persist [M: a buffer is
/// overwritten only when the other is durable].
///  - the bits that the previous record's list changed are durable before this one replaces it (H2). Where no other
///    fence came between, one is made here.
///  - the list is applied once the record is durable (H7). A fault between finds the record written: find_work, finish_rob.
void worker::persist_record(restart& r) {
  assert(list_is_prepared_ || arena_.nothing_noted() || r.kind != record_kind::run);
  list_is_prepared_ = false;
  if (unfenced_ && *unfenced_ == persister_.counters().fences) persister_.fence();
  unfenced_.reset();
  r.has_list = std::exchange(has_list_, false);
  r.sequence = sequence_ + 1;
  r.job = team_.serial;
  r.progress = progress_;
  r.when = ticks();
  std::size_t bytes = 0;
  const void* at = write_record(durable_, r, bytes);
  access();
  persister_.flush(at, bytes);
  persister_.fence();
  if (team_.options.runner != nullptr) team_.options.runner->recorded(slot_, r.kind, persister_.counters());
  sequence_ = r.sequence;
  desk_.sequence.store(r.sequence, std::memory_order_release);
  last_commit_ = r.when;
  if (arena_.committed(r.sequence)) unfenced_ = persister_.counters().fences;
  settle(r);
  access();
}

void worker::settle(const restart& r) {
  watch::capsule_over();
  scratch_.end();
  touched_.clear();
  touched_slots_.clear();
  written_.clear();
  to_flush_.clear();
  cells_.clear();
  read_a_cell_ = false;
  read_.clear();
  read_rows_.clear();
  updated_.clear();
  read_hull_ = {~std::uintptr_t{0}, 0};
  counts_.longest_capsule.raise_to(std::exchange(accesses_since_record_, 0));
  cx_.commit_next_ = false;
  // A slot is free again when the claimer's next own record is durable, not at the pop [M]: until then a repeated
  // ARRIVE must find CLAIMED in it. The same ARRIVE once more (recover_heap) is not the next.
  std::erase_if(joined_slots_, [&](std::uint32_t s) {
    const bool still_needed = r.kind == record_kind::arrive && r.exposed().slot == s;
    if (!still_needed) team_.shelves[image::home_of(s)].give_back(s);
    return !still_needed;
  });
}

}  // namespace ppmm::detail
