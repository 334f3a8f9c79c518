/// A clock cheap enough to be read at every few forks.
#pragma once

#include <ppmm/pmem/virtual_time.hpp>

#include <chrono>
#include <cstdint>

namespace ppmm::detail {

/// In an instrumented build a test may stop the clock, so that a run depends on nothing but its seed: then this counts.
inline const std::uint64_t* stopped_clock = nullptr;

/// Ticks of a steady counter that all cores share (the time stamp counter on x86).
inline std::uint64_t ticks() {
#if defined(PPMM_VIRTUAL_TIME)
  return virtual_time::machine != nullptr ? virtual_time::machine->now() : 0;
#endif
#if defined(PPMM_INSTRUMENT)
  if (stopped_clock != nullptr) return *stopped_clock;
#endif
#if defined(__x86_64__)
  return __builtin_ia32_rdtsc();
#else
  return static_cast<std::uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count());
#endif
}

/// Ticks a nanosecond (of virtual time: 1000); measured against the steady clock at the first call (0.2 ms).
double ticks_per_ns();

}  // namespace ppmm::detail
