/// Fork-join code that peers share: what is computed, without who runs it. `both(f, g)` runs f and g, in parallel or
/// not.
#pragma once

#include "kernels.hpp"

#include <tbb/parallel_invoke.h>
#include <uts_tree.hpp>

#include <algorithm>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>

namespace bench {

/// One after the other: serial code.
struct in_turn {
  template <class F, class G>
  void operator()(const F& f, const G& g) const {
    f();
    g();
  }
};

/// By oneTBB.
struct by_invoke {
  template <class F, class G>
  void operator()(const F& f, const G& g) const {
    tbb::parallel_invoke(f, g);
  }
};

// ---- trees of calls: a sum over what each node has ----------------------------------------------------------------

/// `expand(n, sum, a, b)` adds what node n has to the sum, and gives how many children it has, at most two: a, b.
/// Neither is n.
template <class Tree>
concept call_tree = requires(const Tree& t, typename Tree::node& n, typename Tree::value& sum) {
  { t.expand(n, sum, n, n) } -> std::same_as<unsigned>;
};

struct fib_tree {
  using node = int;
  using value = long;
  unsigned expand(node n, value& sum, node& a, node& b) const {
    if (n < 2) return sum += n, 0u;
    a = n - 1;
    b = n - 2;
    return 2;
  }
};

/// The adaptive quadrature of Cilk's examples: halves an interval until halving makes no difference.
struct quadrature {
  struct node {
    double from, to, at_from, at_to, area;
  };
  using value = double;
  static constexpr double tolerance = 1e-6;

  static double function(double x) { return (x * x + 1) * x; }
  static double integral(double x) { return x * x * x * x / 4 + x * x / 2; }  // from 0, exactly
  static double trapezium(double width, double left, double right) { return (left + right) / 2 * width; }
  static node whole(double to) { return {0, to, function(0), function(to), trapezium(to, function(0), function(to))}; }

  unsigned expand(const node& n, value& sum, node& a, node& b) const {
    const double half = (n.to - n.from) / 2, middle = n.from + half, at_middle = function(middle);
    const double left = trapezium(half, n.at_from, at_middle), right = trapezium(half, at_middle, n.at_to);
    if (std::abs(left + right - n.area) < tolerance) return sum += left + right, 0u;
    a = {n.from, middle, n.at_from, at_middle, left};
    b = {middle, n.to, at_middle, n.at_to, right};
    return 2;
  }
};

struct queens_tree {
  struct node {
    board b;
    std::uint32_t candidates;  // where the queen of the next row may stand
  };
  using value = long;
  static node whole(int n) { return {empty_board(n), empty_board(n).free()}; }

  unsigned expand(const node& n, value& sum, node& a, node& b) const {
    if (n.b.columns == n.b.all) return ++sum, 0u;
    if (n.candidates == 0) return 0;
    const std::uint32_t first = n.candidates & -n.candidates;
    const board next = n.b.with(first);
    b = {n.b, n.candidates ^ first};
    a = {next, next.free()};
    return 2;
  }
};

/// Nodes of a tree of UTS, but for its root. A node here is some children of a node there. Expanded in line by all: else what
/// is compared would be where the compiler thought that worth its while (1 to 2 % of a search).
struct uts_tree {
  struct node {
    ppmm::tools::uts::node parent;
    std::uint32_t first, last;
  };
  using value = std::uint64_t;
  const ppmm::tools::uts::sample* sample;

  node whole() const {
    const auto root = root_of(*sample);
    return {root, 0, children_of(*sample, root)};
  }
  [[gnu::always_inline]] unsigned expand(const node& n, value& sum, node& a, node& b) const {
    if (n.last - n.first == 1) {
      const auto child = n.parent.child(n.first);
      const std::uint32_t children = children_of(*sample, child);
      ++sum;
      a = {child, 0, children};
      return children == 0 ? 0 : 1;
    }
    const std::uint32_t middle = n.first + (n.last - n.first) / 2;
    b = {n.parent, middle, n.last};
    a = {n.parent, n.first, middle};
    return 2;
  }
};

template <call_tree Tree, class Both>
typename Tree::value search(const Tree& tree, const typename Tree::node& n, const Both& both) {
  typename Tree::value sum{}, of_a{}, of_b{};
  typename Tree::node a, b;
  unsigned children = tree.expand(n, sum, a, b);
  while (children == 1) {
    const typename Tree::node only = a;
    children = tree.expand(only, sum, a, b);
  }
  if (children == 0) return sum;
  both([&] { of_a = search(tree, a, both); }, [&] { of_b = search(tree, b, both); });
  return sum + of_a + of_b;
}

// ---- merge sort: stable, between two arrays, with parallel merges, as ppmm::sort --------------------------------

inline constexpr std::size_t sorted_leaf = 2048, merged_leaf = 8192;

template <class Both>
void merge_both(std::span<const std::uint64_t> a, std::span<const std::uint64_t> b, numbers to, const Both& both) {
  if (to.size() <= merged_leaf) {
    std::merge(a.begin(), a.end(), b.begin(), b.end(), to.begin());
    return;
  }
  std::size_t i = a.size() / 2, j = b.size() / 2;
  if (a.size() >= b.size())
    j = static_cast<std::size_t>(std::ranges::lower_bound(b, a[i]) - b.begin());  // what is equal in a comes first
  else
    i = static_cast<std::size_t>(std::ranges::upper_bound(a, b[j]) - a.begin());
  both([&] { merge_both(a.first(i), b.first(j), to.first(i + j), both); },
       [&] { merge_both(a.subspan(i), b.subspan(j), to.subspan(i + j), both); });
}

/// Sorts `data` into itself or into `other`, as large.
template <class Both>
void merge_sort(numbers data, numbers other, bool into_other, const Both& both) {
  if (data.size() <= sorted_leaf) {
    std::ranges::stable_sort(data);
    if (into_other) std::ranges::copy(data, other.begin());
    return;
  }
  const std::size_t half = data.size() / 2;
  both([&] { merge_sort(data.first(half), other.first(half), !into_other, both); },
       [&] { merge_sort(data.subspan(half), other.subspan(half), !into_other, both); });
  const numbers from = into_other ? data : other;
  merge_both(from.first(half), from.subspan(half), into_other ? other : data, both);
}

}  // namespace bench
