#include <ppmm/check/capsule.hpp>

#include <algorithm>
#include <cstring>
#include <utility>

namespace ppmm::detail {
namespace {

constexpr std::uintptr_t word_bytes = 8;

/// Calls with each word's number and the mask of its bytes in [at, at + n).
template <class Function>
void for_each_word(std::uintptr_t at, std::size_t n, Function f) {
  for (const std::uintptr_t end = at + n; at < end;) {
    const std::uintptr_t next = std::min(end, (at / word_bytes + 1) * word_bytes);
    f(at / word_bytes, static_cast<std::uint8_t>(((1u << (next - at)) - 1) << at % word_bytes));
    at = next;
  }
}

}  // namespace

access_table::word& access_table::operator[](std::uintptr_t number) {
  if (2 * words_.size() >= places_.size()) grow();
  const std::size_t mask = places_.size() - 1;
  for (std::size_t i = (number * 0x9e3779b97f4a7c15u >> 20) & mask;; i = (i + 1) & mask) {
    place& p = places_[i];
    if (p.epoch != epoch_) {
      p = {epoch_, static_cast<std::uint32_t>(words_.size())};
      words_.push_back({.number = number});
      return words_.back();
    }
    if (words_[p.index].number == number) return words_[p.index];
  }
}

void access_table::grow() {
  places_.assign(2 * places_.size(), {});
  epoch_ = 1;
  for (std::vector<word> old = std::exchange(words_, {}); const word& w : old) (*this)[w.number] = w;
}

void access_table::clear() {
  words_.clear();
  if (++epoch_ != 0) return;
  places_.assign(places_.size(), {});
  epoch_ = 1;
}

void access_table::forget(std::uintptr_t first, std::uintptr_t last) {
  if (last - first < words_.size()) {
    for (std::uintptr_t n = first; n < last; ++n) (*this)[n] = {.number = n};
    return;
  }
  for (word& w : words_)
    if (w.number >= first && w.number < last) w = {.number = w.number};
}

const capsule::owned& capsule::at(std::uintptr_t a) {
  if (last_.piece.has(a)) return last_;
  const memory_piece p = where_.at(a);
  last_ = {p, p.what >= memory_piece::kind::block && fresh_.contains(p.first)};
  return last_;
}

void capsule::load(std::uintptr_t first, std::size_t n, const void* pc) {
  if (paused_) return;
  for (std::uintptr_t p = first; p < first + n;) {
    const owned& o = at(p);
    if (!o.piece.is_the_users()) return;
    const std::uintptr_t next = std::min(first + n, o.piece.last);
    load_in(o, p, next - p, [&] { return stack_.responsible(pc).number; });
    p = next;
  }
}

/// What the capsule stored itself is no input: a repetition stores it again before it loads it. A block that it allocated
/// is another one in a repetition, so nothing in it is an input either: it may only be loaded when it was stored. Bytes
/// that were not stored beside some that were are let pass, as padding is never stored.
template <class Site>
void capsule::load_in(const owned& o, std::uintptr_t at, std::size_t n, Site site) {
  place_number number = 0;
  bool any_stored = false;
  for_each_word(at, n, [&](std::uintptr_t which, std::uint8_t bytes) {
    access_table::word& w = accesses_[which];
    any_stored = any_stored || (w.stored & bytes) != 0;
    if (o.fresh) return;
    const auto input = static_cast<std::uint8_t>(bytes & ~w.stored & ~w.loaded);
    if (input == 0) return;
    if (number == 0) number = site();
    w.loaded |= input;
    for (unsigned i = 0; i < word_bytes; ++i)
      if ((input >> i & 1) != 0) w.load_at[i] = number;
  });
  if (o.fresh && !any_stored) to_.add({.what = mistake::reads_what_it_has_not_written, .at = site(), .target = at});
}

void capsule::store(std::uintptr_t first, std::size_t n, const void* pc) {
  if (paused_) return;
  place_number site = 0;
  for (std::uintptr_t p = first; p < first + n;) {
    const owned& o = at(p);
    if (!o.piece.is_the_users()) return store_to_runtime(p, pc);
    if (site == 0) site = stack_.responsible(pc).number;
    const std::uintptr_t next = std::min(first + n, o.piece.last);
    store_in(o, p, next - p, site);
    p = next;
  }
}

void capsule::store_in(const owned& o, std::uintptr_t at, std::size_t n, place_number site) {
  for (std::uintptr_t p = at; p < at + n;) {
    const view* v = view_of(p);
    if (v == nullptr) {
      to_.add({.what = mistake::bypasses_views, .at = site, .target = p});
      break;
    }
    p = v->last;
  }
  for_each_word(at, n, [&](std::uintptr_t which, std::uint8_t bytes) {
    access_table::word& w = accesses_[which];
    if (const unsigned overwritten = w.loaded & bytes; overwritten != 0 && !o.fresh) {
      const auto i = static_cast<unsigned>(__builtin_ctz(overwritten));
      const std::uintptr_t target = which * word_bytes + i;
      if (!is_saved(target))
        to_.add({.what = mistake::overwrites_what_it_read, .at = site, .read_at = w.load_at[i], .target = target});
      w.loaded &= static_cast<std::uint8_t>(~bytes);  // told
    }
    w.stored |= bytes;
    w.store_at = site;
  });
}

/// Frames, slots, records, the heap's tables and roots: only code of the runtime stores to them.
void capsule::store_to_runtime(std::uintptr_t at, const void* pc) {
  const site& s = stack_.responsible(pc);
  if (s.whose == code_of::user) to_.add({.what = mistake::bypasses_views, .at = s.number, .target = at});
}

/// Views for reading matter only where turns are.
void capsule::opened(watch::view_kind how, std::uintptr_t at, std::size_t n, const watch::value_type* type) {
  if (n == 0) return;
  if (running_.task != nullptr) {
    if (how != watch::view_kind::read && running_.turn_at != 0)
      to_.add({.what = mistake::opens_outside_turns, .at = stack_.innermost_of_user(), .read_at = running_.turn_at, .target = at});
    if (running_.view_at == 0) running_.view_at = stack_.innermost_of_user();
  }
  if (how == watch::view_kind::read) return;
  const bool in_place = how == watch::view_kind::update;
  if (!views_.empty() && views_.back().last == at && views_.back().type == type && views_.back().in_place == in_place)
    views_.back().last = at + n;
  else
    views_.push_back({at, at + n, type, in_place});
}

/// Read or changed by the runtime for the user: an input of the capsule, which it may not store to besides.
void capsule::uses_cell(std::uintptr_t first, std::size_t n) {
  const owned& o = at(first);
  if (o.piece.is_the_users() && first + n <= o.piece.last) load_in(o, first, n, [&] { return stack_.innermost_of_user(); });
}

void capsule::allocated(std::uintptr_t first) {
  fresh_.insert(first);
  last_ = {};
}

/// A block of the capsule's own is gone at once: it may be allocated again, or its memory become something else.
void capsule::freed(std::uintptr_t first) {
  if (fresh_.erase(first) == 0) return;
  const std::uintptr_t last = where_.at(first).last;
  accesses_.forget(first / word_bytes, last / word_bytes);
  std::vector<view> left;
  for (const view& v : views_) {
    if (v.first < std::min(v.last, first)) left.push_back({v.first, std::min(v.last, first), v.type, v.in_place});
    if (std::max(v.first, last) < v.last) left.push_back({std::max(v.first, last), v.last, v.type, v.in_place});
  }
  views_ = std::move(left);
  last_ = {};
}

watch::running_body capsule::begin(const std::type_info* task) { return std::exchange(running_, {.task = task}); }

/// A repeated capsule begins at `here`: if that is the running task, it opens again what it opened before its turns.
void capsule::turn(const std::type_info& here) {
  if (running_.task == nullptr) return;
  const place_number now = stack_.innermost_of_user();
  if (running_.view_at != 0 && running_.turn_at == 0 && *running_.task == here)
    to_.add({.what = mistake::opens_outside_turns, .at = running_.view_at, .read_at = now});
  running_.turn_at = now;
}

/// The newest is most likely.
const capsule::view* capsule::view_of(std::uintptr_t at) const {
  for (std::size_t i = views_.size(); i-- > 0;)
    if (at >= views_[i].first && at < views_[i].last) return &views_[i];
  return nullptr;
}

/// What stood there before the capsule changed it is in the undo log.
bool capsule::is_saved(std::uintptr_t at) const {
  return std::ranges::any_of(views_, [&](const view& v) { return v.in_place && at >= v.first && at < v.last; });
}

void capsule::look_for_addresses(const void* value, const watch::value_type& type) {
  const auto* bytes = static_cast<const std::byte*>(value);
  std::vector<std::byte> without_padding;  // made only where something looks like an address
  for (std::size_t i = 0; i + word_bytes <= type.size; i += word_bytes) {
    std::uint64_t word = 0;
    std::memcpy(&word, bytes + i, word_bytes);
    if (volatile_.find(word) == nullptr) continue;
    if (without_padding.empty()) {
      without_padding.assign(bytes, bytes + type.size);
      type.clear_padding(without_padding.data());
    }
    std::memcpy(&word, without_padding.data() + i, word_bytes);
    const char* whose = volatile_.find(word);
    if (whose == nullptr) continue;
    to_.add({.what = mistake::holds_volatile_address, .at = stack_.innermost_of_user(), .type = type.name, .offset = i, .points_to = whose});
  }
}

/// What was stored through views is durable now, or about to be.
void capsule::look_at_stored() {
  if (std::exchange(looked_at_stored_, true)) return;
  for (const access_table::word& w : accesses_.all()) {
    if (w.stored != 0xff) continue;
    const std::uintptr_t at = w.number * word_bytes;
    std::uint64_t word = 0;
    std::memcpy(&word, reinterpret_cast<const void*>(at), word_bytes);
    if (volatile_.find(word) == nullptr) continue;
    const view* v = view_of(at);
    if (v == nullptr || !v->type->may_hold_address) continue;
    const std::size_t in_element = (at - v->first) % v->type->size;
    if (in_element + word_bytes > v->type->size) continue;
    std::vector<std::byte> element(v->type->size);
    std::memcpy(element.data(), reinterpret_cast<const void*>(at - in_element), element.size());
    v->type->clear_padding(element.data());
    std::memcpy(&word, element.data() + in_element, word_bytes);
    if (const char* whose = volatile_.find(word))
      to_.add({.what = mistake::holds_volatile_address,
               .at = w.store_at,
               .target = at,
               .type = v->type->name,
               .offset = in_element,
               .points_to = whose});
  }
}

/// A conflict was met, the task will be run again in a capsule of its own: its blocks go back, perhaps to other workers.
void capsule::task_undone() { look_at_stored(); }

void capsule::over() {
  look_at_stored();
  accesses_.clear();
  views_.clear();
  fresh_.clear();
  last_ = {};
  looked_at_stored_ = false;
}

/// The C++ stack is lost as well.
void capsule::lost() {
  looked_at_stored_ = true;
  over();
  running_ = {};
  paused_ = false;
}

}  // namespace ppmm::detail
