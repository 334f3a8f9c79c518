/// How many elements of each block go to each bucket: what histogram and integer_sort begin with.
#pragma once

#include <ppmm/algo/for_each.hpp>
#include <ppmm/algo/views.hpp>
#include <ppmm/sched/context.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace ppmm::detail {

/// Elements of a block: as many as are counted in about a heartbeat, and no fewer than there are buckets.
constexpr std::size_t bucket_block(std::size_t buckets) { return std::max(std::size_t{32768}, buckets); }

/// A number for each block (a row) and bucket, in the heap.
template <class T>
struct bucket_table {
  std::size_t blocks = 0, buckets = 0;
  array<T> all;

  static bucket_table make(context& cx, std::size_t elements, std::size_t buckets) {
    const std::size_t block = bucket_block(buckets), blocks = (elements + block - 1) / block;
    return {blocks, buckets, cx.alloc<T>(blocks * buckets)};
  }
  out<T> row(std::size_t block) const { return as_out(all).sub(block * buckets, buckets); }
};

/// The task that counts, for each block of `from`, the elements x by `bucket(x)`. n/B transfers, and those of the
/// table.
template <class T, class Bucket>
auto count_buckets(const in<T>& from, const Bucket& bucket, const bucket_table<std::uint32_t>& counts) {
  return for_each(0, counts.blocks, [=](context& cx, std::size_t first, std::size_t last) {
    const std::size_t block = bucket_block(counts.buckets);
    for (std::size_t b = first; b < last; ++b) {
      const auto some = cx.read(from.sub(b * block, std::min(block, from.size() - b * block)));
      std::uint32_t* const n = cx.write(counts.row(b)).data();
      std::fill_n(n, counts.buckets, 0u);
      const T *x = some.data(), *const end = x + some.size();
      for (; end - x >= 4; x += 4) {
        ++n[bucket(x[0])];
        ++n[bucket(x[1])];
        ++n[bucket(x[2])];
        ++n[bucket(x[3])];
      }
      for (; x != end; ++x) ++n[bucket(*x)];
    }
  });
}

/// Buckets whose numbers one task adds up: whole cache lines.
inline constexpr std::size_t bucket_stripe = 64;

/// The task that adds up the counts of all blocks: `totals`, by bucket, and, if it is not empty, `before`: what the
/// blocks before have of that bucket. O(1) transfers for each line of the table.
template <class Count>
auto add_up_buckets(const bucket_table<Count>& counts, const bucket_table<std::uint64_t>& before,
                    const out<std::uint64_t>& totals) {
  const std::size_t stripes = (counts.buckets + bucket_stripe - 1) / bucket_stripe;
  return for_each(0, stripes, [=](context& cx, std::size_t first, std::size_t last) {
    const std::size_t lo = first * bucket_stripe, n = std::min(last * bucket_stripe, counts.buckets) - lo;
    const Count* const from = cx.read(counts.all).data();  // null where there are no blocks
    std::uint64_t* const __restrict sum = cx.write(totals.sub(lo, n)).data();
    std::fill_n(sum, n, std::uint64_t{0});
    for (std::size_t b = 0; b < counts.blocks; ++b) {
      if (!before.all.empty()) std::copy_n(sum, n, cx.write(before.row(b).sub(lo, n)).data());
      const Count* const __restrict row = from + b * counts.buckets + lo;
      for (std::size_t i = 0; i < n; ++i) sum[i] += row[i];
    }
  });
}

}  // namespace ppmm::detail
