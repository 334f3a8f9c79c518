#include <ppmm/alloc/space.hpp>

#include <ppmm/pmem/errors.hpp>

#include <fmt/core.h>  // format

#include <algorithm>
#include <bit>
#include <utility>

namespace ppmm::detail {
namespace {

[[noreturn]] void corrupt(std::uint32_t chunk, const std::string& what) {
  throw corrupt_pool(fmt::format("the entry of chunk {} in the pool's chunk table {}; the pool is damaged: `ppmm check` tells more", chunk, what));
}

}  // namespace

chunk_space::chunk_space(const heap_place& where, const medium& m, std::uint64_t serial)
    : place_(where),
      serial_(serial),
      persister_(m),
      taken_(lazy_zeros<std::uint64_t>(where.numbers / 64 + 1)),
      seen_(lazy_zeros<std::uint64_t>(where.numbers / 64 + 1)),
      low_(0),
      high_(where.numbers) {
  for (const heap_place::range& r : place_.ranges) total_ += r.last - r.first;
}

chunk_entry& chunk_space::entry(std::uint32_t chunk) const {
  for (const heap_place::range& r : place_.ranges)
    if (chunk >= r.first && chunk < r.end) return r.table[chunk - r.first];
  throw corrupt_pool(fmt::format("the pool names chunk {}, which it does not have; it is damaged: `ppmm check` tells more", chunk));
}

bool chunk_space::counts(std::uint64_t serial) const {
  if (serial == serial_ || serial < place_.control->first.load()) return true;
  return (place_.control->kept[serial % serial_window / 64].load() >> serial % 64 & 1) != 0;
}

block_bits* chunk_space::bits(std::uint32_t chunk) const {
  chunk_entry& e = entry(chunk);
  const std::uint64_t word = e.word.load();
  if (is_kind(word, chunk_kind::extent)) return &e.bits;
  if (!is_kind(word, chunk_kind::superblock)) corrupt(chunk, fmt::format("is of kind {}, where blocks were expected", kind_of(word)));
  if (size_class_of(word) >= size_classes) corrupt(chunk, fmt::format("names size class {} of {}", size_class_of(word), size_classes));
  return class_layouts[size_class_of(word)].bits_in_entry() ? &e.bits : reinterpret_cast<block_bits*>(place_.address(chunk));
}

chunk_use chunk_space::look_at(std::uint32_t chunk) const {
  const chunk_entry& e = entry(chunk);
  const std::uint64_t word = e.word.load();
  if (is_kind(word, chunk_kind::none)) return {};
  if (is_kind(word, chunk_kind::rest)) {
    const std::uint64_t distance = e.chunks.load();
    const auto r = std::ranges::find_if(place_.ranges, [&](const auto& x) { return chunk >= x.first && chunk < x.end; });
    if (distance == 0 || distance > chunk - r->first) return {};
    const auto head = static_cast<std::uint32_t>(chunk - distance);
    if (!is_kind(entry(head).word.load(), chunk_kind::extent)) return {};
    const chunk_use u = look_at(head);
    return u.chunks > distance ? u : chunk_use{};
  }
  const block_bits* b = bits(chunk);  // checks the kind
  const bool is_extent = is_kind(word, chunk_kind::extent);
  const std::uint32_t words = is_extent ? 1 : class_layouts[size_class_of(word)].words();
  const bool young_count = counts(e.serial.load());
  chunk_use u;
  u.head = chunk;
  for (std::uint32_t w = 0; w < words; ++w)
    u.allocated += static_cast<std::uint32_t>(std::popcount((b[w].alloc.load() ^ b[w].free.load()) & (young_count ? ~std::uint64_t{0} : ~b[w].young.load())));
  if (u.allocated == 0) return u;
  u.kind = is_extent ? chunk_kind::extent : chunk_kind::superblock;
  if (is_extent) {
    const auto r = std::ranges::find_if(place_.ranges, [&](const auto& x) { return chunk >= x.first && chunk < x.end; });
    const std::uint64_t n = e.chunks.load();
    if (n == 0 || n > r->end - chunk) corrupt(chunk, fmt::format("says that an extent of {} chunks begins there", n));
    u.chunks = static_cast<std::uint32_t>(n);
  }
  return u;
}

bool chunk_space::is_whole(const chunk_use& use) const {
  if (use.chunks == 1) return true;
  const heap_place::range* r = place_.range_of(use.head);
  if (r == nullptr || use.chunks > r->last - use.head) return false;
  for (std::uint32_t i = 1; i < use.chunks; ++i)
    if (const chunk_entry& e = r->table[use.head - r->first + i]; !is_kind(e.word.load(), chunk_kind::rest) || e.chunks.load() != i) return false;
  return true;
}

void chunk_space::set_taken(std::uint32_t first, std::uint32_t n) {
  for (std::uint32_t c = first; c < first + n && c < place_.numbers; ++c) {
    taken_count_ += is_taken(c) ? 0u : 1u;
    taken_[c / 64] |= std::uint64_t{1} << c % 64;
    seen_[c / 64] |= std::uint64_t{1} << c % 64;
  }
}

bool chunk_space::is_free(std::uint32_t c) {
  if (is_taken(c)) return false;
  std::uint64_t& seen = seen_[c / 64];
  if ((seen >> c % 64 & 1) != 0) return true;
  const chunk_use u = look_at(c);
  seen |= std::uint64_t{1} << c % 64;
  if (u.kind == chunk_kind::none) {
    // That it is free may be only visible, not durable, since the process died [M]. One that was never used is.
    if (entry(c).word.load() != 0) {
      persister_.flush(&entry(c), sizeof(chunk_entry));
      unfenced_ = true;
    }
    return true;
  }
  if (!is_whole(u)) corrupt(u.head, fmt::format("says that an extent of {} chunks begins there, but they say otherwise", u.chunks));
  if (u.kind == chunk_kind::superblock) {
    const unsigned size_class = size_class_of(entry(c).word.load());
    if (u.allocated < class_layouts[size_class].blocks) partial_[size_class].push_back({c, claim_of(entry(c).word.load())});
  }
  set_taken(u.head, u.chunks);
  return false;
}

/// Invariants after crash (H5): an entry that said heap, with no block in use, says free with a new claim, or what it
/// said; the chunks' memory is not written before it says free durably. Recovery: none; `look_at` finds them again.
void chunk_space::take(std::uint32_t first, std::uint32_t n) {
  for (std::uint32_t c = first; c < first + n; ++c) {
    chunk_entry& e = entry(c);
    const std::uint64_t word = e.word.load();
    if (is_kind(word, chunk_kind::none)) continue;
    e.word.store(chunk_word(claim_of(word) + 1, chunk_kind::none));
    persister_.flush(&e.word, sizeof e.word);
    unfenced_ = true;
  }
  if (std::exchange(unfenced_, false)) persister_.fence();
  set_taken(first, n);
}

std::uint32_t chunk_space::take_high() {
  const std::lock_guard lock(mutex_);
  for (std::size_t i = place_.ranges.size(); i-- > 0;) {
    const heap_place::range& r = place_.ranges[i];
    for (std::uint32_t c = std::min(high_, r.last); c-- > r.first;) {
      if (!is_free(c)) continue;
      take(c, 1);
      high_ = c;
      return c;
    }
  }
  high_ = 0;
  return no_chunk;
}

std::uint32_t chunk_space::take_low(std::uint32_t n) {
  const std::lock_guard lock(mutex_);
  for (const heap_place::range& r : place_.ranges) {
    std::uint32_t run = 0;
    for (std::uint32_t c = std::max(low_, r.first); c < r.last; ++c) {
      run = is_free(c) ? run + 1 : 0;
      if (run < n) continue;
      take(c - n + 1, n);
      if (n == 1) low_ = c + 1;
      return c - n + 1;
    }
  }
  if (n == 1) low_ = place_.numbers;
  return no_chunk;
}

void chunk_space::give_back(std::uint32_t first, std::uint32_t n) {
  const std::lock_guard lock(mutex_);
  for (std::uint32_t c = first; c < first + n; ++c) taken_[c / 64] &= ~(std::uint64_t{1} << c % 64);
  taken_count_ -= n;
  low_ = std::min(low_, first);
  high_ = std::max(high_, first + n);
}

void chunk_space::mark_used(std::uint32_t first, std::uint32_t n) {
  const std::lock_guard lock(mutex_);
  set_taken(first, n);
}

std::uint32_t chunk_space::take_partial(unsigned size_class) {
  const std::lock_guard lock(mutex_);
  std::vector<found>& some = partial_[size_class];
  while (!some.empty()) {
    const found f = some.back();
    some.pop_back();
    // It may have been adopted since, emptied, given back, and be something else.
    if (is_taken(f.chunk) && claim_of(entry(f.chunk).word.load()) == f.claim) return f.chunk;
  }
  return no_chunk;
}

void chunk_space::no_room(std::uint64_t asked, const char* purpose) const {
  const std::uint64_t used = taken() * chunk_bytes, all = total_ * chunk_bytes, free = all - used;
  throw out_of_pool_memory(fmt::format("{} bytes of pool memory are needed {}, and there is no room: {} of {} KiB are in use, {} KiB are free{}", asked, purpose,
                                       used >> 10, all >> 10, free >> 10, asked <= free ? ", but not in one piece" : ""),
                           asked, used, free);
}

std::uint64_t chunk_space::taken() const {
  const std::lock_guard lock(mutex_);
  return taken_count_;
}

}  // namespace ppmm::detail
