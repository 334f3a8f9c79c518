/// What a user of PMDK writes by hand today: fork-join by oneTBB, and its progress made durable by libpmemobj
/// transactions.
///
/// The work lost at a crash is to be the same as PPMM's, about a heartbeat a thread. So a thread makes a transaction
/// about each 50 µs: after a block of a loop that takes so long, or with what is left of a tree that it searches. What
/// a block wrote is flushed before the transaction that marks it as done; nothing but marks, results and stacks is
/// logged. The lines are written back as at level `emulated`. What such a program does after a crash is not here: only what it pays without
/// one.
#pragma once

#include "fork_join.hpp"
#include "measure.hpp"
#include "obj_pool.hpp"

#include <tbb/parallel_for.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <numeric>
#include <span>
#include <stdexcept>
#include <vector>

namespace bench {

inline constexpr double heartbeat_ns = 50e3;

class checkpointed {
 public:
  /// A pool with `bytes` for results.
  explicit checkpointed(std::size_t bytes)
      : pool_(bytes + most_blocks * sizeof(block) + (std::size_t{32} << 20)),
        blocks_(allocate<block>(most_blocks)),
        memory_(allocate<std::byte>(bytes)) {}

  std::span<std::byte> memory() const { return memory_; }
  void persist(const void* p, std::size_t n) const { pool_.persist(p, n); }
  void flush(const void* p, std::size_t n) const { pmemobj_flush(pool_.get(), p, n); }
  void drain() const { pmemobj_drain(pool_.get()); }

  /// How many blocks a loop should have, for one to take a heartbeat, if all of it takes `ns`.
  static std::size_t blocks_for(double ns) {
    return std::clamp(static_cast<std::size_t>(ns / heartbeat_ns), std::size_t{1}, most_blocks);
  }

  /// Nothing is done yet: to be called before the first loop.
  void begin() { pass_ = 0, std::ranges::fill(blocks_, block{}); }

  /// A parallel loop: body(b) for each block b that is not done; it persists what it writes, and gives a result, which
  /// is kept with the mark.
  template <class Body>
  void loop(std::size_t n, const Body& body) {
    if (n > blocks_.size()) throw std::logic_error("checkpointed: too many blocks");
    ++pass_;
    tbb::parallel_for(std::size_t{0}, n, [&](std::size_t b) {
      block& mark = blocks_[b];
      if (mark.done == pass_) return;
      const std::uint64_t result = body(b);
      pool_.transaction([&] {
        pmemobj_tx_add_range_direct(&mark, sizeof mark);
        mark.result = result;
        mark.done = pass_;
      });
    });
  }
  std::uint64_t result(std::size_t b) const { return blocks_[b].result; }

  /// Searches a tree: oneTBB goes over some subtrees, each is searched by a thread with a stack of its own. About each
  /// heartbeat the stack and the sum so far are saved, of the stack only what has changed since.
  template <call_tree Tree>
  typename Tree::value search(const Tree& tree, const typename Tree::node& root, unsigned threads) {
    typename Tree::value sum{};
    const auto subtrees = some_subtrees(tree, root, 64 * threads, sum);
    if (subtrees.size() * sizeof(saved<Tree>) > memory_.size())
      throw std::logic_error("checkpointed: too little memory");
    auto* const all = reinterpret_cast<saved<Tree>*>(memory_.data());
    tbb::parallel_for(std::size_t{0}, subtrees.size(),
                      [&](std::size_t i) { search_subtree(tree, subtrees[i], all[i]); });
    return std::accumulate(all, all + subtrees.size(), sum, [](auto s, const saved<Tree>& of) { return s + of.sum; });
  }
  /// Bytes that a search needs.
  template <call_tree Tree>
  static std::size_t bytes_for(unsigned threads) {
    return 64 * threads * sizeof(saved<Tree>);
  }

 private:
  struct alignas(64) block {
    std::uint64_t done = 0, result = 0;
  };
  static constexpr std::size_t most_blocks = std::size_t{1} << 15, most_open = 8192;

  /// A search of a subtree: done if it is begun and no node is open.
  template <class Tree>
  struct alignas(64) saved {
    std::uint64_t begun;
    std::uint64_t open;
    typename Tree::value sum;
    typename Tree::node stack[most_open];
  };

  template <class T>
  std::span<T> allocate(std::size_t n) {
    if (n == 0) return {};
    PMEMoid made;
    if (pmemobj_alloc(pool_.get(), &made, n * sizeof(T) + 64, 1, nullptr, nullptr) != 0) obj_pool::fail();
    void* at = pmemobj_direct(made);
    std::size_t room = n * sizeof(T) + 64;
    return {static_cast<T*>(std::align(64, n * sizeof(T), at, room)), n};
  }

  /// Breadth first. What it meets on the way is added to the sum: it is searched again after a crash.
  template <class Tree>
  static std::vector<typename Tree::node> some_subtrees(const Tree& tree, const typename Tree::node& root,
                                                        std::size_t n, typename Tree::value& sum) {
    std::deque<typename Tree::node> open{root};
    while (!open.empty() && open.size() < n) {
      typename Tree::node a, b;
      const unsigned children = tree.expand(open.front(), sum, a, b);
      open.pop_front();
      if (children > 0) open.push_back(a);
      if (children > 1) open.push_back(b);
    }
    return {open.begin(), open.end()};
  }

  template <class Tree>
  void search_subtree(const Tree& tree, const typename Tree::node& root, saved<Tree>& to) {
    std::array<typename Tree::node, most_open> stack;
    std::size_t open = 0, unchanged = 0;  // nodes on the stack; of them, those that are saved as they are
    to.begun = to.open = 0, to.sum = {};
    typename Tree::value sum{};
    typename Tree::node n = root, a, b;
    std::size_t steps = 0, steps_a_heartbeat = 64;
    double saved_at = clock_ns(CLOCK_MONOTONIC);

    const auto save = [&] {
      pool_.transaction([&] {
        pmemobj_tx_add_range_direct(&to, offsetof(saved<Tree>, stack));
        const std::size_t overwritten = std::min<std::size_t>(to.open, open);
        if (unchanged < overwritten)
          pmemobj_tx_add_range_direct(to.stack + unchanged, (overwritten - unchanged) * sizeof n);
        if (overwritten < open)  // of no use before: flushed at the commit, not logged
          pmemobj_tx_xadd_range_direct(to.stack + overwritten, (open - overwritten) * sizeof n, POBJ_XADD_NO_SNAPSHOT);
        std::copy(stack.data() + unchanged, stack.data() + open, to.stack + unchanged);
        to.begun = 1, to.open = open, to.sum = sum;
      });
      unchanged = open;
      const double now = clock_ns(CLOCK_MONOTONIC);
      steps_a_heartbeat =
          std::clamp(static_cast<std::size_t>(static_cast<double>(steps) * heartbeat_ns / (now - saved_at)),
                     std::size_t{16}, 16 * steps_a_heartbeat);
      saved_at = now;
      steps = 0;
    };
    const auto push = [&](const typename Tree::node& one) {
      if (open == most_open) throw std::runtime_error("checkpointed: the tree is too deep");
      stack[open++] = one;
    };
    const auto pop = [&] {
      n = stack[--open];
      unchanged = std::min(unchanged, open);
    };
    for (;;) {
      const unsigned children = tree.expand(n, sum, a, b);
      if (children == 0) {
        if (open == 0) break;
        pop();
      } else {
        if (children == 2) push(b);
        n = a;
      }
      if (++steps == steps_a_heartbeat) {
        push(n);
        save();
        pop();
      }
    }
    save();
  }

  obj_pool pool_;
  std::span<block> blocks_;
  std::span<std::byte> memory_;
  std::uint64_t pass_ = 0;
};

/// A workload's pool of libpmemobj's, made when it is first needed.
class checkpointed_later {
 public:
  checkpointed& with(std::size_t bytes) {
    if (!made_ || made_->memory().size() < bytes) {
      made_.reset();
      made_ = std::make_unique<checkpointed>(bytes);
    }
    return *made_;
  }
  void begin() const {
    if (made_) made_->begin();
  }

 private:
  std::unique_ptr<checkpointed> made_;
};

}  // namespace bench
