#include "uts_tree.hpp"

namespace ppmm::tools::uts {
namespace {

/// Children lo to hi.
step<found> search_children(context& cx, std::uint32_t tree, const node& n, std::uint32_t lo, std::uint32_t hi) {
  if (hi - lo == 1) return search(cx, tree, n.child(lo));
  const std::uint32_t middle = lo + (hi - lo) / 2;
  return cx.fork(task<search_children>(tree, n, lo, middle), task<search_children>(tree, n, middle, hi))
      .then([](context&, const found& a, const found& b) -> step<found> {
        return found{a.nodes + b.nodes, a.leaves + b.leaves, std::max(a.depth, b.depth)};
      });
}

}  // namespace

step<found> search(context& cx, std::uint32_t tree, const node& n) {
  cx.advance(1);
  const std::uint32_t children = children_of(samples[tree], n);
  if (children == 0) return found{1, 1, n.height};
  return cx.call(task<search_children>(tree, n, 0u, children)).then([](context&, const found& below) -> step<found> {
    return found{below.nodes + 1, below.leaves, below.depth};
  });
}

}  // namespace ppmm::tools::uts
