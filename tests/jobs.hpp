/// Jobs that tests run and kill, each beside a serial program that knows nothing of PPMM.
#pragma once

#include <ppmm/ppmm.hpp>

#include <cstdint>

#include "seed.hpp"

namespace ppmm::test {

// ---- fib: nothing but forks. Counts each addition as one unit of work: an exactly-once counter.

step<long> fib(context& cx, int n);
long serial_fib(int n);
std::uint64_t fib_units(int n);  // additions: fib(n + 1) - 1

// ---- tree: an unbalanced search (after UTS, Olivier et al. 2006): how many children a node has follows from a hash.

struct node {
  std::uint64_t id;
  std::uint32_t depth;
};
std::uint64_t mix(std::uint64_t x);
node child_of(node n, std::uint32_t i);
std::uint32_t children_of(node n);
step<std::uint64_t> siblings(context& cx, const node& parent, std::uint32_t from, std::uint32_t to);
step<std::uint64_t> subtree(context& cx, const node& n);
std::uint64_t serial_subtree(node n, std::uint64_t& nodes);

// ---- deep: a recursion of calls as deep as asked. Each level keeps a frame.

step<std::uint64_t> deep(context& cx, std::uint64_t n);
step<std::uint64_t> deep_forks(context& cx, std::uint64_t n);
std::uint64_t serial_deep(std::uint64_t n);

// ---- countdown: a million steps on the same level, by tail calls and by continuations.

step<std::uint64_t> countdown(context& cx, std::uint64_t n, std::uint64_t sum);
step<std::uint64_t> identity(context&, std::uint64_t n);
step<std::uint64_t> chain(context& cx, std::uint64_t n, std::uint64_t sum);

// ---- sum of squares written and read back through views: what a crash must not lose is in the region.

step<std::uint64_t> squares(context& cx, out<std::uint64_t> to);
std::uint64_t serial_squares(std::uint64_t n);

// ---- forest: a tree in the pool's heap, built by forks, folded, and taken down again; with blocks of all sizes that come
// and go on the way. What is left at the end is the root's block.

struct heap_node {
  std::uint64_t value;
  ptr<heap_node> left, right;
  array<std::uint32_t> load;
};
std::size_t load_of(std::uint64_t key);  // 0 to 40 words; now and then up to 32 KiB, or chunks
step<ptr<heap_node>> grow_tree(context& cx, std::uint64_t key, std::uint32_t depth);
step<std::uint64_t> fold_tree(context& cx, ptr<heap_node> at);
step<void> fell_tree(context& cx, ptr<heap_node> at);
/// `again`: frees what the job before has left under the root.
step<std::uint64_t> forest(context& cx, std::uint64_t key, std::uint32_t depth, bool again);
std::uint64_t serial_forest(std::uint64_t key, std::uint32_t depth);

// ---- pipeline: algorithm after algorithm on arrays of the heap, forks of them among it, folded into one number.

/// `again`: frees what the job before has left under the root.
step<std::uint64_t> pipeline(context& cx, std::uint64_t key, std::size_t n, bool again);
std::uint64_t serial_pipeline(std::uint64_t key, std::size_t n, std::uint64_t& units);

/// Blocks allocated in the pool; ends the program if `check` would find a problem.
std::uint64_t heap_blocks(const pool& p);

}  // namespace ppmm::test
