/// stores [--quick]
///
/// How a large output is best made durable on the flushing levels: ordinary stores and clwb, or non-temporal stores
/// (movnti), each with an sfence at the end. Measured in turns, by size; onto memory that was not in the caches, as an
/// output is that is written once, and onto memory that was just read. A Markdown table of ns a KiB and of ratios.
///
/// A second table: a loop that computes each element from one that it reads, and then somebody who reads all of them. With
/// the write-back after each turn of some 100 KB, after each 4 KiB, or by copies past the caches, as context::fill does.
#include "measure.hpp"
#include "workbench.hpp"

#include <fmt/format.h>
#include <immintrin.h>
#include <ppmm/pmem/persist.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <iterator>
#include <numeric>
#include <span>
#include <string_view>

namespace {

using namespace bench;

constexpr std::size_t line = 64;

[[gnu::target("clwb")]] void store_and_flush(std::byte* to, std::size_t n, std::uint64_t value) {
  for (std::size_t at = 0; at < n; at += 8) std::memcpy(to + at, &value, 8);
  for (std::size_t at = 0; at < n; at += line) _mm_clwb(to + at);
  _mm_sfence();
}

/// As a task does: a part is stored while it is still in the caches, and flushed.
[[gnu::target("clwb")]] void store_and_flush_by_parts(std::byte* to, std::size_t n, std::uint64_t value) {
  constexpr std::size_t part = std::size_t{16} << 10;
  for (std::size_t from = 0; from < n; from += part) {
    const std::size_t end = std::min(n, from + part);
    for (std::size_t at = from; at < end; at += 8) std::memcpy(to + at, &value, 8);
    for (std::size_t at = from; at < end; at += line) _mm_clwb(to + at);
  }
  _mm_sfence();
}

void store_past_the_caches(std::byte* to, std::size_t n, std::uint64_t value) {
  for (std::size_t at = 0; at < n; at += 8) _mm_stream_si64(reinterpret_cast<long long*>(to + at), static_cast<long long>(value));
  _mm_sfence();
}

void store_only(std::byte* to, std::size_t n, std::uint64_t value) {
  for (std::size_t at = 0; at < n; at += 8) std::memcpy(to + at, &value, 8);
}

std::uint64_t sum_of(std::span<const std::byte> bytes) {
  std::uint64_t sum = 0;
  for (std::size_t at = 0; at < bytes.size(); at += line) sum += std::to_integer<std::uint64_t>(bytes[at]);
  return sum;
}

// ---- a loop that reads, computes, and writes -----------------------------------------------------------------------

using number = std::uint64_t;

[[gnu::noinline]] void compute(const number* __restrict from, number* __restrict to, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) to[i] = 3 * from[i] + 1;
}

/// Computes all of `to`, and makes it durable: stored in place and flushed by `part` elements, or copied by as many, or
/// word by word.
void compute_and_flush(const ppmm::medium& m, std::span<const number> from, std::span<number> to, std::size_t part) {
  for (std::size_t at = 0; at < to.size(); at += part) {
    compute(&from[at], &to[at], part);
    m.flush(&to[at], part * sizeof(number));
  }
  m.drain();
}
[[gnu::noinline]] void compute_past_caches(ppmm::persister& p, std::span<const number> from, std::span<number> to) {
#pragma GCC unroll 8
  for (std::size_t i = 0, n = to.size(); i < n; ++i) ppmm::store_past_caches(&to[i], 3 * from[i] + 1);
  p.stored_past_caches(to.data(), to.size_bytes());
  p.fence();
}
void compute_and_copy(ppmm::persister& p, std::span<const number> from, std::span<number> to, std::size_t part) {
  alignas(line) static number buffer[std::size_t{1} << 13];
  for (std::size_t at = 0; at < to.size(); at += part) {
    compute(&from[at], buffer, part);
    p.copy(&to[at], buffer, part * sizeof(number));
  }
  p.fence();
}

void compare_loops(workbench& w, std::span<std::byte> region, bool quick) {
  ppmm::persister p(w.pool().medium());
  const std::span<number> all(reinterpret_cast<number*>(region.data()), region.size() / sizeof(number));
  struct way {
    std::string_view name;
    std::function<void(std::span<const number>, std::span<number>)> run;
  };
  constexpr std::size_t kib = 1024 / sizeof(number);
  const way ways[] = {
      {"not flushed", [](auto from, auto to) { compute(from.data(), to.data(), to.size()); }},
      {"clwb by 128 KiB", [&](auto from, auto to) { compute_and_flush(w.pool().medium(), from, to, 128 * kib); }},
      {"clwb by 4 KiB", [&](auto from, auto to) { compute_and_flush(w.pool().medium(), from, to, 4 * kib); }},
      {"copied by 1 KiB", [&](auto from, auto to) { compute_and_copy(p, from, to, kib); }},
      {"copied by 4 KiB", [&](auto from, auto to) { compute_and_copy(p, from, to, 4 * kib); }},
      {"copied by 16 KiB", [&](auto from, auto to) { compute_and_copy(p, from, to, 16 * kib); }},
      {"by words", [&](auto from, auto to) { compute_past_caches(p, from, to); }},
  };
  fmt::print("\n| read, compute, write: KiB | then |");
  for (const way& x : ways) fmt::print(" {} |", x.name);
  fmt::print(" clwb by 128 KiB, copied by 4: beside by words |\n| --- | --- |");
  for ([[maybe_unused]] const way& x : ways) fmt::print(" --- |");
  fmt::print(" --- |\n");
  for (const std::size_t n : {256 * kib, 4096 * kib, 65536 * kib})
    for (const bool read_again : {false, true}) {
      turns t;
      for (const way& x : ways)
        t.add([&, n, read_again] {
          double ns = 0;
          const std::size_t turn = quick ? n : std::max(n, 16384 * kib);
          for (std::size_t at = 0; at < turn; at += n) {
            const std::size_t room = all.size() / 2, from = at % (room - n + 1);
            ns += time_ns(1, [&] {
              x.run(all.subspan(from, n), all.subspan(room + from, n));
              if (read_again) keep(std::accumulate(all.begin() + static_cast<std::ptrdiff_t>(room + from), all.begin() + static_cast<std::ptrdiff_t>(room + from + n), number{0}));
            });
          }
          return ns / static_cast<double>(turn * sizeof(number)) * 1024;
        });
      t.take(1);
      t.forget();
      t.take(quick ? 3 : 15);
      fmt::print("| {} | {} |", n / kib, read_again ? "all is read" : "-");
      for (std::size_t i = 0; i < std::size(ways); ++i) fmt::print(" {:.1f} |", t.median_of(i));
      fmt::print(" {:.2f} x, {:.2f} x |\n", t.ratio(1, 6), t.ratio(4, 6));
    }
}

}  // namespace

int main(int argc, char** argv) {
  const bool quick = argc > 1 && std::string_view(argv[1]) == "--quick";
  workbench w(ppmm::durability::emulated, std::size_t{160} << 20);
  const std::size_t all = std::size_t{128} << 20;  // more than the caches have
  const std::span<std::byte> region = ppmm::region_of(w.pool(), all);
  std::memset(region.data(), 1, region.size());
  if (!__builtin_cpu_supports("clwb")) {
    fmt::print("this processor has no clwb: nothing to compare\n");
    return 0;
  }

  fmt::print("| bytes at once | memory | store, clwb, ns a KiB | the same by 16 KiB | movnti | store alone | clwb beside movnti |\n");
  fmt::print("| --- | --- | --- | --- | --- | --- | --- |\n");
  for (const std::size_t n : {std::size_t{256}, std::size_t{1} << 10, std::size_t{4} << 10, std::size_t{64} << 10, std::size_t{1} << 20, std::size_t{16} << 20})
    for (const bool was_read : {false, true}) {
      const std::size_t batch = std::max<std::size_t>(1, (std::size_t{64} << 10) / n), turn = quick ? std::size_t{2} << 20 : std::size_t{32} << 20;
      std::size_t at = 0;  // goes round in the region, so that what is written was written long ago
      const auto one = [&](auto how) {
        return [&, how] {
          double ns = 0;
          for (std::size_t done = 0; done < turn; done += batch * n) {
            if (at + batch * n > all) at = 0;
            std::byte* const to = region.data() + at;
            if (was_read) keep(sum_of({to, batch * n}));
            ns += time_ns(1, [&] {
              for (std::size_t i = 0; i < batch; ++i) how(to + i * n, n, done + i);
            });
            at += batch * n;
          }
          return ns / static_cast<double>(turn) * 1024;
        };
      };
      turns t;
      const auto flushed = t.add(one(store_and_flush));
      const auto parts = t.add(one(store_and_flush_by_parts));
      const auto streamed = t.add(one(store_past_the_caches));
      const auto alone = t.add(one(store_only));
      t.take(quick ? 3 : 15);
      fmt::print("| {} | {} | {:.1f} | {:.1f} | {:.1f} | {:.1f} | {:.2f} x |\n", n, was_read ? "just read" : "not in the caches", t.median_of(flushed),
                 t.median_of(parts), t.median_of(streamed), t.median_of(alone), t.ratio(parts, streamed));
    }
  compare_loops(w, region, quick);
}
