/// Searching: the first element that fits.
#pragma once

#include <ppmm/algo/turn.hpp>
#include <ppmm/algo/views.hpp>
#include <ppmm/sched/context.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace ppmm {

namespace detail {

/// The first i in [0, n) with fits(p[i]); else n.
template <class T, class Fits>
std::size_t first_that_fits(const T* p, std::size_t n, Fits fits) {
  std::size_t i = 0;
  for (; n - i >= 4; i += 4) {  // unrolled: worth a quarter where `fits` is cheap
    if (fits(p[i])) return i;
    if (fits(p[i + 1])) return i + 1;
    if (fits(p[i + 2])) return i + 2;
    if (fits(p[i + 3])) return i + 3;
  }
  while (i < n && !fits(p[i])) ++i;
  return i;
}

/// What a part of a search has found: a place, or that nothing is there (`at` is the end), or nothing at all, for the
/// part was not looked at.
struct found {
  std::size_t at;
  bool looked_at;
};

/// The task that searches [lo, hi). A part that is offered to thieves is looked at by a thief only: the strand that
/// offers it goes on there itself if it has found nothing before.
template <class T, class Fits>
struct find_loop {
  in<T> from;
  Fits fits;
  std::size_t start, lo, hi;  // began at `start`
  turn_length turn;

  step<std::size_t> operator()(context& cx) const {
    find_loop rest = *this;
    while (rest.lo < rest.hi) {
      if (!cx.safe_point(rest)) return step<std::size_t>::detached();
      if (cx.split_wanted() && rest.lo > start && rest.hi - rest.lo > 2 * rest.turn.elements()) return rest.split(cx);
      const std::size_t end = rest.lo + std::min(rest.turn.elements(), rest.hi - rest.lo);
      turn_length next = rest.turn;
      std::size_t at = end;
      const auto body = [&] {
        const auto some = cx.read(rest.from.sub(rest.lo, end - rest.lo));
        next.measure([&] { at = rest.lo + first_that_fits(some.data(), some.size(), fits); });
      };
      cx.run_turn(rest, body);
      if (at != end) return at;
      rest.lo = end;
      rest.turn = next;
    }
    return from.size();
  }

 private:
  step<std::size_t> split(context& cx) const {
    // So that what is looked at in vain is in proportion to what had to be.
    const std::size_t window = 2 * std::max(lo - start, 16 * turn.elements());
    const std::size_t end = lo + std::min(window, hi - lo), middle = lo + (end - lo) / 2;
    cx.commit_next();
    const auto thiefs = [self = part(middle, end), owner = cx.soft_id()](context& c) -> step<found> {
      if (c.soft_id() == owner) return found{0, false};
      return c.call(self).then([](context&, std::size_t at) -> step<found> { return found{at, true}; });
    };
    return cx.fork(part(lo, middle), thiefs)
        .then([self = *this, middle, end](context& c, std::size_t left, const found& right) -> step<std::size_t> {
          const std::size_t none = self.from.size();
          if (left != none) return left;
          if (right.looked_at && right.at != none) return right.at;
          return self.part(right.looked_at ? end : middle, self.hi)(c);
        });
  }
  find_loop part(std::size_t first, std::size_t last) const { return {from, fits, start, first, last, turn}; }
};

}  // namespace detail

/// The task that gives the place of the first element of `from` with `fits(x)`; its size if there is none. What is
/// behind it is looked at up to about three times that place, so `fits` must be defined for all elements. O(place/B)
/// transfers.
template <readable From, durable_value Fits>
auto find_if(const From& from, const Fits& fits) {
  return detail::find_loop<element<From>, Fits>{as_in(from), fits, 0, 0, from.size(), detail::turn_length()};
}
template <readable From, durable_value Fits>
step<std::size_t> find_if(context& cx, const From& from, const Fits& fits) {
  return ppmm::find_if(from, fits)(cx);
}

}  // namespace ppmm
