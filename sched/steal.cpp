/// Steal: taking the right child of a frame that another strand exposed. Three persists if it is won, two if not.
///
/// ```
///  thief   record STEAL(slot, g) |P| CAM right: AVAILABLE(g) -> STOLEN(me, g) |P| read: mine? record RIGHT(frame) |P| run
///  victim                          (AVAILABLE(g) -> INLINE(g), if it gets there first)
/// ```
#include <ppmm/sched/worker.hpp>

namespace ppmm::detail {

std::optional<position> worker::steal_from(unsigned victim) {
  hint_deque& hints = team_.desks[team_.seats[victim].slot.load(std::memory_order_relaxed)].hints;
  virtual_time::looks_at(victim, hints.empty());
  while (const std::optional<exposure> e = hints.steal()) {
    virtual_time::takes_from(victim);
    if (const auto p = steal(*e)) {
      tell_steal(victim);
      return p;
    }
  }
  if (hints.ask(index_)) virtual_time::asks(victim);
  return std::nullopt;
}

/// For observers.
void worker::tell_steal(unsigned victim) {
  if (durable_.live_serial.load() != team_.serial) {
    for (auto& n : durable_.live_steals_by) n.store(0);
    durable_.live_serial.store(team_.serial);
  }
  const numa::nearness near = team_.is_own(victim) ? team_.machine.between(team_.plan, team_.own(index_), team_.own(victim)) : numa::nearness::machine;
  auto& n = durable_.live_steals_by[static_cast<std::size_t>(near)];
  n.store(n.load() + 1);
}

// Invariants after crash:
//  - STEAL durable, CAM not: the word is not ours, the child is where it was. No IDLE record is needed: a lost STEAL
//    never does harm, for its CAM is never repeated [M].
//  - the CAM durable, RIGHT not: the word says STOLEN by us in this generation, so the child is ours, and the STEAL
//    record is the path to it: recovery keeps the slot and everything up the frame's chain [M].
//  - identities: within one life of a worker slot a given exposure is won at most once, and lost for ever.
// Recovery: finish_steal.
std::optional<position> worker::steal(exposure e) {
  exposure_slot& s = team_.img.slot(e.slot);
  const std::uint64_t available = right_word(e.generation, right_state::available);
  if (s.right.load() != available) return std::nullopt;  // a stale hint
  if (seen_ != nullptr) [[unlikely]]
    seen_->record_begins(activity::steal, persister_.counters(), exposure_word(e));
  restart r;
  r.kind = record_kind::steal;
  r.at = exposure_word(e);
  r.type = identity_word(self_);
  persist_record(r);
  s.right.cam(available, right_word(e.generation, right_state::stolen, self_));
  access();
  if (auto p = finish_steal(e, self_)) {
    counts_.steals.add();
    if (seen_ != nullptr) [[unlikely]]
      seen_->record_ends(commit_cause::steal, persister_.counters());
    return p;
  }
  counts_.lost_steals.add();
  if (seen_ != nullptr) seen_->close_as(activity::lost_steal, ticks());
  return std::nullopt;
}

/// Persists the word whatever it holds, reads it back, and decides [M: in this order].
std::optional<position> worker::finish_steal(exposure e, identity thief) {
  exposure_slot& s = team_.img.checked_slot(e);
  persister_.persist(&s, sizeof s);
  access();
  if (s.right.load() != right_word(e.generation, right_state::stolen, thief)) return std::nullopt;
  auto* f = reinterpret_cast<frame*>(s.frame_address.load());  // checked by recovery, or put there by this process
  virtual_time::reads(f, frame_bytes(f->type));
  restart r;
  r.kind = record_kind::right;
  r.at = place(f, side::right).word;
  persist_record(r);
  stand_on(place(f, side::right));
  candidates_.clear();
  exposed_ = 0;
  return position::right(f);
}

}  // namespace ppmm::detail
