#include <ppmm/pmem/errors.hpp>
#include <ppmm/pmem/file.hpp>
#include <ppmm/pmem/simulated.hpp>

#include <algorithm>
#include <cstring>

namespace ppmm {
namespace {

constexpr std::uint8_t ignored = 1, shared = 2;

std::uintptr_t line_of(std::uintptr_t p) { return p / line_size * line_size; }

/// The pool's memory, without this being observed.
void look(std::byte* to, std::uintptr_t from, std::size_t n) { detail::copy_unobserved(to, reinterpret_cast<const void*>(from), n); }
void set(std::uintptr_t to, const std::byte* from) { detail::copy_unobserved(reinterpret_cast<void*>(to), from, line_size); }

std::uint64_t mix(std::uint64_t h, const void* bytes, std::size_t n) {
  const auto* b = static_cast<const unsigned char*>(bytes);
  for (; n >= 8; n -= 8, b += 8) {
    std::uint64_t w;
    std::memcpy(&w, b, 8);
    h = (h ^ w) * 0x9e3779b97f4a7c15u;
    h ^= h >> 29;
  }
  return h;
}

}  // namespace

std::size_t simulated_medium::image::open_lines() const {
  std::size_t n = 0;
  for (const auto& [address, there] : lines) n += there.bases.size() > 1;
  return n;
}

std::uint64_t simulated_medium::image::hash() const {
  std::uint64_t h = 0;
  for (const auto& [address, there] : lines) {
    h = mix(h, &address, sizeof address);
    std::uint64_t sum = 0;  // the order of the bases says nothing
    for (const line& b : there.bases) sum += mix(0x5157, b.data(), b.size());
    h = mix(h, &sum, sizeof sum);
    for (const store& w : there.log) h = mix(h ^ w.word, &w.value, sizeof w.value);
  }
  return h;
}

simulated_medium::simulated_medium(pool& p)
    : base_(reinterpret_cast<std::uintptr_t>(p.base())),
      pool_(p),
      before_(p.medium()),
      index_(p.span() / line_size + 1),
      flags_(p.span() / line_size + 1) {
  if (!detail::accesses_are_instrumented()) {
    detail::fail<pool_error>("expected a build with instrumented accesses (-DPPMM_INSTRUMENT=ON) for the simulated medium, found one without: "
                             "it would see no store");
  }
  medium simulated = before_;
  simulated.level = durability::simulated;
  simulated.simulated = this;
  pool_.set_medium(simulated);
  detail::observe_accesses(base_, p.span(), this);
}

simulated_medium::~simulated_medium() {
  detail::observe_accesses(0, 0, nullptr);
  pool_.set_medium(before_);
}

simulated_medium::state* simulated_medium::find(std::uintptr_t line_address) {
  const std::uint32_t i = index_[(line_address - base_) / line_size];
  return i == 0 ? nullptr : &states_[i - 1];
}

simulated_medium::state& simulated_medium::track(std::uintptr_t line_address) {
  std::uint32_t& i = index_[(line_address - base_) / line_size];
  if (i == 0) {
    state s{.address = line_address, .initial = {}, .bases = {}, .log = {}, .visible = {}};
    look(s.initial.data(), line_address, line_size);
    s.visible = s.initial;
    s.bases.push_back(s.initial);
    states_.push_back(std::move(s));
    i = static_cast<std::uint32_t>(states_.size());
  }
  return states_[i - 1];
}

void simulated_medium::apply(const store& s, line& to) { std::memcpy(to.data() + s.word * sizeof s.value, &s.value, sizeof s.value); }

void simulated_medium::unique(std::vector<line>& contents) {  // keeps the first where it is
  for (std::size_t i = 1; i < contents.size();) {
    if (std::find(contents.begin(), contents.begin() + static_cast<std::ptrdiff_t>(i), contents[i]) != contents.begin() + static_cast<std::ptrdiff_t>(i)) {
      contents[i] = contents.back();
      contents.pop_back();
    } else {
      ++i;
    }
  }
}

void simulated_medium::take_stores(state& s, std::uint8_t overwritten) {
  std::array<std::uint64_t, line_size / 8> now, before;
  look(reinterpret_cast<std::byte*>(now.data()), s.address, line_size);
  std::memcpy(before.data(), s.visible.data(), line_size);
  if (now == before && overwritten == 0) return;
  for (std::uint32_t w = 0; w < now.size(); ++w)
    if (now[w] != before[w] || (overwritten >> w & 1) != 0) s.log.push_back({w, now[w]});
  std::memcpy(s.visible.data(), now.data(), line_size);
  if ((flags_[(s.address - base_) / line_size] & shared) != 0) shared_stored_ = true;
}

/// A store is announced before it is made, mostly just before; but other stores, loads and even other workers may come
/// between. So a line stays announced for a while. One that writes what is there already changes nothing, unless the
/// medium may hold something else.
void simulated_medium::take_stores() {
  constexpr std::size_t remembered = 16;
  for (announced& a : announced_) take_stores(*find(a.line), std::exchange(a.overwritten, 0));
  if (announced_.size() > remembered) announced_.erase(announced_.begin(), announced_.end() - remembered);
}

void simulated_medium::tell(event e) {
  take_stores();
  if (e == event::access && std::exchange(shared_stored_, false)) e = event::stored;
  if (on_event_) on_event_(e);
  take_stores();  // what was announced by whoever ran meanwhile
}

void simulated_medium::about_to_load(const void* p, std::size_t n, const void*) {
  tell(event::access);
  auto at = reinterpret_cast<std::uintptr_t>(p);
  while (n > 0) {
    const std::uintptr_t address = line_of(at);
    const std::size_t here = std::min(n, address + line_size - at);
    if (state* s = find(address); s != nullptr && s->bases.size() > 1) choose_content(*s, at - address, here);
    at += here;
    n -= here;
  }
}

void simulated_medium::about_to_store(const void* p, std::size_t n, const void*) {
  tell(event::access);
  const auto first = reinterpret_cast<std::uintptr_t>(p);
  for (std::uintptr_t address = line_of(first); address < first + n; address += line_size) {
    state& s = track(address);  // as it is before
    const std::size_t from = first > address ? first - address : 0, to = std::min(first + n - address, line_size);
    std::uint8_t overwritten = 0;
    if (s.bases.size() > 1) {
      if (from % 8 != 0) choose_content(s, from / 8 * 8, 8);  // a word of which only a part is stored
      if (to % 8 != 0) choose_content(s, to / 8 * 8, 8);
      for (std::size_t w = from / 8; w < (to + 7) / 8; ++w) overwritten |= static_cast<std::uint8_t>(1u << w);
    }
    if (announced_.empty() || announced_.back().line != address) announced_.push_back({address, 0});
    announced_.back().overwritten |= overwritten;
  }
}

/// The contents that are possible are told apart as far as the loaded bytes differ, and those that agree with the
/// choice stay possible.
void simulated_medium::choose_content(state& s, std::size_t from, std::size_t n) {
  std::array<bool, line_size> stored{};
  for (const store& w : s.log) std::fill_n(stored.begin() + w.word * 8, 8, true);  // a part of a word is stored with the rest
  const auto agree = [&](const line& a, const line& b) {
    for (std::size_t i = from; i < from + n; ++i)
      if (!stored[i] && a[i] != b[i]) return false;
    return true;
  };
  std::vector<const line*> kinds;
  for (const line& b : s.bases)
    if (std::none_of(kinds.begin(), kinds.end(), [&](const line* k) { return agree(*k, b); })) kinds.push_back(&b);
  if (kinds.size() < 2) return;
  ++counters_.choices;
  const line chosen = *kinds[choose_ ? choose_(static_cast<unsigned>(kinds.size())) : 0];
  std::erase_if(s.bases, [&](const line& b) { return !agree(chosen, b); });
  s.visible = s.bases.front();
  for (const store& w : s.log) apply(w, s.visible);
  set(s.address, s.visible.data());
}

void simulated_medium::flush(const void* who, std::uintptr_t first, std::size_t n) {
  take_stores();
  for (std::uintptr_t address = line_of(first); address < first + n; address += line_size) {
    ++counters_.flushed_lines;
    state* s = find(address);
    if (s != nullptr) take_stores(*s, 0);
    if (s == nullptr || s->log.empty()) {
      ++counters_.unneeded_lines;
      if (on_unneeded_) on_unneeded_(address);
      continue;
    }
    pending_[who].push_back({static_cast<std::uint32_t>(s - states_.data()), s->folded + s->log.size()});
  }
}

void simulated_medium::fence(const void* who) {
  tell(event::fence);
  const auto mine = pending_.find(who);
  if (mine == pending_.end()) return;
  for (const pending_line& p : mine->second) {
    state& s = states_[p.number];
    if (p.upto <= s.folded) continue;
    const auto n = static_cast<std::ptrdiff_t>(p.upto - s.folded);
    for (line& b : s.bases)
      for (auto w = s.log.begin(); w != s.log.begin() + n; ++w) apply(*w, b);
    s.log.erase(s.log.begin(), s.log.begin() + n);
    s.folded = p.upto;
    unique(s.bases);
  }
  mine->second.clear();
}

void simulated_medium::forget(const void* who) { pending_.erase(who); }

simulated_medium::image simulated_medium::power_failure() {
  take_stores();
  image left;
  for (const state& s : states_) {
    if ((flags_[(s.address - base_) / line_size] & ignored) != 0) continue;
    std::vector<line> contents = s.bases;
    std::vector<line> prefix = s.bases;
    for (const store& w : s.log) {
      for (line& b : prefix) apply(w, b);
      contents.insert(contents.end(), prefix.begin(), prefix.end());
    }
    unique(contents);
    if (contents.size() > 1 || contents.front() != s.initial) left.lines.emplace(s.address, image::content{std::move(contents), {}});
  }
  return left;
}

simulated_medium::image simulated_medium::process_death() {
  take_stores();
  image left;
  for (const state& s : states_) {
    if ((flags_[(s.address - base_) / line_size] & ignored) != 0) continue;
    if (!s.log.empty() || s.bases.size() > 1 || s.bases.front() != s.initial) left.lines.emplace(s.address, image::content{s.bases, s.log});
  }
  return left;
}

void simulated_medium::restart_from(const image& left, std::function<unsigned(unsigned)> choose) {
  announced_.clear();
  pending_.clear();
  shared_stored_ = false;
  choose_ = std::move(choose);
  for (const auto& at : left.lines) track(at.first);
  for (state& s : states_) {
    const auto there = left.lines.find(s.address);
    s.bases = there == left.lines.end() ? std::vector<line>{s.initial} : there->second.bases;
    s.log = there == left.lines.end() ? std::vector<store>{} : there->second.log;
    s.folded = 0;
    s.visible = s.bases.front();
    for (const store& w : s.log) apply(w, s.visible);
    set(s.address, s.visible.data());
  }
}

bool simulated_medium::is_durable(const void* p, std::size_t n) {
  take_stores();
  const auto first = reinterpret_cast<std::uintptr_t>(p);
  for (std::uintptr_t word = first / 8 * 8; word < first + n; word += 8) {
    const state* s = find(line_of(word));
    if (s == nullptr) continue;
    const std::size_t at = word - s->address;
    // Only the bytes asked for: others of the word may be on their way.
    const std::size_t from = std::max(first, word) - word, to = std::min(first + n - word, std::uintptr_t{8});
    const auto differs = [&](const void* value) { return std::memcmp(s->visible.data() + at + from, static_cast<const std::byte*>(value) + from, to - from) != 0; };
    if (std::ranges::any_of(s->log, [&](const store& w) { return w.word * 8 == at && (differs(&w.value) || std::ranges::any_of(s->bases, [&](const line& b) { return differs(b.data() + at); })); }))
      return false;
  }
  return true;
}

void simulated_medium::ignore(const void* p, std::size_t n) {
  for (std::uintptr_t at = line_of(reinterpret_cast<std::uintptr_t>(p)); at < reinterpret_cast<std::uintptr_t>(p) + n; at += line_size)
    flags_[(at - base_) / line_size] |= ignored;
}

void simulated_medium::mark_shared(const void* p, std::size_t n) {
  for (std::uintptr_t at = line_of(reinterpret_cast<std::uintptr_t>(p)); at < reinterpret_cast<std::uintptr_t>(p) + n; at += line_size)
    flags_[(at - base_) / line_size] |= shared;
}

}  // namespace ppmm
