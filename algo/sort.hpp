/// Sorting: a stable merge sort between two arrays, with parallel merges.
///
/// The recursion halves the array down to leaves, sorts those, and merges upwards (Blelloch, Gibbons, Gu, McGuffey,
/// Shun, SPAA 2018, section 7, where merging and mergesort are given as write-efficient capsules). No task overwrites
/// what it has read: a leaf reads `data` and writes `scratch`, the merges above it go back and forth. The number of
/// levels is the same everywhere and odd, so that the last merge writes `data`. Each merge is a loop of turns that,
/// when a heartbeat finds nothing to steal, is cut into two merges of half the output each: where to cut its inputs is
/// found by binary search (*co-ranking*: Akl, Santoro, IEEE ToC 1987; Siebert, Träff, 2012).
#pragma once

#include <ppmm/algo/turn.hpp>
#include <ppmm/sched/context.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
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

/// How many of the first k elements of the stable merge of a and b are a's.
template <class T, class Less>
std::size_t co_rank(std::size_t k, std::span<const T> a, std::span<const T> b, const Less& less) {
  std::size_t from = k > b.size() ? k - b.size() : 0;
  std::size_t to = std::min(k, a.size());
  while (from < to) {
    const std::size_t i = from + (to - from) / 2;
    if (less(b[k - i - 1], a[i]))
      to = i;
    else  // a[i] goes before b[k - i - 1], so it is among the first k
      from = i + 1;
  }
  return from;
}

/// Merges the first to.size() elements of a and b; gives how many of them were a's. Equal elements: a's go first.
template <class T, class Less>
std::size_t merge_some(std::span<const T> a, std::span<const T> b, std::span<T> to, const Less& less) {
  const T* left = a.data();
  const T* const left_end = left + a.size();
  const T* right = b.data();
  const T* const right_end = right + b.size();
  T* out = to.data();
  T* const out_end = out + to.size();
  while (out != out_end && left != left_end && right != right_end) {
    const bool from_right = less(*right, *left);
    *out++ = from_right ? *right : *left;  // no jump: which side is next cannot be predicted
    left += !from_right;
    right += from_right;
  }
  const auto rest = out_end - out;
  if (left != left_end) {
    std::copy_n(left, rest, out);
    left += rest;
  } else {
    std::copy_n(right, rest, out);
  }
  return static_cast<std::size_t>(left - a.data());
}

/// The task that merges `left` and `right` into `to`.
template <class T, class Less>
struct merge_loop {
  in<T> left, right;
  out<T> to;
  Less less;
  std::uint32_t units;
  turn_length turn;

  step<void> operator()(context& cx) const {
    merge_loop rest = *this;
    while (!rest.to.empty()) {
      const std::size_t some = std::min(rest.turn.elements(), rest.to.size());
      turn_length next = rest.turn;
      std::size_t from_left = 0;
      const auto body = [&] {
        const std::span<const T> a = cx.read(rest.left.first(std::min(some, rest.left.size())));
        const std::span<const T> b = cx.read(rest.right.first(std::min(some, rest.right.size())));
        const std::span<T> merged = cx.write(rest.to.first(some));
        next.measure([&] { from_left = merge_some(a, b, merged, less); });
        if (units != 0) cx.advance(units * some);
      };
      if (!cx.turn(rest, body)) return step<void>::detached();
      rest.left = rest.left.drop(from_left);
      rest.right = rest.right.drop(some - from_left);
      rest.to = rest.to.drop(some);
      rest.turn = next;
      if (cx.split_wanted() && rest.to.size() > 2 * rest.turn.elements()) return rest.split(cx);
    }
    return {};
  }

 private:
  step<void> split(context& cx) const {
    const std::size_t half = to.size() / 2;
    const std::size_t i = co_rank(half, cx.read(left), cx.read(right), less);
    const std::size_t j = half - i;
    cx.commit_next();
    return cx
        .fork(merge_loop{left.first(i), right.first(j), to.first(half), less, units, turn},
              merge_loop{left.drop(i), right.drop(j), to.drop(half), less, units, turn})
        .then([](context&) -> step<void> { return {}; });
  }
};

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
/// apart from it, and afterwards holds nothing of use. O(n log n) work, O(log³ n) depth.
template <class T, durable_value Less>
auto sort(out<T> data, out<T> scratch, const Less& less, sort_units units = {}) {
  return detail::sort_tree<T, Less>{data, scratch.first(data.size()), less, units, sort_levels(data.size())};
}

/// Sorts `data`, with `scratch` as room. Must be what the calling task returns.
template <class T, durable_value Less>
step<void> sort(context& cx, out<T> data, out<T> scratch, const Less& less, sort_units units = {}) {
  return sort(data, scratch, less, units)(cx);
}

}  // namespace ppmm
