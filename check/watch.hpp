/// What the scheduler tells the idempotence checker. Without PPMM_INSTRUMENT all of this is empty, and costs nothing.
#pragma once

#include <cstddef>
#include <type_traits>
#include <typeinfo>

namespace ppmm::detail::watch {

#if defined(PPMM_INSTRUMENT)

/// A type, as far as the checker must know it.
struct value_type {
  const std::type_info* name;
  std::size_t size;
  void (*clear_padding)(void*);  // what stands in padding is not part of the value
};

template <class T>
inline constexpr value_type type_of{
    &typeid(T), sizeof(T), [](void* value) { __builtin_clear_padding(static_cast<std::remove_cv_t<T>*>(value)); }};

/// Where the compiler puts a pointer, it is aligned.
template <class T>
inline constexpr bool may_hold_address = sizeof(T) >= sizeof(void*) && alignof(T) >= alignof(void*) &&
                                         !std::is_floating_point_v<T>;

/// This thread is a worker of a checked run.
bool is_on();
void look_for_addresses(const void* value, const value_type& type);
void opened_to_write(const void* p, std::size_t n, const value_type* type);

/// A record is durable: what was loaded and stored before is behind it.
void capsule_over();
/// A soft fault: the capsule will be repeated from the record.
void capsule_lost();

/// While it lives, the thread is a worker of the pool that has a worker slot here.
class worker_thread {
 public:
  explicit worker_thread(const void* slot);
  ~worker_thread();
  worker_thread(const worker_thread&) = delete;
  worker_thread& operator=(const worker_thread&) = delete;
};

/// These values may become durable: arguments, captures, results. Looks for addresses of volatile memory in them.
template <class... T>
constexpr void durable(const T&... values) {
  if (std::is_constant_evaluated()) return;
  const auto look = [](const auto& value) {
    using value_t = std::remove_cvref_t<decltype(value)>;
    if constexpr (may_hold_address<value_t>)
      if (is_on()) look_for_addresses(&value, type_of<value_t>);
  };
  (look(values), ...);
}

/// A view was opened: these elements may be stored to until the next record.
template <class T>
void opened_to_write(const T* first, std::size_t count) {
  if (is_on()) opened_to_write(first, count * sizeof(T), may_hold_address<T> ? &type_of<T> : nullptr);
}

#else

inline void capsule_over() {}
inline void capsule_lost() {}

struct worker_thread {
  explicit worker_thread(const void*) {}
};

template <class... T>
constexpr void durable(const T&...) {}
template <class T>
void opened_to_write(const T*, std::size_t) {}

#endif

}  // namespace ppmm::detail::watch
