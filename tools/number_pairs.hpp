/// Pairs (v, w) of numbers below 2^32, as one word each, v in the high half: edges, or words and lines.
#pragma once

#include <ppmm/sched/context.hpp>

#include <cstddef>
#include <cstdint>

namespace ppmm::tools {

inline std::uint32_t high(std::uint64_t pair) { return static_cast<std::uint32_t>(pair >> 32); }
inline std::uint32_t low(std::uint64_t pair) { return static_cast<std::uint32_t>(pair); }
inline std::uint64_t pair_of(std::uint64_t v, std::uint64_t w) { return v << 32 | w; }
struct high_half {
  std::uint32_t operator()(std::uint64_t pair) const { return high(pair); }
};
struct low_half {
  std::uint32_t operator()(std::uint64_t pair) const { return low(pair); }
};
/// Bits of a number below n.
unsigned bits_for(std::size_t n);

/// The task that gives, in a new array, for each v below n the first of its pairs, and the end behind the last v. Of
/// pairs that are ascending by v.
step<array<std::uint64_t>> first_of_each(context& cx, array<std::uint64_t> sorted, std::size_t n);

/// The same; it sorts them first, by v only: stable.
step<array<std::uint64_t>> sort_pairs(context& cx, array<std::uint64_t> all, std::size_t n);

}  // namespace ppmm::tools
