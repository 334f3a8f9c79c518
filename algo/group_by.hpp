/// Grouping: the elements that have the same key, side by side.
#pragma once

#include <ppmm/algo/filter.hpp>
#include <ppmm/algo/integer_sort.hpp>
#include <ppmm/algo/map.hpp>
#include <ppmm/algo/sort.hpp>
#include <ppmm/algo/views.hpp>
#include <ppmm/sched/context.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <type_traits>

namespace ppmm {

/// The groups of grouped elements. Group g has the key `keys[g]`; its elements are those from `offsets[g]` up to
/// `offsets[g + 1]`. Both arrays are the caller's to free.
template <class Key>
struct groups {
  array<Key> keys;               // ascending, each once
  array<std::uint64_t> offsets;  // one more than keys; the last one is the number of elements
  std::size_t size() const { return keys.size(); }
};

namespace detail {

/// Where a group begins, and the end.
template <class T, class Key, class Less>
struct group_starts {
  using value_type = std::uint64_t;
  in<T> sorted;
  [[no_unique_address]] Key key;
  [[no_unique_address]] Less less;

  struct opened {
    const T* p;  // element lo - 1, if there is one
    const group_starts& of;
    std::size_t lo;
    bool keep(std::size_t i) const {
      if (lo + i == 0 || lo + i == of.sorted.size()) return true;
      const T* const x = p + i + (lo == 0 ? 0 : 1);
      return of.less(of.key(x[-1]), of.key(x[0]));
    }
    std::uint64_t value(std::size_t i) const { return lo + i; }
  };
  opened open(context& cx, std::size_t lo, std::size_t hi) const {
    const std::size_t first = lo == 0 ? 0 : lo - 1, last = hi > sorted.size() ? sorted.size() : hi;
    return {cx.read(sorted.sub(first, last - first)).data(), *this, lo};
  }
};

template <class T, class Key, class Less>
auto find_groups(const in<T>& sorted, const Key& key, const Less& less) {
  using K = std::remove_cvref_t<std::invoke_result_t<const Key&, const T&>>;
  return [=](context& cx) -> step<groups<K>> {
    return cx.call(pack_array(group_starts<T, Key, Less>{sorted, key, less}, sorted.size() + 1))
        .then([=](context& c, const array<std::uint64_t>& offsets) -> step<groups<K>> {
          const groups<K> found{c.alloc<K>(offsets.size() - 1), offsets};
          return c
              .call(ppmm::for_each(0, found.size(),
                                   [=](context& d, std::size_t lo, std::size_t hi) {
                                     const auto at = d.read(as_in(found.offsets).sub(lo, hi - lo));
                                     const auto keys = d.write(as_out(found.keys).sub(lo, hi - lo));
                                     const T* const x =
                                         d.read(sorted.sub(at.front(), at.back() + 1 - at.front())).data();
                                     for (std::size_t g = 0; g < at.size(); ++g) keys[g] = key(x[at[g] - at.front()]);
                                   }))
              .then([found](context&) -> step<groups<K>> { return found; });
        });
  };
}

}  // namespace detail

/// The task that sorts `data` by the low `bits` bits of `key(x)`, an unsigned integer that has no others, as
/// integer_sort does, and gives the groups. Stable: a group's elements are in their order. Transfers: integer_sort's
/// and O(n/B).
template <writable Data, durable_value Key>
auto group_by(const Data& data, const Key& key, unsigned bits) {
  return [data = as_out(data), key, bits](context& cx) {
    return cx.call(integer_sort(data, key, bits)).then([data, key](context& c) {
      return detail::find_groups(data.as_in(), key, std::less<>())(c);
    });
  };
}
template <writable Data, durable_value Key>
auto group_by(context& cx, const Data& data, const Key& key, unsigned bits) {
  return group_by(data, key, bits)(cx);
}

/// The same for keys of any kind, which `less` orders, a strict weak order: equal are those of which neither is less.
/// Transfers: sort's and O(n/B).
template <writable Data, durable_value Key, durable_value Less = std::less<>>
requires(!std::integral<Less>) auto group_by(const Data& data, const Key& key, const Less& less = {}) {
  return [data = as_out(data), key, less](context& cx) {
    const auto by_key = [key, less](const auto& a, const auto& b) { return less(key(a), key(b)); };
    return cx.call(ppmm::sort(data, by_key)).then([data, key, less](context& c) {
      return detail::find_groups(data.as_in(), key, less)(c);
    });
  };
}
template <writable Data, durable_value Key, durable_value Less = std::less<>>
requires(!std::integral<Less>) auto group_by(context& cx, const Data& data, const Key& key, const Less& less = {}) {
  return group_by(data, key, less)(cx);
}

}  // namespace ppmm
