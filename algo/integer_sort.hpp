/// Sorting by an integer key: a stable radix sort, from the lowest digit to the highest.
///
/// A pass counts each block's elements by digit, adds up what goes before each, and moves them; so it reads the data
/// twice and writes them once, and needs no comparison (the parallel counting sort of Blelloch, CMU-CS-90-190, 1990,
/// and of PBBS: Shun et al., SPAA 2012).
#pragma once

#include <ppmm/algo/bucket_counts.hpp>
#include <ppmm/algo/map.hpp>
#include <ppmm/algo/views.hpp>
#include <ppmm/sched/context.hpp>

#include <algorithm>
#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <type_traits>

namespace ppmm {

namespace detail {

inline constexpr unsigned radix_bits = 8;  // of a digit, at most: so many streams are written at once

/// Throws error if a key has no so many bits.
template <class T, class Key>
void need_bits(unsigned bits) {
  using integer = std::remove_cvref_t<std::invoke_result_t<const Key&, const T&>>;
  static_assert(std::unsigned_integral<integer>, "integer_sort: the key must be an unsigned integer");
  if (bits > std::numeric_limits<integer>::digits)
    throw error("integer_sort was asked for the low " + std::to_string(bits) + " bits of a key that has " +
                std::to_string(std::numeric_limits<integer>::digits));
}

/// The digit of a key that one pass looks at.
template <class Key>
struct digit_of {
  [[no_unique_address]] Key key;
  unsigned shift, bits;
  std::size_t digits() const { return std::size_t{1} << bits; }
  template <class T>
  std::size_t operator()(const T& x) const {
    return static_cast<std::size_t>(key(x) >> shift) & (digits() - 1);
  }
};

/// The task that moves each element to where its digit goes.
template <class T, class Key>
auto move_by_digit(const in<T>& from, const out<T>& to, const digit_of<Key>& digit,
                   const bucket_table<std::uint32_t>& counts, const bucket_table<std::uint64_t>& before,
                   const array<std::uint64_t>& totals) {
  return ppmm::for_each(0, counts.blocks, [=](context& cx, std::size_t first, std::size_t last) {
    const std::size_t block = bucket_block(counts.buckets);
    const auto total = cx.read(totals);
    for (std::size_t b = first; b < last; ++b) {
      const auto some = cx.read(from.sub(b * block, std::min(block, from.size() - b * block)));
      const auto count = cx.read(counts.row(b).as_in());
      const auto place = cx.read(before.row(b).as_in());
      std::array<T*, std::size_t{1} << radix_bits> at;
      for (std::size_t d = 0, start = 0; d < total.size(); start += total[d++])
        at[d] = cx.write(to.sub(start + place[d], count[d])).data();
      for (const T& x : some) *at[digit(x)]++ = x;
    }
  });
}

/// The task that moves all of `from` to `to`, in the order of a digit, else in their order.
template <class T, class Key>
auto counting_pass(const in<T>& from, const out<T>& to, const digit_of<Key>& digit) {
  return [=](context& cx) -> step<void> {
    const auto counts = bucket_table<std::uint32_t>::make(cx, from.size(), digit.digits());
    return cx.call(count_buckets(from, digit, counts)).then([=](context& c) -> step<void> {
      const auto before = bucket_table<std::uint64_t>::make(c, from.size(), digit.digits());
      const array<std::uint64_t> totals = c.alloc<std::uint64_t>(digit.digits());
      return c.call(add_up_buckets(counts, before, as_out(totals))).then([=](context& d) -> step<void> {
        return d.call(move_by_digit(from, to, digit, counts, before, totals)).then([=](context& e) -> step<void> {
          e.free(counts.all);
          e.free(before.all);
          e.free(totals);
          return {};
        });
      });
    });
  };
}

/// The task that does all passes: from `from` back and forth between `to` and `scratch`; the last one writes `to`.
template <class T, class Key>
struct radix_sort {
  in<T> from;
  out<T> to, scratch;
  Key key;
  unsigned bits, passes, pass;

  static unsigned passes_for(unsigned bits) { return std::max((bits + radix_bits - 1) / radix_bits, 1u); }

  step<void> operator()(context& cx) const {
    const unsigned shift = bits * pass / passes, end = bits * (pass + 1) / passes;
    const out<T> there = (passes - pass) % 2 == 1 ? to : scratch;
    return cx.call(counting_pass(from, there, digit_of<Key>{key, shift, end - shift}))
        .then([self = *this, there](context& c) -> step<void> {
          if (self.pass + 1 == self.passes) return {};
          return c.tail(
              radix_sort{there.as_in(), self.to, self.scratch, self.key, self.bits, self.passes, self.pass + 1});
        });
  }
};

}  // namespace detail

/// The task that writes the elements x of `from` to `to` in the order of the low `bits` bits of `key(x)`, an unsigned
/// integer: stable. `to` is apart from `from` and as large; other room comes from the heap. 3n/B transfers for every 8
/// bits.
template <readable From, writable To, durable_value Key>
auto integer_sort(const From& from, const To& to, const Key& key, unsigned bits) {
  return [from = as_in(from), to = as_out(to), key, bits](context& cx) -> step<void> {
    using T = element<From>;
    detail::need_size("integer_sort", to.size(), from.size());
    detail::need_bits<T, Key>(bits);
    const unsigned passes = detail::radix_sort<T, Key>::passes_for(bits);
    const array<T> scratch = passes > 1 ? cx.alloc<T>(from.size()) : array<T>();
    return cx.call(detail::radix_sort<T, Key>{from, to, as_out(scratch), key, bits, passes, 0})
        .then([scratch](context& c) -> step<void> {
          c.free(scratch);
          return {};
        });
  };
}
template <readable From, writable To, durable_value Key>
step<void> integer_sort(context& cx, const From& from, const To& to, const Key& key, unsigned bits) {
  return integer_sort(from, to, key, bits)(cx);
}

/// The task that sorts `data` itself so. Where the passes are an odd number, it is copied once more.
template <writable Data, durable_value Key>
auto integer_sort(const Data& data, const Key& key, unsigned bits) {
  return [data = as_out(data), key, bits](context& cx) -> step<void> {
    using T = element<Data>;
    detail::need_bits<T, Key>(bits);
    const unsigned passes = detail::radix_sort<T, Key>::passes_for(bits);
    const bool odd = passes % 2 == 1;
    const array<T> scratch = cx.alloc<T>(data.size());
    const out<T> to = odd ? as_out(scratch) : data, other = odd ? data : as_out(scratch);
    return cx.call(detail::radix_sort<T, Key>{data.as_in(), to, other, key, bits, passes, 0})
        .then([data, scratch, odd](context& c) -> step<void> {
          const auto done = [scratch](context& d) -> step<void> {
            d.free(scratch);
            return {};
          };
          if (!odd) return done(c);
          return c.call(map(scratch, data, [](const T& x) { return x; })).then(done);
        });
  };
}
template <writable Data, durable_value Key>
step<void> integer_sort(context& cx, const Data& data, const Key& key, unsigned bits) {
  return integer_sort(data, key, bits)(cx);
}

}  // namespace ppmm
