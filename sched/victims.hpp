/// Whom an idle worker tries to steal from, and in which order.
///
/// Near first, and within a distance at random: so a child moves as little as may be, and thieves do not all come to the
/// same victim. Of a distance at which there are many workers only some are tried in a round: who looks at all of
/// thousands is long under way, past victims that have got something meanwhile (docs/scale.md has the figures).
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

namespace ppmm::detail {

/// How victims are chosen. Other values than the defaults are for measuring.
struct victim_policy {
  enum class order : std::uint8_t {
    near_first,  ///< by distance
    uniform,     ///< all alike
    fixed,       ///< by distance, and within one always from the same victim on
  };
  order by = order::near_first;
  std::uint32_t most = 1;  ///< victims of one distance in a round
};

class victim_order {
 public:
  /// `groups`: the other workers by distance, near first. `seed`: each worker has its own.
  victim_order(std::vector<std::vector<std::uint32_t>> groups, victim_policy policy, std::uint64_t seed)
      : groups_(std::move(groups)), policy_(policy), state_(seed * 0x9e3779b97f4a7c15u + 1) {
    if (policy_.by != victim_policy::order::uniform) return;
    std::vector<std::uint32_t> all;
    for (const auto& g : groups_) all.insert(all.end(), g.begin(), g.end());
    groups_.clear();
    if (!all.empty()) groups_.push_back(std::move(all));
  }

  void begin_round() {
    group_ = 0;
    if (!groups_.empty()) begin_group();
  }
  /// nullopt: the round is over.
  std::optional<std::uint32_t> next() {
    while (left_ == 0) {
      if (group_ + 1 >= groups_.size()) return std::nullopt;
      ++group_;
      begin_group();
    }
    const std::vector<std::uint32_t>& g = groups_[group_];
    --left_;
    if (picks_) return g[random_below(static_cast<std::uint32_t>(g.size()))];
    const std::uint32_t victim = g[at_];
    at_ = at_ + 1 == g.size() ? 0 : at_ + 1;
    return victim;
  }

 private:
  /// A small group is gone round, each victim once; of a large one victims are picked.
  void begin_group() {
    const auto n = static_cast<std::uint32_t>(groups_[group_].size());
    picks_ = n > policy_.most;
    left_ = std::min(n, policy_.most);
    at_ = picks_ || policy_.by == victim_policy::order::fixed ? 0 : random_below(n);
  }
  std::uint32_t random_below(std::uint32_t n) {  // xorshift (Marsaglia, 2003); n times a fraction (Lemire, 2019)
    state_ ^= state_ << 13;
    state_ ^= state_ >> 7;
    state_ ^= state_ << 17;
    return static_cast<std::uint32_t>((state_ >> 32) * n >> 32);
  }

  std::vector<std::vector<std::uint32_t>> groups_;
  victim_policy policy_;
  std::uint64_t state_;
  std::size_t group_ = 0;
  std::uint32_t left_ = 0, at_ = 0;
  bool picks_ = false;
};

}  // namespace ppmm::detail
