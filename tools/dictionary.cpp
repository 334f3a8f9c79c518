#include "dictionary.hpp"

namespace ppmm::tools {
namespace {

/// Merged dictionaries: each word stands there once or twice in a row.
struct merged_words {
  array<word> all;
  word_order order;

  struct opened {
    std::span<const word> words;  // from before the first to behind the last, where there are such
    std::size_t lead;
    const word_order& order;
    bool begins(std::size_t i) const {
      const std::size_t at = i + lead;
      return at == 0 || !order.same(words[at - 1], words[at]);
    }
    word value(std::size_t i) const {
      const std::size_t at = i + lead;
      word w = words[at];
      if (at + 1 < words.size() && order.same(w, words[at + 1])) w.count += words[at + 1].count;
      return w;
    }
  };
  opened open(context& cx, std::size_t lo, std::size_t hi) const {
    const std::size_t lead = lo > 0 ? 1 : 0, end = std::min(hi + 1, all.size());
    return {cx.read(as_in(all).sub(lo - lead, end - (lo - lead))), lead, order};
  }
  /// How many different words begin in [lo, hi).
  std::size_t operator()(context& cx, std::size_t lo, std::size_t hi) const {
    const opened some = open(cx, lo, hi);
    std::size_t n = 0;
    for (std::size_t i = 0; i < hi - lo; ++i) n += std::size_t{some.begins(i)};
    return n;
  }
};

struct write_merged {
  merged_words from;
  array<word> to;
  std::size_t operator()(context& cx, std::size_t lo, std::size_t hi, std::size_t before) const {
    const std::size_t n = from(cx, lo, hi);
    const auto some = from.open(cx, lo, hi);
    auto at = cx.write(as_out(to).sub(before, n)).begin();
    for (std::size_t i = 0; i < hi - lo; ++i)
      if (some.begins(i)) *at++ = some.value(i);
    return before + n;
  }
};

/// The task that gives each word once, in a new array.
step<array<word>> each_once(context& cx, merged_words merged) {
  return cx.call(reduce(0, merged.all.size(), std::size_t{0}, merged, std::plus<>()))
      .then([merged](context& c, std::size_t n) -> step<array<word>> {
        const array<word> to = c.alloc<word>(n);
        return c.call(scan(0, merged.all.size(), std::size_t{0}, std::plus<>(), merged, write_merged{merged, to}))
            .then([merged, to](context& d, std::size_t) -> step<array<word>> {
              d.free(merged.all);
              return to;
            });
      });
}

}  // namespace

step<array<word>> merge_dictionaries(context& cx, word_order order, array<word> a, array<word> b) {
  if (a.empty()) return b;
  if (b.empty()) return a;
  const array<word> merged = cx.alloc<word>(a.size() + b.size());
  return cx.call(merge(a, b, merged, order)).then([=](context& c) -> step<array<word>> {
    c.free(a);
    c.free(b);
    return each_once(c, {merged, order});
  });
}

}  // namespace ppmm::tools
