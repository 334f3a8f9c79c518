/// Steal: taking the right child of a frame that another strand exposed. Three persists if it is won, two if not.
///
/// ```
///  thief   record STEAL(slot, g) |P| CAM right: AVAILABLE(g) -> STOLEN(me, g) |P| read: mine? record RIGHT(frame) |P| run
///  victim                          (AVAILABLE(g) -> INLINE(g), if it gets there first)
/// ```
#include <ppmm/sched/worker.hpp>

namespace ppmm::detail {

std::optional<position> worker::steal_from(worker& victim) {
  while (const std::optional<exposure> e = victim.hints_.steal())
    if (const auto p = steal(*e)) return p;
  return std::nullopt;
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
  restart r;
  r.kind = record_kind::steal;
  r.at = exposure_word(e);
  r.type = identity_word(self_);
  persist_record(r);
  s.right.cam(available, right_word(e.generation, right_state::stolen, self_));
  access();
  if (auto p = finish_steal(e, self_)) {
    steals_.add();
    return p;
  }
  lost_steals_.add();
  return std::nullopt;
}

/// Persists the word whatever it holds, reads it back, and decides [M: in this order].
std::optional<position> worker::finish_steal(exposure e, identity thief) {
  exposure_slot& s = team_.img.checked_slot(e);
  persister_.persist(&s, sizeof s);
  access();
  if (s.right.load() != right_word(e.generation, right_state::stolen, thief)) return std::nullopt;
  auto* f = reinterpret_cast<frame*>(s.frame_address.load());  // checked by recovery, or put there by this process
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
