#include "dictionary.hpp"

#include <ppmm/algo/merge.hpp>  // co_rank

namespace ppmm::tools {
namespace {

/// Two dictionaries merged, each word once. Parts of the work are ranges of what a merge that keeps both of two equal
/// words would give; there they stand next to each other, and the one whose range has the first adds them up.
struct merged_words {
  array<word> a, b;
  word_order order;

  /// The words that begin in [lo, hi), in memory that the capsule has.
  std::span<const word> of(context& cx, std::size_t lo, std::size_t hi) const {
    const std::span<const word> left = cx.read(a), right = cx.read(b);
    const std::span<word> found = cx.scratch<word>(hi - lo);
    std::size_t i = detail::co_rank(lo, left, right, order), j = lo - i, n = 0;
    if (i > 0 && j < right.size() && order.same(left[i - 1], right[j])) ++j;  // of a pair that begins before
    while (i + j < hi && i < left.size() && j < right.size()) {
      const std::strong_ordering which = order.compare(left[i], right[j]);
      word& w = found[n++];  // below no jump: which side is next cannot be predicted
      w = which > 0 ? right[j] : left[i];
      w.count += which == 0 ? right[j].count : 0;
      i += std::size_t{which <= 0};
      j += std::size_t{which >= 0};
    }
    for (; i + j < hi && i < left.size(); ++i) found[n++] = left[i];
    for (; i + j < hi; ++j) found[n++] = right[j];
    return found.first(n);
  }
  std::size_t operator()(context& cx, std::size_t lo, std::size_t hi) const { return of(cx, lo, hi).size(); }
};

struct write_merged {
  merged_words from;
  array<word> to;
  std::size_t operator()(context& cx, std::size_t lo, std::size_t hi, std::size_t before) const {
    const auto found = from.of(cx, lo, hi);
    std::ranges::copy(found, cx.write(as_out(to).sub(before, found.size())).begin());
    return before + found.size();
  }
};

}  // namespace

step<array<word>> merge_dictionaries(context& cx, word_order order, array<word> a, array<word> b) {
  if (a.empty()) return b;
  if (b.empty()) return a;
  const array<word> to = cx.alloc<word>(a.size() + b.size());
  const merged_words all{a, b, order};
  return cx.call(scan(0, to.size(), std::size_t{0}, std::plus<>(), all, write_merged{all, to}))
      .then([=](context& c, std::size_t n) -> step<array<word>> {
        c.free(a);
        c.free(b);
        return array<word>(to.address(), n);
      });
}

}  // namespace ppmm::tools
