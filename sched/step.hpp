/// What a task returns: a value, or nothing yet.
#pragma once

#include <ppmm/check/watch.hpp>

#include <type_traits>
#include <utility>

namespace ppmm {

/// Stands for `void` where a value is needed.
struct unit {};

/// A durable value is one whose bytes are the value: trivially copyable, and no address of this process's memory. A
/// pointer hidden inside a struct or a closure cannot be seen here.
template <class T>
concept durable_value = std::is_trivially_copyable_v<T> && !std::is_pointer_v<T> && !std::is_reference_v<T> &&
                        !std::is_member_pointer_v<T>;

/// The outcome of a task: a value, or *detached*: the computation goes on elsewhere (a child was stolen and is not
/// done, or this worker must stop) and the value will reach its place without this C++ stack. A detached step is only
/// passed on. There are no other ways to make one than fork, call, tail and loops, so a user returns what they return.
template <class R>
class [[nodiscard]] step {
 public:
  using value_type = std::conditional_t<std::is_void_v<R>, unit, R>;
  static_assert(durable_value<value_type>, "the result of a task must be a durable value: trivially copyable, no pointer");

  constexpr step(value_type value) : value_(value) { detail::watch::durable(value_); }  // NOLINT: `return 3;` is how a task ends
  constexpr step()
    requires std::is_void_v<R>
  = default;

  static constexpr step detached() { return step(detached_tag{}); }

  constexpr bool is_detached() const { return detached_; }
  constexpr const value_type& value() const { return value_; }

 private:
  struct detached_tag {};
  constexpr explicit step(detached_tag) : detached_(true) {}

  value_type value_{};
  bool detached_ = false;
};

namespace detail {
template <class T>
struct step_result;  // only steps have one
template <class R>
struct step_result<step<R>> {
  using type = R;
};
}  // namespace detail

}  // namespace ppmm
