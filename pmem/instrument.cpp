/// The hooks of GCC's ThreadSanitizer pass (gcc/sanitizer.def of GCC 12 lists them), and memcpy and the like.
///
/// Plain accesses are only told: the compiler makes them after the call. Atomic ones are made here, sequentially
/// consistent whatever was asked for. This file is not instrumented.
#include <ppmm/pmem/instrument.hpp>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <utility>

namespace ppmm::detail {

#if !defined(PPMM_INSTRUMENT)

void observe_accesses(std::uintptr_t, std::size_t, access_observer*) {}
bool accesses_are_observed() { return false; }
bool accesses_are_instrumented() { return false; }
bool& in_observer() {
  static thread_local bool never = false;
  return never;
}

#else

namespace {

constinit std::atomic<std::uintptr_t> observed_base{0};
constinit std::atomic<std::size_t> observed_size{0};
constinit std::atomic<access_observer*> current{nullptr};
constinit thread_local bool telling = false;  // an observer may read the pool: that is not told

/// Calls the observer with the part of [p, p + n) that is observed. Out of the way of all that is not.
template <bool store>
[[gnu::noinline]] void tell_part(std::uintptr_t first, std::size_t n, const void* pc) {
  const std::uintptr_t base = observed_base.load(std::memory_order_relaxed);
  const std::uintptr_t end = base + observed_size.load(std::memory_order_relaxed);
  const std::uintptr_t from = first < base ? base : first;
  const std::uintptr_t to = first + n < end ? first + n : end;
  access_observer* const observer = current.load(std::memory_order_acquire);
  if (from >= to || observer == nullptr || telling) return;
  telling = true;
  if constexpr (store)
    observer->about_to_store(reinterpret_cast<const void*>(from), to - from, pc);
  else
    observer->about_to_load(reinterpret_cast<const void*>(from), to - from, pc);
  telling = false;
}

template <bool store>
[[gnu::always_inline]] inline void tell(const volatile void* p, std::size_t n, const void* pc) {
  const auto first = reinterpret_cast<std::uintptr_t>(p);
  const std::uintptr_t base = observed_base.load(std::memory_order_relaxed);
  const std::size_t size = observed_size.load(std::memory_order_relaxed);
  // In the range, or begins before it and reaches into it.
  if (first - base < size || base - first < n) [[unlikely]]
    tell_part<store>(first, n, pc);
}

/// The last byte of the call instruction: an address in the line that makes the access.
#define PPMM_PC (static_cast<const char*>(__builtin_return_address(0)) - 1)

// ---- atomics -------------------------------------------------------------------------------------------------------

template <class T>
[[gnu::always_inline]] inline T atomic_load(const volatile T* p, const void* pc) {
  tell<false>(p, sizeof(T), pc);
  return __atomic_load_n(p, __ATOMIC_SEQ_CST);
}

template <class T>
[[gnu::always_inline]] inline void atomic_store(volatile T* p, T value, const void* pc) {
  tell<true>(p, sizeof(T), pc);
  __atomic_store_n(p, value, __ATOMIC_SEQ_CST);
}

/// Tells of a load and a store, and makes them at once.
template <class T, class Operation>
[[gnu::always_inline]] inline T read_modify_write(volatile T* p, const void* pc, Operation operation) {
  tell<false>(p, sizeof(T), pc);
  tell<true>(p, sizeof(T), pc);
  return operation();
}

/// A store is told of only if it is about to be made. Another thread may come between: then a store that was told of
/// does not happen. One that was not told of never happens.
template <class T>
[[gnu::always_inline]] inline bool compare_exchange(volatile T* p, T* expected, T desired, const void* pc) {
  tell<false>(p, sizeof(T), pc);
  const T found = __atomic_load_n(p, __ATOMIC_SEQ_CST);
  if (found != *expected) {
    *expected = found;
    return false;
  }
  tell<true>(p, sizeof(T), pc);
  return __atomic_compare_exchange_n(p, expected, desired, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}

}  // namespace

void observe_accesses(std::uintptr_t base, std::size_t size, access_observer* observer) {
  observed_size.store(0);
  current.store(observer);
  observed_base.store(observer == nullptr ? 0 : base);
  observed_size.store(observer == nullptr ? 0 : size);
}

bool& in_observer() { return telling; }

unsigned& locks_held() {
  static constinit thread_local unsigned held = 0;
  return held;
}

bool accesses_are_observed() { return current.load() != nullptr; }

bool accesses_are_instrumented() { return true; }

#endif

}  // namespace ppmm::detail

#if defined(PPMM_INSTRUMENT)

using namespace ppmm::detail;

// What the compiler calls has reserved names, and signatures that are the compiler's.
extern "C" {

void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_atomic_thread_fence(int) { std::atomic_thread_fence(std::memory_order_seq_cst); }
void __tsan_atomic_signal_fence(int) { std::atomic_signal_fence(std::memory_order_seq_cst); }

#define PPMM_PLAIN(kind, n)                                            \
  void __tsan_##kind##read##n(void* p) { tell<false>(p, n, PPMM_PC); } \
  void __tsan_##kind##write##n(void* p) { tell<true>(p, n, PPMM_PC); }
#define PPMM_PLAIN_SIZES(kind) PPMM_PLAIN(kind, 2) PPMM_PLAIN(kind, 4) PPMM_PLAIN(kind, 8) PPMM_PLAIN(kind, 16)
PPMM_PLAIN(, 1)
PPMM_PLAIN_SIZES()
PPMM_PLAIN_SIZES(unaligned_)
PPMM_PLAIN(volatile_, 1)
PPMM_PLAIN_SIZES(volatile_)
PPMM_PLAIN_SIZES(unaligned_volatile_)

void __tsan_read_range(void* p, std::size_t n) { tell<false>(p, n, PPMM_PC); }
void __tsan_write_range(void* p, std::size_t n) { tell<true>(p, n, PPMM_PC); }
void __tsan_vptr_read(void* p) { tell<false>(p, sizeof(void*), PPMM_PC); }
void __tsan_vptr_update(void* p, void*) { tell<true>(p, sizeof(void*), PPMM_PC); }

#define PPMM_ATOMIC(bits, T)                                                                           \
  T __tsan_atomic##bits##_load(const volatile T* p, int) { return atomic_load(p, PPMM_PC); }           \
  void __tsan_atomic##bits##_store(volatile T* p, T v, int) { atomic_store(p, v, PPMM_PC); }           \
  T __tsan_atomic##bits##_exchange(volatile T* p, T v, int) {                                          \
    return read_modify_write(p, PPMM_PC, [=] { return __atomic_exchange_n(p, v, __ATOMIC_SEQ_CST); }); \
  }                                                                                                    \
  PPMM_FETCH(bits, T, add)                                                                             \
  PPMM_FETCH(bits, T, sub)                                                                             \
  PPMM_FETCH(bits, T, and)                                                                             \
  PPMM_FETCH(bits, T, or)                                                                              \
  PPMM_FETCH(bits, T, xor)                                                                             \
  PPMM_FETCH(bits, T, nand)                                                                            \
  bool __tsan_atomic##bits##_compare_exchange_strong(volatile T* p, T* expected, T v, int, int) {      \
    return compare_exchange(p, expected, v, PPMM_PC);                                                  \
  }                                                                                                    \
  bool __tsan_atomic##bits##_compare_exchange_weak(volatile T* p, T* expected, T v, int, int) {        \
    return compare_exchange(p, expected, v, PPMM_PC);                                                  \
  }                                                                                                    \
  T __tsan_atomic##bits##_compare_exchange_val(volatile T* p, T expected, T v, int, int) {             \
    compare_exchange(p, &expected, v, PPMM_PC);                                                        \
    return expected;                                                                                   \
  }
#define PPMM_FETCH(bits, T, name)                                                                        \
  T __tsan_atomic##bits##_fetch_##name(volatile T* p, T v, int) {                                        \
    return read_modify_write(p, PPMM_PC, [=] { return __atomic_fetch_##name(p, v, __ATOMIC_SEQ_CST); }); \
  }
PPMM_ATOMIC(8, std::uint8_t)
PPMM_ATOMIC(16, std::uint16_t)
PPMM_ATOMIC(32, std::uint32_t)
PPMM_ATOMIC(64, std::uint64_t)
// Of 16 bytes only what shared cells need: a program that has other such atomics does not link.
__extension__ typedef unsigned __int128 ppmm_word16;
[[gnu::target("cx16")]] bool __tsan_atomic128_compare_exchange_strong(volatile ppmm_word16* p, ppmm_word16* expected, ppmm_word16 v, int, int) {
  tell<false>(p, sizeof *p, PPMM_PC);
  if (__sync_val_compare_and_swap(p, *expected, *expected) == *expected) tell<true>(p, sizeof *p, PPMM_PC);
  const ppmm_word16 found = __sync_val_compare_and_swap(p, *expected, v);
  return std::exchange(*expected, found) == found;
}

void* ppmm_observed_memcpy(void* to, const void* from, std::size_t n) noexcept {
  tell<false>(from, n, PPMM_PC);
  tell<true>(to, n, PPMM_PC);
  return std::memcpy(to, from, n);
}
void* ppmm_observed_memmove(void* to, const void* from, std::size_t n) noexcept {
  tell<false>(from, n, PPMM_PC);
  tell<true>(to, n, PPMM_PC);
  return std::memmove(to, from, n);
}
void* ppmm_observed_memset(void* to, int value, std::size_t n) noexcept {
  tell<true>(to, n, PPMM_PC);
  return std::memset(to, value, n);
}
int ppmm_observed_memcmp(const void* a, const void* b, std::size_t n) noexcept {
  tell<false>(a, n, PPMM_PC);
  tell<false>(b, n, PPMM_PC);
  return std::memcmp(a, b, n);
}

}  // extern "C"

#endif
