#include <ppmm/sched/observer.hpp>

#include <ppmm/check/watch.hpp>
#include <ppmm/sched/clock.hpp>

#include <algorithm>
#include <cstring>
#include <map>
#include <mutex>
#include <utility>

namespace ppmm::detail {
namespace {

constexpr std::size_t most_events = std::size_t{1} << 20;  // of a worker: some 60 MB

std::uint64_t mixed(std::uint64_t x) {  // the finalizer of MurmurHash3
  x = (x ^ x >> 33) * 0xff51afd7ed558ccd;
  x = (x ^ x >> 33) * 0xc4ceb9fe1a85ec53;
  return x ^ x >> 33;
}

/// Others may be storing results into a frame's line: what is read then is some line that differs, as it should.
__attribute__((no_sanitize("thread"))) std::uint32_t content_of(std::uintptr_t line) {
  const watch::runtimes_own not_the_users;
  std::uint64_t h = 0;
  for (std::size_t i = 0; i < line_size; i += 8) {
    std::uint64_t word;
    std::memcpy(&word, reinterpret_cast<const void*>(line + i), 8);
    h = (h ^ word) * 0x9e3779b97f4a7c15;
    h ^= h >> 32;
  }
  return static_cast<std::uint32_t>(h);
}

/// A name for an id, for as long as the program runs.
std::string_view name_of_type(std::uint64_t id) {
  static std::mutex mutex;
  static std::map<std::uint64_t, std::string> names;
  if (id == 0) return {};
  const std::lock_guard lock(mutex);
  const auto [at, is_new] = names.try_emplace(id);
  if (is_new)
    if (const node_type* type = find_type(id)) at->second = type->readable_name();
  return at->second;
}

std::uint64_t ns(std::uint64_t ticks_taken) {
  return static_cast<std::uint64_t>(static_cast<double>(ticks_taken) / ticks_per_ns());
}

}  // namespace

observer::observer(unsigned worker, unsigned slot, bool costs, bool events)
    : worker_(worker),
      slot_(slot),
      costs_(costs),
      events_wanted_(events),
      sample_(costs ? std::make_unique<sampled_line[]>(sampled_lines) : nullptr) {
  open_.reserve(16);
  views_.reserve(64);
}
observer::~observer() = default;

// ---- time ----------------------------------------------------------------------------------------------------------

void observer::open(activity a, std::uint64_t now, std::uint64_t type) {
  open_.push_back({a, cause_, 0, type, now, 0, 0});
}

void observer::close(std::uint64_t now) {
  if (open_.empty()) return;
  const open_activity o = open_.back();
  open_.pop_back();
  const std::uint64_t took = now - o.begin;
  ticks_[static_cast<std::size_t>(o.what)] += took - std::min(took, o.inside);
  if (!open_.empty()) open_.back().inside += took;
  if (!events_wanted_) return;
  if (events_.size() >= most_events)
    ++left_out_;
  else
    events_.push_back({o.what, o.cause, false, o.grave, o.type, o.begin, now, o.exposure});
}

void observer::close_as(activity a, std::uint64_t now) {
  if (!open_.empty()) open_.back().what = a;
  close(now);
}

void observer::close_all(std::uint64_t now, bool cut) {
  while (!open_.empty()) {
    const std::size_t before = events_.size();
    close(now);
    if (events_.size() > before) events_.back().cut = cut;
  }
}

void observer::strand_begins(std::uint64_t now, std::uint64_t type) {
  close_all(now);
  open(activity::strand, now, type);
  open(activity::capsule, now, type);
}
void observer::strand_ends(std::uint64_t now) { close_all(now); }

void observer::idle_begins(std::uint64_t now) {
  if (is_in(activity::idle)) return;
  close_all(now);
  open(activity::idle, now);
}

void observer::faulted(bool hard, std::uint64_t now) {
  close_all(now, true);
  count_copies();
  views_.clear();
  ++fault_count_;
  if (events_wanted_ && faults_.size() < most_events) faults_.push_back({hard, now});
  if (!hard) open(activity::restart, now);
}

void observer::exposed(exposure e, std::uint64_t now) {
  if (events_wanted_ && exposures_.size() < most_events) exposures_.push_back({exposure_word(e), now});
}

void observer::robbed(unsigned slot) {
  if (is_in(activity::adoption) && open_.back().grave == 0) open_.back().grave = slot + 1;
}

// ---- commits -------------------------------------------------------------------------------------------------------

void observer::commit_begins(std::uint64_t now, commit_cause cause, const flush_counters& before) {
  if (is_in(activity::capsule)) close(now);
  cause_ = cause;
  commit_began_ = now;
  before_ = before;
  open(activity::commit, now);
}

void observer::commit_ends(std::uint64_t now, const void* code, std::uint64_t type, const flush_counters& after) {
  open_.back().type = type;
  close(now);
  if (is_in(activity::strand)) open(activity::capsule, now, type);
  count_record(cause_, now - commit_began_, after);
  if (!costs_) return;
  site& s = at(profile_site::kind::commit, code, type);
  ++s.cost.commits;
  ++s.causes[static_cast<std::size_t>(cause_)];
  s.cost.nanoseconds += now - commit_began_;
  s.cost.fences += after.fences - before_.fences;
}

void observer::count_record(commit_cause cause, std::uint64_t ticks_taken, const flush_counters& after) {
  ++capsule_;
  durability_cost& c = causes_[static_cast<std::size_t>(cause)];
  ++c.commits;
  c.nanoseconds += ticks_taken;
  c.fences += after.fences - before_.fences;
  c.lines += after.lines - before_.lines;
}

void observer::record_begins(activity a, const flush_counters& before, std::uint64_t exposure) {
  commit_began_ = ticks();
  before_ = before;
  if (a == activity::join && is_in(activity::capsule)) close(commit_began_);
  open(a, commit_began_);
  open_.back().exposure = exposure;
}

void observer::record_ends(commit_cause cause, const flush_counters& after, std::uint64_t next_type) {
  const std::uint64_t now = ticks();
  close(now);
  if (next_type != 0 && is_in(activity::strand)) open(activity::capsule, now, next_type);
  count_record(cause, now - commit_began_, after);
}

void observer::frame_flushed(const frame* f, bool is_new) {
  if (!costs_) return;
  durability_cost& c = at(profile_site::kind::frame, nullptr, f->type >> 16).cost;
  c.frames += is_new ? 1 : 0;
  count_range(c, reinterpret_cast<std::uintptr_t>(f), frame_bytes(f->type));
}

// ---- views ---------------------------------------------------------------------------------------------------------

void observer::written(const void* code, const void* p, std::size_t n, bool flushed_by_commit) {
  if (!costs_) return;
  at(profile_site::kind::view, code, 0).cost.bytes += n;
  if (!flushed_by_commit) return;
  const auto first = reinterpret_cast<std::uintptr_t>(p);
  if (!views_.empty() && views_.back().site == code && views_.back().last == first)
    views_.back().last = first + n;
  else
    views_.push_back({code, first, first + n});
}

void observer::copied(const void* code, const void* p, std::size_t n) {
  const auto first = reinterpret_cast<std::uintptr_t>(p);
  if (copied_.site == code && copied_.last == first) {  // block after block: a few ns each
    copied_.last += n;
    return;
  }
  count_copies();
  copied_ = {code, first, first + n};
}

void observer::count_copies() {
  if (!costs_ || copied_.first == copied_.last) return;
  constexpr std::uintptr_t seldom = 16384;
  count_range(at(profile_site::kind::view, copied_.site, 0).cost, copied_.first, copied_.last - copied_.first, seldom);
  copied_ = {};
}

void observer::flushed_at_once(const void* code, const void* p, std::size_t n) {
  if (!costs_) return;
  durability_cost& c = at(profile_site::kind::view, code, 0).cost;
  c.bytes += n;
  count_range(c, reinterpret_cast<std::uintptr_t>(p), n);
}

void observer::views_flushed() {
  count_copies();
  for (const pending_view& v : views_)
    count_range(at(profile_site::kind::view, v.site, 0).cost, v.first, v.last - v.first);
  views_.clear();
}

void observer::count_range(durability_cost& to, std::uintptr_t first, std::size_t n, std::uintptr_t one_of) {
  if (n == 0) return;
  constexpr std::uintptr_t block_size = 256, few_lines = 64;
  const std::uintptr_t line = first / line_size, end = (first + n - 1) / line_size, block = first / block_size,
                       block_end = (first + n - 1) / block_size;
  to.lines += end - line + 1;
  to.blocks_256 += block_end - block + 1 - (block == last_block_ || block_end == last_block_ ? 1 : 0);
  last_block_ = block_end;
  look_at_lines(to, line, end + 1, one_of != 0 ? one_of : end - line < few_lines ? 16 : 1024);
}

/// The sampled lines of [first, last): one of 16, chosen by its address; or only those that are also the one of 1024,
/// or of 16384: of large ranges, and of what was copied past the caches and has to come back for this. So a line that
/// is looked at is looked at whenever it is in a small range.
void observer::look_at_lines(durability_cost& to, std::uintptr_t first, std::uintptr_t last, std::uintptr_t one_of) {
  constexpr std::pair<std::uintptr_t, std::uintptr_t> choices[] = {{16384, 1024}, {1024, 16}, {16, 1}};
  for (std::uintptr_t at = first / one_of * one_of; at < last; at += one_of) {
    std::uintptr_t line = at;  // of the whole a part, of that a part, …: all three choices give the same line
    for (const auto& [whole, part] : choices)
      if (one_of >= whole) line += mixed(line + part) % (whole / part) * part;
    if (line < first || line >= last) continue;
    sampled_line& s = sample_[mixed(line) >> 20 & (sampled_lines - 1)];
    const std::uint32_t content = content_of(line * line_size);
    if (s.line == line) {
      if (s.capsule == capsule_)
        to.again += one_of;
      else if (s.content == content)
        to.unchanged += one_of;
    }
    s = {line, capsule_, content};
  }
}

// ---- sites ---------------------------------------------------------------------------------------------------------

std::size_t observer::key_hash::operator()(const key& k) const {
  return mixed(k.code * 4 + static_cast<std::uint64_t>(k.what) + mixed(k.type));
}

observer::site& observer::at(profile_site::kind what, const void* code, std::uint64_t type) {
  const key k{what, reinterpret_cast<std::uintptr_t>(code), type};
  remembered& r =
      newest_[((k.code ^ type * 0x9e3779b97f4a7c15 >> 40) + static_cast<std::uint64_t>(what)) % newest_.size()];
  if (r.s == nullptr || !(r.k == k)) r = {k, &sites_[k]};
  return *r.s;
}

// ---- at the end ----------------------------------------------------------------------------------------------------

void observer::add_to(run_profile& p) const {
  for (std::size_t i = 0; i < activities; ++i) p.nanoseconds[i] += ns(ticks_[i]);
  const auto in_ns = [](durability_cost c) {
    c.nanoseconds = ns(c.nanoseconds);
    return c;
  };
  for (std::size_t i = 0; i < commit_causes; ++i) p.causes[i] += in_ns(causes_[i]);
  p.faults += fault_count_;
  for (const auto& entry : sites_) {
    const key& k = entry.first;
    const site& s = entry.second;
    const std::string_view type = name_of_type(k.type);
    auto there = std::ranges::find_if(
        p.sites, [&](const profile_site& o) { return o.what == k.what && o.code == k.code && o.type == type; });
    if (there == p.sites.end()) there = p.sites.insert(p.sites.end(), {k.what, k.code, std::string(type), {}, {}});
    there->cost += in_ns(s.cost);
    for (std::size_t i = 0; i < commit_causes; ++i) there->causes[i] += s.causes[i];
  }
}

trace_track observer::track(std::uint64_t origin) const {
  const auto since = [&](std::uint64_t t) { return ns(t - std::min(t, origin)); };
  trace_track t{worker_, slot_, {}, {}, {}, left_out_};
  for (const event& e : events_)
    t.events.push_back(
        {e.what, e.cause, e.cut, e.grave, since(e.begin), since(e.end), e.exposure, name_of_type(e.type)});
  for (const auto& e : exposures_) t.exposures.push_back({e.exposure, since(e.ns)});
  for (const auto& f : faults_) t.faults.push_back({f.hard, since(f.ns)});
  return t;
}

}  // namespace ppmm::detail
