#include <ppmm/sched/stacklet.hpp>

#include <ppmm/sched/frame.hpp>

#include <algorithm>
#include <array>
#include <span>
#include <utility>

namespace ppmm::detail {
namespace {

constexpr std::size_t cached_chunks = 8;  // at least; when there are more, half of them go back

}  // namespace

chunk_pool::chunk_pool(chunk_space& space, commons& shared) : space_(space), below_(shared.zeros<std::uint32_t>(space.where().numbers)) {}

std::uint32_t chunk_pool::take(unsigned part, const char* purpose) {
  const std::uint32_t c = space_.take_high(part);
  if (c == no_chunk) space_.no_room(chunk_bytes, purpose);
  return c;
}

/// To an empty cache. False: there is no chunk.
bool stacklet::fill_cache() {
  std::array<std::uint32_t, stacklet_books::most_cached / 2> some;
  const std::size_t n = chunks_.take_some(part_, some);
  std::copy_n(some.begin(), n, books_.cache);
  books_.cached.store(static_cast<std::uint32_t>(n), std::memory_order_release);
  return n > 0;
}

/// A chunk is first out of the cache, then in the stacklet; and the other way round. Who is killed between loses it.
void stacklet::push_chunk() {
  std::uint32_t n = books_.cached.load(std::memory_order_relaxed);
  if (n == 0) {
    if (!fill_cache()) chunks_.no_room();
    n = books_.cached.load(std::memory_order_relaxed);
  }
  const std::uint32_t c = books_.cache[n - 1];
  books_.cached.store(n - 1, std::memory_order_release);
  chunks_.below(c) = top();
  set_top(c);
}

void stacklet::give_back(std::uint32_t chunk) {
  if (!chunks_.is_in(chunk, part_)) return chunks_.give_back(chunk);
  std::uint32_t n = books_.cached.load(std::memory_order_relaxed);
  books_.cache[n++] = chunk;
  books_.cached.store(n, std::memory_order_release);
  const std::size_t most = std::min(std::max(cached_chunks, 2 * chunks_.batch()), stacklet_books::most_cached - 1);
  if (n <= most) return;
  books_.cached.store(n / 2, std::memory_order_release);
  chunks_.give_back(std::span(books_.cache).subspan(n / 2, n - n / 2));
}

bool stacklet::has(std::uint32_t chunk) const {
  std::uint32_t c = top();
  while (c != no_chunk && c != chunk) c = chunks_.below(c);
  return c != no_chunk;
}

void stacklet::shrink_to(std::uint32_t chunk) {
  while (top() != chunk) {
    const std::uint32_t c = top();
    set_top(chunks_.below(c));
    give_back(c);
  }
}

void stacklet::start_at(std::byte* top) {
  room_ = {top, end()};
  high_top_ = top;
  high_chunk_ = this->top();
  gap_first_ = gap_last_ = nullptr;
}

void stacklet::stand_on(const frame* newest) {
  const std::uint32_t chunk = image_.chunk_of(newest);
  if (!has(chunk)) {
    clear();
    set_top(chunk);
  }
  shrink_to(chunk);
  start_at(end_of(newest));
}

void stacklet::stand_on_base() {
  if (empty()) push_chunk();
  while (chunks_.below(top()) != no_chunk) shrink_to(chunks_.below(top()));
  start_at(first());
}

std::byte* stacklet::grow(std::size_t bytes) {
  if (gap_last_ != nullptr && room_.limit == gap_last_) {  // out of the gap, to above the high top
    shrink_to(high_chunk_);
    room_.limit = end();
    if (static_cast<std::size_t>(room_.limit - high_top_) >= bytes) return high_top_;
  }
  push_chunk();
  room_.limit = end();
  return first();
}

/// A smaller gap would be left and entered again at every few forks; it grows with the next commits.
constexpr std::ptrdiff_t min_gap = 32 * frame_alignment;

/// Without the gap a strand would creep up its stacklet, by some frames at each commit.
///
/// Invariants after crash: the last record reaches the popped frame, its ancestors and what stands above it; the gap lies
/// between a frame and its parent on that chain, so nothing that is written there is reached.
/// Recovery: none is needed; `stand_on` begins above the newest frame that the record reaches.
void stacklet::open_gap(const frame* popped, const frame* parent) {
  const std::uint32_t chunk = image_.chunk_of(popped);
  std::byte *first = nullptr, *last = reinterpret_cast<std::byte*>(const_cast<frame*>(popped));
  if (parent == nullptr) {
    if (chunks_.below(chunk) != no_chunk) return;
    first = image_.chunk(chunk);
  } else {
    first = end_of(parent);
    if (image_.chunk_of(parent) != chunk) last = image_.chunk(image_.chunk_of(parent)) + chunk_bytes;
  }
  if (last - first < min_gap) return;  // the room that is used now lies above, and stays as good as it is
  shrink_to(high_chunk_);
  gap_first_ = first;
  gap_last_ = last;
  room_ = {first, last};
}

void stacklet::return_to(const frame* popped) {
  auto* const at = reinterpret_cast<std::byte*>(const_cast<frame*>(popped));
  if (gap_first_ <= at && at < gap_last_) {
    room_.limit = gap_last_;  // chunks beyond the high top go when the gap is left again
  } else {
    shrink_to(image_.chunk_of(popped));
    room_.limit = end();
  }
}

void stacklet::leave(const frame* kept) {
  if (kept != nullptr && has(image_.chunk_of(kept))) {
    shrink_to(image_.chunk_of(kept));
    set_top(no_chunk);
  }
  clear();
}

void stacklet::forget() {
  high_top_ = gap_first_ = gap_last_ = reinterpret_cast<std::byte*>(0xdbdb'dbdb'dbdb'dbdb);  // none that it could be
  high_chunk_ = no_chunk - 1;
}

void stacklet::take_over(stacklet_books& dead) {
  clear();
  const std::uint32_t top = dead.top.load(std::memory_order_acquire);
  dead.top.store(0, std::memory_order_release);
  set_top(top - 1);
  for (std::uint32_t n = dead.cached.load(std::memory_order_acquire); n > 0; --n) {
    const std::uint32_t c = dead.cache[n - 1];
    dead.cached.store(n - 1, std::memory_order_release);
    give_back(c);
  }
}

}  // namespace ppmm::detail
