/// What a build with instrumented loads and stores tells of accesses to a pool.
///
/// With the CMake option PPMM_INSTRUMENT the compiler calls a function before each load and store (the hooks that it
/// has for ThreadSanitizer; instrument.cpp defines them, no ThreadSanitizer is linked). Calls of memcpy and the like
/// are seen as well. Accesses to the observed range are handed on to one observer: the simulated medium, or the
/// idempotence checker. Without the option nobody calls an observer, and nothing costs anything.
#pragma once

#include <cstddef>
#include <cstdint>

namespace ppmm::detail {

/// Sees accesses before they are made: a store's value is in memory at the next call. Atomic read-modify-writes are a
/// load, then a store (only if they store). Calls come from any thread.
class access_observer {
 public:
  virtual ~access_observer() = default;
  virtual void about_to_load(const void* p, std::size_t n, const void* pc) = 0;
  virtual void about_to_store(const void* p, std::size_t n, const void* pc) = 0;
};

/// From now on accesses to [base, base + size) are told to `observer`; nullptr: to nobody. One range at a time. To be
/// called while no other thread accesses it.
void observe_accesses(std::uintptr_t base, std::size_t size, access_observer* observer);

/// True in a build that calls observers.
bool accesses_are_instrumented();

}  // namespace ppmm::detail
