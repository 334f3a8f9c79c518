/// The typed part of a frame, and the thunks by which the slow path runs it from memory alone.
#pragma once

#include <ppmm/sched/layout.hpp>
#include <ppmm/sched/step.hpp>
#include <ppmm/sched/type.hpp>

#include <cstddef>
#include <cstring>
#include <new>
#include <type_traits>

namespace ppmm::detail {

/// Where the next frame goes, up to the end of what is free there. Ephemeral.
struct room {
  std::byte* top = nullptr;
  std::byte* limit = nullptr;
};

/// How many bytes of a durable value are kept. An empty one has none: its one byte would be whatever stood there before.
template <class T>
inline constexpr std::uint32_t value_bytes = std::is_empty_v<std::remove_cvref_t<T>> ? 0 : sizeof(T);

/// Bytes for a durable value that need not be there yet: a child's result, a closure.
template <class T>
struct held {
  alignas(T) std::byte bytes[sizeof(T)];
  void set(const T& value) {
    if constexpr (value_bytes<T> != 0) std::memcpy(bytes, &value, sizeof(T));
  }
  const T& get() const { return *std::launder(reinterpret_cast<const T*>(bytes)); }
};

/// A continuation gets the results that are not void.
template <class K, class... Results>
decltype(auto) call_continuation(const K& k, context& cx) {
  return k(cx);
}
template <class K, class A>
decltype(auto) call_continuation(const K& k, context& cx, const A& a) {
  if constexpr (std::is_same_v<A, unit>)
    return k(cx);
  else
    return k(cx, a);
}
template <class K, class A, class B>
decltype(auto) call_continuation(const K& k, context& cx, const A& a, const B& b) {
  if constexpr (std::is_same_v<A, unit>)
    return call_continuation(k, cx, b);
  else if constexpr (std::is_same_v<B, unit>)
    return k(cx, a);
  else
    return k(cx, a, b);
}

/// The frame of fork(left, right).then(k). The left child is not kept: it runs at once, or stands in the record.
template <class Right, class K, class A, class B>
struct alignas(frame_alignment) fork_frame : frame {
  held<A> left;
  held<B> right_result;
  held<Right> right;
  held<K> k;

  static outcome run_right(context& cx, frame* f);
  static outcome run_continuation(context& cx, frame* f);
  static const std::uint64_t registered;  // the type word: entered into the table at start-up
};

/// The frame of call(child).then(k): a fork without a right child.
template <class K, class A>
struct alignas(frame_alignment) call_frame : frame {
  held<A> left;
  held<K> k;

  static outcome run_continuation(context& cx, frame* f);
  static const std::uint64_t registered;  // the type word: entered into the table at start-up
};

/// The thunk of a task that a record holds.
template <class Task>
struct task_node {
  static outcome run(context& cx, const void* task, place to);
  static const node_type& node;
};

}  // namespace ppmm::detail
