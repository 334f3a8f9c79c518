/// Jobs that tests run and kill, each beside a serial program that knows nothing of PPMM.
#pragma once

#include <ppmm/ppmm.hpp>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <random>

#include "seed.hpp"

namespace ppmm::test {

// ---- fib: nothing but forks. Counts each addition as one unit of work: an exactly-once counter.

inline step<long> fib(context& cx, int n) {
  if (n < 2) return n;
  return cx.fork(task<fib>(n - 1), task<fib>(n - 2)).then([](context& c, long a, long b) -> step<long> {
    c.advance(1);
    return a + b;
  });
}
inline long serial_fib(int n) { return n < 2 ? n : serial_fib(n - 1) + serial_fib(n - 2); }
inline std::uint64_t fib_units(int n) {  // additions: fib(n + 1) - 1
  return static_cast<std::uint64_t>(serial_fib(n + 1)) - 1;
}

// ---- tree: an unbalanced search (after UTS, Olivier et al. 2006): how many children a node has follows from a hash.

struct node {
  std::uint64_t id;
  std::uint32_t depth;
};
inline std::uint64_t mix(std::uint64_t x) {
  x ^= x >> 33;
  x *= 0xff51afd7ed558ccdu;
  x ^= x >> 33;
  x *= 0xc4ceb9fe1a85ec53u;
  return x ^ x >> 33;
}
inline node child_of(node n, std::uint32_t i) { return {mix(n.id + 0x9e3779b97f4a7c15u * (i + 1)), n.depth + 1}; }
inline std::uint32_t children_of(node n) {
  if (n.depth == 0) return 64;
  return n.depth < 400 && mix(n.id) % 1000 < 490 ? 2 : 0;
}

inline step<std::uint64_t> subtree(context& cx, node n);
inline step<std::uint64_t> siblings(context& cx, node parent, std::uint32_t from, std::uint32_t to) {
  if (from == to) return 0u;
  if (to - from == 1) return cx.tail(task<subtree>(child_of(parent, from)));
  const std::uint32_t middle = from + (to - from) / 2;
  return cx.fork(task<siblings>(parent, from, middle), task<siblings>(parent, middle, to))
      .then([](context&, std::uint64_t a, std::uint64_t b) -> step<std::uint64_t> { return a + b; });
}
inline step<std::uint64_t> subtree(context& cx, node n) {
  return cx.call(task<siblings>(n, 0u, children_of(n))).then([n](context& c, std::uint64_t below) -> step<std::uint64_t> {
    c.advance(1);
    return below + mix(n.id) % 7 + 1;
  });
}
inline std::uint64_t serial_subtree(node n, std::uint64_t& nodes) {
  std::uint64_t sum = mix(n.id) % 7 + 1;
  ++nodes;
  for (std::uint32_t i = 0; i < children_of(n); ++i) sum += serial_subtree(child_of(n, i), nodes);
  return sum;
}

// ---- deep: a recursion of calls as deep as asked. Each level keeps a frame.

inline step<std::uint64_t> deep(context& cx, std::uint64_t n) {
  if (n == 0) return 0u;
  return cx.call(task<deep>(n - 1)).then([n](context& c, std::uint64_t below) -> step<std::uint64_t> {
    c.advance(1);
    return below * 31 + n;
  });
}
inline step<std::uint64_t> deep_forks(context& cx, std::uint64_t n) {
  if (n == 0) return 1u;
  return cx.fork(task<deep_forks>(n - 1), task<deep_forks>(std::uint64_t{0}))
      .then([](context&, std::uint64_t a, std::uint64_t b) -> step<std::uint64_t> { return a + b; });
}
inline std::uint64_t serial_deep(std::uint64_t n) {
  std::uint64_t v = 0;
  for (std::uint64_t i = 1; i <= n; ++i) v = v * 31 + i;
  return v;
}

// ---- countdown: a million steps on the same level, by tail calls and by continuations.

inline step<std::uint64_t> countdown(context& cx, std::uint64_t n, std::uint64_t sum) {
  if (n == 0) return sum;
  return cx.tail(task<countdown>(n - 1, sum + n));
}
inline step<std::uint64_t> identity(context&, std::uint64_t n) { return n; }
inline step<std::uint64_t> chain(context& cx, std::uint64_t n, std::uint64_t sum) {
  if (n == 0) return sum;
  return cx.call(task<identity>(n)).then([n, sum](context& c, std::uint64_t m) -> step<std::uint64_t> { return chain(c, n - 1, sum + m); });
}

// ---- sum of squares written and read back through views: what a crash must not lose is in the region.

inline step<std::uint64_t> squares(context& cx, out<std::uint64_t> to) {
  return cx.call([to](context& c) {
             return for_each(c, 0, to.size(), [to](context& d, std::size_t lo, std::size_t hi) {
               const auto span = d.write(to.sub(lo, hi - lo));
               for (std::size_t i = lo; i < hi; ++i) span[i - lo] = i * i;
               d.advance(hi - lo);
             });
           })
      .then([to](context& c) -> step<std::uint64_t> {
        const auto from = to.as_in();
        return reduce(
            c, 0, from.size(), std::uint64_t{0},
            [from](context& d, std::size_t lo, std::size_t hi) {
              std::uint64_t sum = 0;
              for (const std::uint64_t x : d.read(from.sub(lo, hi - lo))) sum += x;
              return sum;
            },
            [](std::uint64_t a, std::uint64_t b) { return a + b; });
      });
}
inline std::uint64_t serial_squares(std::uint64_t n) {
  std::uint64_t sum = 0;
  for (std::uint64_t i = 0; i < n; ++i) sum += i * i;
  return sum;
}

}  // namespace ppmm::test
