#include "graph.hpp"

#include <numeric>
#include <random>
#include <stdexcept>

namespace bench {

using ppmm::tools::high;
using ppmm::tools::low;
using ppmm::tools::pair_of;

std::size_t rmat_graph::bytes(unsigned scale) {
  const std::size_t vertices = std::size_t{1} << scale;
  return sizeof(std::uint64_t) * (2 * edges_a_vertex * vertices + vertices + 1);
}

rmat_graph::rmat_graph(unsigned scale, std::span<std::byte> memory) {
  const std::size_t vertices = std::size_t{1} << scale, all = 2 * edges_a_vertex * vertices;
  if (memory.size() < bytes(scale)) throw std::logic_error("rmat_graph: too little memory");
  std::mt19937_64 random(1);
  std::vector<std::uint32_t> name(vertices);
  std::iota(name.begin(), name.end(), 0u);
  for (std::size_t i = vertices; i > 1; --i) std::swap(name[i - 1], name[random() % i]);

  std::vector<std::uint64_t> drawn;
  drawn.reserve(all);
  while (drawn.size() < all) {
    std::size_t v = 0, w = 0;
    for (unsigned bit = 0; bit < scale; ++bit) {
      const double x = static_cast<double>(random() >> 11) * 0x1p-53;  // quarters: 0.57, 0.19, 0.19, 0.05
      v = 2 * v + (x >= 0.76 ? 1 : 0);
      w = 2 * w + ((x >= 0.57 && x < 0.76) || x >= 0.95 ? 1 : 0);
    }
    drawn.push_back(pair_of(name[v], name[w]));
    drawn.push_back(pair_of(name[w], name[v]));
  }

  auto* const words = reinterpret_cast<std::uint64_t*>(memory.data());
  const std::span<std::uint64_t> first(words, vertices + 1), edges(words + vertices + 1, all);
  std::ranges::fill(first, 0);
  for (const std::uint64_t e : drawn) ++first[high(e) + 1];
  std::partial_sum(first.begin(), first.end(), first.begin());
  std::vector<std::uint64_t> at(first.begin(), first.end() - 1);
  for (const std::uint64_t e : drawn) edges[at[high(e)]++] = e;
  rows = {edges, first};
  rest = memory.subspan(bytes(scale));
  for (std::uint32_t v = 0; v < vertices; ++v)
    if (first[v + 1] - first[v] > first[source + 1] - first[source]) source = v;
}

void bfs_serial(const rows_of_edges& g, std::uint32_t source, std::span<std::uint32_t> distance) {
  std::ranges::fill(distance, unreached);
  std::vector<std::uint32_t> queue(g.vertices());
  queue[0] = source;
  distance[source] = 0;
  std::size_t end = 1;
  for (std::size_t i = 0; i < end; ++i) {
    const std::uint32_t v = queue[i], behind = distance[v] + 1;
    for (std::uint64_t e = g.first[v]; e < g.first[v + 1]; ++e) {
      const std::uint32_t w = low(g.edges[e]);
      if (distance[w] != unreached) continue;
      distance[w] = behind;
      queue[end++] = w;
    }
  }
}

}  // namespace bench
