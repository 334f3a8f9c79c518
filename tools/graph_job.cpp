#include "graph_job.hpp"

#include <ppmm/pmem/errors.hpp>

#include <bit>
#include <cmath>
#include <functional>
#include <utility>

namespace ppmm::tools {
namespace {

constexpr std::uint64_t name_units = 20, edge_units = 20;  // a byte
static_assert(graph_units == 1 + name_units + edge_units);

struct add_reports {
  parse_report operator()(const parse_report& a, const parse_report& b) const {
    parse_report both = a;
    for (std::size_t i = 0; i < std::min<std::uint64_t>(b.bad, b.bad_at.size()); ++i) both.add_bad(b.bad_at[i]);
    both.bad = a.bad + b.bad;
    both.edges += b.edges;
    return both;
  }
};

/// What the lines that begin in some blocks have. `edges` are pairs.
struct read_blocks {
  in<char> text;
  pairs which;

  template <class F>
  parse_report each(context& cx, std::size_t lo, std::size_t hi, F f) const {
    const std::span<const char> all = cx.read(text);
    parse_report found;
    edge_lines().each_line(all, lo * block_bytes, std::min<std::size_t>(hi * block_bytes, all.size()),
                           [&](const edge_lines::line& l) {
                             if (l.bad) return found.add_bad(l.position);
                             const bool twice = which == pairs::both && !is_loop(all, l);
                             found.edges += twice ? 2 : 1;
                             f(all, l, twice);
                           });
    return found;
  }
  parse_report operator()(context& cx, std::size_t lo, std::size_t hi) const {
    return each(cx, lo, hi, [](std::span<const char>, const edge_lines::line&, bool) {});
  }

 private:
  static bool is_loop(std::span<const char> text, const edge_lines::line& l) {
    return l.from.length == l.to.length && std::memcmp(&text[l.from.position], &text[l.to.position], l.to.length) == 0;
  }
};

struct write_edges {
  read_blocks read;
  array<word> names;
  array<std::uint64_t> edges;

  parse_report operator()(context& cx, std::size_t lo, std::size_t hi, const parse_report& before) const {
    const std::uint64_t n = read(cx, lo, hi).edges;
    const std::span<const word> known = cx.read(names);
    const std::span<std::uint64_t> to = cx.write(as_out(edges).sub(before.edges, n));
    std::size_t i = 0;
    const parse_report found =
        read.each(cx, lo, hi, [&](std::span<const char> text, const edge_lines::line& l, bool twice) {
          const auto number = [&](const edge_lines::field& f) {
            const word name(text, f.position, f.length);
            return static_cast<std::uint64_t>(std::ranges::lower_bound(known, name, word_order{read.text}) -
                                              known.begin());
          };
          const std::uint64_t a = number(l.from), b = number(l.to);
          if (read.which != pairs::backward) to[i++] = pair_of(a, b);
          if (read.which == pairs::backward || twice) to[i++] = pair_of(b, a);
        });
    cx.advance(edge_units * (std::min<std::size_t>(hi * block_bytes, read.text.size()) - lo * block_bytes));
    return add_reports()(before, found);
  }
};

step<graph> sort_edges(context& cx, graph g) {
  return cx.call(task<sort_pairs>(g.rows.edges, g.names.size()))
      .then([g](context&, const array<std::uint64_t>& first) -> step<graph> {
        return graph{g.text, g.names, {g.rows.edges, first}, g.report};
      });
}

step<graph> number_edges(context& cx, array<char> text, pairs which, array<word> names) {
  if (names.size() >= unreached) throw error("the graph has more vertices than can be numbered, 2^32 - 1");
  const auto count = [names](context& c, std::size_t lo, std::size_t hi) {
    std::uint64_t n = 0;
    for (const word& w : c.read(as_in(names).sub(lo, hi - lo))) n += w.count;
    return n;
  };
  return cx.call(reduce(0, names.size(), std::uint64_t{0}, count, std::plus<>()))
      .then([=](context& c, std::uint64_t ends) -> step<graph> {
        const std::size_t most = which == pairs::both ? ends : ends / 2;  // loops are fewer
        const array<std::uint64_t> edges = c.alloc<std::uint64_t>(most);
        const read_blocks read{as_in(text), which};
        return c
            .call(
                scan(0, block_count(text.size()), parse_report(), add_reports(), read, write_edges{read, names, edges}))
            .then([=](context& d, const parse_report& report) -> step<graph> {
              return sort_edges(d, {text, names, {array<std::uint64_t>(edges.address(), report.edges), {}}, report});
            });
      });
}

step<graph> read_names(context& cx, pairs which, array<char> text) {
  return cx.call(make_dictionary(text, edge_lines(), name_units)).then(task<number_edges>(text, which));
}

}  // namespace

step<graph> load_graph(context& cx, text_summary expected, pairs which) {
  return cx.call(task<load_text>(expected, false)).then(task<read_names>(which));
}

// ---- breadth-first search: level by level --------------------------------------------------------------------------

namespace {

using vertex_list = array<std::uint32_t>;

/// The ends of edges from vertices of the frontier that are not reached yet; some several times.
struct unreached_ends {
  edge_rows g;
  vertex_list distance, frontier;

  template <class F>
  void each(context& cx, std::size_t lo, std::size_t hi, F f) const {
    const auto edges = cx.read(g.edges), first = cx.read(g.first);
    const auto known = cx.read(distance);
    for (const std::uint32_t v : cx.read(as_in(frontier).sub(lo, hi - lo)))
      for (std::uint64_t e = first[v]; e < first[v + 1]; ++e)
        if (known[low(edges[e])] == unreached) f(low(edges[e]));
  }
  std::size_t operator()(context& cx, std::size_t lo, std::size_t hi) const {
    std::size_t n = 0;
    each(cx, lo, hi, [&n](std::uint32_t) { ++n; });
    return n;
  }
};

struct write_unreached_ends {
  unreached_ends from;
  vertex_list to;
  std::size_t operator()(context& cx, std::size_t lo, std::size_t hi, std::size_t before) const {
    const std::size_t n = from(cx, lo, hi);
    auto at = cx.write(as_out(to).sub(before, n)).begin();
    from.each(cx, lo, hi, [&at](std::uint32_t w) { *at++ = w; });
    return before + n;
  }
};

constexpr std::size_t few_ends = 4096;  // done in one capsule

step<vertex_list> few_distinct(context& cx, const unreached_ends& ends, std::size_t n) {
  const std::span<std::uint32_t> some = cx.scratch<std::uint32_t>(n);
  std::size_t i = 0;
  ends.each(cx, 0, ends.frontier.size(), [&](std::uint32_t w) { some[i++] = w; });
  std::ranges::sort(some);
  const auto distinct = std::span(some.begin(), std::unique(some.begin(), some.end()));
  const vertex_list next = cx.alloc<std::uint32_t>(distinct.size());
  std::ranges::copy(distinct, cx.write(next).begin());
  return next;
}

/// The task that gives the vertices that are one step behind the frontier, each once.
step<vertex_list> next_frontier(context& cx, unreached_ends ends) {
  return cx.call(reduce(0, ends.frontier.size(), std::size_t{0}, ends, std::plus<>()))
      .then([ends](context& c, std::size_t n) -> step<vertex_list> {
        if (n == 0) return vertex_list();
        if (n <= few_ends) return few_distinct(c, ends, n);
        const vertex_list all = c.alloc<std::uint32_t>(n);
        return c
            .call(scan(0, ends.frontier.size(), std::size_t{0}, std::plus<>(), ends, write_unreached_ends{ends, all}))
            .then([ends, all](context& d, std::size_t) -> step<vertex_list> {
              return d.call(group_by(all, std::identity(), bits_for(ends.g.vertices())))
                  .then([all](context& e, const groups<std::uint32_t>& distinct) -> step<vertex_list> {
                    e.free(all);
                    e.free(distinct.offsets);
                    return distinct.keys;
                  });
            });
      });
}

/// The task that goes on from the vertices at that distance.
step<array<std::uint32_t>> bfs_from(context& cx, unreached_ends at, std::uint32_t level) {
  if (at.frontier.empty()) return at.distance;
  const auto mark = [at, level](context& c, std::size_t lo, std::size_t hi) {
    for (const std::uint32_t v : c.read(as_in(at.frontier).sub(lo, hi - lo)))
      c.write(as_out(at.distance).sub(v, 1))[0] = level;
  };
  return cx.call(for_each(0, at.frontier.size(), mark)).then([at, level](context& c) -> step<array<std::uint32_t>> {
    return c.call(task<next_frontier>(at))
        .then([at, level](context& d, const vertex_list& next) -> step<array<std::uint32_t>> {
          d.free(at.frontier);
          return d.tail(task<bfs_from>(unreached_ends{at.g, at.distance, next}, level + 1));
        });
  });
}

}  // namespace

step<array<std::uint32_t>> bfs(context& cx, edge_rows g, std::uint32_t source) {
  const array<std::uint32_t> distance = cx.alloc<std::uint32_t>(g.vertices());
  return cx.call(tabulate(distance, [](std::size_t) { return unreached; }))
      .then([=](context& c) -> step<array<std::uint32_t>> {
        const vertex_list frontier = c.alloc<std::uint32_t>(1);
        c.write(frontier)[0] = source;
        return c.tail(task<bfs_from>(unreached_ends{g, distance, frontier}, 0u));
      });
}

// ---- components: trees of vertices hooked to each other, contracted round by round --------------------------------
//
// In each round every vertex has a random rank, and is hooked to its neighbour of least rank, if that is less than its
// own: so about half of those that have neighbours are. Then each tree becomes one vertex, its root (random-mate
// contraction: Reif 1985; as in Blelloch's and Shun's graph codes). All is written from one array to another.

namespace {

using vertex_array = array<std::uint32_t>;

/// Different for all vertices.
std::uint64_t rank_of(std::uint64_t v, std::uint64_t round) {
  std::uint64_t x = v + (round + 1) * 0x9e3779b97f4a7c15;  // splitmix64: a bijection
  x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
  x = (x ^ x >> 27) * 0x94d049bb133111eb;
  return x ^ x >> 31;
}

/// Hooks the roots v whose edges begin in [lo, hi) of the sorted edges.
struct hook {
  array<std::uint64_t> edges;
  vertex_array parent;
  std::uint64_t round;
  void operator()(context& cx, std::size_t lo, std::size_t hi) const {
    const auto all = cx.read(edges);
    std::size_t i = lo;
    while (i > 0 && i < hi && high(all[i]) == high(all[i - 1])) ++i;  // belongs to whoever has the first one
    while (i < hi) {
      const std::uint32_t v = high(all[i]);
      std::uint32_t best = v;
      std::uint64_t least = rank_of(v, round);
      for (; i < all.size() && high(all[i]) == v; ++i)
        if (const std::uint64_t r = rank_of(low(all[i]), round); r < least) {
          least = r;
          best = low(all[i]);
        }
      if (best != v) cx.write(as_out(parent).sub(v, 1))[0] = best;
    }
  }
};

/// Writes each vertex's grandparent; gives how many are other than the parent.
struct jump {
  vertex_array from, to;
  std::size_t operator()(context& cx, std::size_t lo, std::size_t hi) const {
    const auto parent = cx.read(from);
    const auto up = cx.write(as_out(to).sub(lo, hi - lo));
    std::size_t changed = 0;
    for (std::size_t v = lo; v < hi; ++v) {
      up[v - lo] = parent[parent[v]];
      changed += std::size_t{up[v - lo] != parent[v]};
    }
    return changed;
  }
};

struct forest {
  array<std::uint64_t> edges;  // between roots
  vertex_array parent, other;
};

/// The task that makes every vertex's parent its root.
step<forest> flatten(context& cx, forest f) {
  return cx.call(reduce(0, f.parent.size(), std::size_t{0}, jump{f.parent, f.other}, std::plus<>()))
      .then([f](context& c, std::size_t changed) -> step<forest> {
        const forest next{f.edges, f.other, f.parent};
        if (changed == 0) return next;
        return c.tail(task<flatten>(next));
      });
}

/// The edges between different trees, as edges of their roots.
struct contracted {
  array<std::uint64_t> edges;
  vertex_array parent;
  template <class F>
  void each(context& cx, std::size_t lo, std::size_t hi, F f) const {
    const auto root = cx.read(parent);
    for (const std::uint64_t e : cx.read(as_in(edges).sub(lo, hi - lo)))
      if (root[high(e)] != root[low(e)]) f(pair_of(root[high(e)], root[low(e)]));
  }
  std::size_t operator()(context& cx, std::size_t lo, std::size_t hi) const {
    std::size_t n = 0;
    each(cx, lo, hi, [&n](std::uint64_t) { ++n; });
    return n;
  }
};
struct write_contracted {
  contracted from;
  array<std::uint64_t> to;
  std::size_t operator()(context& cx, std::size_t lo, std::size_t hi, std::size_t before) const {
    const std::size_t n = from(cx, lo, hi);
    auto at = cx.write(as_out(to).sub(before, n)).begin();
    from.each(cx, lo, hi, [&at](std::uint64_t e) { *at++ = e; });
    return before + n;
  }
};

/// The task that gives the contracted edges, ascending by their first vertex.
step<array<std::uint64_t>> contract(context& cx, contracted all) {
  return cx.call(reduce(0, all.edges.size(), std::size_t{0}, all, std::plus<>()))
      .then([all](context& c, std::size_t n) -> step<array<std::uint64_t>> {
        const array<std::uint64_t> to = c.alloc<std::uint64_t>(n);
        return c.call(scan(0, all.edges.size(), std::size_t{0}, std::plus<>(), all, write_contracted{all, to}))
            .then([all, to](context& d, std::size_t) -> step<array<std::uint64_t>> {
              return d.call(integer_sort(to, high_half(), bits_for(all.parent.size())))
                  .then([to](context&) -> step<array<std::uint64_t>> { return to; });
            });
      });
}

/// The task that gives each vertex's root. `f.edges` is the caller's in the first round.
step<vertex_array> contract_all(context& cx, forest f, std::uint64_t round) {
  return cx.call(for_each(0, f.edges.size(), hook{f.edges, f.parent, round}))
      .then([f, round](context& c) -> step<vertex_array> {
        return c.call(task<flatten>(f)).then([round](context& d, const forest& flat) -> step<vertex_array> {
          return d.call(task<contract>(contracted{flat.edges, flat.parent}))
              .then([flat, round](context& e, const array<std::uint64_t>& edges) -> step<vertex_array> {
                if (round > 0) e.free(flat.edges);
                if (!edges.empty())
                  return e.tail(task<contract_all>(forest{edges, flat.parent, flat.other}, round + 1));
                e.free(flat.other);
                return flat.parent;
              });
        });
      });
}

/// The task that names each component after its first vertex. Frees `root`.
step<vertex_array> name_components(context& cx, vertex_array root) {
  const std::size_t n = root.size();
  const array<std::uint64_t> members = cx.alloc<std::uint64_t>(n);
  const auto pair_up = [root, members](context& c, std::size_t lo, std::size_t hi) {
    const auto from = c.read(as_in(root).sub(lo, hi - lo));
    const auto to = c.write(as_out(members).sub(lo, hi - lo));
    for (std::size_t v = lo; v < hi; ++v) to[v - lo] = pair_of(from[v - lo], v);
  };
  return cx.call(for_each(0, n, pair_up)).then([=](context& c) -> step<vertex_array> {
    return c.call(group_by(members, high_half(), bits_for(n)))
        .then([=](context& d, const groups<std::uint32_t>& trees) -> step<vertex_array> {
          const vertex_array first = d.alloc<std::uint32_t>(n);
          const auto name = [=](context& e, std::size_t lo, std::size_t hi) {
            const auto begins = e.read(as_in(trees.offsets).sub(lo, hi + 1 - lo));
            const auto all = e.read(as_in(members).sub(begins.front(), begins.back() - begins.front()));
            for (std::size_t t = 0; t < hi - lo; ++t)
              for (std::uint64_t i = begins[t]; i < begins[t + 1]; ++i)
                e.write(as_out(first).sub(low(all[i - begins.front()]), 1))[0] = low(all[begins[t] - begins.front()]);
          };
          return d.call(for_each(0, trees.size(), name)).then([=](context& e) -> step<vertex_array> {
            e.free(root);
            e.free(members);
            e.free(trees.keys);
            e.free(trees.offsets);
            return first;
          });
        });
  });
}

}  // namespace

step<array<std::uint32_t>> components(context& cx, edge_rows g) {
  const forest alone{g.edges, cx.alloc<std::uint32_t>(g.vertices()), cx.alloc<std::uint32_t>(g.vertices())};
  const auto itself = [](std::size_t v) { return static_cast<std::uint32_t>(v); };
  return cx.call(tabulate(alone.parent, itself)).then([alone](context& c) -> step<array<std::uint32_t>> {
    return c.call(task<contract_all>(alone, std::uint64_t{0})).then(task<name_components>());
  });
}

// ---- PageRank ------------------------------------------------------------------------------------------------------

namespace {

constexpr std::size_t vertex_block = 4096;  // sums are made by block, always in the same order

struct rank_state {
  edge_rows g;
  pagerank_options options;
  array<std::uint64_t> out_edges;   // by vertex
  array<double> rank, next, share;  // by vertex; what goes to each neighbour
  array<double> idle, change;       // by block: ranks of vertices without edges; what has changed
  std::uint64_t iteration = 0;

  template <class F>
  void each_block(std::size_t lo, std::size_t hi, F f) const {
    for (std::size_t b = lo; b < hi; ++b) f(b, b * vertex_block, std::min((b + 1) * vertex_block, g.vertices()));
  }
};

double sum_of(context& cx, const array<double>& values) {
  double sum = 0;
  for (const double x : cx.read(values)) sum += x;
  return sum;
}

/// What each vertex gives.
struct give {
  rank_state s;
  void operator()(context& cx, std::size_t lo, std::size_t hi) const {
    s.each_block(lo, hi, [&](std::size_t b, std::size_t from, std::size_t to) {
      const auto rank = cx.read(as_in(s.rank).sub(from, to - from));
      const auto out_edges = cx.read(as_in(s.out_edges).sub(from, to - from));
      const auto share = cx.write(as_out(s.share).sub(from, to - from));
      double idle = 0;
      for (std::size_t i = 0; i < rank.size(); ++i) {
        share[i] = out_edges[i] == 0 ? 0 : rank[i] / static_cast<double>(out_edges[i]);
        if (out_edges[i] == 0) idle += rank[i];
      }
      cx.write(as_out(s.idle).sub(b, 1))[0] = idle;
    });
  }
};

/// What each vertex gets. `all`: what every one does.
struct take {
  rank_state s;
  double all;
  void operator()(context& cx, std::size_t lo, std::size_t hi) const {
    const auto edges = cx.read(s.g.edges), first = cx.read(s.g.first);
    const auto share = cx.read(s.share);
    s.each_block(lo, hi, [&](std::size_t b, std::size_t from, std::size_t to) {
      const auto rank = cx.read(as_in(s.rank).sub(from, to - from));
      const auto next = cx.write(as_out(s.next).sub(from, to - from));
      double change = 0;
      for (std::size_t v = from; v < to; ++v) {
        double sum = 0;
        for (std::uint64_t e = first[v]; e < first[v + 1]; ++e) sum += share[low(edges[e])];
        next[v - from] = all + s.options.damping * sum;
        change += std::abs(next[v - from] - rank[v - from]);
      }
      cx.write(as_out(s.change).sub(b, 1))[0] = change;
    });
  }
};

step<ranking> iterate(context& cx, rank_state s) {
  const std::size_t blocks = s.idle.size();
  return cx.call(for_each(0, blocks, give{s})).then([=](context& c) -> step<ranking> {
    const auto n = static_cast<double>(s.g.vertices());
    const double all = (1 - s.options.damping) / n + s.options.damping * sum_of(c, s.idle) / n;
    return c.call(for_each(0, blocks, take{s, all})).then([=](context& d) -> step<ranking> {
      const double change = sum_of(d, s.change);
      if (change < s.options.tolerance || s.iteration + 1 >= s.options.iterations) {
        for (const auto& a : {s.rank, s.share, s.idle, s.change}) d.free(a);
        d.free(s.out_edges);
        return ranking{s.next, s.iteration + 1, change};
      }
      rank_state next = s;
      std::swap(next.rank, next.next);
      ++next.iteration;
      return d.tail(task<iterate>(next));
    });
  });
}

}  // namespace

step<ranking> pagerank(context& cx, edge_rows g, pagerank_options options) {
  if (g.vertices() == 0) return ranking();
  return cx.call(histogram(g.edges, g.vertices(), low_half()))
      .then([=](context& c, const array<std::uint64_t>& out_edges) -> step<ranking> {
        const std::size_t n = g.vertices(), blocks = (n + vertex_block - 1) / vertex_block;
        const rank_state s{g,
                           options,
                           out_edges,
                           c.alloc<double>(n),
                           c.alloc<double>(n),
                           c.alloc<double>(n),
                           c.alloc<double>(blocks),
                           c.alloc<double>(blocks)};
        const auto alike = [n](std::size_t) { return 1 / static_cast<double>(n); };
        return c.call(tabulate(s.rank, alike)).then(task<iterate>(s));
      });
}

}  // namespace ppmm::tools
