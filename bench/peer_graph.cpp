/// Breadth-first search of a generated graph.
#include "checkpointed.hpp"
#include "graph.hpp"
#include "openmp.hpp"
#include "peers.hpp"

#include <graph_job.hpp>
#include <ppmm/ppmm.hpp>

#include <fmt/format.h>
#include <tbb/blocked_range.h>
#include <tbb/parallel_for.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <vector>

namespace bench {
namespace {

std::uint64_t checksum(std::span<const std::uint32_t> distances) {
  std::uint64_t sum = 0;
  for (const std::uint32_t d : distances) sum = sum * 6364136223846793005 + d;
  return sum;
}

void bfs_tbb(const rows_of_edges& g, std::uint32_t source, std::span<std::uint32_t> distance) {
  bfs_by_levels(g, source, distance, [](std::size_t n, std::size_t grain, const auto& body) {
    tbb::parallel_for(tbb::blocked_range<std::size_t>(0, n, grain), [&](const auto& r) { body(r.begin(), r.end()); });
  });
}

/// A level is a loop of blocks; what a block has claimed is written down, and marked with it. From these lists the
/// distances could be made again after a crash, so they are not flushed.
void bfs_checkpointed(checkpointed& p, const rows_of_edges& g, std::uint32_t source, std::span<std::uint32_t> distance,
                      double serial_ns) {
  const std::span<std::uint32_t> reached(reinterpret_cast<std::uint32_t*>(p.memory().data()), g.vertices());
  const std::size_t grain = std::max<std::size_t>(g.vertices() / checkpointed::blocks_for(serial_ns), 1);
  std::ranges::fill(distance, unreached);
  reached[0] = source;
  p.persist(reached.data(), sizeof source);
  distance[source] = 0;
  std::atomic<std::size_t> end = 1;
  std::size_t begin = 0;
  for (std::uint32_t level = 1; begin < end; ++level) {
    const std::span<const std::uint32_t> frontier = reached.subspan(begin, end - begin);
    begin = end;
    p.loop((frontier.size() + grain - 1) / grain, [&](std::size_t b) {
      thread_local std::vector<std::uint32_t> mine;
      mine.clear();
      const std::size_t first = b * grain;
      claim_behind(g, frontier.subspan(first, std::min(grain, frontier.size() - first)), level, distance,
                   [&](std::uint32_t w) { mine.push_back(w); });
      const std::size_t at = end.fetch_add(mine.size());
      std::ranges::copy(mine, reached.data() + at);
      p.persist(reached.data() + at, mine.size() * sizeof(std::uint32_t));
      return std::uint64_t{at} << 32 | mine.size();
    });
  }
}

void make_bfs(workload& w, unsigned scale, std::span<std::byte> memory) {
  const rmat_graph made(scale, memory);
  const rows_of_edges g = made.rows;
  const std::uint32_t source = made.source;
  w.bytes = rmat_graph::bytes(scale);
  w.size = fmt::format("2^{} vertices, {} edges", scale, g.edges.size());
  const std::span<std::uint32_t> distance(reinterpret_cast<std::uint32_t*>(made.rest.data()), g.vertices());
  const auto sum = std::make_shared<std::uint64_t>();  // of a result that is not in `distance`
  const auto saved = std::make_shared<checkpointed_later>();
  w.prepare = [=] {
    *sum = 0;
    saved->begin();
  };
  w.by(peer::serial) = [=](unsigned) { bfs_serial(g, source, distance); };
  w.by(peer::onetbb) = [=](unsigned) { bfs_tbb(g, source, distance); };
  w.by(peer::openmp) = [=](unsigned threads) { openmp::bfs(g, source, distance, threads); };
  w.by(peer::pmemobj) = [=, &w](unsigned) {
    bfs_checkpointed(saved->with(g.vertices() * sizeof(std::uint32_t)), g, source, distance, w.serial_ns);
  };
  w.ours = [=](workbench& in_pool, const ppmm::run_options& options) {
    const auto array_of = [](std::span<const std::uint64_t> s) {  // only read
      return ppmm::array<std::uint64_t>(const_cast<std::uint64_t*>(s.data()), s.size());
    };
    const auto finish = [](ppmm::context& cx, const ppmm::array<std::uint32_t>& found) -> ppmm::step<std::uint64_t> {
      const std::uint64_t of_all = checksum(cx.read(found));
      cx.free(found);
      return of_all;
    };
    measured m;
    *sum = in_pool.answer(
        ppmm::task<ppmm::tools::bfs>(ppmm::tools::edge_rows{array_of(g.edges), array_of(g.first)}, source,
                                     ppmm::tools::pairs::both),
        finish, options, m);
    return m;
  };
  w.answer = [=] { return *sum != 0 ? *sum : checksum(distance); };
  w.state = std::as_bytes(distance);
}

}  // namespace

void add_graph(std::vector<workload_kind>& all, const workload_sizes& sizes) {
  all.push_back({"BFS", [scale = sizes.graph](workload& w, std::span<std::byte> m) { make_bfs(w, scale, m); }});
}

}  // namespace bench
