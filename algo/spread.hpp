/// Loops over data that is spread over the parts of a pool.
#pragma once

#include <ppmm/algo/for_each.hpp>
#include <ppmm/alloc/spread.hpp>
#include <ppmm/sched/context.hpp>

#include <algorithm>
#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>

namespace ppmm {

/// A loop body on spread data: `body(cx, i, some)` does the elements `some`, which stand in a row, the first of them
/// number i of the whole. A closure must capture by value.
template <class Body, class T>
concept spread_body = durable_value<Body> && std::invocable<const Body&, context&, std::size_t, array<T>>;

namespace detail {

/// The loop over one piece.
template <class T, spread_body<T> Body>
auto for_each_of_piece(const spread<T>& s, unsigned piece, const Body& body) {
  return for_each(0, s.piece_size(piece), [s, piece, body](context& cx, std::size_t lo, std::size_t hi) {
    while (lo < hi) {
      const std::size_t n = std::min(hi - lo, s.block_size() - lo % s.block_size());
      body(cx, s.index_of(piece, lo), array<T>(s.piece(piece).address() + lo, n));
      lo += n;
    }
  });
}

/// The pieces of a set: whoever runs this begins with one that is near, and leaves the rest to be taken. Who takes it does
/// the same.
template <class T, spread_body<T> Body>
struct pieces_loop {
  spread<T> data;
  std::uint32_t left;  // a bit for each piece
  Body body;

  step<void> operator()(context& cx) const {
    if (left == 0) return {};
    const unsigned near = cx.near_part();
    const unsigned mine = (left >> near & 1) != 0 ? near : static_cast<unsigned>(std::countr_zero(left));
    const std::uint32_t rest = left & ~(std::uint32_t{1} << mine);
    if (rest == 0) return for_each_of_piece(data, mine, body)(cx);
    cx.commit_next();  // a thief can have the rest at once
    return cx.fork(for_each_of_piece(data, mine, body), pieces_loop{data, rest, body}).then([](context&) -> step<void> { return {}; });
  }
};

}  // namespace detail

/// The task that runs `body(cx, i, some)` on all elements, in parallel: each worker first on those near to it, then on what
/// others have left.
template <class T, spread_body<T> Body>
auto for_each(const spread<T>& s, const Body& body) {
  std::uint32_t pieces = 0;
  for (unsigned p = 0; p < s.pieces(); ++p) pieces |= s.piece_size(p) == 0 ? 0u : std::uint32_t{1} << p;
  return detail::pieces_loop<T, Body>{s, pieces, body};
}
template <class T, spread_body<T> Body>
step<void> for_each(context& cx, const spread<T>& s, const Body& body) {
  return for_each(s, body)(cx);
}

}  // namespace ppmm
