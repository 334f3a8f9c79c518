/// Adopt: going on from a record. From one's own after a soft fault or a crash of everything, from a dead worker's by
/// robbing its grave. Both lead through `resume`.
///
/// ```
///  robber  record ROB(dead slot, life) |P| CAM owner: (life) -> (life, robbed by me) |P| read: mine? record := copy of the dead one's |P| resume
/// ```
#include <ppmm/sched/worker.hpp>

#include <fmt/core.h>  // format

#include <algorithm>
#include <utility>

namespace ppmm::detail {
namespace {

[[noreturn]] void scribbled(const char* what) {
  throw corrupt_pool(fmt::format("the strand of a worker that died cannot be adopted: {}. The worker, or another, has overwritten it; drop the job", what));
}

/// Its own frames, up to where it was stolen: each is one. They are read by whoever goes on with it.
void check_frames(const image& img, place p) {
  for (std::uint64_t steps = 0; p.word != 0; p = place(p.parent()->parent)) {
    const frame* f = img.checked_frame(reinterpret_cast<std::uintptr_t>(p.parent()));
    if ((f->link & link_flag::committed) == 0) scribbled("a frame of it was never committed");
    if (++steps > std::uint64_t{img.chunk_numbers()} * (chunk_bytes / frame_alignment)) scribbled("its frames go round in a circle");
    if (p.which() == side::right && !is_fork(f->type)) scribbled("it stands on the right side of a frame that has none");
    if (p.which() == side::right && img.is_stolen(f)) return;
  }
}

/// A dead worker may have been out of its mind: what its record names is looked at as recovery does it, as far as it is the
/// strand's own. Throws corrupt_pool.
void check_adopted(const image& img, const restart& r) {
  switch (r.kind) {
    case record_kind::run:
    case record_kind::right:
      return check_frames(img, r.to());
    case record_kind::continuation:
      return check_frames(img, place(img.checked_frame(reinterpret_cast<std::uintptr_t>(r.to().parent()))->parent));
    case record_kind::steal:
    case record_kind::arrive: {
      const exposure e = r.exposed();
      const exposure_slot& s = img.checked_slot(e);
      if (s.generation.load() != e.generation) return;  // that is over
      // The frame is there for sure as long as the strand has the child, or the join. Else others may have popped it.
      if (r.kind == record_kind::steal) {
        if (s.right.load() != right_word(e.generation, right_state::stolen, unpack_identity(static_cast<std::uint32_t>(r.type)))) return;
      } else {
        const auto mine = static_cast<side>(r.type), other = mine == side::left ? side::right : side::left;
        const std::uint64_t join = s.join.load();  // says of what generation it is: the slot may be in use again since the look above
        if (join != join_word(e.generation, join_state::none) && join != join_word(e.generation, join_state::first, other) &&
            join != join_word(e.generation, join_state::claimed, mine))
          return;
      }
      if (!is_fork(img.checked_frame(s.frame_address.load())->type)) scribbled("an exposed frame has no right child");
      return;
    }
    case record_kind::rob:
      if (r.at >> 32 >= img.workers()) scribbled("its record robs a worker slot that is not there");
      return;
    case record_kind::done:
    case record_kind::idle:
      return;
  }
}

}  // namespace

/// What the record says, from the first step that may not be done. The record is durable. Recovery checked what it names.
std::optional<position> worker::resume(const restart& r) {
  switch (r.kind) {
    case record_kind::run: {
      const node_type* type = find_type(r.type);
      if (type == nullptr || type->run == nullptr || type->bytes != r.bytes) throw corrupt_pool("a record names a task that this program does not have");
      stand_on(r.to());
      find_candidates(r.to());
      resumed_ = r;  // the position points to its arguments
      return position::run({type, resumed_.arguments}, r.to());
    }
    case record_kind::right:
      stand_on(r.to());
      find_candidates(r.to());
      return position::right(r.to().parent());
    case record_kind::continuation:
      stand_on(place(r.to().parent(), side::left));
      find_candidates(place(r.to().parent()->parent));
      return position::continuation(r.to().parent());
    case record_kind::steal:
      return finish_steal(r.exposed(), unpack_identity(static_cast<std::uint32_t>(r.type)));
    case record_kind::arrive:
      return finish_arrive(r.exposed(), static_cast<side>(r.type));
    case record_kind::rob:
      return finish_rob(static_cast<unsigned>(r.at >> 32), static_cast<std::uint32_t>(r.at), unpack_identity(static_cast<std::uint32_t>(r.type)));
    case record_kind::done:  // a fault came before the others were told
      tell_finished();
      break;
    case record_kind::idle:
      break;
  }
  return std::nullopt;
}

std::optional<position> worker::rob_a_grave() {
  for (unsigned i = 1; i <= team_.img.workers(); ++i) {
    const unsigned slot = (slot_ + i) % team_.img.workers();  // different robbers start at different graves
    if (slot == slot_ || !team_.books->is_grave(slot)) continue;
    worker_slot& dead = team_.img.worker(slot);
    const std::uint64_t owner = dead.owner.load();
    if (is_robbed(owner)) {  // only now the grave is empty: whatever faults come, somebody finds it
      team_.books->empty_grave(slot);
      continue;
    }
    const std::uint32_t life = owner_life(owner);
    if (seen_ != nullptr) seen_->record_begins(activity::adoption, persister_.counters());
    restart r;
    r.kind = record_kind::rob;
    r.at = std::uint64_t{slot} << 32 | life;
    r.type = identity_word(self_);
    persist_record(r);
    access();
    dead.owner.cam(owner_word(life), robbed_word(life, self_));
    auto p = finish_rob(slot, life, self_);
    if (seen_ != nullptr) seen_->record_ends(commit_cause::adoption, persister_.counters());
    if (p || team_.books->finished) return p;  // a DONE that was adopted is the only one: no record after it [M]
  }
  return std::nullopt;
}

// Invariants after crash:
//  - ROB durable, CAM not: the dead slot is its own; another may rob it. Resuming only reads the word: the CAM is not repeated [M].
//  - the CAM durable, the copy not: the dead record is reached through this ROB record, and only through it [M].
//  - the copy durable: the strand is ours. A STEAL or ROB in it keeps the identity of its writer, so the words that
//    name the dead are still understood [M]. The dead slot is entered again only when no buffer says ROB of it (enter_slot).
// Recovery: this function, from the ROB record.
std::optional<position> worker::finish_rob(unsigned slot, std::uint32_t life, identity robber) {
  worker_slot& dead = team_.img.worker(slot);
  persister_.persist(&dead.owner, sizeof dead.owner);
  access();
  if (dead.owner.load() != robbed_word(life, robber)) return std::nullopt;
  counts_.robberies.add();
  if (seen_ != nullptr) seen_->robbed(slot);
  restart r = newest_record(dead, team_.serial);
  if (r.sequence < team_.desks[slot].sequence.load(std::memory_order_acquire)) scribbled("its newest restart record is gone");
  check_adopted(team_.img, r);
  if (r.has_list) {  // the copy does not carry it: applied, and durable, before (H2); but the record may be only visible (H7)
    persister_.persist(&dead.records[r.sequence & 1], record_bytes(r.bytes));
    team_.objects.replay(dead.redo[r.sequence & 1], r.sequence, persister_);
    persister_.fence();
  }
  roll_back(slot, team_.img, r.sequence, persister_);  // while the record says ROB [M]
  progress_ += r.progress;
  persist_record(r);
  dead.live_progress.store(0);
  durable_.live_progress.store(progress_);
  soft_slot_ = slot;
  stack_.take_over(team_.desks[slot].stack);  // of one that died in this run; an earlier one's is found from its frames
  return resume(r);
}

/// Enters the slot in this run: its own record goes on, or, after it was robbed, a new life begins.
///
/// Invariants after crash: a new life begins only when no record that can be reached says ROB of the slot (recovery
/// chose it so): else the robber's resumption would copy a record of the new life [M]. IDLE is durable before the owner
/// word: the dead record is never again reached.
/// Recovery: a crash between the two leaves a robbed slot with an idle record, which is entered in the same way.
void worker::enter_slot() {
  const std::uint64_t owner = durable_.owner.load();
  self_ = {slot_, owner_life(owner)};
  soft_slot_ = slot_;
  if (!is_robbed(owner)) return;
  sequence_ = newest_record(durable_, team_.serial).sequence;
  progress_ = 0;
  ++self_.life;
  restart idle;
  persist_record(idle);
  durable_.owner.store(owner_word(self_.life));
  persister_.persist(&durable_.owner, sizeof durable_.owner);
}

/// A strand that a theft has started stands on a stacklet of its own, whose lowest frame's parent is in the victim's.
void worker::stand_on(place newest) {
  const frame* f = newest.parent();
  if (f != nullptr && !is_stolen_edge(newest))
    stack_.stand_on(f);
  else
    stack_.stand_on_base();
}

/// Only frames on whose left side the strand stands, and none beyond the theft that started it [M]. Those still
/// exposed get a new hint: the old one may have gone with its deque.
void worker::find_candidates(place newest) {
  candidates_.clear();
  exposed_ = 0;
  for (place p = newest; p.word != 0 && !is_stolen_edge(p); p = place(p.parent()->parent))
    if (p.which() == side::left && is_fork(p.parent()->type)) candidates_.push_back(p.parent());
  std::reverse(candidates_.begin(), candidates_.end());
  for (const frame* f : candidates_)
    if (const exposure e = link_exposure(f->link); e.generation != 0 && is_live(e, f)) {
      hints_.push(e);
      virtual_time::pushes(index_);
    }
}

bool worker::is_live(exposure e, const frame* f) const { return team_.img.is_live(e, f); }
bool worker::is_stolen_edge(place p) const { return p.word != 0 && p.which() == side::right && team_.img.is_stolen(p.parent()); }

const node_type& worker::type_of(const frame* f) const {
  const node_type* type = find_type(f->type >> 16);
  if (type == nullptr || type->word() != f->type) throw corrupt_pool("a frame is of no type of this program: it was overwritten");
  return *type;
}

}  // namespace ppmm::detail
