#include "number_pairs.hpp"

#include <ppmm/algo/algo.hpp>

#include <algorithm>
#include <bit>

namespace ppmm::tools {
namespace {

/// first[v] for all v up to that of the edge at i, from behind that of the edge before it; the last i, for all that
/// are left.
struct write_first {
  array<std::uint64_t> edges, first;
  void operator()(context& cx, std::size_t lo, std::size_t hi) const {
    const std::size_t lead = lo > 0 ? 1 : 0, n = edges.size();
    const auto some = cx.read(as_in(edges).sub(lo - lead, std::min(hi, n) - (lo - lead)));
    const auto behind = [&](std::size_t i) {
      return i == n ? first.size() : std::size_t{high(some[i - lo + lead])} + 1;
    };
    const std::size_t begin = lo == 0 ? 0 : behind(lo - 1);
    const auto to = cx.write(as_out(first).sub(begin, behind(hi - 1) - begin));
    std::size_t v = begin;
    for (std::size_t i = lo; i < hi; ++i)
      for (const std::size_t end = behind(i); v < end; ++v) to[v - begin] = i;
  }
};

}  // namespace

unsigned bits_for(std::size_t n) { return std::max(1u, static_cast<unsigned>(std::bit_width(n == 0 ? 0 : n - 1))); }

step<array<std::uint64_t>> first_of_each(context& cx, array<std::uint64_t> sorted, std::size_t n) {
  const array<std::uint64_t> first = cx.alloc<std::uint64_t>(n + 1);
  return cx.call(for_each(0, sorted.size() + 1, write_first{sorted, first}))
      .then([first](context&) -> step<array<std::uint64_t>> { return first; });
}

step<array<std::uint64_t>> sort_pairs(context& cx, array<std::uint64_t> all, std::size_t n) {
  return cx.call(integer_sort(all, high_half(), bits_for(n))).then(task<first_of_each>(all, n));
}

}  // namespace ppmm::tools
