/// fib, integrate, n-queens and unbalanced tree search: a fork at every node, no cut-off.
#include "checkpointed.hpp"
#include "fork_join.hpp"
#include "kernels.hpp"
#include "openmp.hpp"
#include "peers.hpp"

#include <ppmm/ppmm.hpp>
#include <uts_tree.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <stdexcept>
#include <string>

namespace bench {
namespace {

namespace uts = ppmm::tools::uts;

ppmm::step<double> integrate(ppmm::context& cx, const quadrature::node& n) {
  double sum = 0;
  quadrature::node a, b;
  if (quadrature().expand(n, sum, a, b) == 0) return sum;
  return cx.fork(ppmm::task<integrate>(a), ppmm::task<integrate>(b))
      .then([](ppmm::context&, double left, double right) -> ppmm::step<double> { return left + right; });
}

/// Nodes below, counted as its peers do (uts::search tells leaves and depth as well).
ppmm::step<std::uint64_t> count_nodes(ppmm::context& cx, std::uint32_t sample, const uts_tree::node& n) {
  const uts_tree tree{&uts::samples[sample]};
  std::uint64_t sum = 0;
  uts_tree::node a, b;
  unsigned children = tree.expand(n, sum, a, b);
  while (children == 1) {
    const uts_tree::node only = a;
    children = tree.expand(only, sum, a, b);
  }
  if (children == 0) return sum;
  return cx.fork(ppmm::task<count_nodes>(sample, a), ppmm::task<count_nodes>(sample, b))
      .then([sum](ppmm::context&, std::uint64_t left, std::uint64_t right) -> ppmm::step<std::uint64_t> { return sum + left + right; });
}

constexpr auto as_it_is = [](ppmm::context&, auto value) -> ppmm::step<decltype(value)> { return value; };

/// All but serial code: that is given. `finish` makes the tree's value of the task's result.
template <call_tree Tree, class Serial, class OpenMP, ppmm::task_like Task, class Finish>
std::shared_ptr<typename Tree::value> compute_by_all(workload& w, const Tree& tree, const typename Tree::node& whole,
                                                     const Serial& serial, const OpenMP& openmp, const Task& task,
                                                     const Finish& finish) {
  const auto result = std::make_shared<typename Tree::value>();
  const auto saved = std::make_shared<checkpointed_later>();
  w.fine_grained = true;
  w.by(peer::serial) = [=](unsigned) { *result = serial(); };
  w.by(peer::onetbb) = [=](unsigned) { *result = search(tree, whole, by_invoke()); };
  w.by(peer::openmp) = [=](unsigned threads) { *result = openmp(threads); };
  w.by(peer::pmemobj) = [=](unsigned threads) {
    *result = saved->with(checkpointed::bytes_for<Tree>(threads)).search(tree, whole, threads);
  };
  w.ours = [=](workbench& in, const ppmm::run_options& options) {
    measured m;
    *result = in.answer(task, finish, options, m);
    return m;
  };
  w.answer = [result] { return static_cast<std::uint64_t>(*result); };
  return result;
}

const uts::sample& sample_named(const std::string& name) {
  const auto* const found =
      std::ranges::find(uts::samples, name, [](const uts::sample& s) { return std::string(s.name); });
  if (found == uts::samples.end()) throw std::logic_error("no tree " + name);
  return *found;
}

}  // namespace

void add_trees(std::vector<workload_kind>& all, const workload_sizes& sizes) {
  all.push_back({"fib", [n = sizes.fib](workload& w, std::span<std::byte>) {
                   w.size = fmt::format("n = {}", n);
                   compute_by_all(
                       w, fib_tree(), n, [n] { return fib_calls(n); }, [n](unsigned t) { return openmp::fib(n, t); },
                       ppmm::task<fib>(n), as_it_is);
                 }});
  all.push_back({"integrate", [end = sizes.integrate](workload& w, std::span<std::byte>) {
                   w.size = fmt::format("x³ + x from 0 to {:g}", end);
                   const auto whole = quadrature::whole(end);
                   const auto area = compute_by_all(
                       w, quadrature(), whole, [whole] { return search(quadrature(), whole, in_turn()); },
                       [whole](unsigned t) { return openmp::integrate(whole, t); }, ppmm::task<integrate>(whole),
                       as_it_is);
                   // The order of additions differs. A millionth of the exact value, which is right to 1e-9 or so.
                   w.answer = [area, end] {
                     return static_cast<std::uint64_t>(std::llround(1e6 * *area / quadrature::integral(end)));
                   };
                 }});
  all.push_back({"queens", [n = sizes.queens](workload& w, std::span<std::byte>) {
                   w.size = fmt::format("{0} × {0}", n);
                   const auto whole = queens_tree::whole(n);
                   compute_by_all(
                       w, queens_tree(), whole, [n] { return queens_calls(n); },
                       [whole](unsigned t) { return openmp::queens(whole, t); }, ppmm::task<queens>(n), as_it_is);
                 }});
  for (const std::string& name : sizes.trees)
    all.push_back(
        {"UTS " + name, [name](workload& w, std::span<std::byte>) {
           const uts::sample& sample = sample_named(name);
           const uts_tree tree{&sample};
           w.size = fmt::format("{} nodes", sample.size);
           compute_by_all(
               w, tree, tree.whole(), [tree] { return search(tree, tree.whole(), in_turn()); },
               [tree](unsigned t) { return openmp::uts(tree, t); },
               ppmm::task<count_nodes>(static_cast<std::uint32_t>(&sample - uts::samples.data()), tree.whole()), as_it_is);
         }});
}

}  // namespace bench
