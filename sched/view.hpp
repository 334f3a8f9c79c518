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

/// Elements that a task reads and changes in place. What stood there is saved first, so that the capsule can be repeated.
template <class T>
class inout : public detail::view_base<T, inout<T>> {
 public:
  using detail::view_base<T, inout<T>>::view_base;
  in<T> as_in() const { return in<T>(this->address(), this->size()); }
};

/// A cell that tasks which run in parallel read and change, by compare-and-modify only (context::cam). It must never
/// return to a value that it had before: a repeated capsule repeats its CAM, which must then change nothing.
template <class T>
class shared {
 public:
  static_assert(std::is_trivially_copyable_v<T> && (sizeof(T) == 8 || sizeof(T) == 16), "a shared cell has 8 or 16 bytes");
  constexpr shared() = default;
  /// Aligned to its size.
  explicit shared(T* cell) : address_(reinterpret_cast<std::uintptr_t>(cell)) { assert(address_ % sizeof(T) == 0); }
  T* address() const { return reinterpret_cast<T*>(address_); }

 private:
  std::uintptr_t address_ = 0;
};

/// Rows of `columns` elements each, `stride` elements apart: a part of a matrix. V is in, out or inout of an element.
template <class V>
class tile {
 public:
  constexpr tile() = default;
  /// The whole of `all` as rows of `columns`; its size must be a multiple.
  tile(V all, std::size_t columns) : all_(all), columns_(columns), stride_(columns), rows_(columns == 0 ? 0 : all.size() / columns) {
    assert(rows_ * columns == all.size());
  }
  std::size_t rows() const { return rows_; }
  std::size_t columns() const { return columns_; }
  bool empty() const { return rows_ == 0 || columns_ == 0; }
  std::size_t stride() const { return stride_; }  ///< elements from a row's first to the next one's
  /// A row, to be opened like any view.
  V row(std::size_t r) const {
    assert(r < rows_);
    return all_.sub(r * stride_, columns_);
  }
  /// Rows [row, row + rows) and columns [column, column + columns). Must lie inside.
  tile sub(std::size_t row, std::size_t column, std::size_t rows, std::size_t columns) const {
    assert(row <= rows_ && rows <= rows_ - row && column <= columns_ && columns <= columns_ - column);
    tile t;
    if (rows > 0 && columns > 0) t.all_ = all_.sub(row * stride_ + column, (rows - 1) * stride_ + columns);
    t.columns_ = columns;
    t.stride_ = stride_;
    t.rows_ = rows;
    return t;
  }

 private:
  V all_;
  std::size_t columns_ = 0, stride_ = 0, rows_ = 0;
};

/// An opened tile (context::read, context::write): its rows, as many and as long as the tile says.
template <class T>
struct rows {
  T* first = nullptr;
  std::size_t stride = 0;
  T* operator[](std::size_t r) const { return first + r * stride; }
};

}  // namespace ppmm
