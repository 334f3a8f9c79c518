/// How much a loop does between two safe points.
#pragma once

#include <ppmm/sched/clock.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace ppmm::detail {

/// The length of a loop's next turn, found by doubling and halving: a turn takes some ten microseconds, so that a
/// heartbeat is heard in time, and the safe point between two turns costs nothing beside them. Part of the loop's task,
/// so a loop that is resumed or stolen goes on with it.
class turn_length {
 public:
  constexpr explicit turn_length(std::uint32_t first = 1) : elements_(first) {}

  std::size_t elements() const { return elements_; }

  /// Runs `turn` and learns from the time it took.
  template <class Turn>
  void measure(Turn turn) {
    const std::uint64_t started = ticks();
    turn();
    const std::uint64_t took = ticks() - started;
    if (took < aim / 2)
      elements_ = std::min(elements_, longest / 2) * 2;
    else if (took > aim * 2)
      elements_ = std::max(elements_ / 2, 1u);
  }

 private:
#if defined(__x86_64__)
  static constexpr std::uint64_t aim = 24'000;  // 6 to 12 µs at 2 to 4 GHz
#else
  static constexpr std::uint64_t aim = 9'000;   // ns
#endif
  static constexpr std::uint32_t longest = 1u << 30;

  std::uint32_t elements_;
};

}  // namespace ppmm::detail
