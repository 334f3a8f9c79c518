#include <ppmm/sched/stacklet.hpp>

#include <fmt/core.h>  // format

#include <cstdlib>
#include <new>
#include <utility>

namespace ppmm::detail {
namespace {

/// Zeroed memory that costs nothing until it is touched, however large the pool.
template <class T>
T* lazy_zeros(std::size_t n) {
  void* p = std::calloc(n, sizeof(T));
  if (p == nullptr) throw std::bad_alloc();
  return static_cast<T*>(p);
}

constexpr std::size_t cached_chunks = 8;

}  // namespace

chunk_pool::chunk_pool(const image& img)
    : image_(img),
      below_(lazy_zeros<std::uint32_t>(img.chunk_numbers()), std::free),
      used_(lazy_zeros<std::uint64_t>(img.chunk_numbers() / 64 + 1), std::free) {
  if (!img.chunk_ranges().empty()) next_ = img.chunk_ranges()[0].first;
}

std::uint32_t chunk_pool::take() {
  const std::lock_guard lock(mutex_);
  if (!free_.empty()) {
    const std::uint32_t c = free_.back();
    free_.pop_back();
    ++taken_;
    return c;
  }
  const auto& ranges = image_.chunk_ranges();
  while (range_ < ranges.size()) {
    while (next_ < ranges[range_].last) {
      const std::uint32_t c = next_++;
      if (used(c)) continue;
      ++taken_;
      return c;
    }
    if (++range_ < ranges.size()) next_ = ranges[range_].first;
  }
  throw out_of_stack_memory(fmt::format("the recursion needs more stack memory than the pool has: all {} MiB are in use; create a larger pool, or fork and "
                                        "call less deeply",
                                        image_.chunk_count() * chunk_bytes >> 20));
}

void chunk_pool::give_back(std::uint32_t chunk) {
  const std::lock_guard lock(mutex_);
  free_.push_back(chunk);
  --taken_;
}

std::uint64_t chunk_pool::in_use() const {
  const std::lock_guard lock(mutex_);
  return taken_;
}

void stacklet::grow() {
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
  return c == chunk && c != no_chunk;
}

void stacklet::shrink_to(std::uint32_t chunk) {
  while (top_ != chunk) give_back(std::exchange(top_, chunks_.below(top_)));
}

void stacklet::shrink_to_base() {
  while (top_ != no_chunk && chunks_.below(top_) != no_chunk) give_back(std::exchange(top_, chunks_.below(top_)));
}

void stacklet::clear() {
  while (top_ != no_chunk) give_back(std::exchange(top_, chunks_.below(top_)));
}

}  // namespace ppmm::detail
