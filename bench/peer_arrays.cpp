/// Matrix product, merge sort, scans and histogram.
#include "checkpointed.hpp"
#include "fork_join.hpp"
#include "kernels.hpp"
#include "openmp.hpp"
#include "peers.hpp"

#include <ppmm/algo/algo.hpp>
#include <ppmm/ppmm.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <execution>
#include <functional>
#include <memory>
#include <numeric>
#include <utility>
#include <vector>

namespace bench {
namespace {

using ppmm::context;
using ppmm::in;
using ppmm::out;
using ppmm::step;
using const_numbers = std::span<const std::uint64_t>;

/// Other where an element or its place is.
std::uint64_t checksum(const_numbers of) {
  std::uint64_t sum = 0;
  for (const std::uint64_t x : of) sum = sum * 6364136223846793005 + x;
  return sum;
}
const_numbers words_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const std::uint64_t*>(bytes.data()), bytes.size() / sizeof(std::uint64_t)};
}
template <class T>
std::span<T> part_of(std::span<std::byte> memory, std::size_t at, std::size_t n) {
  return {reinterpret_cast<T*>(memory.data() + at * sizeof(T)), n};
}
std::string mebibytes(std::size_t bytes) { return fmt::format("{:.3g} MiB", static_cast<double>(bytes) / (1 << 20)); }

/// Block b of n, of that many elements.
struct block_range {
  std::size_t first, last;
  block_range(std::size_t b, std::size_t n, std::size_t elements)
      : first(elements * b / n), last(elements * (b + 1) / n) {}
  std::size_t size() const { return last - first; }
};

// ---- matrix product ------------------------------------------------------------------------------------------------

void make_matmul(workload& w, std::size_t side, std::span<std::byte> memory) {
  w.size = fmt::format("{0} × {0}", side);
  const std::size_t all = side * side;
  w.bytes = 3 * all * sizeof(double);
  const auto a = part_of<double>(memory, 0, all), b = part_of<double>(memory, all, all),
             c = part_of<double>(memory, 2 * all, all);
  for (std::size_t i = 0; i < all; ++i)
    a[i] = static_cast<double>(i % 100), b[i] = static_cast<double>(i % 89);  // sums are exact
  const auto result = std::make_shared<std::span<const double>>(c);
  const auto saved = std::make_shared<checkpointed_later>();
  const matrices m{side, a.data(), b.data(), c.data()};
  w.prepare = [=] {
    *result = c;
    saved->begin();
  };
  w.by(peer::serial) = [m](unsigned) { multiply_tiles(m); };
  w.by(peer::onetbb) = [m](unsigned) { multiply_tiles_tbb(m); };
  w.by(peer::openmp) = [m](unsigned threads) { openmp::multiply(m, threads); };
  w.by(peer::pmemobj) = [=](unsigned) {  // a tile takes about two heartbeats, as it does for PPMM
    checkpointed& p = saved->with(all * sizeof(double));
    const std::span<double> to = part_of<double>(p.memory(), 0, all);
    const matrices mine{side, m.a, m.b, to.data()};
    p.loop(m.tiles() * m.tiles(), [&](std::size_t tile) {
      const std::size_t i = tile / m.tiles(), j = tile % m.tiles();
      constexpr std::size_t rows = ppmm::detail::tile_side;
      multiply_tile(mine, i, j);
      for (std::size_t row = i * rows; row < (i + 1) * rows; ++row)
        p.flush(&to[row * side + j * rows], rows * sizeof(double));
      p.drain();
      return std::uint64_t{0};
    });
    *result = to;
  };
  w.ours = [=](workbench& in_pool, const ppmm::run_options& options) {
    const auto tile = [side](const auto& view) { return ppmm::tile(view, side); };
    return in_pool.compute(
        ppmm::matmul(tile(in<double>(a.data(), all)), tile(in<double>(b.data(), all)), tile(out<double>(m.c, all))),
        options);
  };
  w.answer = [result] { return checksum(words_of(std::as_bytes(*result))); };
  w.state = std::as_bytes(c);
}

// ---- merge sort ----------------------------------------------------------------------------------------------------

/// How many of the first k elements of the stable merge of a and b are from a.
std::size_t from_first(std::size_t k, const_numbers a, const_numbers b) {
  std::size_t lo = k > b.size() ? k - b.size() : 0, hi = std::min(k, a.size());
  while (lo < hi) {
    const std::size_t i = lo + (hi - lo) / 2;
    if (b[k - i - 1] < a[i])
      hi = i;
    else
      lo = i + 1;
  }
  return lo;
}

/// Elements [first, last) of what the runs of `width` in `from` give when two and two are merged.
void merge_runs(const_numbers from, numbers to, std::size_t width, std::size_t first, std::size_t last) {
  while (first < last) {
    const std::size_t begin = first / (2 * width) * (2 * width), end = std::min({begin + 2 * width, from.size()});
    const const_numbers both = from.subspan(begin, end - begin), a = both.first(std::min(width, both.size())),
                        b = both.subspan(a.size());
    const std::size_t lo = first - begin, hi = std::min(last, end) - begin;
    const std::size_t i = from_first(lo, a, b), j = from_first(hi, a, b);
    std::ranges::merge(a.subspan(i, j - i), b.subspan(lo - i, hi - j - (lo - i)), to.subspan(first, hi - lo).begin());
    first = begin + hi;
  }
}

/// Level by level, each in blocks; gives where the result is.
const_numbers sort_checkpointed(checkpointed& p, const_numbers input, double serial_ns) {
  numbers data = part_of<std::uint64_t>(p.memory(), 0, input.size()),
          other = part_of<std::uint64_t>(p.memory(), input.size(), input.size());
  std::size_t levels = 1;
  for (std::size_t width = sorted_leaf; width < input.size(); width *= 2) ++levels;
  const std::size_t most = (input.size() + sorted_leaf - 1) / sorted_leaf;
  const std::size_t n = std::min(most, checkpointed::blocks_for(serial_ns / static_cast<double>(levels)));
  p.loop(most, [&](std::size_t b) {  // a leaf takes about a heartbeat
    const std::size_t first = b * sorted_leaf, size = std::min(sorted_leaf, input.size() - first);
    const numbers leaf = data.subspan(first, size);
    std::ranges::copy(input.subspan(first, size), leaf.begin());
    std::ranges::stable_sort(leaf);
    p.persist(leaf.data(), leaf.size_bytes());
    return std::uint64_t{0};
  });
  for (std::size_t width = sorted_leaf; width < input.size(); width *= 2, std::swap(data, other))
    p.loop(n, [&](std::size_t b) {
      const block_range r(b, n, input.size());
      merge_runs(data, other, width, r.first, r.last);
      p.persist(other.data() + r.first, r.size() * sizeof(std::uint64_t));
      return std::uint64_t{0};
    });
  return data;
}

void make_sort(workload& w, std::size_t n, std::span<std::byte> memory) {
  w.bytes = 2 * n * sizeof(std::uint64_t);
  w.size = mebibytes(n * sizeof(std::uint64_t));
  const numbers data = part_of<std::uint64_t>(memory, 0, n), scratch = part_of<std::uint64_t>(memory, n, n);
  const auto result = std::make_shared<const_numbers>(data);
  const auto saved = std::make_shared<checkpointed_later>();
  w.prepare = [=] {
    scatter(data);
    *result = data;
    saved->begin();
  };
  w.by(peer::serial) = [=](unsigned) { sort_stable_std(data); };
  w.by(peer::onetbb) = [=](unsigned) { merge_sort(data, scratch, false, by_invoke()); };
  w.by(peer::openmp) = [=](unsigned threads) { openmp::sort(data, scratch, threads); };
  w.by(peer::standard) = [=](unsigned) { std::stable_sort(std::execution::par, data.begin(), data.end()); };
  w.by(peer::pmemobj) = [=, &w](unsigned) {
    *result = sort_checkpointed(saved->with(2 * data.size_bytes()), data, w.serial_ns);
  };
  w.ours = [=](workbench& in_pool, const ppmm::run_options& options) {
    const out<std::uint64_t> all(data.data(), n), room(scratch.data(), n);
    return in_pool.compute(ppmm::task<sort>(all, room), options);
  };
  w.answer = [result] { return checksum(*result); };
  w.state = std::as_bytes(data);
}

// ---- scans ---------------------------------------------------------------------------------------------------------

/// The sums of all blocks first, then the blocks.
void scan_checkpointed(checkpointed& p, const_numbers from, numbers to, bool inclusive, double serial_ns) {
  const std::size_t n = checkpointed::blocks_for(serial_ns);
  const auto part = [&](std::size_t b) {
    const block_range r(b, n, from.size());
    return from.subspan(r.first, r.size());
  };
  p.loop(n, [&](std::size_t b) { return sum_serial(part(b)); });
  std::vector<std::uint64_t> before(n + 1);
  for (std::size_t b = 0; b < n; ++b) before[b + 1] = before[b] + p.result(b);
  p.loop(n, [&](std::size_t b) {
    const const_numbers some = part(b);
    const numbers here = to.subspan(block_range(b, n, from.size()).first, some.size());
    if (inclusive)
      std::inclusive_scan(some.begin(), some.end(), here.begin(), std::plus<>(), before[b]);
    else
      std::exclusive_scan(some.begin(), some.end(), here.begin(), before[b]);
    p.persist(here.data(), here.size_bytes());
    return std::uint64_t{0};
  });
}

void make_scan(workload& w, bool inclusive, std::size_t n, std::span<std::byte> memory) {
  w.bytes = 2 * n * sizeof(std::uint64_t);
  w.size = mebibytes(n * sizeof(std::uint64_t));
  const numbers from = part_of<std::uint64_t>(memory, 0, n), to = part_of<std::uint64_t>(memory, n, n);
  scatter(from);
  const auto result = std::make_shared<const_numbers>(to);
  const auto saved = std::make_shared<checkpointed_later>();
  w.prepare = [=] {
    *result = to;
    saved->begin();
  };
  w.by(peer::serial) = [=](unsigned) {
    if (inclusive)
      std::inclusive_scan(from.begin(), from.end(), to.begin());
    else
      std::exclusive_scan(from.begin(), from.end(), to.begin(), std::uint64_t{0});
  };
  w.by(peer::onetbb) = [=](unsigned) { inclusive ? inclusive_scan_tbb(from, to) : exclusive_scan_tbb(from, to); };
  w.by(peer::openmp) = [=](unsigned threads) { openmp::scan(from, to, inclusive, threads); };
  w.by(peer::standard) = [=](unsigned) {
    if (inclusive)
      std::inclusive_scan(std::execution::par, from.begin(), from.end(), to.begin());
    else
      std::exclusive_scan(std::execution::par, from.begin(), from.end(), to.begin(), std::uint64_t{0});
  };
  w.by(peer::pmemobj) = [=, &w](unsigned) {
    checkpointed& p = saved->with(to.size_bytes());
    const numbers mine = part_of<std::uint64_t>(p.memory(), 0, n);
    scan_checkpointed(p, from, mine, inclusive, w.serial_ns);
    *result = mine;
  };
  w.ours = [=](workbench& in_pool, const ppmm::run_options& options) {
    const in<std::uint64_t> a(from.data(), n);
    const out<std::uint64_t> b(to.data(), n);
    return inclusive ? in_pool.compute(ppmm::inclusive_scan(a, b, std::uint64_t{0}, std::plus<>()), options)
                     : in_pool.compute(ppmm::exclusive_scan(a, b, std::uint64_t{0}, std::plus<>()), options);
  };
  w.answer = [result] { return checksum(*result); };
  w.state = std::as_bytes(to);
}

// ---- histogram -----------------------------------------------------------------------------------------------------

void make_histogram(workload& w, std::size_t n, std::span<std::byte> memory) {
  w.bytes = n * sizeof(std::uint64_t);
  w.size = mebibytes(n * sizeof(std::uint64_t)) + ", 256 buckets";
  const numbers from = part_of<std::uint64_t>(memory, 0, n);
  const std::span<std::uint64_t> to = part_of<std::uint64_t>(memory, n, std::tuple_size_v<bucket_counts>);
  scatter(from);
  const auto keep_result = [to](const bucket_counts& all) { std::ranges::copy(all, to.begin()); };
  const auto saved = std::make_shared<checkpointed_later>();
  w.prepare = [=] { saved->begin(); };
  w.by(peer::serial) = [=](unsigned) { keep_result(histogram_serial(from)); };
  w.by(peer::onetbb) = [=](unsigned) { keep_result(histogram_tbb(from)); };
  w.by(peer::openmp) = [=](unsigned threads) { keep_result(openmp::histogram(from, threads)); };
  w.by(peer::pmemobj) = [=, &w](unsigned) {
    const std::size_t blocks = checkpointed::blocks_for(w.serial_ns);
    checkpointed& p = saved->with(blocks * sizeof(bucket_counts));
    const std::span<bucket_counts> by_block = part_of<bucket_counts>(p.memory(), 0, blocks);
    p.loop(blocks, [&](std::size_t b) {
      const block_range r(b, blocks, n);
      by_block[b] = histogram_serial(from.subspan(r.first, r.size()));
      p.persist(&by_block[b], sizeof(bucket_counts));
      return std::uint64_t{0};
    });
    bucket_counts all{};
    for (const bucket_counts& some : by_block) std::ranges::transform(all, some, all.begin(), std::plus<>());
    keep_result(all);
  };
  w.ours = [=](workbench& in_pool, const ppmm::run_options& options) {
    return in_pool.compute(
        ppmm::histogram(in<std::uint64_t>(from.data(), n), out<std::uint64_t>(to.data(), to.size()), bucket_of),
        options);
  };
  w.answer = [to] { return checksum(to); };
  w.state = std::as_bytes(to);
}

}  // namespace

void add_arrays(std::vector<workload_kind>& all, const workload_sizes& sizes) {
  all.push_back({"matmul", [n = sizes.side](workload& w, std::span<std::byte> m) { make_matmul(w, n, m); }});
  all.push_back({"merge sort", [n = sizes.sorted](workload& w, std::span<std::byte> m) { make_sort(w, n, m); }});
  for (const bool inclusive : {true, false})
    all.push_back({inclusive ? "inclusive scan" : "exclusive scan",
                   [=, n = sizes.numbers](workload& w, std::span<std::byte> m) { make_scan(w, inclusive, n, m); }});
  all.push_back({"histogram", [n = sizes.numbers](workload& w, std::span<std::byte> m) { make_histogram(w, n, m); }});
}

}  // namespace bench
