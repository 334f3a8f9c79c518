/// stores [--quick]
///
/// How a large output is best made durable on the flushing levels: ordinary stores and clwb, or non-temporal stores
/// (movnti), each with an sfence at the end. Measured in turns, by size; onto memory that was not in the caches, as an
/// output is that is written once, and onto memory that was just read. A Markdown table of ns a KiB and of ratios.
#include "measure.hpp"
#include "workbench.hpp"

#include <fmt/format.h>
#include <immintrin.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
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
}
