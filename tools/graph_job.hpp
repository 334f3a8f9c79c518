/// Graphs from lists of edges, in the pool's heap, and what `ppmm graph` computes on them.
#pragma once

#include "dictionary.hpp"
#include "number_pairs.hpp"
#include "text_job.hpp"

#include <ppmm/sched/context.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace ppmm::tools {

inline bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\v' || c == '\f'; }

/// A list of edges: two names a line, with blanks before, between and after them; a name is any bytes but blanks and
/// newlines. Lines whose first byte that is no blank is #, and empty ones, are comments. Any other line is bad.
struct edge_lines {
  struct field {
    std::size_t position = 0, length = 0;
  };
  struct line {
    std::size_t position = 0;
    field from, to;
    bool bad = false;
  };

  /// Calls f(line) for each line that begins in [from, to), but for comments.
  template <class F>
  void each_line(std::span<const char> text, std::size_t from, std::size_t to, F f) const {
    const auto behind_newline = [&](std::size_t at) {
      const void* newline = std::memchr(text.data() + at, '\n', text.size() - at);
      return newline == nullptr ? text.size()
                                : static_cast<std::size_t>(static_cast<const char*>(newline) - text.data()) + 1;
    };
    std::size_t at = from == 0 ? 0 : behind_newline(from - 1);
    while (at < to) {
      const std::size_t end = behind_newline(at);
      line l{at, {}, {}, false};
      if (parse(text, at, end - 1, l)) f(l);  // the text ends in a newline
      at = end;
    }
  }
  /// As a cutter of words: the names of good lines.
  template <class F>
  void each(std::span<const char> text, std::size_t from, std::size_t to, F f) const {
    each_line(text, from, to, [&f](const line& l) {
      if (l.bad) return;
      f(l.from.position, l.from.length);
      f(l.to.position, l.to.length);
    });
  }

 private:
  /// False: a comment.
  static bool parse(std::span<const char> text, std::size_t at, std::size_t end, line& l) {
    const auto next = [&] {
      while (at < end && is_blank(text[at])) ++at;
      field f{at, 0};
      while (at < end && !is_blank(text[at])) ++at;
      f.length = at - f.position;
      return f;
    };
    l.from = next();
    if (l.from.length == 0 || text[l.from.position] == '#') return false;
    l.to = next();
    l.bad = l.to.length == 0 || next().length != 0;
    return true;
  }
};

/// What was read.
struct parse_report {
  std::uint64_t edges = 0, bad = 0;
  std::array<std::uint64_t, 10> bad_at{};  // positions of the first bad lines
  void add_bad(std::uint64_t position) {
    if (bad < bad_at.size()) bad_at[bad] = position;
    ++bad;
  }
};

/// Which pairs (v, w) the edges from a to b give; a loop gives one.
enum class pairs : std::uint8_t { forward, backward, both };

struct edge_rows {
  array<std::uint64_t> edges;  // v in the high half, w in the low one; ascending by v, else in the order of the lines
  array<std::uint64_t> first;  // by v, and one more: its first edge

  std::size_t vertices() const { return first.size() - 1; }
};

/// Vertices are numbered in the bytewise order of their names.
struct graph {
  array<char> text;  // where the names are
  array<word> names;
  edge_rows rows;
  parse_report report;

  void free(context& cx) const {
    cx.free(text);
    cx.free(names);
    cx.free(rows.edges);
    cx.free(rows.first);
  }
};
/// The task that reads the job's input, which must be the expected text. Counts graph_units a byte. Throws error, which
/// fails the job, if there are 2^32 vertices or more.
step<graph> load_graph(context& cx, text_summary expected, pairs which);
inline constexpr std::uint64_t graph_units = 41;

inline constexpr std::uint32_t unreached = ~std::uint32_t{0};
/// The task that gives each vertex's distance from a source, in edges. `which`: the pairs that the graph has.
step<array<std::uint32_t>> bfs(context& cx, edge_rows g, std::uint32_t source, pairs which);

/// The task that gives for each vertex the first one of its component. Of a graph with both pairs of each edge.
step<array<std::uint32_t>> components(context& cx, edge_rows g);

struct pagerank_options {
  double damping = 0.85, tolerance = 1e-9;
  std::uint64_t iterations = 100;
};
struct ranking {
  array<double> ranks;
  std::uint64_t iterations = 0;
  double change = 0;  // sum over all vertices, in the last iteration
};
/// The task that gives each vertex's rank; they add up to 1. Of a graph with backward pairs, or both. What a vertex
/// without edges has goes to all alike. The same bits whatever the number of workers and crashes.
step<ranking> pagerank(context& cx, edge_rows g, pagerank_options options);

}  // namespace ppmm::tools
