/// Views: what a task does with bulk data in the pool.
///
/// A view is a durable value (it may be an argument, a capture or a result). It is opened where it is used:
/// `std::span<const T> s = cx.read(v)`, `std::span<T> d = cx.write(w)`. From what is opened the runtime knows what the
/// next commit must flush, and which task would overwrite what its capsule has read. A span is good until its task
/// ends; it must not be kept in a closure.
#pragma once

#include <cassert>
#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace ppmm {

namespace detail {
template <class T, class Derived>
class view_base {
 public:
  static_assert(std::is_trivially_copyable_v<T>, "data in a pool must be trivially copyable");
  constexpr view_base() = default;
  view_base(T* data, std::size_t size) : address_(reinterpret_cast<std::uintptr_t>(data)), size_(size) {}

  std::size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  std::size_t size_bytes() const { return size_ * sizeof(T); }
  /// Elements [from, from + count). Must lie inside.
  Derived sub(std::size_t from, std::size_t count) const {
    assert(from <= size_ && count <= size_ - from);
    Derived d;
    d.address_ = address_ + from * sizeof(T);
    d.size_ = count;
    return d;
  }
  Derived first(std::size_t count) const { return sub(0, count); }
  Derived drop(std::size_t count) const { return sub(count, size_ - count); }
  /// Where the elements are. For the runtime: a task opens the view instead.
  T* address() const { return reinterpret_cast<T*>(address_); }

 private:
  template <class, class>
  friend class view_base;
  std::uintptr_t address_ = 0;  // pools are always mapped at the same place, so this is a durable value
  std::size_t size_ = 0;
};
}  // namespace detail

/// Elements that a task reads.
template <class T>
class in : public detail::view_base<T, in<T>> {
 public:
  using detail::view_base<T, in<T>>::view_base;
};

/// Elements that a task writes without having read them.
template <class T>
class out : public detail::view_base<T, out<T>> {
 public:
  using detail::view_base<T, out<T>>::view_base;
  /// The same elements, to be read by a later task.
  in<T> as_in() const { return in<T>(this->address(), this->size()); }
};

}  // namespace ppmm
