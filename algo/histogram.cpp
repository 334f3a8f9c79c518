#include <ppmm/algo/histogram.hpp>

#include <ppmm/algo/for_each.hpp>
#include <ppmm/algo/integer_sort.hpp>

#include <algorithm>
#include <bit>
#include <functional>

namespace ppmm::detail {
namespace {

/// The task that counts sorted bucket numbers.
auto count_sorted(const in<std::uint64_t>& sorted, const out<std::uint64_t>& to) {
  return ppmm::for_each(0, to.size(), [=](context& cx, std::size_t lo, std::size_t hi) {
    const auto all = cx.read(sorted);
    auto at = std::lower_bound(all.begin(), all.end(), lo);
    for (std::uint64_t& n : cx.write(to.sub(lo, hi - lo))) {
      const auto from = at;
      while (at != all.end() && *at == lo) ++at;
      n = static_cast<std::uint64_t>(at - from);
      ++lo;
    }
  });
}

}  // namespace

step<void> count_by_sorting::operator()(context& cx) const {
  const auto bits = static_cast<unsigned>(std::bit_width(to.size() - 1));
  return cx.call(integer_sort(numbers, std::identity(), bits)).then([n = numbers, t = to](context& c) {
    return count_sorted(as_in(n), t)(c);
  });
}

}  // namespace ppmm::detail
