/// How the benchmarks measure: clocks, medians, and things measured in turns.
#pragma once

#include <sched.h>  // sched_setaffinity
#include <time.h>   // clock_gettime

#include <algorithm>
#include <cstddef>
#include <functional>
#include <utility>
#include <vector>

namespace bench {

/// Nanoseconds of a clock of clock_gettime.
inline double clock_ns(clockid_t clock) {
  timespec t{};
  clock_gettime(clock, &t);
  return 1e9 * static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec);
}

/// Where one thread computes, its own processor time counts: others on the machine then disturb less. Where several do,
/// the time on the wall.
inline clockid_t clock_for(unsigned threads) { return threads == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC; }

template <class Body>
double time_ns(unsigned threads, Body body) {
  const double began = clock_ns(clock_for(threads));
  body();
  return clock_ns(clock_for(threads)) - began;
}

/// While it lives, this thread and those that it starts stay on the core that it is on, if `so`. Where others share the
/// machine's cores one may be half as fast as the next for seconds, and a worker's thread begins on another core than the one
/// that waits for it. What threads a library starts for its pool must be there before.
class on_one_core {
 public:
  explicit on_one_core(bool so) {
    if (!so || sched_getaffinity(0, sizeof before_, &before_) != 0) return;
    cpu_set_t here;
    CPU_ZERO(&here);
    CPU_SET(static_cast<unsigned>(sched_getcpu()), &here);
    changed_ = sched_setaffinity(0, sizeof here, &here) == 0;
  }
  ~on_one_core() {
    if (changed_) sched_setaffinity(0, sizeof before_, &before_);
  }
  on_one_core(const on_one_core&) = delete;
  on_one_core& operator=(const on_one_core&) = delete;

 private:
  cpu_set_t before_{};
  bool changed_ = false;
};

/// Keeps a value from being optimised away.
template <class T>
void keep(const T& value) {
  asm volatile("" : : "r,m"(value) : "memory");
}

inline double quantile(std::vector<double> values, double q) {
  if (values.empty()) return 0;
  std::ranges::sort(values);
  return values[static_cast<std::size_t>(q * static_cast<double>(values.size() - 1) + 0.5)];
}
inline double median(std::vector<double> values) { return quantile(std::move(values), 0.5); }

/// Things measured in turns: round after round, each round beginning with another one, so that what disturbs the
/// machine for a while, or a frequency that changes, meets all of them alike.
class turns {
 public:
  /// `once` measures and gives a figure, in whatever unit.
  std::size_t add(std::function<double()> once) {
    things_.push_back({std::move(once), {}});
    return things_.size() - 1;
  }
  void take(unsigned rounds) {
    const std::size_t n = things_.size();
    for (unsigned r = 0; r < rounds; ++r)
      for (std::size_t i = 0; i < n; ++i) {
        thing& t = things_[(r + i) % n];
        t.values.push_back(t.once());
      }
  }
  /// Once each, and it does not count: what is touched first takes longer.
  void warm_up() {
    for (thing& t : things_) t.once();
  }
  /// What was measured so far does not count.
  void forget() {
    for (thing& t : things_) t.values.clear();
  }
  double median_of(std::size_t i) const { return median(things_[i].values); }
  /// The median of the ratios that the rounds gave.
  double ratio(std::size_t over, std::size_t under) const { return ratio(over, under, 0.5); }
  double ratio(std::size_t over, std::size_t under, double q) const {
    std::vector<double> ratios;
    for (std::size_t r = 0; r < things_[over].values.size(); ++r)
      ratios.push_back(things_[over].values[r] / things_[under].values[r]);
    return quantile(ratios, q);
  }

 private:
  struct thing {
    std::function<double()> once;
    std::vector<double> values;
  };
  std::vector<thing> things_;
};

}  // namespace bench
