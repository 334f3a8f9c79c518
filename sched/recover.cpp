/// Recovery after a crash of everything: what the records reach, and what therefore is free.
///
/// Nothing durable is changed here but the heap's bits, which the records' lists give: workers adopt the strands
/// (adopt.cpp), each from its record. So recovery may crash any number of times. The time depends on workers and on the depth of the strands, not on the size of the pool.
#include <ppmm/sched/clock.hpp>
#include <ppmm/sched/team.hpp>
#include <ppmm/sched/worker.hpp>

#include <fmt/core.h>  // format

#include <algorithm>
#include <array>
#include <span>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

namespace ppmm::detail {
namespace {

[[noreturn]] void corrupt(const std::string& what) {
  throw corrupt_pool(fmt::format("the pool's restart records are damaged: {}; drop the job (`ppmm jobs --drop`) or restore the pool", what));
}

/// It says that a slot is its own, or who has robbed it, and nothing else: the CAMs compare whole words.
bool is_owner_word(std::uint64_t w, unsigned workers) {
  if (!is_robbed(w)) return w == owner_word(owner_life(w));
  const identity robber = unpack_identity(static_cast<std::uint32_t>(w >> 32));
  return robber.slot < workers && w == robbed_word(owner_life(w), robber);
}

/// A set of frames, dense where frames are.
class frame_set {
 public:
  explicit frame_set(const image& img) : image_(img) {}
  bool contains(const frame* f) const {
    const auto at = chunks_.find(image_.chunk_of(f));
    return at != chunks_.end() && (at->second[bit(f) / 64] >> bit(f) % 64 & 1) != 0;
  }
  /// False if it was there.
  bool insert(const frame* f) {
    std::uint64_t& word = chunks_[image_.chunk_of(f)][bit(f) / 64];
    const std::uint64_t before = word;
    word |= std::uint64_t{1} << bit(f) % 64;
    return word != before;
  }

 private:
  static std::size_t bit(const frame* f) { return reinterpret_cast<std::uintptr_t>(f) % chunk_bytes / frame_alignment; }
  const image& image_;
  std::unordered_map<std::uint32_t, std::array<std::uint64_t, chunk_bytes / frame_alignment / 64>> chunks_;
};

/// What the records reach. On the way everything is checked that makes the strands those that the protocol leaves: what
/// is adopted afterwards is believed. Each frame carries one strand, or one frame that stands on it; each stolen child is
/// one strand's; frames stand above their parents; and a chunk belongs to one stacklet (I3, I5, I8, I9).
class survey {
 public:
  explicit survey(team& t)
      : team_(t), seen_(t.img), carries_(t.img), taken_(t.img), being_robbed_(t.img.workers()), reached_(t.img.workers()) {}

  /// Everything that the record of a worker slot reaches. False if nothing is left to do for whoever adopts it.
  bool reach(unsigned slot, const restart& r, unsigned depth = 0) {
    if (!reached_[slot]) read_logs(slot, r);
    reached_[slot] = true;
    if (r.kind != record_kind::idle && r.kind != record_kind::rob && r.kind != record_kind::steal) begun_ = true;
    switch (r.kind) {
      case record_kind::idle:
        return false;
      case record_kind::run: {
        const node_type* type = find_type(r.type);
        if (type == nullptr || type->run == nullptr) corrupt(fmt::format("task type {:#x} is none of this program's", r.type));
        if (type->bytes != r.bytes) corrupt(fmt::format("task {} has {} bytes of arguments instead of {}", type->readable_name(), r.bytes, type->bytes));
        climb(r.to());
        return true;
      }
      case record_kind::right:
        if (!is_fork(checked(r.to())->type)) corrupt("a record is to run the right child of a frame that has none");
        if (r.to().which() != side::right) corrupt("a record is to run a right child on the left side");
        climb(r.to());
        return true;
      case record_kind::continuation: {
        frame* f = checked(r.to());
        if (is_fork(f->type) && is_offered(f)) corrupt("a record is to run the continuation of a frame whose right child is not done");
        climb_from(f);
        return true;
      }
      case record_kind::steal:
        return reach_theft(slot, r);
      case record_kind::arrive:
        return reach_join(r);
      case record_kind::rob: {
        const auto dead = static_cast<unsigned>(r.at >> 32);
        if (dead >= team_.img.workers() || depth > team_.img.workers()) corrupt("a record robs a worker slot that is not there");
        const identity robber = speaker(slot, r);
        if (team_.img.worker(dead).owner.load() != robbed_word(static_cast<std::uint32_t>(r.at), robber)) return false;
        being_robbed_[dead] = true;
        reach(dead, newest_record(team_.img.worker(dead), team_.serial), depth + 1);
        return true;  // even an idle record has units of work to take over
      }
      case record_kind::done:
        if (r.bytes != team_.root.result_bytes) corrupt("the job's result has the wrong size");
        done_ = true;
        return true;
    }
    return false;
  }

  /// After all records: no strand is missing, for which the others would wait for ever.
  void check_complete() const {
    if (done_ || !begun_) return;
    if (!root_taken_) corrupt("no strand leads to the root, and the job is not done");
    for (const frame* f : victim_needed_)
      if (!carries_.contains(f)) corrupt("a child was stolen from a strand that is not there");
    for (const frame* f : thief_needed_)
      if (!taken_.contains(f)) corrupt("a stolen child has no strand");
  }

  /// The job has a strand somewhere: its root must not be started again.
  bool begun() const { return begun_; }
  const std::unordered_set<std::uint32_t>& used_slots() const { return used_slots_; }
  bool being_robbed(unsigned slot) const { return being_robbed_[slot]; }
  /// What the records that count changed in the heap.
  struct list {
    redo_area* area;
    std::vector<std::uint64_t> words;
  };
  const std::vector<list>& lists() const { return lists_; }
  /// After the lists: what will be put back in place is in blocks. Where it is not, nobody gets that memory for a stack.
  void keep_updated() const {
    for (const auto& u : updated_)
      for (std::uint32_t c = team_.img.chunk_of(u.data()); c <= team_.img.chunk_of(u.data() + u.size() - 1); ++c)
        if (team_.img.heap().range_of(c) != nullptr && team_.objects.chunks().look_at(c).kind == chunk_kind::none) team_.chunks.mark_used(c);
  }

 private:
  /// What the record's capsule changed in the heap, and in place. Once a slot, however many records lead to it.
  void read_logs(unsigned slot, const restart& r) {
    const found_undo undo = find_undo(slot, team_.img, r.sequence);
    for (const std::uint32_t c : undo.chunks) team_.chunks.mark_used(c);
    for (const found_undo::entry& e : undo.entries) updated_.push_back({e.to, e.bytes});
    if (!r.has_list) return;
    redo_area& area = team_.img.worker(slot).redo[r.sequence & 1];
    lists_.push_back({&area, read_list(team_.objects.chunks(), area, r.sequence, in_lists_)});
  }

  frame* checked(place p) const {
    if ((p.word & (frame_alignment - 1) & ~std::uintptr_t{1}) != 0) corrupt(fmt::format("{:#x} is no place in a frame", p.word));
    frame* f = team_.img.checked_frame(reinterpret_cast<std::uintptr_t>(p.parent()));
    if ((f->link & link_flag::committed) == 0) corrupt("a strand has a frame that was never committed");
    return f;
  }

  /// The frame of an exposure that a record names, which is in use. In the join that is claimed already, its link may
  /// be cleared.
  frame* forked(exposure e, bool claimed) {
    frame* f = checked(place(team_.img.slot(e.slot).frame_address.load()));
    if (!is_fork(f->type)) corrupt("an exposed frame has no right child");
    const exposure link = link_exposure(f->link);
    if (!(claimed && link.generation == 0) && !(link == e && live(e, f))) corrupt("a record names an exposure that its frame does not");
    used_slots_.insert(e.slot);
    return f;
  }

  /// Whose theft or robbery a record is about: its writer's own, or a dead one's whose record was copied. A name that
  /// somebody could still act under would match that one's later doings.
  identity speaker(unsigned slot, const restart& r) const {
    const identity who = unpack_identity(static_cast<std::uint32_t>(r.type));
    const auto life = [&](unsigned s) { return owner_life(team_.img.worker(s).owner.load()); };
    const bool dead = who.slot < team_.img.workers() &&
                      (who.life < life(who.slot) || (who.life == life(who.slot) && is_robbed(team_.img.worker(who.slot).owner.load())));
    if (r.type > 0xffff'ffff || (!dead && who != identity{slot, life(slot)})) corrupt("a record acts in the name of another worker");
    return who;
  }

  bool reach_theft(unsigned slot, const restart& r) {
    const exposure e = r.exposed();
    const exposure_slot& s = team_.img.checked_slot(e);
    const identity thief = speaker(slot, r);
    if (e.generation > s.generation.load()) corrupt("a record steals what was never exposed");
    if (s.right.load() != right_word(e.generation, right_state::stolen, thief)) return false;
    begun_ = true;
    climb(place(forked(e, false), side::right));
    return true;
  }

  bool reach_join(const restart& r) {
    const exposure e = r.exposed();
    const exposure_slot& s = team_.img.checked_slot(e);
    if (r.type > 1) corrupt("a record arrives at neither side of a join");
    const auto mine = static_cast<side>(r.type), other = mine == side::left ? side::right : side::left;
    if (e.generation > s.generation.load()) corrupt("a record arrives at a join that never was");
    if (s.generation.load() != e.generation) return false;
    const std::uint64_t word = s.join.load();
    if (word == join_word(e.generation, join_state::claimed, other)) return false;
    const bool claimed = word == join_word(e.generation, join_state::claimed, mine);
    frame* f = forked(e, claimed);
    if (word == join_word(e.generation, join_state::first, mine)) {
      (mine == side::left ? thief_needed_ : victim_needed_).push_back(f);
      return false;
    }
    if (static_cast<right_state>(s.right.load() & 3) != right_state::stolen) corrupt("a record arrives at the join of a child that was not stolen");
    if (claimed) {
      take(f);
      climb_from(f);
    } else if (mine == side::right) {
      climb(place(f, side::right));
    } else {
      is_theft(f, side::left);
      climb_from(f);
    }
    return true;
  }

  bool live(exposure e, const frame* f) const {
    const exposure_slot& s = team_.img.checked_slot(e);
    return s.generation.load() == e.generation && s.right.load() >> 32 == e.generation && s.frame_address.load() == reinterpret_cast<std::uintptr_t>(f);
  }
  /// The frame's right child is available to thieves, or stolen.
  bool is_offered(const frame* f) const {
    const exposure e = link_exposure(f->link);
    return e.generation != 0 && live(e, f) && static_cast<right_state>(team_.img.slot(e.slot).right.load() & 3) != right_state::inlined;
  }

  /// A strand is on this side of a fork frame: was it started there by a theft? The exposure's words must allow that it
  /// is there.
  bool is_theft(frame* f, side s) {
    if (!is_offered(f)) return false;
    const exposure e = link_exposure(f->link);
    const exposure_slot& slot = team_.img.slot(e.slot);
    used_slots_.insert(e.slot);
    const std::uint64_t join = slot.join.load();
    const bool none_arrived = join == join_word(e.generation, join_state::none);
    if (static_cast<right_state>(slot.right.load() & 3) != right_state::stolen) {
      if (s == side::right || !none_arrived || slot.right.load() != right_word(e.generation, right_state::available))
        corrupt("the words of an exposure contradict each other");
      return false;
    }
    if (none_arrived) {
      (s == side::left ? thief_needed_ : victim_needed_).push_back(f);
    } else if (s == side::left && join == join_word(e.generation, join_state::first, side::right)) {
      take(f);  // by who has arrived
    } else if (s == side::right && join == join_word(e.generation, join_state::first, side::left)) {
      carry(f);  // the strand goes on here
    } else {
      corrupt("a strand is on a side of a join that has arrived");
    }
    return s == side::right;
  }

  void carry(const frame* f) {
    if (!carries_.insert(f)) corrupt("two strands stand on one frame");
  }
  void take(const frame* f) {
    if (!taken_.insert(f)) corrupt("two strands run one stolen child");
  }

  /// The strand stands on the frame itself: its children are done.
  void climb_from(frame* f) {
    carry(f);
    climb(place(f->parent), f);
  }

  /// All frames from a place up to the root, or to a frame that another strand has led to already. `child` stands at
  /// the place, if it is a frame. Ends: a frame is carried once, and taken once.
  void climb(place p, const frame* child = nullptr) {
    std::vector<std::uint32_t> stack;  // the chunks of the stacklet from the newest on
    if (child != nullptr) {
      if (!seen_.insert(child)) return adjoin(stack, child);  // a thief's strand has led here
      stack.push_back(team_.img.chunk_of(child));
    }
    for (; p.word != 0; p = place(p.parent()->parent)) {
      frame* f = checked(p);
      if (p.which() == side::right && !is_fork(f->type)) corrupt("a strand stands on the right side of a frame that has none");
      const std::uint32_t chunk = team_.img.chunk_of(f);
      if (is_fork(f->type) && is_theft(f, p.which())) {
        take(f);
        found(stack);
        stack.assign(1, chunk);
        if (!seen_.insert(f)) return;
      } else {
        carry(f);
        if (child != nullptr && stack.back() == chunk && end_of(f) > reinterpret_cast<const std::byte*>(child))
          corrupt("a frame does not stand above its parent");
        if (!seen_.insert(f)) return adjoin(stack, f);
        if (stack.empty() || stack.back() != chunk) stack.push_back(chunk);
      }
      child = f;
    }
    if (std::exchange(root_taken_, true)) corrupt("two strands stand on the root");
    found(stack);
  }

  /// The chunks of a stacklet, newest first, down to its base: no other has them.
  void found(const std::vector<std::uint32_t>& stack) {
    for (std::size_t i = 0; i < stack.size(); ++i) {
      if (!chunks_.insert(stack[i]).second) corrupt("a chunk is in two stacklets, or in one twice");
      if (!is_kind(team_.objects.chunks().entry(stack[i]).word.load(), chunk_kind::none)) corrupt("frames of a strand stand where the heap is");
      team_.chunks.mark_used(stack[i]);
      team_.chunks.below(stack[i]) = i + 1 < stack.size() ? stack[i + 1] : no_chunk;
    }
  }
  /// The same, down to a frame whose stacklet was found from there on.
  void adjoin(std::vector<std::uint32_t>& stack, const frame* f) {
    const std::uint32_t chunk = team_.img.chunk_of(f);
    if (!chunks_.contains(chunk)) corrupt("the frames of a strand go round in a circle");
    if (!stack.empty() && stack.back() == chunk) stack.pop_back();
    found(stack);
    if (!stack.empty()) team_.chunks.below(stack.back()) = chunk;
  }

  team& team_;
  frame_set seen_, carries_, taken_;
  std::vector<const frame*> victim_needed_, thief_needed_;
  std::unordered_set<std::uint32_t> chunks_;
  std::unordered_set<std::uint32_t> used_slots_;
  std::vector<bool> being_robbed_, reached_;
  std::unordered_set<std::uint32_t> in_lists_;
  std::vector<list> lists_;
  std::vector<std::span<const std::byte>> updated_;
  bool begun_ = false, done_ = false, root_taken_ = false;
};

/// Which slots the workers of this run live in: those with a strand first, so that nothing need be robbed; then any
/// that may be entered, in the part that the worker is near if there are. By worker; there may be fewer. A robbed slot that
/// a reachable record still says ROB of may not be entered [M]: a new life in it would take the dead record away from the
/// robber.
std::vector<unsigned> choose_slots(const team& t, const std::vector<unsigned>& near, const std::vector<bool>& with_strand, const survey& found) {
  std::vector<unsigned> room(t.img.parts());  // workers near a part that have no slot yet
  for (const unsigned part : near) ++room[part];
  std::vector<unsigned> chosen;
  std::vector<bool> taken(t.img.workers());
  const auto choose = [&](bool strands, bool only_near) {
    for (unsigned i = 0; i < t.img.workers() && chosen.size() < near.size(); ++i) {
      unsigned& here = room[t.img.part_of(i)];
      const std::uint64_t owner = t.img.worker(i).owner.load();
      if (taken[i] || with_strand[i] != strands || found.being_robbed(i) || (is_robbed(owner) && owner_life(owner) >= max_life) || (only_near && here == 0)) continue;
      taken[i] = true;
      here -= here > 0 ? 1 : 0;
      chosen.push_back(i);
    }
  };
  choose(true, true);
  choose(true, false);
  choose(false, true);
  choose(false, false);
  std::sort(chosen.begin(), chosen.end());

  std::vector<unsigned> slots;
  for (const unsigned part : near) {
    if (chosen.empty()) break;
    auto next = std::ranges::find_if(chosen, [&](unsigned i) { return t.img.part_of(i) == part; });
    if (next == chosen.end()) next = chosen.begin();
    slots.push_back(*next);
    chosen.erase(next);
  }
  return slots;
}

/// A worker slot's own, and what its record reaches by robbing.
std::uint64_t committed_by(const image& img, unsigned slot, std::uint64_t job) {
  std::uint64_t units = 0;
  for (unsigned depth = 0; depth <= img.workers(); ++depth) {
    const restart r = newest_record(img.worker(slot), job);
    units += r.progress;
    const auto dead = static_cast<unsigned>(r.at >> 32);
    if (r.kind != record_kind::rob || dead >= img.workers() ||
        img.worker(dead).owner.load() != robbed_word(static_cast<std::uint32_t>(r.at), unpack_identity(static_cast<std::uint32_t>(r.type))))
      break;
    slot = dead;
  }
  return units;
}

}  // namespace

std::uint64_t committed_units(const image& img, std::uint64_t job) {
  std::uint64_t units = 0;
  for (unsigned i = 0; i < img.workers(); ++i)
    if (!is_robbed(img.worker(i).owner.load())) units += committed_by(img, i, job);
  return units;
}

resume_info recover(team& t, const std::vector<unsigned>& near) {
  // What is read below may have been only visible, not durable, when everything crashed: the newest records must be
  // durable before any other buffer is overwritten [M]. From here on the older buffers can never count again.
  persister p(t.storage);
  for (unsigned i = 0; i < t.img.workers(); ++i) {
    p.flush(&t.img.worker(i).owner, sizeof t.img.worker(i).owner);
    p.flush(t.img.worker(i).records, sizeof t.img.worker(i).records);
  }
  p.fence();

  for (unsigned i = 0; i < t.img.workers(); ++i)  // before any is compared with what a record says of it
    if (!is_owner_word(t.img.worker(i).owner.load(), t.img.workers())) corrupt("the owner word of a worker slot is none");

  resume_info info;
  survey found(t);
  std::vector<bool> with_strand(t.img.workers());
  for (unsigned i = 0; i < t.img.workers(); ++i) {
    worker_slot& slot = t.img.worker(i);
    const restart r = newest_record(slot, t.serial);
    std::uint64_t committed = 0;
    if (!is_robbed(slot.owner.load())) {
      committed = committed_by(t.img, i, t.serial);
      info.units_done += committed;
      with_strand[i] = found.reach(i, r);
      if (with_strand[i]) {
        ++info.strands;
        const std::uint64_t seen = slot.live_progress.load(), when = slot.live_when.load();
        if (seen > committed) info.units_lost += seen - committed;
        if (when > r.when) {
          const double ms = static_cast<double>(when - r.when) / ticks_per_ns() / 1e6;
          info.lost_ms += ms;
          info.worst_lost_ms = std::max(info.worst_lost_ms, ms);
        }
      }
    }
    slot.live_progress.store(committed);
    slot.live_when.store(ticks());
    for (auto* const word : {&slot.live_commits, &slot.live_commit_ticks, &slot.live_lines, &slot.live_steals, &slot.live_faults, &slot.live_type}) word->store(0);
  }
  found.check_complete();
  if (!found.begun()) t.books->root_starter = run_books::anyone;

  // The lists of all records that count, before anybody looks at the heap (H8). Their order does not matter. Once their
  // bits are durable they are emptied: they would be wrong a second time, for blocks change hands from here on.
  if (!found.lists().empty()) {
    for (const auto& list : found.lists()) t.objects.replay(list.words, p);
    p.fence();
    for (const auto& list : found.lists()) heap::retire_list(*list.area, p);
    p.fence();
  }

  found.keep_updated();

  for (const unsigned slot : choose_slots(t, near, with_strand, found)) {
    t.seats[t.crowd++].slot = slot;
    with_strand[slot] = false;
  }
  t.books->crowd.store(t.crowd);
  t.near = near;
  for (unsigned i = 0; i < t.img.workers(); ++i) t.shelves[i].fill();
  for (const std::uint32_t s : found.used_slots()) t.shelves[image::home_of(s)].remove(s);
  for (unsigned i = 0; i < t.img.workers(); ++i)
    if (with_strand[i]) t.books->bury(i);
  return info;
}

}  // namespace ppmm::detail
