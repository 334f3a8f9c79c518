/// What runs on the simulated machine: computations whose steps say how long they take instead of taking it.
///
/// | job | shape | its work |
/// | --- | --- | --- |
/// | fib | fib(n), a leaf below fib(8) | each call that forks takes what one takes here |
/// | sort | merge sort with parallel merges: span Θ(log³ n) of leaves, all memory-bound | by element sorted or merged |
/// | tree | an unbalanced tree search (Olivier et al., UTS, LCPC 2006): geometric tree, b0 = 4, cut off at a depth | by
/// node |
#pragma once

#include <ppmm/ppmm.hpp>

#include <cstdint>
#include <string>
#include <vector>

namespace bench {

/// A computation, what it must give, and what the model says of it.
struct simulated_job {
  std::string name;
  std::uint64_t size = 0;  ///< n of fib, log2 of the elements, depth of the tree
  std::uint64_t expected = 0;
  double work_ns = 0;        ///< of its steps
  double span_ns = 0;        ///< of the steps on the longest path
  double forks_on_path = 0;  ///< most forks on one
  std::uint64_t region = 0;  ///< bytes of pool memory
  std::uint64_t (*run)(ppmm::pool& p, const simulated_job& job, const ppmm::run_options& options) = nullptr;
};

/// All jobs of fib take the same for a fork: the last that was asked for.
simulated_job fib_job(unsigned n, double fork_ns = 4);
simulated_job sort_job(unsigned log2_of_elements);
simulated_job tree_job(unsigned depth);

}  // namespace bench
