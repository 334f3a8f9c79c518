/// The trees of the UTS benchmark, and their search (Olivier, Huan, Liu, Prins, Dinan, Sadayappan, Tseng: UTS: An
/// Unbalanced Tree Search Benchmark, LCPC 2006).
///
/// A node's state is a SHA-1 hash; the state of child i is the hash of the parent's and i, and how many children a node
/// has follows from its state and height. So nothing tells a subtree's size but searching it. The trees are samples of
/// the benchmark's distribution (its sample_trees.sh), whose sizes are published.
#pragma once

#include <ppmm/sched/context.hpp>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numbers>

namespace ppmm::tools::uts {

// ---- the hash ------------------------------------------------------------------------------------------------------

using hash_words = std::array<std::uint32_t, 5>;

/// SHA-1 (FIPS 180-4) of up to 13 words, so of one block. In line wherever it is used: else what bench/peers compares would
/// be where the compiler thought that worth its while.
template <std::size_t N>
[[gnu::always_inline]] inline hash_words sha1(const std::array<std::uint32_t, N>& message) {
  static_assert(N <= 13);
  std::array<std::uint32_t, 80> w{};
  std::ranges::copy(message, w.begin());
  w[N] = 0x80000000;
  w[15] = 32 * N;
  for (std::size_t t = 16; t < 80; ++t) w[t] = std::rotl(w[t - 3] ^ w[t - 8] ^ w[t - 14] ^ w[t - 16], 1);
  const hash_words start{0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
  std::uint32_t a = start[0], b = start[1], c = start[2], d = start[3], e = start[4];  // clang 14 captures no bindings
  const auto rounds = [&](std::size_t from, std::uint32_t k, auto f) {
    for (std::size_t t = from; t < from + 20; ++t) {
      const std::uint32_t next = std::rotl(a, 5) + f(b, c, d) + e + k + w[t];
      e = d, d = c, c = std::rotl(b, 30), b = a, a = next;
    }
  };
  using u = std::uint32_t;
  rounds(0, 0x5a827999, [](u x, u y, u z) { return (x & y) ^ (~x & z); });
  rounds(20, 0x6ed9eba1, [](u x, u y, u z) { return x ^ y ^ z; });
  rounds(40, 0x8f1bbcdc, [](u x, u y, u z) { return (x & y) ^ (x & z) ^ (y & z); });
  rounds(60, 0xca62c1d6, [](u x, u y, u z) { return x ^ y ^ z; });
  return {start[0] + a, start[1] + b, start[2] + c, start[3] + d, start[4] + e};
}

// ---- the trees -----------------------------------------------------------------------------------------------------

/// How many children a node has. Binomial: the root `branching`, the others `children` with probability `q`, or none.
/// Geometric: a geometric distribution whose mean is `branching` at the root and changes with the height.
enum class shape { binomial, linear, cyclic, fixed };

struct sample {
  const char* name;
  shape form;
  std::uint32_t seed;
  double branching, q;
  std::uint32_t depth, children;
  std::uint64_t size;  // as published
};
inline constexpr std::array samples{
    sample{"small", shape::linear, 0, 4, 0, 6, 0, 1732},  // what the benchmark searches without parameters
    sample{"T1", shape::fixed, 19, 4, 0, 10, 0, 4130071},
    sample{"T2", shape::cyclic, 502, 6, 0, 16, 0, 4117769},
    sample{"T3", shape::binomial, 42, 2000, 0.124875, 0, 8, 4112897},
    sample{"T5", shape::linear, 34, 4, 0, 20, 0, 4147582},
    sample{"T1L", shape::fixed, 29, 4, 0, 13, 0, 102181082},
    sample{"T2L", shape::cyclic, 220, 7, 0, 23, 0, 96793510},
    sample{"T3L", shape::binomial, 7, 2000, 0.200014, 0, 5, 111345631},
};

struct node {
  hash_words state;
  std::uint32_t height;

  /// In [0, 1).
  double random() const { return (state[4] & 0x7fffffff) / 2147483648.0; }
  node child(std::uint32_t i) const {
    return {sha1(std::array{state[0], state[1], state[2], state[3], state[4], i}), height + 1};
  }
};

inline double mean_children(const sample& tree, double height) {
  if (height == 0) return tree.branching;
  switch (tree.form) {
    case shape::fixed:
      return height < tree.depth ? tree.branching : 0;
    case shape::linear:
      return tree.branching * (1 - height / tree.depth);
    case shape::cyclic:
      return height > 5 * tree.depth ? 0
                                     : std::pow(tree.branching, std::sin(2 * std::numbers::pi * height / tree.depth));
    case shape::binomial:
      break;
  }
  return 0;
}

inline std::uint32_t children_of(const sample& tree, const node& n) {
  if (tree.form == shape::binomial) {
    if (n.height == 0) return static_cast<std::uint32_t>(tree.branching);
    return n.random() < tree.q ? tree.children : 0;
  }
  const double p = 1 / (1 + mean_children(tree, n.height));
  constexpr double most = 100;
  return static_cast<std::uint32_t>(std::min(most, std::floor(std::log(1 - n.random()) / std::log(1 - p))));
}

inline node root_of(const sample& tree) { return {sha1(hash_words{0, 0, 0, 0, tree.seed}), 0}; }

// ---- the search ----------------------------------------------------------------------------------------------------

struct found {
  std::uint64_t nodes, leaves, depth;
};

/// The task that searches what is below a node of samples[tree], and it. Counts a unit a node.
step<found> search(context& cx, std::uint32_t tree, const node& n);

}  // namespace ppmm::tools::uts
