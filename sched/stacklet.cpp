#include <ppmm/sched/stacklet.hpp>

#include <ppmm/sched/frame.hpp>

#include <utility>

namespace ppmm::detail {
namespace {

constexpr std::size_t cached_chunks = 8;

}  // namespace

chunk_pool::chunk_pool(chunk_space& space) : space_(space), below_(lazy_zeros<std::uint32_t>(space.where().numbers)) {}

std::uint32_t chunk_pool::take(const char* purpose) {
  const std::uint32_t c = space_.take_high();
  if (c == no_chunk) space_.no_room(chunk_bytes, purpose);
  return c;
}

void stacklet::push_chunk() {
  std::uint32_t c;
  if (!cache_.empty()) {
    c = cache_.back();
    cache_.pop_back();
  } else {
    c = chunks_.take();
  }
  chunks_.below(c) = top_;
  top_ = c;
}

void stacklet::give_back(std::uint32_t chunk) {
  if (cache_.size() < cached_chunks)
    cache_.push_back(chunk);
  else
    chunks_.give_back(chunk);
}

bool stacklet::has(std::uint32_t chunk) const {
  std::uint32_t c = top_;
  while (c != no_chunk && c != chunk) c = chunks_.below(c);
  return c != no_chunk;
}

void stacklet::shrink_to(std::uint32_t chunk) {
  while (top_ != chunk) give_back(std::exchange(top_, chunks_.below(top_)));
}

void stacklet::start_at(std::byte* top) {
  room_ = {top, end()};
  high_top_ = top;
  high_chunk_ = top_;
  gap_first_ = gap_last_ = nullptr;
}

void stacklet::stand_on(const frame* newest) {
  const std::uint32_t chunk = image_.chunk_of(newest);
  if (!has(chunk)) {
    clear();
    top_ = chunk;
  }
  shrink_to(chunk);
  start_at(end_of(newest));
}

void stacklet::stand_on_base() {
  if (empty()) push_chunk();
  while (chunks_.below(top_) != no_chunk) shrink_to(chunks_.below(top_));
  start_at(begin());
}

std::byte* stacklet::grow(std::size_t bytes) {
  if (gap_last_ != nullptr && room_.limit == gap_last_) {  // out of the gap, to above the high top
    shrink_to(high_chunk_);
    room_.limit = end();
    if (static_cast<std::size_t>(room_.limit - high_top_) >= bytes) return high_top_;
  }
  push_chunk();
  room_.limit = end();
  return begin();
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
    top_ = no_chunk;
  }
  clear();
}

void stacklet::forget() {
  high_top_ = gap_first_ = gap_last_ = reinterpret_cast<std::byte*>(0xdbdb'dbdb'dbdb'dbdb);  // none that it could be
  high_chunk_ = no_chunk - 1;
}

void stacklet::take_over(stacklet& dead) {
  clear();
  top_ = std::exchange(dead.top_, no_chunk);
  for (const std::uint32_t c : dead.cache_) give_back(c);
  dead.cache_.clear();
}

}  // namespace ppmm::detail
