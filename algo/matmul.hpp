/// Multiplying matrices, by divide and conquer on tiles.
///
/// The recursion halves the result's rows or columns down to tiles that fit a cache near the core, each of which is
/// multiplied in capsules (Blelloch, Gibbons, Gu, McGuffey, Shun, SPAA 2018, section 7). The inner dimension is gone
/// through in turns: no two tasks add to the same element, and what one turn has added up the next one reads and writes
/// elsewhere.
#pragma once

#include <ppmm/algo/views.hpp>
#include <ppmm/sched/context.hpp>

#include <cstddef>
#include <cstdint>

namespace ppmm {

namespace detail {

/// The task of `matmul`.
struct multiplication {
  tile<in<double>> a, b;
  tile<out<double>> c;
  std::uint64_t units;
  step<void> operator()(context& cx) const;
};

}  // namespace detail

/// The task that writes the product of `a` and `b` to `c`, which is apart from them. O(mnk/(B√M)) transfers for m × k
/// by k × n elements, where M elements fit a cache: those of a tile of 64 × 64. The sums are always made in the same
/// order. Counts `units` with context::advance for each of the mnk products. Throws error, which fails the job, if the
/// sides do not fit.
inline auto matmul(const tile<in<double>>& a, const tile<in<double>>& b, const tile<out<double>>& c,
                   std::uint64_t units = 0) {
  return detail::multiplication{a, b, c, units};
}
inline step<void> matmul(context& cx, const tile<in<double>>& a, const tile<in<double>>& b,
                         const tile<out<double>>& c, std::uint64_t units = 0) {
  return matmul(a, b, c, units)(cx);
}

}  // namespace ppmm
