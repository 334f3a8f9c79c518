/// Graphs, and breadth-first search as peers do it: level by level, each vertex claimed by a compare-and-swap.
#pragma once

#include <graph_job.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace bench {

using ppmm::tools::unreached;

/// As ppmm::tools::edge_rows, in anybody's memory.
struct rows_of_edges {
  std::span<const std::uint64_t> edges;  // v in the high half, w in the low one; by v
  std::span<const std::uint64_t> first;  // by v, and one more: its first edge
  std::size_t vertices() const { return first.size() - 1; }
};

/// A graph by the R-MAT model (Chakrabarti, Zhan, Faloutsos, SDM 2004) with the parameters of Graph500: 2^scale
/// vertices, 16 times as many edges, each in both directions; vertices are renamed at random. Always the same.
struct rmat_graph {
  static constexpr std::size_t edges_a_vertex = 16;
  static std::size_t bytes(unsigned scale);  ///< of memory that it needs

  /// Made in `memory`.
  rmat_graph(unsigned scale, std::span<std::byte> memory);
  rows_of_edges rows;
  std::uint32_t source = 0;   ///< a vertex of many edges
  std::span<std::byte> rest;  ///< of the memory
};

/// Claims the vertices behind vertices lo to hi of the frontier, and hands each to `claimed(w)`.
template <class Claimed>
void claim_behind(const rows_of_edges& g, std::span<const std::uint32_t> frontier, std::uint32_t level,
                  std::span<std::uint32_t> distance, Claimed claimed) {
  for (const std::uint32_t v : frontier)
    for (std::uint64_t e = g.first[v]; e < g.first[v + 1]; ++e) {
      const std::uint32_t w = ppmm::tools::low(g.edges[e]);
      const std::atomic_ref<std::uint32_t> of_w(distance[w]);
      std::uint32_t none = unreached;
      if (of_w.load(std::memory_order_relaxed) == unreached &&
          of_w.compare_exchange_strong(none, level, std::memory_order_relaxed))
        claimed(w);
    }
}

inline constexpr std::size_t frontier_grain = 64;

/// `loop(n, grain, body)` calls body(lo, hi) on parts of [0, n), in parallel.
template <class Loop>
void bfs_by_levels(const rows_of_edges& g, std::uint32_t source, std::span<std::uint32_t> distance, const Loop& loop) {
  std::ranges::fill(distance, unreached);
  std::vector<std::uint32_t> frontier(g.vertices()), next(g.vertices());
  frontier[0] = source;
  distance[source] = 0;
  std::size_t size = 1;
  for (std::uint32_t level = 1; size > 0; ++level) {
    std::atomic<std::size_t> end = 0;
    loop(size, frontier_grain, [&](std::size_t lo, std::size_t hi) {
      std::array<std::uint32_t, 1024> mine;  // added to the next frontier many at a time
      std::size_t n = 0;
      const auto add = [&] {
        std::copy_n(mine.begin(), n, next.begin() + static_cast<std::ptrdiff_t>(end.fetch_add(n)));
        n = 0;
      };
      claim_behind(g, std::span(frontier).subspan(lo, hi - lo), level, distance, [&](std::uint32_t w) {
        mine[n++] = w;
        if (n == mine.size()) add();
      });
      add();
    });
    size = end;
    std::swap(frontier, next);
  }
}

void bfs_serial(const rows_of_edges& g, std::uint32_t source, std::span<std::uint32_t> distance);

}  // namespace bench
