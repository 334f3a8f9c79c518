/// Views reduced to a value: reduce, and the places of the least and the greatest element.
#pragma once

#include <ppmm/algo/find.hpp>
#include <ppmm/algo/for_each.hpp>
#include <ppmm/algo/views.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>

namespace ppmm {

/// The task that gives all elements of `from`, combined from left to right: `combine` must be associative, with
/// `identity`, and need not be commutative. n/B transfers.
template <readable From, durable_value T, durable_value Combine>
auto reduce(const From& from, const T& identity, const Combine& combine) {
  const auto part = [from = as_in(from), identity, combine](context& cx, std::size_t lo, std::size_t hi) {
    T sum = identity;
    for (const auto& x : cx.read(from.sub(lo, hi - lo))) sum = combine(sum, x);
    return sum;
  };
  return ppmm::reduce(0, from.size(), identity, part, combine);
}
/// All elements of `from`, combined from left to right.
template <readable From, durable_value T, durable_value Combine>
step<T> reduce(context& cx, const From& from, const T& identity, const Combine& combine) {
  return ppmm::reduce(from, identity, combine)(cx);
}

/// Places of a least and of a greatest element.
struct extremes {
  std::size_t least, greatest;
};

namespace detail {

/// The first of the least elements of p[0, n), n > 0: the last one that is less than all before it.
template <class T, class Less>
std::size_t first_least(const T* p, std::size_t n, const Less& less) {
  std::size_t best = 0, i = 1;
  while ((i += first_that_fits(p + i, n - i, [&least = p[best], &less](const T& x) { return less(x, least); })) < n)
    best = i++;
  return best;
}

/// An element and its place; `at` is past the end if there is none.
template <class T>
struct placed {
  T value{};
  std::size_t at = ~std::size_t{0};
  bool none() const { return at == ~std::size_t{0}; }
};

template <class T, class Less>
struct earlier_least {
  [[no_unique_address]] Less less;
  placed<T> operator()(const placed<T>& a, const placed<T>& b) const {
    return a.none() || (!b.none() && less(b.value, a.value)) ? b : a;
  }
};
template <class Less>
struct reversed {
  [[no_unique_address]] Less less;
  template <class T>
  bool operator()(const T& a, const T& b) const {
    return less(b, a);
  }
};

template <class T>
struct placed_extremes {
  placed<T> least, greatest;
};

template <readable From, class Less>
auto find_least(const From& from, const Less& less) {
  using T = element<From>;
  const auto part = [from = as_in(from), less](context& cx, std::size_t lo, std::size_t hi) {
    const T* const p = cx.read(from.sub(lo, hi - lo)).data();
    const std::size_t at = first_least(p, hi - lo, less);
    return placed<T>{p[at], lo + at};
  };
  return ppmm::reduce(0, from.size(), placed<T>{}, part, earlier_least<T, Less>{less});
}

}  // namespace detail

/// The task that gives the place of the first of the least elements of `from`; its size if it is empty. n/B transfers.
template <readable From, durable_value Less = std::less<>>
auto min_element(const From& from, const Less& less = {}) {
  return [from = as_in(from), less](context& cx) -> step<std::size_t> {
    return cx.call(detail::find_least(from, less))
        .then([n = from.size()](context&, const detail::placed<element<From>>& least) -> step<std::size_t> {
          return std::min(least.at, n);
        });
  };
}
template <readable From, durable_value Less = std::less<>>
step<std::size_t> min_element(context& cx, const From& from, const Less& less = {}) {
  return ppmm::min_element(from, less)(cx);
}

/// The task that gives the place of the first of the greatest elements of `from`; its size if it is empty. n/B
/// transfers.
template <readable From, durable_value Less = std::less<>>
auto max_element(const From& from, const Less& less = {}) {
  return ppmm::min_element(from, detail::reversed<Less>{less});
}
template <readable From, durable_value Less = std::less<>>
step<std::size_t> max_element(context& cx, const From& from, const Less& less = {}) {
  return ppmm::max_element(from, less)(cx);
}

/// The task that gives the places of the first of the least and the first of the greatest elements of `from`; its size
/// if it is empty. n/B transfers.
template <readable From, durable_value Less = std::less<>>
auto minmax_element(const From& from, const Less& less = {}) {
  using T = element<From>;
  using both = detail::placed_extremes<T>;
  return [from = as_in(from), less](context& cx) -> step<extremes> {
    const auto part = [from, less](context& c, std::size_t lo, std::size_t hi) {
      const T* const p = c.read(from.sub(lo, hi - lo)).data();
      const std::size_t least = detail::first_least(p, hi - lo, less);
      const std::size_t greatest = detail::first_least(p, hi - lo, detail::reversed<Less>{less});
      return both{{p[least], lo + least}, {p[greatest], lo + greatest}};
    };
    const auto combine = [less](const both& a, const both& b) {
      return both{detail::earlier_least<T, Less>{less}(a.least, b.least),
                  detail::earlier_least<T, detail::reversed<Less>>{{less}}(a.greatest, b.greatest)};
    };
    return cx.call(ppmm::reduce(0, from.size(), both{}, part, combine))
        .then([n = from.size()](context&, const both& found) -> step<extremes> {
          return extremes{std::min(found.least.at, n), std::min(found.greatest.at, n)};
        });
  };
}
template <readable From, durable_value Less = std::less<>>
step<extremes> minmax_element(context& cx, const From& from, const Less& less = {}) {
  return ppmm::minmax_element(from, less)(cx);
}

}  // namespace ppmm
