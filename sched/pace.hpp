/// How long a worker goes on between two commits.
#pragma once

#include <algorithm>

namespace ppmm::detail {

/// The heartbeat of one worker. Where the user has given one, or the medium's own is good (lines cost what they cost), it
/// stays. On page granularity it follows what durability costs: a sync takes 0.1 ms on one disk, 20 on another, and more
/// when others write to it. Then a hundredth of the worker's time goes into what its fences wait for (commits, and the
/// steals and joins between them), as long as the bounds allow. The smoothing forgets a change in a handful of commits, and
/// one slow sync lengthens the next few heartbeats by what it cost: in the long run the share holds.
class pace {
 public:
  struct bounds {
    double least = 0, most = 0;  // equal: the heartbeat does not adapt
  };
  static constexpr double beats_per_cost = 100;

  pace(double heartbeat, bounds within) : heartbeat_(heartbeat), within_(within) {}

  double heartbeat() const { return heartbeat_; }
  /// While workers are idle, children are offered more often: four times, but where the heartbeat adapts only so often that
  /// another hundredth is spent.
  double hungry_heartbeat() const { return adapts() ? heartbeat_ / 2 : heartbeat_ / 4; }

  /// From one commit to the next, so much time was spent on durability.
  void committed(double cost) {
    if (!adapts()) return;
    constexpr double weight = 0.25;
    cost_ = cost_ < 0 ? cost : cost_ + weight * (cost - cost_);
    heartbeat_ = std::clamp(beats_per_cost * cost_, within_.least, within_.most);
  }

 private:
  bool adapts() const { return within_.least < within_.most; }

  double heartbeat_;
  bounds within_;
  double cost_ = -1;  // smoothed; none yet
};

}  // namespace ppmm::detail
