/// Merging two sorted views.
///
/// A merge is a loop of turns that, when a heartbeat finds nothing to steal, is cut into two merges of half the output
/// each: where to cut its inputs is found by binary search (*co-ranking*: Akl, Santoro, IEEE ToC 1987; Siebert, Träff,
/// 2012). The paper's merge cuts its output into pieces by the same binary searches (Blelloch, Gibbons, Gu, McGuffey,
/// Shun, SPAA 2018, section 7); here only as many pieces are made as there are thieves for.
#pragma once

#include <ppmm/algo/turn.hpp>
#include <ppmm/algo/views.hpp>
#include <ppmm/sched/context.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>

namespace ppmm {

namespace detail {

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
      if (!cx.safe_point(rest)) return step<void>::detached();
      if (cx.split_wanted() && rest.to.size() > 2 * rest.turn.elements()) return rest.split(cx);
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
      cx.run_turn(rest, body);
      rest.left = rest.left.drop(from_left);
      rest.right = rest.right.drop(some - from_left);
      rest.to = rest.to.drop(some);
      rest.turn = next;
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

}  // namespace detail

/// The task that merges `a` and `b`, both sorted by `less`, into `to`, which is apart from them and just large enough.
/// Stable: of equal elements a's come first. O(n/B) transfers.
template <readable A, readable B, writable To, durable_value Less = std::less<>>
auto merge(const A& a, const B& b, const To& to, const Less& less = {}) {
  return [a = as_in(a), b = as_in(b), to = as_out(to), less](context& cx) -> step<void> {
    detail::need_size("merge", to.size(), a.size() + b.size());
    return detail::merge_loop<element<To>, Less>{a, b, to, less, 0, detail::turn_length(256)}(cx);
  };
}
template <readable A, readable B, writable To, durable_value Less = std::less<>>
step<void> merge(context& cx, const A& a, const B& b, const To& to, const Less& less = {}) {
  return ppmm::merge(a, b, to, less)(cx);
}

}  // namespace ppmm
