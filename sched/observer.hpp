/// Who looks on at a worker: counts and times for a profile, events for a trace. Ephemeral, one a worker; called only
/// from the slow path, and only if a run is observed.
#pragma once

#include <ppmm/sched/layout.hpp>
#include <ppmm/sched/profile.hpp>
#include <ppmm/sched/type.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <unordered_map>
#include <vector>

namespace ppmm::detail {

class observer {
 public:
  observer(unsigned worker, unsigned slot, bool costs, bool events);
  ~observer();

  // ---- time: what the worker does, from now on. Activities nest.
  void open(activity a, std::uint64_t now, std::uint64_t type = 0);
  void close(std::uint64_t now);
  void close_as(activity a, std::uint64_t now);  // what was opened as another turns out to be that
  void close_all(std::uint64_t now, bool cut = false);
  bool is_in(activity a) const { return !open_.empty() && open_.back().what == a; }

  void strand_begins(std::uint64_t now, std::uint64_t type);
  void strand_ends(std::uint64_t now);
  void idle_begins(std::uint64_t now);
  void faulted(bool hard, std::uint64_t now);
  void exposed(exposure e, std::uint64_t now);
  void robbed(unsigned slot);  // the adoption under way has won that grave

  // ---- commits
  void commit_begins(std::uint64_t now, commit_cause cause, const flush_counters& before);
  void commit_ends(std::uint64_t now, const void* site, std::uint64_t type, const flush_counters& after);
  /// What leaves records that are no commits of a strand's position: a theft, a join, an adoption, the end. `next_type`:
  /// of what this worker goes on with after a join, 0 if the other side does.
  void record_begins(activity a, const flush_counters& before, std::uint64_t exposure = 0);
  void record_ends(commit_cause cause, const flush_counters& after, std::uint64_t next_type = 0);
  void frame_flushed(const frame* f, bool is_new);

  // ---- views
  void written(const void* site, const void* p, std::size_t n, bool flushed_by_commit);
  void copied(const void* site, const void* p, std::size_t n);  // on its way to the medium already
  void flushed_at_once(const void* site, const void* p, std::size_t n);
  void views_flushed();  // what was written goes with this commit

  // ---- at the end
  void add_to(run_profile& p) const;
  trace_track track(std::uint64_t origin) const;

 private:
  struct key {
    profile_site::kind what;
    std::uintptr_t code;
    std::uint64_t type;
    friend bool operator==(const key&, const key&) = default;
  };
  struct key_hash {
    std::size_t operator()(const key& k) const;
  };
  struct site {
    durability_cost cost;  // nanoseconds: in ticks
    std::array<std::uint64_t, commit_causes> causes{};
  };
  struct open_activity {
    activity what;
    commit_cause cause;
    std::uint32_t grave;
    std::uint64_t type, begin, inside, exposure;
  };
  struct event {
    activity what;
    commit_cause cause;
    bool cut;
    std::uint32_t grave;
    std::uint64_t type, begin, end, exposure;
  };
  struct pending_view {
    const void* site;
    std::uintptr_t first, last;
  };

  void count_record(commit_cause cause, std::uint64_t ticks_taken, const flush_counters& after);
  site& at(profile_site::kind what, const void* code, std::uint64_t type);
  void count_copies();
  void count_range(durability_cost& to, std::uintptr_t first, std::size_t n, std::uintptr_t one_of = 0);
  void look_at_lines(durability_cost& to, std::uintptr_t first, std::uintptr_t last, std::uintptr_t one_of);

  const unsigned worker_, slot_;
  const bool costs_, events_wanted_;

  std::vector<open_activity> open_;
  std::array<std::uint64_t, activities> ticks_{};
  std::vector<event> events_;
  std::vector<trace_track::exposed> exposures_;  // ns: ticks
  std::vector<trace_track::fault> faults_;       // the same
  std::uint64_t left_out_ = 0, fault_count_ = 0;

  std::unordered_map<key, site, key_hash> sites_;
  struct remembered {
    key k{};
    site* s = nullptr;
  };
  std::array<remembered, 256> newest_{};  // of sites_, by hash: a commit asks for the same few again and again
  std::array<durability_cost, commit_causes> causes_{};  // nanoseconds: in ticks
  commit_cause cause_ = commit_cause::start;
  std::uint64_t commit_began_ = 0;
  flush_counters before_;
  std::vector<pending_view> views_;
  pending_view copied_{};
  std::uintptr_t last_block_ = 0;  // of the range before: neighbours share it

  // A sample of lines. What each was when it was last flushed, and when.
  struct sampled_line {
    std::uintptr_t line = 0;
    std::uint32_t capsule = 0, content = 0;
  };
  static constexpr std::size_t sampled_lines = std::size_t{1} << 12;  // 64 KiB: the caches have other things to hold
  std::unique_ptr<sampled_line[]> sample_;
  std::uint32_t capsule_ = 1;
};

}  // namespace ppmm::detail
