/// Typed references into a pool's heap: durable values, good as arguments, captures, results and inside other objects.
#pragma once

#include <cassert>
#include <cstddef>
#include <cstdint>

namespace ppmm {

/// One object of the heap, or none. Pools are always mapped at the same place, so its address is a durable value. Read
/// and written through views, like all bulk data.
template <class T>
class ptr {
 public:
  constexpr ptr() = default;
  explicit ptr(T* object) : address_(reinterpret_cast<std::uintptr_t>(object)) {}

  explicit operator bool() const { return address_ != 0; }
  friend bool operator==(ptr, ptr) = default;
  /// Where the object is. For the runtime: a task opens it instead.
  T* address() const { return reinterpret_cast<T*>(address_); }

 private:
  std::uintptr_t address_ = 0;
};

/// Objects of the heap in a row, or none.
template <class T>
class array {
 public:
  constexpr array() = default;
  array(T* first, std::size_t size) : address_(reinterpret_cast<std::uintptr_t>(first)), size_(size) {}
  array(ptr<T> one) : array(one.address(), one ? 1 : 0) {}  // NOLINT: one object is a row of one

  std::size_t size() const { return size_; }
  std::size_t size_bytes() const { return size_ * sizeof(T); }
  bool empty() const { return size_ == 0; }
  ptr<T> operator[](std::size_t i) const {
    assert(i < size_);
    return ptr<T>(address() + i);
  }
  friend bool operator==(array, array) = default;
  T* address() const { return reinterpret_cast<T*>(address_); }

 private:
  std::uintptr_t address_ = 0;
  std::size_t size_ = 0;
};

}  // namespace ppmm
