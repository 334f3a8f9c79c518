/// Recovery after a crash of everything: what the records reach, and what therefore is free.
///
/// Nothing durable is changed here: workers adopt the strands (adopt.cpp), each from its record. So recovery may crash
/// any number of times. The time depends on workers and on the depth of the strands, not on the size of the pool.
#include <ppmm/sched/clock.hpp>
#include <ppmm/sched/team.hpp>
#include <ppmm/sched/worker.hpp>

#include <fmt/core.h>  // format

#include <algorithm>
#include <array>
#include <unordered_map>
#include <unordered_set>

namespace ppmm::detail {
namespace {

[[noreturn]] void corrupt(const std::string& what) {
  throw corrupt_pool(fmt::format("the pool's restart records are damaged: {}; drop the job (`ppmm jobs --drop`) or restore the pool", what));
}

/// A set of frames, dense where frames are.
class frame_set {
 public:
  explicit frame_set(const image& img) : image_(img) {}
  bool contains(const frame* f) const {
    const auto at = chunks_.find(image_.chunk_of(f));
    return at != chunks_.end() && (at->second[bit(f) / 64] >> bit(f) % 64 & 1) != 0;
  }
  void insert(const frame* f) { chunks_[image_.chunk_of(f)][bit(f) / 64] |= std::uint64_t{1} << bit(f) % 64; }

 private:
  static std::size_t bit(const frame* f) { return reinterpret_cast<std::uintptr_t>(f) % chunk_bytes / frame_alignment; }
  const image& image_;
  std::unordered_map<std::uint32_t, std::array<std::uint64_t, chunk_bytes / frame_alignment / 64>> chunks_;
};

class survey {
 public:
  explicit survey(team& t) : team_(t), seen_(t.img), slot_used_(t.img.slots()), being_robbed_(t.img.workers()) {}

  /// Everything that a record reaches. False if nothing is left to do for whoever adopts it.
  bool reach(const restart& r, unsigned depth = 0) {
    if (r.kind != record_kind::idle && r.kind != record_kind::rob && r.kind != record_kind::steal) begun_ = true;
    switch (r.kind) {
      case record_kind::idle:
        return false;
      case record_kind::run: {
        const node_type* type = find_type(r.type);
        if (type == nullptr || type->run == nullptr) corrupt(fmt::format("task type {:#x} is none of this program's", r.type));
        if (type->bytes != r.bytes) corrupt(fmt::format("task {} has {} bytes of arguments instead of {}", type->readable_name(), r.bytes, type->bytes));
        reach(r.to());
        return true;
      }
      case record_kind::right:
      case record_kind::continuation: {
        frame* f = checked(r.to());
        if (r.kind == record_kind::right && !is_fork(f->type)) corrupt("a record is to run the right child of a frame that has none");
        if (r.kind == record_kind::right)
          reach(r.to());
        else
          reach_continuation(f);
        return true;
      }
      case record_kind::steal: {
        const exposure_slot& s = team_.img.checked_slot(r.exposed());
        const auto thief = unpack_identity(static_cast<std::uint32_t>(r.type));
        if (s.right.load() != right_word(r.exposed().generation, right_state::stolen, thief)) return false;
        begun_ = true;
        slot_used_[r.exposed().slot] = true;
        reach(place(forked(s), side::right));
        return true;
      }
      case record_kind::arrive:
        return reach_join(r);
      case record_kind::rob: {
        const auto dead = static_cast<unsigned>(r.at >> 32);
        if (dead >= team_.img.workers() || depth > team_.img.workers()) corrupt("a record robs a worker slot that is not there");
        const auto robber = unpack_identity(static_cast<std::uint32_t>(r.type));
        if (team_.img.worker(dead).owner.load() != robbed_word(static_cast<std::uint32_t>(r.at), robber)) return false;
        being_robbed_[dead] = true;
        reach(newest_record(team_.img.worker(dead), team_.serial), depth + 1);
        return true;  // even an idle record has units of work to take over
      }
      case record_kind::done:
        if (r.bytes != team_.root.result_bytes) corrupt("the job's result has the wrong size");
        return true;
    }
    return false;
  }

  /// The job has a strand somewhere: its root must not be started again.
  bool begun() const { return begun_; }
  bool slot_used(std::uint32_t s) const { return slot_used_[s]; }
  bool being_robbed(unsigned slot) const { return being_robbed_[slot]; }

 private:
  frame* checked(place p) const {
    if ((p.word & (frame_alignment - 1) & ~std::uintptr_t{1}) != 0) corrupt(fmt::format("{:#x} is no place in a frame", p.word));
    return team_.img.checked_frame(reinterpret_cast<std::uintptr_t>(p.parent()));
  }
  frame* forked(const exposure_slot& s) const {
    frame* f = team_.img.checked_frame(s.frame_address.load());
    if (!is_fork(f->type)) corrupt("an exposed frame has no right child");
    return f;
  }

  bool reach_join(const restart& r) {
    const exposure e = r.exposed();
    const exposure_slot& s = team_.img.checked_slot(e);
    if (r.type > 1) corrupt("a record arrives at neither side of a join");
    const auto mine = static_cast<side>(r.type), other = mine == side::left ? side::right : side::left;
    if (s.generation.load() != e.generation) return false;
    const std::uint64_t word = s.join.load();
    if (word == join_word(e.generation, join_state::claimed, other)) return false;
    slot_used_[e.slot] = true;
    reach_continuation(forked(s));
    return word != join_word(e.generation, join_state::first, mine);
  }

  void reach_continuation(frame* f) {
    take_chunk(f);
    reach(place(f->parent), f);
  }

  void take_chunk(const frame* f) {
    const std::uint32_t chunk = team_.img.chunk_of(f);
    if (!chunks_.insert(chunk).second) return;
    team_.chunks.mark_used(chunk);
    team_.chunks.below(chunk) = no_chunk;
  }

  bool live(exposure e, const frame* f) const {
    const exposure_slot& s = team_.img.checked_slot(e);
    return s.generation.load() == e.generation && s.right.load() >> 32 == e.generation && s.frame_address.load() == reinterpret_cast<std::uintptr_t>(f);
  }

  /// All frames from a place up to the root, or to a frame that another strand has led to already. `child` is the
  /// frame below, if it belongs to the same chain.
  void reach(place newest, const frame* child = nullptr) {
    std::vector<frame*> chain;
    std::unordered_set<std::uint32_t> left_chunks;  // a stacklet never comes back to a chunk further down
    const frame* tortoise = nullptr;                // Brent's cycle finding: a forged chain may go round for ever
    std::size_t next_rest = 1;
    for (place p = newest; p.word != 0;) {
      frame* f = checked(p);
      if (f == tortoise) corrupt("the frames of a strand go round in a circle");
      if (p.which() == side::right && !is_fork(f->type)) corrupt("a strand stands on the right side of a frame that has none");
      bool stolen = false;
      if (const exposure e = link_exposure(f->link); e.generation != 0 && live(e, f)) {
        const auto state = static_cast<right_state>(team_.img.slot(e.slot).right.load() & 3);
        if (state != right_state::inlined) slot_used_[e.slot] = true;  // taken back: free
        stolen = state == right_state::stolen && p.which() == side::right;
      }
      const std::uint32_t chunk = team_.img.chunk_of(f);
      const bool other_chunk = child != nullptr && team_.img.chunk_of(child) != chunk;
      if (other_chunk && !stolen) {
        if (left_chunks.contains(chunk)) corrupt("the frames of a strand are stacked crosswise");
        team_.chunks.below(team_.img.chunk_of(child)) = chunk;
        left_chunks.insert(team_.img.chunk_of(child));
      }
      if (seen_.contains(f)) break;
      take_chunk(f);
      chain.push_back(f);
      if (chain.size() == next_rest) {
        tortoise = f;
        next_rest *= 2;
      }
      child = f;
      p = place(f->parent);
    }
    for (const frame* f : chain) seen_.insert(f);
  }

  team& team_;
  frame_set seen_;
  std::unordered_set<std::uint32_t> chunks_;
  std::vector<bool> slot_used_, being_robbed_;
  bool begun_ = false;
};

/// Which slots the workers of this run live in: those with a strand first, so that nothing need be robbed; then any
/// that may be entered. A robbed slot that a reachable record still says ROB of may not [M]: a new life in it would
/// take the dead record away from the robber.
std::vector<unsigned> choose_slots(const team& t, unsigned wanted, const std::vector<bool>& with_strand, const survey& found) {
  std::vector<unsigned> slots;
  for (const bool first_choice : {true, false})
    for (unsigned i = 0; i < t.img.workers() && slots.size() < wanted; ++i)
      if (with_strand[i] == first_choice && !found.being_robbed(i) && (!is_robbed(t.img.worker(i).owner.load()) || owner_life(t.img.worker(i).owner.load()) < max_life))
        slots.push_back(i);
  std::sort(slots.begin(), slots.end());
  return slots;
}

}  // namespace

resume_info recover(team& t, unsigned wanted) {
  // What is read below may have been only visible, not durable, when everything crashed: the newest records must be
  // durable before any other buffer is overwritten [M]. From here on the older buffers can never count again.
  persister p(t.storage);
  for (unsigned i = 0; i < t.img.workers(); ++i) p.flush(&t.img.worker(i), sizeof(worker_slot));
  p.fence();

  resume_info info;
  survey found(t);
  std::vector<bool> with_strand(t.img.workers());
  for (unsigned i = 0; i < t.img.workers(); ++i) {
    worker_slot& slot = t.img.worker(i);
    const restart r = newest_record(slot, t.serial);
    std::uint64_t committed = 0;
    if (!is_robbed(slot.owner.load())) {
      committed = r.progress;
      info.units_done += r.progress;
      with_strand[i] = found.reach(r);
      if (with_strand[i]) {
        ++info.strands;
        const std::uint64_t seen = slot.live_progress.load(), when = slot.live_when.load();
        if (seen > r.progress) info.units_lost += seen - r.progress;
        if (when > r.when) {
          const double ms = static_cast<double>(when - r.when) / ticks_per_ns() / 1e6;
          info.lost_ms += ms;
          info.worst_lost_ms = std::max(info.worst_lost_ms, ms);
        }
      }
    }
    slot.live_progress.store(committed);
    slot.live_when.store(ticks());
  }
  if (!found.begun()) t.root_starter = team::anyone;

  for (const unsigned slot : choose_slots(t, wanted, with_strand, found)) {
    t.workers.push_back(std::make_unique<worker>(t, static_cast<unsigned>(t.workers.size()), slot));
    with_strand[slot] = false;
    for (std::uint32_t s = (slot + 1) * exposure_slots_per_worker; s-- > slot * exposure_slots_per_worker;)
      if (!found.slot_used(s) && t.img.slot(s).generation.load() < max_generation) t.shelves[slot].give_back(s);
  }
  for (unsigned i = 0; i < t.img.workers(); ++i)
    if (with_strand[i]) t.bury(i);
  return info;
}

}  // namespace ppmm::detail
