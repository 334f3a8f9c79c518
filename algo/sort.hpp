/// Sorting: a stable merge sort between two arrays, with parallel merges.
///
/// The recursion halves the array down to leaves, sorts those, and merges upwards (Blelloch, Gibbons, Gu, McGuffey,
/// Shun, SPAA 2018, section 7, where merging and mergesort are given as write-efficient capsules). No task overwrites
/// what it has read: a leaf reads `data` and writes `scratch`, the merges above it go back and forth. The number of
/// levels is the same everywhere and odd, so that the last merge writes `data`. Merges are cut in two where thieves
/// want work (merge.hpp).
#pragma once

#include <ppmm/algo/merge.hpp>
#include <ppmm/algo/views.hpp>
#include <ppmm/sched/context.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <type_traits>

namespace ppmm {

/// What sort counts with context::advance for every element: once when it is in a sorted leaf, once a merge.
struct sort_units {
  std::uint32_t leaf = 0, merge = 0;
};

namespace detail {

/// Elements of a leaf at most: sorting one takes about a heartbeat.
inline constexpr std::size_t sort_leaf = 2048;

/// The task that sorts `data`, `height` levels of merges above its leaves. The result is in `data` if the height is
/// odd, else in `scratch`.
template <class T, class Less>
struct sort_tree {
  out<T> data, scratch;
  Less less;
  sort_units units;
  std::uint32_t height;

  step<void> operator()(context& cx) const {
    if (height == 0) return leaf(cx);
    const std::size_t half = data.size() / 2;
    return cx.fork(part(0, half), part(half, data.size() - half)).then([self = *this](context& c) -> step<void> {
      return self.merge_halves(c);
    });
  }

 private:
  sort_tree part(std::size_t from, std::size_t count) const {
    return {data.sub(from, count), scratch.sub(from, count), less, units, height - 1};
  }

  step<void> leaf(context& cx) const {
    const std::span<const T> from = cx.read(data.as_in());
    const std::span<T> to = cx.write(scratch);
    std::copy(from.begin(), from.end(), to.begin());
    std::stable_sort(to.begin(), to.end(), less);
    if (units.leaf != 0) cx.advance(units.leaf * to.size());
    return {};
  }

  step<void> merge_halves(context& cx) const {
    const bool to_data = height % 2 == 1;
    const in<T> from = (to_data ? scratch : data).as_in();
    const out<T> to = to_data ? data : scratch;
    const std::size_t half = from.size() / 2;
    return merge_loop<T, Less>{from.first(half), from.drop(half), to, less, units.merge, turn_length(256)}(cx);
  }
};

}  // namespace detail

/// Levels of merges that sort needs for n elements; for progress: it advances by
/// n * (units.leaf + sort_levels(n) * units.merge) in all.
constexpr std::uint32_t sort_levels(std::size_t n) {
  std::uint32_t height = 1;  // odd, so that the last merge ends in `data`
  while (n >> height > detail::sort_leaf) height += 2;
  return height;
}

/// The task that sorts `data`: stable, by `less`, a strict weak order that is a durable value. `scratch` is as large,
/// apart from it, and afterwards holds nothing of use. O(n log n) work, O(log³ n) depth; O((n/B) log(n/M)) transfers, M
/// the cache's size.
template <class T, durable_value Less>
auto sort(out<T> data, out<T> scratch, const Less& less, sort_units units = {}) {
  return detail::sort_tree<T, Less>{data, scratch.first(data.size()), less, units, sort_levels(data.size())};
}

/// Sorts `data`, with `scratch` as room. Must be what the calling task returns.
template <class T, durable_value Less>
step<void> sort(context& cx, out<T> data, out<T> scratch, const Less& less, sort_units units = {}) {
  return ppmm::sort(data, scratch, less, units)(cx);
}

/// The same with room from the heap, which is free again afterwards.
template <writable Data, durable_value Less = std::less<>>
auto sort(const Data& data, const Less& less = {}) {
  return [data = as_out(data), less](context& cx) -> step<void> {
    const array<element<Data>> scratch = cx.alloc<element<Data>>(data.size());
    return cx.call(ppmm::sort(data, as_out(scratch), less)).then([scratch](context& c) -> step<void> {
      c.free(scratch);
      return {};
    });
  };
}
template <writable Data, durable_value Less = std::less<>>
step<void> sort(context& cx, const Data& data, const Less& less = {}) {
  return ppmm::sort(data, less)(cx);
}

}  // namespace ppmm
