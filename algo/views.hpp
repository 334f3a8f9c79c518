/// What algorithms work on: views, and arrays of the heap, which stand for views of all their elements.
#pragma once

#include <ppmm/alloc/array.hpp>
#include <ppmm/pmem/errors.hpp>
#include <ppmm/sched/view.hpp>

#include <cstddef>
#include <string>

namespace ppmm {

/// The elements of a view or an array, to be read.
template <class T>
in<T> as_in(const in<T>& v) {
  return v;
}
template <class T>
in<T> as_in(const out<T>& v) {
  return v.as_in();
}
template <class T>
in<T> as_in(const inout<T>& v) {
  return v.as_in();
}
template <class T>
in<T> as_in(const array<T>& a) {
  return {a.address(), a.size()};
}

/// The elements of a view or an array, to be written.
template <class T>
out<T> as_out(const out<T>& v) {
  return v;
}
template <class T>
out<T> as_out(const array<T>& a) {
  return {a.address(), a.size()};
}

namespace detail {
template <class T>
struct element_of;
template <template <class> class View, class T>
struct element_of<View<T>> {
  using type = T;
};
}  // namespace detail

/// What can be read: in, out, inout, array.
template <class V>
concept readable = requires(const V& v) {
  as_in(v);
};
/// What can be written: out, array.
template <class V>
concept writable = requires(const V& v) {
  as_out(v);
};
/// The type of its elements.
template <class V>
using element = typename detail::element_of<V>::type;

namespace detail {
/// Throws error, which fails the job, if an algorithm was given room for too few elements, or for too many.
inline void need_size(const char* algorithm, std::size_t have, std::size_t need) {
  if (have != need)
    throw error(std::string(algorithm) + " writes " + std::to_string(need) + " elements, and was given room for " +
                std::to_string(have) + "; give it a view of as many");
}
}  // namespace detail

}  // namespace ppmm
