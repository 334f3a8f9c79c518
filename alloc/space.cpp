#include <ppmm/alloc/space.hpp>

#include <ppmm/pmem/errors.hpp>

#include <fmt/core.h>  // format

#include <algorithm>
#include <atomic>
#include <bit>
#include <utility>

namespace ppmm::detail {
namespace {

[[noreturn]] void corrupt(std::uint32_t chunk, const std::string& what) {
  throw corrupt_pool(fmt::format("the entry of chunk {} in the pool's chunk table {}; the pool is damaged: `ppmm check` tells more", chunk, what));
}

}  // namespace

chunk_space::chunk_space(const heap_place& where, const medium& m, std::uint64_t serial, commons& shared)
    : place_(where),
      serial_(serial),
      persister_(m),
      books_(shared.make<books>()),
      taken_(shared.zeros<std::uint64_t>(where.numbers / 64 + 1)),
      seen_(shared.zeros<std::uint64_t>(where.numbers / 64 + 1)),
      partial_(shared.zeros<partial_link>(where.numbers)) {
  for (const heap_place::range& r : place_.ranges) {
    total_ += r.last - r.first;
    part_count_ = r.part + 1;  // ascending
  }
  parts_ = shared.zeros<part>(part_count_);
  if (shared.is_joined()) return;
  for (unsigned i = 0; i < part_count_; ++i) parts_[i].high = place_.numbers;
}

chunk_space::section::section(chunk_space& s) : space_(s) {
  if (s.books_->mutex.lock()) s.look_again();
}
chunk_space::section::~section() { space_.books_->mutex.unlock(); }

/// To be called before the mutex is let go: the next fence may be another worker's.
void chunk_space::fence() {
  if (std::exchange(unfenced_, false)) persister_.fence();
}

/// A worker was killed in a section: what it has seen may not be durable.
void chunk_space::look_again() {
  books_->taken = 0;
  for (std::uint32_t i = 0; i <= place_.numbers / 64; ++i) {
    seen_[i] &= taken_[i];
    books_->taken += static_cast<unsigned>(std::popcount(taken_[i]));
  }
}

chunk_space::part& chunk_space::part_of(std::uint32_t chunk) {
  return parts_[place_.holder_of(chunk)->part];
}

chunk_entry& chunk_space::entry(std::uint32_t chunk) const {
  if (const heap_place::range* r = place_.holder_of(chunk)) return r->table[chunk - r->first];
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
    const heap_place::range* r = place_.holder_of(chunk);
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
    const heap_place::range* r = place_.holder_of(chunk);
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
    books_->taken += is_taken(c) ? 0u : 1u;
    taken_[c / 64] |= std::uint64_t{1} << c % 64;
    std::atomic_signal_fence(std::memory_order_seq_cst);  // what is seen and not taken is free
    seen_[c / 64] |= std::uint64_t{1} << c % 64;
  }
}

void chunk_space::set_free(std::uint32_t first, std::uint32_t n) {
  for (std::uint32_t c = first; c < first + n; ++c) taken_[c / 64] &= ~(std::uint64_t{1} << c % 64);
  books_->taken -= n;
  part& p = part_of(first);
  p.low = std::min(p.low, first);
  p.high = std::max(p.high, first + n);
}

bool chunk_space::is_free(std::uint32_t c) {
  if (is_taken(c)) return false;
  std::uint64_t& seen = seen_[c / 64];
  if ((seen >> c % 64 & 1) != 0) return true;
  const chunk_use u = look_at(c);
  if (u.kind == chunk_kind::none) {
    // That it is free may be only visible, not durable, since the process died [M]. One that was never used is.
    if (entry(c).word.load() != 0) {
      persister_.flush(&entry(c), sizeof(chunk_entry));
      unfenced_ = true;
    }
    seen |= std::uint64_t{1} << c % 64;
    return true;
  }
  if (!is_whole(u)) corrupt(u.head, fmt::format("says that an extent of {} chunks begins there, but they say otherwise", u.chunks));
  set_taken(u.head, u.chunks);
  if (u.kind == chunk_kind::superblock) {
    const unsigned size_class = size_class_of(entry(c).word.load());
    if (u.allocated < class_layouts[size_class].blocks) {
      std::uint32_t& head = part_of(c).partial[size_class];
      partial_[c] = {head, claim_of(entry(c).word.load())};
      head = c + 1;
    }
  }
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
  fence();
  set_taken(first, n);
}

std::uint32_t chunk_space::take_high(unsigned near) {
  const auto held = hold();
  const std::uint32_t c = take_one_high(near);
  fence();
  return c;
}

std::size_t chunk_space::take_high(unsigned near, std::span<std::uint32_t> to) {
  const auto held = hold();
  const std::size_t most = std::min<std::uint64_t>(books_->taken < total_ / 2 ? batch() : 1, to.size());
  std::size_t n = 0;
  while (n < most && (to[n] = take_one_high(near)) != no_chunk) ++n;
  fence();
  return n;
}

std::uint32_t chunk_space::take_one_high(unsigned near) {
  for (unsigned k = 0; k < part_count_; ++k) {
    const auto number = static_cast<unsigned>((near + k) % part_count_);
    part& p = parts_[number];
    for (std::size_t i = place_.ranges.size(); i-- > 0;) {
      const heap_place::range& r = place_.ranges[i];
      if (r.part != number) continue;
      for (std::uint32_t c = std::min(p.high, r.last); c-- > r.first;) {
        if (!is_free(c)) continue;
        take(c, 1);
        p.high = c;
        return c;
      }
    }
    p.high = 0;
  }
  return no_chunk;
}

std::uint32_t chunk_space::take_low(std::uint32_t n, unsigned in) {
  const auto held = hold();
  if (in >= part_count_) return no_chunk;
  part& p = parts_[in];
  for (const heap_place::range& r : place_.ranges) {
    if (r.part != in) continue;
    std::uint32_t run = 0;
    for (std::uint32_t c = std::max(p.low, r.first); c < r.last; ++c) {
      run = is_free(c) ? run + 1 : 0;
      if (run < n) continue;
      take(c - n + 1, n);
      if (n == 1) p.low = c + 1;
      return c - n + 1;
    }
  }
  if (n == 1) p.low = place_.numbers;
  fence();
  return no_chunk;
}

void chunk_space::give_back(std::uint32_t first, std::uint32_t n) {
  const auto held = hold();
  set_free(first, n);
}

void chunk_space::give_back(std::span<const std::uint32_t> chunks) {
  const auto held = hold();
  for (const std::uint32_t c : chunks) set_free(c, 1);
}

void chunk_space::mark_used(std::uint32_t first, std::uint32_t n) {
  const auto held = hold();
  set_taken(first, n);
}

std::uint32_t chunk_space::take_partial(unsigned size_class, unsigned in) {
  const auto held = hold();
  if (in >= part_count_) return no_chunk;
  std::uint32_t& head = parts_[in].partial[size_class];
  while (head != 0) {
    const std::uint32_t c = head - 1;
    head = partial_[c].next;
    // It may have been adopted since, emptied, given back, and be something else.
    if (is_taken(c) && claim_of(entry(c).word.load()) == partial_[c].claim) return c;
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
  const std::lock_guard lock(books_->mutex);
  return books_->taken;
}

}  // namespace ppmm::detail
