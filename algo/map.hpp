/// Element by element: tabulate and map.
#pragma once

#include <ppmm/algo/for_each.hpp>
#include <ppmm/algo/views.hpp>

#include <cstddef>

namespace ppmm {

/// The task that writes `f(i)` to each element i of `to`. n/B transfers.
template <writable To, durable_value F>
auto tabulate(const To& to, const F& f) {
  return ppmm::for_each(0, to.size(), [to = as_out(to), f](context& cx, std::size_t lo, std::size_t hi) {
    cx.fill_each(to, lo, hi, [&f](std::size_t i) { return f(i); });
  });
}
/// Writes `f(i)` to each element i of `to`. Must be what the calling task returns, like all that take a context.
template <writable To, durable_value F>
step<void> tabulate(context& cx, const To& to, const F& f) {
  return tabulate(to, f)(cx);
}

/// The task that writes `f(x)` to `to` for each element x of `from`, apart from it and as large. 2n/B transfers.
template <readable From, writable To, durable_value F>
auto map(const From& from, const To& to, const F& f) {
  return [from = as_in(from), to = as_out(to), f](context& cx) -> step<void> {
    detail::need_size("map", to.size(), from.size());
    return ppmm::for_each(cx, 0, from.size(), [from, to, f](context& c, std::size_t lo, std::size_t hi) {
      const auto* const read = c.read(from.sub(lo, hi - lo)).data();
      c.fill_each(to, lo, hi, [read, lo, &f](std::size_t i) { return f(read[i - lo]); });
    });
  };
}
template <readable From, writable To, durable_value F>
step<void> map(context& cx, const From& from, const To& to, const F& f) {
  return map(from, to, f)(cx);
}

}  // namespace ppmm
