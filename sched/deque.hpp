/// A worker's deque of hints: which exposures a thief may try. Only hints: the truth is in the exposure slots, so a
/// hint may be stale, and one that is lost costs parallelism, never a result. Never flushed; rebuilt from the frames.
///
/// A thief that finds nothing leaves word that it was there: then the owner offers more, and sooner. It is told by those
/// who came to it, and no word is changed by all workers: of thousands one after another would (docs/scale.md).
#pragma once

#include <ppmm/sched/layout.hpp>

#include <array>
#include <atomic>
#include <bit>
#include <cstdint>
#include <optional>

namespace ppmm::detail {

/// Chase and Lev's deque (2005) with the orderings of Lê, Pop, Cohen and Zappa Nardelli (2013), of fixed size: the
/// owner works at the bottom, thieves take the oldest at the top.
class hint_deque {
 public:
  /// Owner only. A full deque drops the hint.
  void push(exposure e) {
    const std::int64_t b = bottom_.load(std::memory_order_relaxed);
    if (b - top_.load(std::memory_order_acquire) >= capacity) return;
    at(b).store(exposure_word(e), std::memory_order_relaxed);
    bottom_.store(b + 1, std::memory_order_release);
  }

  /// Owner only: removes the newest hint if it is `e`.
  void pop_if(exposure e) {
    const std::int64_t b = bottom_.load(std::memory_order_relaxed) - 1;
    if (b < top_.load(std::memory_order_relaxed) || at(b).load(std::memory_order_relaxed) != exposure_word(e)) return;
    bottom_.store(b, std::memory_order_seq_cst);
    std::int64_t t = top_.load(std::memory_order_seq_cst);
    if (t < b) return;
    if (t == b) top_.compare_exchange_strong(t, t + 1, std::memory_order_seq_cst);  // the last one: race with thieves
    bottom_.store(b + 1, std::memory_order_relaxed);
  }

  /// Anyone: takes the oldest hint.
  std::optional<exposure> steal() {
    std::int64_t t = top_.load(std::memory_order_seq_cst);
    if (t >= bottom_.load(std::memory_order_seq_cst)) return std::nullopt;
    const std::uint64_t word = at(t).load(std::memory_order_relaxed);
    if (!top_.compare_exchange_strong(t, t + 1, std::memory_order_seq_cst)) return std::nullopt;
    return unpack_exposure(word);
  }

  /// Anyone: the owner is to offer something soon. False if this thief's word is there already; thieves are told apart by
  /// their number modulo 64.
  bool ask(unsigned thief) {
    const std::uint64_t bit = std::uint64_t{1} << thief % 64;
    if ((asked_.load(std::memory_order_relaxed) & bit) != 0) return false;
    asked_.fetch_or(bit, std::memory_order_relaxed);
    return true;
  }
  /// Thieves that have asked since they were answered, about.
  unsigned asked() const { return static_cast<unsigned>(std::popcount(asked_.load(std::memory_order_relaxed))); }
  /// Owner only: what there is is offered.
  void answer() {
    if (asked() > 0) asked_.store(0, std::memory_order_relaxed);
  }

  /// A worker begins where another may have died.
  void clear() {
    bottom_.store(top_.load(std::memory_order_seq_cst), std::memory_order_seq_cst);
    asked_.store(0, std::memory_order_relaxed);
  }

  bool empty() const { return top_.load(std::memory_order_relaxed) >= bottom_.load(std::memory_order_relaxed); }

 private:
  static constexpr std::int64_t capacity = 512;
  std::atomic<std::uint64_t>& at(std::int64_t i) { return ring_[static_cast<std::size_t>(i) % capacity]; }

  alignas(64) std::atomic<std::int64_t> top_{0};  // what a thief looks at is one line: the owner stores to it once a commit
  std::atomic<std::int64_t> bottom_{0};
  std::atomic<std::uint64_t> asked_{0};
  alignas(64) std::array<std::atomic<std::uint64_t>, capacity> ring_{};
};

}  // namespace ppmm::detail
