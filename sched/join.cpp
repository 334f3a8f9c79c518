/// Join of a frame whose right child was stolen. Both sides arrive; whoever finds the other there goes on.
///
/// ```
///  left    result, dirty ranges |F| record ARRIVE(slot, g, left)  |P| CAM join: NONE(g) -> FIRST(g, left)            |P| idle
///  right   result, dirty ranges |F| record ARRIVE(slot, g, right) |P| CAM join: NONE(g) fails, FIRST(g, left) is there
///                                                                     CAM join: FIRST(g, left) -> CLAIMED(g, right) |P| continuation
/// ```
#include <ppmm/sched/worker.hpp>

#include <algorithm>
#include <utility>

namespace ppmm::detail {

// Invariants after crash:
//  - before ARRIVE is durable the child's capsule counts, and is repeated: it stores the same result again.
//  - after it the result is durable and the child is never run again; the slot stays in use while the join is at g and
//    not claimed by the other side.
//  - join states carry the side, never a worker: whoever holds the ARRIVE record, its writer or a robber, may repeat
//    the CAMs; they change nothing a second time.
// Recovery: finish_arrive.
std::optional<position> worker::arrive(frame* f, side s, exposure e) {
  if (seen_ != nullptr) [[unlikely]]
    seen_->record_begins(activity::join, persister_.counters(), exposure_word(e));
  access();
  touched_.push_back(f);
  touched_slots_.push_back(&team_.img.slot(e.slot));  // STOLEN was read in it, and is acted on [M]
  flush_touched();
  prepare_list();
  persister_.fence();
  restart r;
  r.kind = record_kind::arrive;
  r.at = exposure_word(e);
  r.type = static_cast<std::uint64_t>(s);
  persist_record(r);
  if (s == side::left && team_.parked) team_.parked[e.slot] = std::move(candidates_);  // before the CAM: after it they may be taken at once
  candidates_.clear();
  const auto next = finish_arrive(e, s);
  if (seen_ != nullptr) [[unlikely]]
    seen_->record_ends(commit_cause::join, persister_.counters(), next ? type_at(*next) : 0);
  return next;
}

std::optional<position> worker::finish_arrive(exposure e, side s) {
  exposure_slot& slot = team_.img.checked_slot(e);
  const side other = s == side::left ? side::right : side::left;
  const std::uint64_t none = join_word(e.generation, join_state::none), first = join_word(e.generation, join_state::first, s),
                      other_first = join_word(e.generation, join_state::first, other), claimed = join_word(e.generation, join_state::claimed, s);
  if (slot.generation.load() != e.generation) return std::nullopt;  // this join is over
  auto* f = reinterpret_cast<frame*>(slot.frame_address.load());

  // No record reaches what this strand stacked above the frame. After FIRST somebody else may go on there at once, so
  // everything that belongs to the frame's stacklet is let go before. (Where the claim is ours already, the frame's
  // stacklet is too.)
  if (slot.join.load() != claimed) stack_.leave(s == side::left ? f : nullptr);

  slot.join.cam(none, first);
  persister_.persist(&slot, sizeof slot);
  access();
  std::uint64_t word = slot.join.load();
  if (word == other_first) {
    slot.join.cam(other_first, claimed);
    persister_.persist(&slot, sizeof slot);
    access();
    word = slot.join.load();
  }
  if (word != claimed) {  // we are first; or, repeating, the other side has claimed it, or a later generation is here
    counts_.joins_first.add();
    return std::nullopt;
  }

  virtual_time::reads(f, frame_bytes(f->type));
  counts_.joins_second.add();
  if (std::find(joined_slots_.begin(), joined_slots_.end(), e.slot) == joined_slots_.end()) joined_slots_.push_back(e.slot);
  f->link = link_flag::committed;  // nobody else comes here any more; flushed with the next commit
  touched_.push_back(f);
  stand_on(place(f, side::left));
  if (auto candidates = team_.parked ? std::exchange(team_.parked[e.slot], std::nullopt) : std::nullopt) {
    candidates_ = std::move(*candidates);
    exposed_ = 0;
  } else {
    find_candidates(place(f->parent));
  }
  return position::continuation(f);
}

}  // namespace ppmm::detail
