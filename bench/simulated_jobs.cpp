#include "simulated_jobs.hpp"

#include "simulated_machine.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>

namespace bench {
namespace {

using ppmm::context;
using ppmm::in;
using ppmm::out;
using ppmm::step;
using ppmm::task;

constexpr std::uint64_t ns = 1000;  // picoseconds

// ---- fib

constexpr unsigned fib_leaf = 8;
std::uint64_t fork_ps = 4 * ns;  // a call of fib that forks, with its share of those that do not

struct fib_row {
  std::uint64_t value, forks, path_forks;
};
constexpr auto fib_rows = [] {
  std::array<fib_row, 64> rows{};
  for (unsigned i = 0; i < rows.size(); ++i)
    rows[i] = i < 2 ? fib_row{i, 0, 0}
                    : fib_row{rows[i - 1].value + rows[i - 2].value, rows[i - 1].forks + rows[i - 2].forks + 1, i - 1};
  return rows;
}();

step<std::uint64_t> fib(context& cx, unsigned n) {
  if (n <= fib_leaf) {
    work(fib_rows[n].forks * fork_ps);
    return fib_rows[n].value;
  }
  work(fork_ps);
  return cx.fork(task<fib>(n - 1), task<fib>(n - 2))
      .then([](context&, std::uint64_t a, std::uint64_t b) -> step<std::uint64_t> { return a + b; });
}

// ---- sort: of nothing. Views are opened where a sort would open them, so that commits flush what a sort would write.

constexpr std::size_t sorted_leaf = 2048,
                      leaf = 8192;             // elements of 8 bytes, as in algo/sort.hpp and about its merge's turn
constexpr std::uint64_t merge_ps = 1200;       // an element; from memory, not from the caches
constexpr std::uint64_t compare_ps = 2500;     // an element and level, of the sort of a leaf
constexpr std::uint64_t search_ps = 250 * ns;  // where to cut two runs: a binary search that misses the caches
constexpr unsigned leaf_levels = 11;
static_assert(sorted_leaf == 1u << leaf_levels && leaf == 4 * sorted_leaf);
constexpr std::uint64_t leaf_sort_ps = sorted_leaf * leaf_levels * compare_ps;
using number = std::uint64_t;

step<std::uint64_t> merge(context& cx, in<number> from, out<number> to) {
  if (to.size() <= leaf) {
    static_cast<void>(cx.read(from));
    static_cast<void>(cx.write(to));
    work(to.size() * merge_ps);
    return to.size();
  }
  work(search_ps);
  const std::size_t half = to.size() / 2;
  return cx.fork(task<merge>(from.first(half), to.first(half)), task<merge>(from.drop(half), to.drop(half)))
      .then([](context&, std::uint64_t a, std::uint64_t b) -> step<std::uint64_t> { return a + b; });
}

/// The sorted numbers are in `to`; `other` is as large. Gives how many elements were sorted or merged.
step<std::uint64_t> sort(context& cx, out<number> to, out<number> other) {
  if (to.size() <= sorted_leaf) {
    static_cast<void>(cx.write(to));
    work(leaf_sort_ps);
    return to.size();
  }
  const std::size_t half = to.size() / 2;
  return cx.fork(task<sort>(other.first(half), to.first(half)), task<sort>(other.drop(half), to.drop(half)))
      .then([=](context& c, std::uint64_t a, std::uint64_t b) {
        return c.call(task<merge>(other.as_in(), to)).then([a, b](context&, std::uint64_t n) -> step<std::uint64_t> {
          return a + b + n;
        });
      });
}

// ---- tree

constexpr double b0 = 4;                      // children of a node on average, above the depth
constexpr std::uint64_t node_ps = 1000 * ns;  // as UTS's SHA-1 takes, about
constexpr std::uint64_t tree_seed = 2;        // of about as many nodes as the average tree

struct node {
  std::uint64_t id;
  std::uint32_t depth_left;
};
std::uint64_t mix(std::uint64_t x) {
  x ^= x >> 33;
  x *= 0xff51afd7ed558ccdu;
  x ^= x >> 33;
  x *= 0xc4ceb9fe1a85ec53u;
  return x ^ x >> 33;
}
node child_of(node n, std::uint32_t i) { return {mix(n.id + 0x9e3779b97f4a7c15u * (i + 1)), n.depth_left - 1}; }

/// P(more than k children) = q^(k + 1), q = b0 / (1 + b0).
const auto more_than = [] {
  std::array<std::uint64_t, 100> t{};
  for (std::size_t k = 0; k < t.size(); ++k)
    t[k] = static_cast<std::uint64_t>(std::ldexp(std::pow(b0 / (1 + b0), static_cast<double>(k + 1)), 63));
  return t;
}();
std::uint32_t children_of(node n) {
  if (n.depth_left == 0) return 0;
  const std::uint64_t u = mix(n.id ^ 0x5851f42d4c957f2du) >> 1;
  std::uint32_t k = 0;
  while (k < more_than.size() && u < more_than[k]) ++k;
  return k;
}

step<std::uint64_t> subtree(context& cx, node n);
step<std::uint64_t> siblings(context& cx, node parent, std::uint32_t from, std::uint32_t to) {
  if (to - from == 1) return cx.tail(task<subtree>(child_of(parent, from)));
  const std::uint32_t middle = from + (to - from) / 2;
  return cx.fork(task<siblings>(parent, from, middle), task<siblings>(parent, middle, to))
      .then([](context&, std::uint64_t a, std::uint64_t b) -> step<std::uint64_t> { return a + b; });
}
step<std::uint64_t> subtree(context& cx, node n) {
  work(node_ps);
  const std::uint32_t k = children_of(n);
  if (k == 0) return 1u;
  return cx.call(task<siblings>(n, 0u, k)).then([](context&, std::uint64_t a) -> step<std::uint64_t> { return a + 1; });
}

node root_of(std::uint64_t depth) { return {mix(tree_seed), static_cast<std::uint32_t>(depth)}; }

struct counted {
  std::uint64_t nodes = 1, path_nodes = 1, path_forks = 0;
};
counted count(node n) {
  counted c;
  const std::uint32_t k = children_of(n);
  for (std::uint32_t i = 0; i < k; ++i) {
    const counted below = count(child_of(n, i));
    c.nodes += below.nodes;
    c.path_nodes = std::max(c.path_nodes, 1 + below.path_nodes);
    c.path_forks =
        std::max<std::uint64_t>(c.path_forks, static_cast<std::uint64_t>(std::bit_width(k - 1)) + below.path_forks);
  }
  return c;
}

}  // namespace

simulated_job fib_job(unsigned n, double fork_ns) {
  fork_ps = static_cast<std::uint64_t>(fork_ns * ns);
  const fib_row& row = fib_rows.at(n);
  return {.name = "fib",
          .size = n,
          .expected = row.value,
          .work_ns = static_cast<double>(row.forks * fork_ps) / ns,
          .span_ns = static_cast<double>((n - 1) * fork_ps) / ns,
          .forks_on_path = static_cast<double>(n - fib_leaf),
          .run = [](ppmm::pool& p, const simulated_job& job, const ppmm::run_options& o) {
            return ppmm::run(p, "simulated", task<fib>(static_cast<unsigned>(job.size)), o);
          }};
}

simulated_job sort_job(unsigned log2_of_elements) {
  const unsigned levels = log2_of_elements - leaf_levels;  // of merges; level m merges into 2^m sorted leaves
  const auto elements = std::uint64_t{1} << log2_of_elements;
  std::uint64_t all = elements / sorted_leaf * leaf_sort_ps + elements * levels * merge_ps, path = leaf_sort_ps,
                forks = levels;
  for (unsigned m = 1; m <= levels; ++m) {
    const std::uint64_t size = std::uint64_t{sorted_leaf} << m, cuts = m > 2 ? m - 2 : 0;
    all += elements / size * ((std::uint64_t{1} << cuts) - 1) * search_ps;
    path += cuts * search_ps + std::min<std::uint64_t>(size, leaf) * merge_ps;
    forks += cuts;
  }
  return {.name = "sort",
          .size = log2_of_elements,
          .expected = elements * (levels + 1),
          .work_ns = static_cast<double>(all) / ns,
          .span_ns = static_cast<double>(path) / ns,
          .forks_on_path = static_cast<double>(forks),
          .region = 2 * elements * sizeof(number),
          .run = [](ppmm::pool& p, const simulated_job& job, const ppmm::run_options& o) {
            auto* first = reinterpret_cast<number*>(ppmm::region_of(p, job.region).data());
            const std::size_t count = std::size_t{1} << job.size;
            return ppmm::run(p, "simulated", task<sort>(out<number>(first, count), out<number>(first + count, count)),
                             o);
          }};
}

simulated_job tree_job(unsigned depth) {
  const counted c = count(root_of(depth));
  return {.name = "tree",
          .size = depth,
          .expected = c.nodes,
          .work_ns = static_cast<double>(c.nodes * node_ps) / ns,
          .span_ns = static_cast<double>(c.path_nodes * node_ps) / ns,
          .forks_on_path = static_cast<double>(c.path_forks),
          .run = [](ppmm::pool& p, const simulated_job& job, const ppmm::run_options& o) {
            return ppmm::run(p, "simulated", task<subtree>(root_of(job.size)), o);
          }};
}

}  // namespace bench
