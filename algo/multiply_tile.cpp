#include <ppmm/algo/multiply_tile.hpp>

#include <algorithm>
#include <cstring>

namespace ppmm::detail {
namespace {

// A block of sums of 4 × 8 stays in registers: 8 vectors of 4, or 16 of 2.
using lanes [[gnu::vector_size(32)]] = double;
constexpr std::size_t high = 4, vectors = 2, wide = vectors * 4;

constexpr std::size_t packed_vectors = tile_side / 4;  // of a row

/// The sums of `block_rows` rows and up to 8 columns (+)= a b, where b's rows are packed and filled up with zeros.
template <std::size_t block_rows>
[[gnu::always_inline]] inline void multiply_block(std::size_t columns, std::size_t k, rows<const double> a,
                                                  const lanes* b, rows<const double> before, rows<double> c) {
  lanes sums[block_rows][vectors] = {};
  for (std::size_t l = 0; l < k; ++l) {
    for (std::size_t i = 0; i < block_rows; ++i)
      for (std::size_t v = 0; v < vectors; ++v) sums[i][v] += a[i][l] * b[l * packed_vectors + v];
  }
  double all[block_rows][wide];  // a copy: else the sums would be stored at each step
  std::memcpy(all, sums, sizeof all);
  for (std::size_t i = 0; i < block_rows; ++i)
    for (std::size_t j = 0; j < columns; ++j) c[i][j] = before.first == nullptr ? all[i][j] : before[i][j] + all[i][j];
}

template <class T>
[[gnu::always_inline]] inline rows<T> shifted(const rows<T>& r, std::size_t row, std::size_t column) {
  return r.first == nullptr ? r : rows<T>{r.first + row * r.stride + column, r.stride};
}

[[gnu::always_inline]] inline void multiply(std::size_t m, std::size_t n, std::size_t k, rows<const double> a,
                                            rows<const double> b, rows<const double> before, rows<double> c) {
  lanes packed[tile_side * packed_vectors] = {};
  for (std::size_t from = 0; from < k; from += tile_side) {
    const std::size_t some = std::min(tile_side, k - from);
    for (std::size_t l = 0; l < some; ++l) std::memcpy(packed + l * packed_vectors, b[from + l], n * sizeof(double));
    for (std::size_t j = 0; j < n; j += wide) {
      const std::size_t columns = std::min(wide, n - j);
      std::size_t i = 0;
      for (; i + high <= m; i += high)
        multiply_block<high>(columns, some, shifted(a, i, from), packed + j / 4, shifted(before, i, j),
                             shifted(c, i, j));
      for (; i < m; ++i)
        multiply_block<1>(columns, some, shifted(a, i, from), packed + j / 4, shifted(before, i, j), shifted(c, i, j));
    }
    before = {c.first, c.stride};
  }
}

void multiply_plain(std::size_t m, std::size_t n, std::size_t k, rows<const double> a, rows<const double> b,
                    rows<const double> before, rows<double> c) {
  multiply(m, n, k, a, b, before, c);
}
#if defined(__x86_64__)
[[gnu::target("avx2,fma")]] void multiply_fused(std::size_t m, std::size_t n, std::size_t k, rows<const double> a,
                                                rows<const double> b, rows<const double> before, rows<double> c) {
  multiply(m, n, k, a, b, before, c);
}
const auto chosen = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? multiply_fused : multiply_plain;
#else
constexpr auto chosen = multiply_plain;
#endif

}  // namespace

void multiply_tile(std::size_t m, std::size_t n, std::size_t k, rows<const double> a, rows<const double> b,
                   rows<const double> before, rows<double> c) {
  chosen(m, n, k, a, b, before, c);
}

}  // namespace ppmm::detail
