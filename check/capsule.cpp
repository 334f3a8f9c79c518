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

/// What the capsule stored itself is no input: a repetition stores it again before it loads it.
void capsule::load(std::uintptr_t at, std::size_t n, const void* pc) {
  if (!job_.has(at)) return;
  std::uint32_t number = 0;
  for_each_word(at, n, [&](std::uintptr_t which, std::uint8_t bytes) {
    access_table::word& w = accesses_[which];
    const auto fresh = static_cast<std::uint8_t>(bytes & ~w.stored & ~w.loaded);
    if (fresh == 0) return;
    if (number == 0) number = stack_.responsible(pc).number;
    w.loaded |= fresh;
    for (unsigned i = 0; i < word_bytes; ++i)
      if ((fresh >> i & 1) != 0) w.load_at[i] = number;
  });
}

void capsule::store(std::uintptr_t at, std::size_t n, const void* pc) {
  if (!job_.has(at)) return store_to_runtime(at, pc);
  const std::uint32_t number = stack_.responsible(pc).number;
  for (std::uintptr_t p = at; p < at + n;) {
    const view* v = view_of(p);
    if (v == nullptr) {
      to_.add({.what = mistake::bypasses_views, .at = number, .target = reinterpret_cast<const void*>(p)});
      break;
    }
    p = v->last;
  }
  for_each_word(at, n, [&](std::uintptr_t which, std::uint8_t bytes) {
    access_table::word& w = accesses_[which];
    if (const unsigned overwritten = w.loaded & bytes; overwritten != 0) {
      const auto i = static_cast<unsigned>(__builtin_ctz(overwritten));
      to_.add({.what = mistake::overwrites_what_it_read,
               .at = number,
               .read_at = w.load_at[i],
               .target = reinterpret_cast<const void*>(which * word_bytes + i)});
      w.loaded &= static_cast<std::uint8_t>(~bytes);  // told
    }
    w.stored |= bytes;
    w.store_at = number;
  });
}

/// Frames, slots, records: only code of the runtime stores to them.
void capsule::store_to_runtime(std::uintptr_t at, const void* pc) {
  const site& s = stack_.responsible(pc);
  if (s.whose == code_of::user)
    to_.add({.what = mistake::bypasses_views, .at = s.number, .target = reinterpret_cast<const void*>(at)});
}

void capsule::opened_to_write(std::uintptr_t at, std::size_t n, const watch::value_type* type) {
  if (n == 0) return;
  if (!views_.empty() && views_.back().last == at && views_.back().type == type)
    views_.back().last = at + n;
  else
    views_.push_back({at, at + n, type});
}

/// The newest is most likely.
const capsule::view* capsule::view_of(std::uintptr_t at) const {
  for (std::size_t i = views_.size(); i-- > 0;)
    if (at >= views_[i].first && at < views_[i].last) return &views_[i];
  return nullptr;
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
    raw_finding f{.what = mistake::holds_volatile_address, .type = type.name, .offset = i, .points_to = whose};
    f.made_at = stack_.innermost_of_user();
    to_.add(f);
  }
}

/// What was stored through views is durable now.
void capsule::over() {
  for (const access_table::word& w : accesses_.all()) {
    if (w.stored != 0xff) continue;
    const std::uintptr_t at = w.number * word_bytes;
    std::uint64_t word = 0;
    std::memcpy(&word, reinterpret_cast<const void*>(at), word_bytes);
    if (volatile_.find(word) == nullptr) continue;
    const view* v = view_of(at);
    if (v == nullptr || v->type == nullptr) continue;
    const std::size_t in_element = (at - v->first) % v->type->size;
    if (in_element + word_bytes > v->type->size) continue;
    std::vector<std::byte> element(v->type->size);
    std::memcpy(element.data(), reinterpret_cast<const void*>(at - in_element), element.size());
    v->type->clear_padding(element.data());
    std::memcpy(&word, element.data() + in_element, word_bytes);
    if (const char* whose = volatile_.find(word))
      to_.add({.what = mistake::holds_volatile_address,
               .at = w.store_at,
               .target = reinterpret_cast<const void*>(at),
               .type = v->type->name,
               .offset = in_element,
               .points_to = whose});
  }
  lost();
}

void capsule::lost() {
  accesses_.clear();
  views_.clear();
}

}  // namespace ppmm::detail
