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
//
// A level is found from the frontier's edges, top-down; or bottom-up, where every edge has its other way and the
// frontier has many: each vertex that is not reached yet looks for one neighbour there (direction-optimising search:
// Beamer, Asanović, Patterson, SC 2012). Bottom-up each vertex writes its own distance only, to another array than it
// reads.

namespace {

using vertex_list = array<std::uint32_t>;

/// Of some vertices: how many, and edges from them.
struct level_size {
  std::uint64_t vertices = 0, edges = 0;
  friend level_size operator+(const level_size& a, const level_size& b) {
    return {a.vertices + b.vertices, a.edges + b.edges};
  }
};

struct bfs_state {
  edge_rows g;
  bool both_ways;
  vertex_list distance;     // of the frontier and what is nearer
  vertex_list other;        // bottom-up the next level's distances go there; none before the first time
  vertex_list frontier;     // in any order; none where only `distance` has it
  std::uint32_t level = 0;  // the frontier's distance
  level_size size = {};     // the frontier's
  std::uint64_t unreached_edges = 0;

  /// As Beamer et al. (2012) switch, with their factor; going over all vertices costs something as well.
  bool goes_bottom_up() const { return both_ways && 14 * size.edges > unreached_edges + g.vertices(); }

  bfs_state next(const level_size& found) const {
    bfs_state s = *this;
    s.level = level + 1;
    s.size = found;
    s.unreached_edges = unreached_edges - found.edges;
    return s;
  }
};

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
  /// At most.
  std::size_t edges(context& cx, std::size_t lo, std::size_t hi) const {
    const auto first = cx.read(g.first);
    std::size_t n = 0;
    for (const std::uint32_t v : cx.read(as_in(frontier).sub(lo, hi - lo))) n += first[v + 1] - first[v];
    return n;
  }
  /// In memory that the capsule has.
  std::span<std::uint32_t> all(context& cx, std::size_t lo, std::size_t hi) const {
    const std::span<std::uint32_t> some = cx.scratch<std::uint32_t>(edges(cx, lo, hi));
    std::size_t n = 0;
    each(cx, lo, hi, [&](std::uint32_t w) { some[n++] = w; });
    return some.first(n);
  }
};

struct write_unreached_ends {
  unreached_ends from;
  vertex_list to;
  std::size_t operator()(context& cx, std::size_t lo, std::size_t hi, std::size_t before) const {
    const auto found = from.all(cx, lo, hi);
    std::ranges::copy(found, cx.write(as_out(to).sub(before, found.size())).begin());
    return before + found.size();
  }
};

constexpr std::size_t few_ends = 4096, few_edges = 16 * few_ends;  // done in one capsule

step<vertex_list> few_distinct(context& cx, const unreached_ends& ends) {
  const std::span<std::uint32_t> some = ends.all(cx, 0, ends.frontier.size());
  std::ranges::sort(some);
  const auto distinct = std::span(some.begin(), std::unique(some.begin(), some.end()));
  const vertex_list next = cx.alloc<std::uint32_t>(distinct.size());
  std::ranges::copy(distinct, cx.write(next).begin());
  return next;
}

/// The task that gives the vertices that are one step behind the frontier, each once.
step<vertex_list> next_frontier(context& cx, unreached_ends ends, std::uint64_t edges) {
  if (edges <= few_ends) return few_distinct(cx, ends);
  return cx.call(reduce(0, ends.frontier.size(), std::size_t{0}, ends, std::plus<>()))
      .then([ends, edges](context& c, std::size_t n) -> step<vertex_list> {
        if (n == 0) return vertex_list();
        if (n <= few_ends && edges <= few_edges) return few_distinct(c, ends);
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

/// The task that finds the level behind a frontier that is listed, and lists it.
step<bfs_state> top_down(context& cx, bfs_state s) {
  return cx.call(task<next_frontier>(unreached_ends{s.g, s.distance, s.frontier}, s.size.edges))
      .then([s](context& c, const vertex_list& next) -> step<bfs_state> {
        const auto mark = [s, next](context& d, std::size_t lo, std::size_t hi) {
          const auto first = d.read(s.g.first);
          level_size found;
          for (const std::uint32_t v : d.read(as_in(next).sub(lo, hi - lo))) {
            d.write(as_out(s.distance).sub(v, 1))[0] = s.level + 1;
            found = found + level_size{1, first[v + 1] - first[v]};
          }
          return found;
        };
        return c.call(reduce(0, next.size(), level_size(), mark, std::plus<>()))
            .then([s, next](context& d, const level_size& found) -> step<bfs_state> {
              d.free(s.frontier);
              bfs_state after = s.next(found);
              after.frontier = next;
              return after;
            });
      });
}

/// Writes what is known of vertices lo to hi when the frontier's neighbours are reached.
struct look_for_frontier {
  bfs_state s;
  level_size operator()(context& cx, std::size_t lo, std::size_t hi) const {
    const auto first = cx.read(as_in(s.g.first).sub(lo, hi + 1 - lo));
    const auto edges = cx.read(as_in(s.g.edges).sub(first.front(), first.back() - first.front()));
    const auto known = cx.read(s.distance);
    const auto to = cx.write(as_out(s.other).sub(lo, hi - lo));
    level_size found;
    for (std::size_t v = lo; v < hi; ++v) {
      std::uint32_t distance = known[v];
      if (distance == unreached) {
        const auto of_v = edges.subspan(first[v - lo] - first.front(), first[v + 1 - lo] - first[v - lo]);
        if (std::ranges::any_of(of_v, [&](std::uint64_t e) { return known[low(e)] == s.level; })) {
          distance = s.level + 1;
          found = found + level_size{1, of_v.size()};
        }
      }
      to[v - lo] = distance;
    }
    return found;
  }
};

/// The task that finds the level behind the frontier from the vertices that are not reached.
step<bfs_state> bottom_up(context& cx, bfs_state s) {
  if (s.other.empty()) s.other = cx.alloc<std::uint32_t>(s.distance.size());
  return cx.call(reduce(0, s.distance.size(), level_size(), look_for_frontier{s}, std::plus<>()))
      .then([s](context& c, const level_size& found) -> step<bfs_state> {
        c.free(s.frontier);
        bfs_state after = s.next(found);
        after.frontier = {};
        std::swap(after.distance, after.other);
        return after;
      });
}

/// The vertices at a distance.
struct at_distance {
  vertex_list distance;
  std::uint32_t level;
  std::size_t operator()(context& cx, std::size_t lo, std::size_t hi) const {
    return static_cast<std::size_t>(std::ranges::count(cx.read(as_in(distance).sub(lo, hi - lo)), level));
  }
};
struct write_at_distance {
  at_distance from;
  vertex_list to;
  std::size_t operator()(context& cx, std::size_t lo, std::size_t hi, std::size_t before) const {
    const std::size_t n = from(cx, lo, hi);
    const auto known = cx.read(as_in(from.distance).sub(lo, hi - lo));
    auto at = cx.write(as_out(to).sub(before, n)).begin();
    for (std::size_t v = lo; v < hi; ++v)
      if (known[v - lo] == from.level) *at++ = static_cast<std::uint32_t>(v);
    return before + n;
  }
};

/// The task that lists the frontier.
step<bfs_state> list_frontier(context& cx, bfs_state s) {
  s.frontier = cx.alloc<std::uint32_t>(s.size.vertices);
  const at_distance from{s.distance, s.level};
  return cx.call(scan(0, s.distance.size(), std::size_t{0}, std::plus<>(), from, write_at_distance{from, s.frontier}))
      .then([s](context&, std::size_t) -> step<bfs_state> { return s; });
}

/// The task that goes on from the frontier.
step<array<std::uint32_t>> bfs_from(context& cx, bfs_state s) {
  if (s.size.edges == 0) {
    cx.free(s.frontier);
    cx.free(s.other);
    return s.distance;
  }
  const auto go_on = [](context& c, const bfs_state& next) -> step<array<std::uint32_t>> {
    return c.tail(task<bfs_from>(next));
  };
  if (s.goes_bottom_up()) return cx.call(task<bottom_up>(s)).then(go_on);
  if (s.frontier.empty()) return cx.call(task<list_frontier>(s)).then(go_on);
  return cx.call(task<top_down>(s)).then(go_on);
}

}  // namespace

step<array<std::uint32_t>> bfs(context& cx, edge_rows g, std::uint32_t source, pairs which) {
  const vertex_list distance = cx.alloc<std::uint32_t>(g.vertices());
  return cx.call(tabulate(distance, [](std::size_t) { return unreached; }))
      .then([=](context& c) -> step<array<std::uint32_t>> {
        const std::uint64_t before = c.read(as_in(g.first).sub(source, 1))[0];
        const std::uint64_t edges = c.read(as_in(g.first).sub(source + 1, 1))[0] - before;
        const vertex_list frontier = c.alloc<std::uint32_t>(1);
        c.write(frontier)[0] = source;
        c.write(as_out(distance).sub(source, 1))[0] = 0;
        return c.tail(task<bfs_from>(
            bfs_state{g, which == pairs::both, distance, {}, frontier, 0, {1, edges}, g.edges.size() - edges}));
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
