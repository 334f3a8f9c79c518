/// What the scheduler tells the idempotence checker. Without PPMM_INSTRUMENT all of this is empty, and costs nothing.
#pragma once

#include <ppmm/pmem/padding.hpp>

#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <typeinfo>

namespace ppmm::detail::watch {

enum class view_kind : std::uint8_t { read, write, update };

#if defined(PPMM_INSTRUMENT)

/// Where the compiler puts a pointer, it is aligned.
template <class T>
inline constexpr bool may_hold_address = sizeof(T) >= sizeof(void*) && alignof(T) >= alignof(void*) &&
                                         !std::is_floating_point_v<T>;

/// A type, as far as the checker must know it.
struct value_type {
  const std::type_info* name;
  std::size_t size;
  bool may_hold_address;
  void (*clear_padding)(void*);  // what stands in padding is not part of the value
};

template <class T>
inline constexpr value_type type_of{
    &typeid(T), sizeof(T), may_hold_address<T>,
    [](void* value) { detail::clear_padding(static_cast<std::remove_cv_t<T>*>(value)); }};

/// What this thread runs, if it is a task or a continuation: its type, and where in it a view was opened first and a turn
/// made last, outside turns. Places as the checker numbers them; 0: none.
struct running_body {
  const std::type_info* task = nullptr;
  std::uint32_t view_at = 0, turn_at = 0;
};

/// This thread is a worker of a checked run.
bool is_on();
void look_for_addresses(const void* value, const value_type& type);
void opened(view_kind how, const void* p, std::size_t n, const value_type* type);
void uses_cell(const void* cell, std::size_t n);
running_body begins(const std::type_info* task);
void ends(const running_body& before);
void turn_begins(const std::type_info& here);
bool pauses(bool paused);

/// The capsule allocated the block at p, frees it.
void allocated(const void* p);
void freed(const void* p);
/// The running task will be run again in a capsule of its own: what it did to the heap is about to be undone.
void task_undone();

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

/// A view is opened: if not for reading, these elements may be stored to until the next record.
template <class T>
void opened(view_kind how, const T* first, std::size_t count) {
  if (is_on()) opened(how, first, count * sizeof(T), &type_of<T>);
}
template <class T>
void uses_cell(const T* cell) {
  if (is_on()) uses_cell(cell, sizeof(T));
}

/// While it lives, this thread runs a task or a continuation of that type; or a turn.
struct turn {};
template <class Body>
class running {
 public:
  running() : on_(is_on()) {
    if (on_) before_ = begins(std::is_same_v<Body, turn> ? nullptr : &typeid(Body));
  }
  ~running() {
    if (on_) ends(before_);
  }
  running(const running&) = delete;
  running& operator=(const running&) = delete;

 private:
  bool on_;
  running_body before_;
};

/// A turn begins; the task `here` does it and all after it.
template <class Here>
void turn_begins() {
  if (is_on()) turn_begins(typeid(Here));
}

/// While it lives, what this thread does with the user's memory is the runtime's business. Nothing in it may fault.
class runtimes_own {
 public:
  runtimes_own() : before_(is_on() && pauses(true)) {}
  ~runtimes_own() {
    if (is_on()) pauses(before_);
  }
  runtimes_own(const runtimes_own&) = delete;
  runtimes_own& operator=(const runtimes_own&) = delete;

 private:
  bool before_;
};

#else

inline void capsule_over() {}
inline void capsule_lost() {}

struct worker_thread {
  explicit worker_thread(const void*) {}
};

template <class... T>
constexpr void durable(const T&...) {}
template <class T>
void opened(view_kind, const T*, std::size_t) {}
template <class T>
void uses_cell(const T*) {}
inline void allocated(const void*) {}
inline void freed(const void*) {}
inline void task_undone() {}

struct turn {};
template <class Body>
struct running {
  constexpr running() {}  // an object that is not used is no mistake
};
template <class Here>
void turn_begins() {}
struct [[maybe_unused]] runtimes_own {
  constexpr runtimes_own() {}
};

#endif

}  // namespace ppmm::detail::watch
