/// A tile of a product of matrices: what one capsule of `matmul` computes.
#pragma once

#include <ppmm/sched/view.hpp>

#include <cstddef>

namespace ppmm::detail {

inline constexpr std::size_t tile_side = 64;     // of the result: what a turn works on fits a cache near the core
inline constexpr std::size_t inner_turn = 1024;  // of the inner dimension, in a turn: some 200 µs

/// c = (before, if it is not null) + a b, where c has m × n elements, both at most tile_side, and a has k columns.
void multiply_tile(std::size_t m, std::size_t n, std::size_t k, rows<const double> a, rows<const double> b,
                   rows<const double> before, rows<double> c);

}  // namespace ppmm::detail
