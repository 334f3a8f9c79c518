/// What a build with instrumented loads and stores tells of accesses to a pool.
///
/// With the CMake option PPMM_INSTRUMENT the compiler calls a function before each load and store (the hooks that it
/// has for ThreadSanitizer; instrument.cpp defines them, no ThreadSanitizer is linked). Calls of memcpy and the like
/// are seen as well (instrument_calls.hpp). Accesses to the observed range are handed on to one observer: the simulated
/// medium, or the idempotence checker. Without the option nobody calls an observer, and nothing costs anything.
///
/// Not seen: accesses of code that is not instrumented (the C library beyond memcpy, memmove, memset and memcmp; the
/// kernel), and two that the compiler's pass leaves out: a class of more than 16 bytes that a function returns straight
/// into the range (`*p = f()`, if f is not inlined), and one that is passed by value out of it (`f(*p)`). The store of
/// a bit-field is a store of its whole unit.
#pragma once

#include <cstddef>
#include <cstdint>

namespace ppmm::detail {

/// Sees accesses before they are made: a store's value is in memory at the same thread's next call, with one exception:
/// an assignment of a whole class, `*a = *b`, announces the store, then the load, and then is made. Atomic
/// read-modify-writes are a load, then a store (only if they store); a store that was announced may still be lost to
/// another thread's. Calls come from any thread, and may not throw. What the observer itself accesses is not told.
/// Parts of accesses outside the range are cut off. `pc` is in the code that makes the access.
class access_observer {
 public:
  virtual ~access_observer() = default;
  virtual void about_to_load(const void* p, std::size_t n, const void* pc) = 0;
  virtual void about_to_store(const void* p, std::size_t n, const void* pc) = 0;
};

/// From now on accesses to [base, base + size) are told to `observer`; nullptr: to nobody. One range at a time. To be
/// called while no other thread accesses it.
void observe_accesses(std::uintptr_t base, std::size_t size, access_observer* observer);

/// Copies without an observer being told: for observers, which must not see themselves.
inline void copy_unobserved(void* to, const void* from, std::size_t n) {
#if defined(__x86_64__)
  asm volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(n) : : "memory");
#else
  auto* t = static_cast<volatile unsigned char*>(to);
  const auto* f = static_cast<const volatile unsigned char*>(from);
  for (; n > 0; --n) *t++ = *f++;
#endif
}

/// True while this thread is in an observer, whose own accesses are not told. An observer that lets other code go on (a
/// fiber) gives it its own flag meanwhile.
bool& in_observer();

/// True while somebody observes.
bool accesses_are_observed();

/// True in a build that calls observers.
bool accesses_are_instrumented();

}  // namespace ppmm::detail
