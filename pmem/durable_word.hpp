/// A word of durable state that others read while it changes, or that recovery reads.
#pragma once

#include <ppmm/pmem/virtual_time.hpp>

#include <atomic>
#include <cstdint>

namespace ppmm::detail {

/// Never assigned plainly. A store is durable when its line is next flushed and fenced.
template <class T>
class durable_word {
 public:
  T load() const {
    virtual_time::reads(this, sizeof(T));
    return word_.load(std::memory_order_acquire);
  }
  /// Visible to others not before what this thread stored earlier. Durable when its line is next persisted.
  void store(T value) {
    virtual_time::stores(this);
    word_.store(value, std::memory_order_release);
  }
  /// Compare-and-modify (Blelloch et al. 2018, section 5): whether it took is learned only by reading the word, so
  /// repeating it after a fault does no harm. The reader persists the word before it believes it.
  void cam(T expected, T desired) {
    virtual_time::changes(this);
    word_.compare_exchange_strong(expected, desired, std::memory_order_acq_rel);
  }
  /// Makes the bits of `mask` what they are in `value`. Other bits may be changed by others meanwhile.
  void assign_bits(T mask, T value) {
    if (const T on = mask & value; on != 0) word_.fetch_or(on, std::memory_order_acq_rel);
    if (const T off = mask & ~value; off != 0) word_.fetch_and(~off, std::memory_order_acq_rel);
  }

 private:
  std::atomic<T> word_{};
};
static_assert(sizeof(durable_word<std::uint64_t>) == 8 && std::atomic<std::uint64_t>::is_always_lock_free);

}  // namespace ppmm::detail
