/// Loops: for_each and reduce.
///
/// A loop runs in turns on subranges, as a serial loop would, and splits in two only at a heartbeat that left nothing
/// to steal (heartbeat scheduling: Acar, Charguéraud, Guatto, Rainey, Sieczkowski, PLDI 2018, section 4.1; lazy binary
/// splitting: Tzannes, Caragea, Barua, Vishkin, PPoPP 2010). So an undisturbed loop costs one safe point a turn.
#pragma once

#include <ppmm/algo/turn.hpp>
#include <ppmm/sched/context.hpp>

#include <algorithm>
#include <concepts>
#include <cstddef>

namespace ppmm {

/// A loop body: does elements [lo, hi). Called with disjoint subranges that cover the whole range, each once as far as
/// its effects go; how the range is cut differs from run to run. A closure must capture by value.
template <class Body>
concept range_body = durable_value<Body> && std::invocable<const Body&, context&, std::size_t, std::size_t>;

namespace detail {

template <range_body Body>
struct for_each_loop {
  std::size_t lo, hi;
  Body body;
  turn_length turn;

  step<void> operator()(context& cx) const {
    for_each_loop rest = *this;
    while (rest.lo < rest.hi) {
      if (!cx.safe_point(rest)) return step<void>::detached();
      if (cx.split_wanted() && rest.hi - rest.lo > rest.turn.elements()) return rest.split(cx);
      const std::size_t end = rest.lo + std::min(rest.turn.elements(), rest.hi - rest.lo);
      turn_length next = rest.turn;
      cx.run_turn(rest, [&] { next.measure([&] { body(cx, rest.lo, end); }); });
      rest.lo = end;
      rest.turn = next;
    }
    return {};
  }

 private:
  step<void> split(context& cx) const {
    const std::size_t middle = lo + (hi - lo) / 2;
    cx.commit_next();  // a thief can have the right half at once
    return cx.fork(for_each_loop{lo, middle, body, turn}, for_each_loop{middle, hi, body, turn})
        .then([](context&) -> step<void> { return {}; });
  }
};

template <durable_value T, range_body Map, durable_value Combine>
struct reduce_loop {
  std::size_t lo, hi;
  T sum, identity;
  Map map;
  Combine combine;
  turn_length turn;

  step<T> operator()(context& cx) const {
    reduce_loop rest = *this;
    while (rest.lo < rest.hi) {
      if (!cx.safe_point(rest)) return step<T>::detached();
      if (cx.split_wanted() && rest.hi - rest.lo > rest.turn.elements()) return rest.split(cx);
      const std::size_t end = rest.lo + std::min(rest.turn.elements(), rest.hi - rest.lo);
      turn_length next = rest.turn;
      T part{};
      cx.run_turn(rest, [&] { next.measure([&] { part = map(cx, rest.lo, end); }); });
      rest.sum = combine(rest.sum, part);
      rest.lo = end;
      rest.turn = next;
    }
    return rest.sum;
  }

 private:
  step<T> split(context& cx) const {
    const std::size_t middle = lo + (hi - lo) / 2;
    cx.commit_next();
    return cx
        .fork(reduce_loop{lo, middle, sum, identity, map, combine, turn},
              reduce_loop{middle, hi, identity, identity, map, combine, turn})
        .then([combine = combine](context&, const T& left, const T& right) -> step<T> { return combine(left, right); });
  }
};

}  // namespace detail

/// The task that runs `body(cx, from, to)` on subranges of [lo, hi), in parallel.
template <range_body Body>
auto for_each(std::size_t lo, std::size_t hi, const Body& body) {
  return detail::for_each_loop<Body>{lo, hi, body, detail::turn_length()};
}

/// Runs `body(cx, from, to)` on subranges of [lo, hi), in parallel. Must be what the calling task returns.
template <range_body Body>
step<void> for_each(context& cx, std::size_t lo, std::size_t hi, const Body& body) {
  return for_each(lo, hi, body)(cx);
}

/// The task that gives `map(cx, from, to)` of all subranges, combined from left to right: `combine` must be
/// associative, with `identity`, and need not be commutative. The range is cut differently from run to run, so a
/// combine that only nearly is associative (a sum of floating-point numbers) gives nearly the same result.
template <durable_value T, range_body Map, durable_value Combine>
auto reduce(std::size_t lo, std::size_t hi, const T& identity, const Map& map, const Combine& combine) {
  return detail::reduce_loop<T, Map, Combine>{lo, hi, identity, identity, map, combine, detail::turn_length()};
}

/// `map(cx, from, to)` of all subranges of [lo, hi), combined from left to right. Must be what the calling task
/// returns.
template <durable_value T, range_body Map, durable_value Combine>
step<T> reduce(context& cx, std::size_t lo, std::size_t hi, const T& identity, const Map& map, const Combine& combine) {
  return reduce(lo, hi, identity, map, combine)(cx);
}

}  // namespace ppmm
