/// Prefix sums, and all that is written at a place which depends on what stands before.
///
/// The paper's prefix sum goes up a tree with the sums of blocks and down again with what stands before each, in O(n/B)
/// transfers (Blelloch, Gibbons, Gu, McGuffey, Shun, SPAA 2018, section 7). Here a strand goes from left to right and
/// writes at once, with one pass over the data. Only what a thief takes has the way up first: it adds up its blocks
/// while what is before them is not known yet; the way down over them can then be cut anywhere. So an element is read
/// at most twice and written once, and only once where nobody steals.
#pragma once

#include <ppmm/algo/for_each.hpp>
#include <ppmm/algo/views.hpp>
#include <ppmm/sched/context.hpp>

#include <algorithm>
#include <bit>
#include <cstddef>

namespace ppmm {

namespace detail {

/// What a scan is made of. `sum(cx, lo, hi)` adds up a subrange; `write(cx, lo, hi, before)` does what has to be done
/// there, and gives `before` combined with its sum.
template <class S, class Combine, class Sum, class Write>
struct scan_parts {
  using value = S;
  S identity;
  [[no_unique_address]] Combine combine;
  Sum sum;
  Write write;
};

/// Elements of a block whose sum is kept: no fewer than `few`, and at most some thousand blocks, as one strand goes
/// over their sums.
constexpr std::size_t scan_block(std::size_t n, std::size_t few) {
  return std::max(std::bit_ceil(n / 4096 + 1), std::bit_floor(few));
}
constexpr std::size_t blocks_of(std::size_t n, std::size_t block) { return (n + block - 1) / block; }

/// The task that writes the sum of each block of [lo, hi) to `sums`.
template <class Parts>
auto add_up_blocks(const Parts& parts, std::size_t lo, std::size_t hi, std::size_t block,
                   const array<typename Parts::value>& sums) {
  return ppmm::for_each(0, sums.size(), [=](context& cx, std::size_t first, std::size_t last) {
    const auto to = cx.write(as_out(sums).sub(first, last - first));
    for (std::size_t b = first; b < last; ++b) {
      const std::size_t from = lo + b * block;
      to[b - first] = parts.sum(cx, from, std::min(from + block, hi));
    }
  });
}

/// Writes to `before` what stands before each block of `sums`, `first` before the first; gives what is after the last.
template <class Parts>
typename Parts::value sum_before_blocks(context& cx, const Parts& parts, const array<typename Parts::value>& sums,
                                        const array<typename Parts::value>& before, typename Parts::value first) {
  const auto from = cx.read(sums);
  const auto to = cx.write(before);
  for (std::size_t b = 0; b < from.size(); ++b) {
    to[b] = first;
    first = parts.combine(first, from[b]);
  }
  return first;
}

/// The task that does the writing of [lo, hi), and gives the sum of all up to hi.
template <class Parts>
struct scan_loop {
  using S = typename Parts::value;
  Parts parts;
  std::size_t lo, hi;
  S before;               // combined from all before lo
  array<S> before_block;  // what is before each block from `base` on; empty if it is not known
  std::size_t block, base;
  turn_length turn;

  step<S> operator()(context& cx) const {
    scan_loop rest = *this;
    while (rest.lo < rest.hi) {
      if (!cx.safe_point(rest)) return step<S>::detached();
      if (cx.split_wanted() && rest.hi - rest.lo > 2 * std::max(block, rest.turn.elements())) return rest.split(cx);
      const std::size_t end = rest.lo + std::min(rest.turn.elements(), rest.hi - rest.lo);
      turn_length next = rest.turn;
      S after{};
      const auto body = [&] { next.measure([&] { after = parts.write(cx, rest.lo, end, rest.before); }); };
      cx.run_turn(rest, body);
      rest.before = after;
      rest.lo = end;
      rest.turn = next;
    }
    return rest.before;
  }

 private:
  step<S> split(context& cx) const {
    cx.commit_next();
    std::size_t middle = lo + (hi - lo) / 2;
    if (!before_block.empty()) {
      const std::size_t b = (middle - base) / block;
      middle = base + b * block;  // still behind lo, for two blocks are left
      return cx.fork(part(lo, middle, before), part(middle, hi, cx.read(before_block[b])[0]))
          .then([](context&, const S&, const S& right) -> step<S> { return right; });
    }
    // A thief adds up the right half. The strand that offers it does not: it writes there itself when it has come so
    // far.
    const std::size_t some = scan_block(hi - middle, std::max(turn.elements() / 4, std::size_t{1}));
    const array<S> sums = cx.alloc<S>(blocks_of(hi - middle, some));
    const auto add_up = [self = *this, middle, some, sums, owner = cx.soft_id()](context& c) -> step<bool> {
      if (c.soft_id() == owner) return false;
      return c.call(add_up_blocks(self.parts, middle, self.hi, some, sums)).then([](context&) -> step<bool> {
        return true;
      });
    };
    return cx.fork(part(lo, middle, before), add_up)
        .then([self = *this, middle, some, sums](context& c, const S& before_middle, bool added) {
          const scan_loop right = self.part(middle, self.hi, before_middle);
          if (added) return right.down(c, some, sums);
          c.free(sums);
          return right(c);
        });
  }
  /// Goes on knowing the sums of all blocks.
  step<S> down(context& cx, std::size_t some, const array<S>& sums) const {
    const array<S> known = cx.alloc<S>(sums.size());
    sum_before_blocks(cx, parts, sums, known, before);
    cx.free(sums);
    return cx.call(scan_loop{parts, lo, hi, before, known, some, lo, turn})
        .then([known](context& c, const S& after) -> step<S> {
          c.free(known);
          return after;
        });
  }
  scan_loop part(std::size_t first, std::size_t last, const S& sum) const {
    return {parts, first, last, sum, before_block, block, base, turn};
  }
};

template <class Parts>
scan_loop<Parts> scan_all(const Parts& parts, std::size_t lo, std::size_t hi) {
  return {parts, lo, hi, parts.identity, {}, 1, lo, turn_length()};
}

/// Gives the sum before each element, or with it, one after the other.
template <bool inclusive, class X, class T, class Op>
struct running_sum {
  const X* from;  // of element lo
  std::size_t lo;
  T sum;
  [[no_unique_address]] Op op;
  T operator()(std::size_t i) {
    const T before = sum;
    sum = op(before, from[i - lo]);
    return inclusive ? sum : before;
  }
};

template <bool inclusive, readable From, writable To, durable_value T, durable_value Op>
auto scan_views(const From& from, const To& to, const T& identity, const Op& op) {
  return [from = as_in(from), to = as_out(to), identity, op](context& cx) -> step<T> {
    need_size("scan", to.size(), from.size());
    const auto sum = [from, identity, op](context& c, std::size_t lo, std::size_t hi) {
      T s = identity;
      for (const auto& x : c.read(from.sub(lo, hi - lo))) s = op(s, x);
      return s;
    };
    const auto write = [from, to, op](context& c, std::size_t lo, std::size_t hi, T s) {
      const auto* const read = c.read(from.sub(lo, hi - lo)).data();
      return c.fill_each(to, lo, hi, running_sum<inclusive, element<From>, T, Op>{read, lo, s, op}).sum;
    };
    return scan_all(scan_parts<T, Op, decltype(sum), decltype(write)>{identity, op, sum, write}, 0, from.size())(cx);
  };
}

}  // namespace detail

/// The task that goes over [lo, hi) with what stands before each subrange: `sum(cx, from, to)` gives a subrange's sum,
/// and `write(cx, from, to, before)` does the work there and gives `combine(before, its sum)`. Subranges are disjoint
/// and cover the whole; of some only `sum` is called before. Gives the sum of all. `combine` must be associative, with
/// `identity`, and need not be commutative. For what is written at places that depend on what stands before: prefix
/// sums, packing, cutting text into lines.
template <durable_value S, durable_value Combine, range_body Sum, durable_value Write>
auto scan(std::size_t lo, std::size_t hi, const S& identity, const Combine& combine, const Sum& sum,
          const Write& write) {
  return detail::scan_all(detail::scan_parts<S, Combine, Sum, Write>{identity, combine, sum, write}, lo, hi);
}
template <durable_value S, durable_value Combine, range_body Sum, durable_value Write>
step<S> scan(context& cx, std::size_t lo, std::size_t hi, const S& identity, const Combine& combine, const Sum& sum,
             const Write& write) {
  return scan(lo, hi, identity, combine, sum, write)(cx);
}

/// The task that writes to `to` what `op` makes of all elements of `from` before each: an exclusive prefix sum, and
/// gives that of all. `op` must be associative, with `identity`, and need not be commutative. `to` is apart from `from`
/// and as large. At most 3n/B transfers, 2n/B where nothing is stolen.
template <readable From, writable To, durable_value T, durable_value Op>
auto exclusive_scan(const From& from, const To& to, const T& identity, const Op& op) {
  return detail::scan_views<false>(from, to, identity, op);
}
template <readable From, writable To, durable_value T, durable_value Op>
step<T> exclusive_scan(context& cx, const From& from, const To& to, const T& identity, const Op& op) {
  return ppmm::exclusive_scan(from, to, identity, op)(cx);
}

/// The task that writes to `to` what `op` makes of all elements of `from` up to each and with it; else as
/// exclusive_scan.
template <readable From, writable To, durable_value T, durable_value Op>
auto inclusive_scan(const From& from, const To& to, const T& identity, const Op& op) {
  return detail::scan_views<true>(from, to, identity, op);
}
template <readable From, writable To, durable_value T, durable_value Op>
step<T> inclusive_scan(context& cx, const From& from, const To& to, const T& identity, const Op& op) {
  return ppmm::inclusive_scan(from, to, identity, op)(cx);
}

}  // namespace ppmm
