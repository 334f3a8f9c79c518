#include <ppmm/sched/clock.hpp>

namespace ppmm::detail {

double ticks_per_ns() {
#if defined(PPMM_VIRTUAL_TIME)
  return 1000;
#endif
  static const double rate = [] {
    using clock = std::chrono::steady_clock;
    const auto t0 = clock::now();
    const std::uint64_t c0 = ticks();
    auto t1 = t0;
    while (t1 - t0 < std::chrono::microseconds(200)) t1 = clock::now();
    const std::uint64_t c1 = ticks();
    return static_cast<double>(c1 - c0) / std::chrono::duration<double, std::nano>(t1 - t0).count();
  }();
  return rate;
}

}  // namespace ppmm::detail
