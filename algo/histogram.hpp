/// Counting by bucket.
#pragma once

#include <ppmm/algo/bucket_counts.hpp>
#include <ppmm/algo/map.hpp>
#include <ppmm/algo/views.hpp>
#include <ppmm/sched/context.hpp>

#include <cstddef>
#include <cstdint>
#include <string>

namespace ppmm {

namespace detail {

inline constexpr std::size_t many_buckets = 65536;  // more numbers than a cache near the core holds

/// A bucket's number, or an error.
template <class Bucket>
struct checked_bucket {
  [[no_unique_address]] Bucket bucket;
  std::size_t buckets;
  template <class T>
  std::size_t operator()(const T& x) const {
    const auto k = static_cast<std::size_t>(bucket(x));
    if (k >= buckets) [[unlikely]]
      no_bucket(k);
    return k;
  }
  [[noreturn, gnu::cold]] void no_bucket(std::size_t k) const {
    throw error("histogram: an element is for bucket " + std::to_string(k) + " of " + std::to_string(buckets) +
                "; bucket(x) must be less than their number");
  }
};

/// The task that counts by a table of all blocks.
template <class T, class Bucket>
auto histogram_of_few(const in<T>& from, const out<std::uint64_t>& to, const Bucket& bucket) {
  return [=](context& cx) -> step<void> {
    const auto counts = bucket_table<std::uint32_t>::make(cx, from.size(), to.size());
    return cx.call(count_buckets(from, bucket, counts)).then([=](context& c) -> step<void> {
      return c.call(add_up_buckets(counts, {}, to)).then([=](context& d) -> step<void> {
        d.free(counts.all);
        return {};
      });
    });
  };
}

/// The task that sorts bucket numbers and counts them.
struct count_by_sorting {
  array<std::uint64_t> numbers;
  out<std::uint64_t> to;
  step<void> operator()(context& cx) const;
};

/// The task for more buckets: a table would be larger than the data.
template <class T, class Bucket>
auto histogram_of_many(const in<T>& from, const out<std::uint64_t>& to, const Bucket& bucket) {
  return [=](context& cx) -> step<void> {
    const array<std::uint64_t> numbers = cx.alloc<std::uint64_t>(from.size());
    return cx.call(map(from, numbers, bucket)).then([=](context& c) -> step<void> {
      return c.call(count_by_sorting{numbers, to}).then([=](context& d) -> step<void> {
        d.free(numbers);
        return {};
      });
    });
  };
}

}  // namespace detail

/// The task that writes to each element k of `to` how many elements x of `from` have `bucket(x)` k, which must be less
/// than its size. O((n + k)/B) transfers up to 65536 buckets; beyond, those of an integer_sort.
template <readable From, durable_value Bucket>
auto histogram(const From& from, const out<std::uint64_t>& to, const Bucket& bucket) {
  return [from = as_in(from), to, bucket](context& cx) -> step<void> {
    const detail::checked_bucket<Bucket> checked{bucket, to.size()};
    if (to.size() <= detail::many_buckets) return detail::histogram_of_few(from, to, checked)(cx);
    return detail::histogram_of_many(from, to, checked)(cx);
  };
}
template <readable From, durable_value Bucket>
step<void> histogram(context& cx, const From& from, const out<std::uint64_t>& to, const Bucket& bucket) {
  return histogram(from, to, bucket)(cx);
}

/// The task that gives a new array with the counts of that many buckets; it is the caller's to free.
template <readable From, durable_value Bucket>
auto histogram(const From& from, std::size_t buckets, const Bucket& bucket) {
  return [from = as_in(from), buckets, bucket](context& cx) -> step<array<std::uint64_t>> {
    const array<std::uint64_t> to = cx.alloc<std::uint64_t>(buckets);
    return cx.call(histogram(from, as_out(to), bucket)).then([to](context&) -> step<array<std::uint64_t>> {
      return to;
    });
  };
}
template <readable From, durable_value Bucket>
step<array<std::uint64_t>> histogram(context& cx, const From& from, std::size_t buckets, const Bucket& bucket) {
  return histogram(from, buckets, bucket)(cx);
}

}  // namespace ppmm
