#include "jobs.hpp"

#include <ppmm/alloc/inspect.hpp>
#include <ppmm/sched/image.hpp>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <numeric>
#include <vector>

namespace ppmm::test {

// ---- fib

step<long> fib(context& cx, int n) {
  if (n < 2) return n;
  return cx.fork(task<fib>(n - 1), task<fib>(n - 2)).then([](context& c, long a, long b) -> step<long> {
    c.advance(1);
    return a + b;
  });
}

long serial_fib(int n) { return n < 2 ? n : serial_fib(n - 1) + serial_fib(n - 2); }
std::uint64_t fib_units(int n) { return static_cast<std::uint64_t>(serial_fib(n + 1)) - 1; }

// ---- tree

std::uint64_t mix(std::uint64_t x) {
  x ^= x >> 33;
  x *= 0xff51afd7ed558ccdu;
  x ^= x >> 33;
  x *= 0xc4ceb9fe1a85ec53u;
  return x ^ x >> 33;
}

node child_of(node n, std::uint32_t i) { return {mix(n.id + 0x9e3779b97f4a7c15u * (i + 1)), n.depth + 1}; }
std::uint32_t children_of(node n) {
  if (n.depth == 0) return 64;
  return n.depth < 400 && mix(n.id) % 1000 < 490 ? 2 : 0;
}

step<std::uint64_t> siblings(context& cx, const node& parent, std::uint32_t from, std::uint32_t to) {
  if (from == to) return 0u;
  if (to - from == 1) return cx.tail(task<subtree>(child_of(parent, from)));
  const std::uint32_t middle = from + (to - from) / 2;
  return cx.fork(task<siblings>(parent, from, middle), task<siblings>(parent, middle, to))
      .then([](context&, std::uint64_t a, std::uint64_t b) -> step<std::uint64_t> { return a + b; });
}

step<std::uint64_t> subtree(context& cx, const node& n) {
  return cx.call(task<siblings>(n, 0u, children_of(n))).then([n](context& c, std::uint64_t below) -> step<std::uint64_t> {
    c.advance(1);
    return below + mix(n.id) % 7 + 1;
  });
}

std::uint64_t serial_subtree(node n, std::uint64_t& nodes) {
  std::uint64_t sum = mix(n.id) % 7 + 1;
  ++nodes;
  for (std::uint32_t i = 0; i < children_of(n); ++i) sum += serial_subtree(child_of(n, i), nodes);
  return sum;
}

// ---- deep

step<std::uint64_t> deep(context& cx, std::uint64_t n) {
  if (n == 0) return 0u;
  return cx.call(task<deep>(n - 1)).then([n](context& c, std::uint64_t below) -> step<std::uint64_t> {
    c.advance(1);
    return below * 31 + n;
  });
}

step<std::uint64_t> deep_forks(context& cx, std::uint64_t n) {
  if (n == 0) return 1u;
  return cx.fork(task<deep_forks>(n - 1), task<deep_forks>(std::uint64_t{0}))
      .then([](context&, std::uint64_t a, std::uint64_t b) -> step<std::uint64_t> { return a + b; });
}

std::uint64_t serial_deep(std::uint64_t n) {
  std::uint64_t v = 0;
  for (std::uint64_t i = 1; i <= n; ++i) v = v * 31 + i;
  return v;
}

// ---- countdown

step<std::uint64_t> countdown(context& cx, std::uint64_t n, std::uint64_t sum) {
  if (n == 0) return sum;
  return cx.tail(task<countdown>(n - 1, sum + n));
}

step<std::uint64_t> identity(context&, std::uint64_t n) { return n; }
step<std::uint64_t> chain(context& cx, std::uint64_t n, std::uint64_t sum) {
  if (n == 0) return sum;
  return cx.call(task<identity>(n)).then([n, sum](context& c, std::uint64_t m) -> step<std::uint64_t> { return chain(c, n - 1, sum + m); });
}

// ---- squares

step<std::uint64_t> squares(context& cx, out<std::uint64_t> to) {
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

std::uint64_t serial_squares(std::uint64_t n) {
  std::uint64_t sum = 0;
  for (std::uint64_t i = 0; i < n; ++i) sum += i * i;
  return sum;
}

// ---- forest

std::size_t load_of(std::uint64_t key) {
  const std::uint64_t h = mix(key + 1);
  return h % 4096 == 0 ? 10'000 + h % 20'000 : h % 64 == 0 ? h / 64 % 8'000 : h / 64 % 40;
}

step<ptr<heap_node>> grow_tree(context& cx, std::uint64_t key, std::uint32_t depth) {
  const auto make = [key](context& c, ptr<heap_node> a, ptr<heap_node> b) -> step<ptr<heap_node>> {
    const auto node = c.alloc<heap_node>();
    const auto load = c.alloc<std::uint32_t>(load_of(key));
    const auto short_lived = c.alloc<std::uint64_t>(1 + load_of(key + 1) % 100);
    c.write(node)[0] = {mix(key), a, b, load};
    const auto words = c.write(load);
    for (std::size_t i = 0; i < words.size(); ++i) words[i] = static_cast<std::uint32_t>(key + i);
    c.advance(1);
    if (key % 2 == 0) {
      c.free(short_lived);
      return node;
    }
    return c.call([node](context&) -> step<ptr<heap_node>> { return node; }).then([short_lived](context& d, ptr<heap_node> n) -> step<ptr<heap_node>> {
      d.free(short_lived);
      return n;
    });
  };
  if (depth == 0) return make(cx, {}, {});
  return cx.fork(task<grow_tree>(2 * key, depth - 1), task<grow_tree>(2 * key + 1, depth - 1)).then(make);
}

step<std::uint64_t> fold_tree(context& cx, ptr<heap_node> at) {
  if (!at) return 0u;
  const heap_node n = cx.read(at)[0];
  std::uint64_t sum = n.value;
  for (const std::uint32_t w : cx.read(n.load)) sum += w;
  return cx.fork(task<fold_tree>(n.left), task<fold_tree>(n.right)).then([sum](context&, std::uint64_t a, std::uint64_t b) -> step<std::uint64_t> {
    return sum + a + 3 * b;
  });
}

step<void> fell_tree(context& cx, ptr<heap_node> at) {
  if (!at) return {};
  const heap_node n = cx.read(at)[0];
  cx.free(n.load);
  cx.free(at);
  return cx.fork(task<fell_tree>(n.left), task<fell_tree>(n.right)).then([](context&) -> step<void> { return {}; });
}

step<std::uint64_t> forest(context& cx, std::uint64_t key, std::uint32_t depth, bool again) {
  return cx.call(task<grow_tree>(key, depth)).then([again](context& c, ptr<heap_node> tree) {
    return c.call(task<fold_tree>(tree)).then([tree, again](context& d, std::uint64_t sum) {
      return d.call(task<fell_tree>(tree)).then([sum, again](context& e) -> step<std::uint64_t> {
        const auto left = e.alloc<std::uint64_t>(100);
        e.write(left)[0] = sum;
        if (again) e.free(e.find_root<std::uint64_t>("forest"));
        e.set_root("forest", left);
        return sum;
      });
    });
  });
}

std::uint64_t serial_forest(std::uint64_t key, std::uint32_t depth) {
  std::uint64_t sum = mix(key);
  for (std::size_t i = 0; i < load_of(key); ++i) sum += static_cast<std::uint32_t>(key + i);
  return depth == 0 ? sum : sum + serial_forest(2 * key, depth - 1) + 3 * serial_forest(2 * key + 1, depth - 1);
}

// ---- pipeline

namespace {

/// The sum of all (2 i + 1) x_i, and the array is freed.
step<std::uint64_t> fold_and_free(context& cx, array<std::uint64_t> a) {
  const auto part = [a](context& c, std::size_t lo, std::size_t hi) {
    const auto some = c.read(as_in(a).sub(lo, hi - lo));
    c.advance(hi - lo);
    std::uint64_t sum = 0;
    for (const std::uint64_t x : some) sum += x * (2 * lo++ + 1);
    return sum;
  };
  return cx.call(ppmm::reduce(0, a.size(), std::uint64_t{0}, part, std::plus<>())).then([a](context& c, std::uint64_t sum) -> step<std::uint64_t> {
    c.free(a);
    return sum;
  });
}

template <class Numbers>
std::uint64_t serial_fold(const Numbers& a) {
  std::uint64_t sum = 0, i = 0;
  for (const auto x : a) sum += static_cast<std::uint64_t>(x) * (2 * i++ + 1);
  return sum;
}

constexpr std::size_t pipeline_side = 96, pipeline_buckets = 1000;
struct pipeline_parts {
  static bool keep(std::uint64_t x) { return x % 3 != 0; }
  static std::uint64_t bucket(std::uint64_t x) { return x % pipeline_buckets; }
  static double small(std::uint64_t x) { return static_cast<double>(x % 64); }
};

/// The folded product of the first numbers, taken for two matrices.
step<std::uint64_t> folded_product(context& cx, array<std::uint64_t> numbers) {
  constexpr std::size_t n = pipeline_side * pipeline_side;
  const array<double> ab = cx.alloc<double>(2 * n), c = cx.alloc<double>(n);
  const array<std::uint64_t> whole = cx.alloc<std::uint64_t>(n);
  return cx.call(map(as_in(numbers).first(2 * n), ab, [](std::uint64_t x) { return pipeline_parts::small(x); })).then([=](context& d) {
    return d.call(matmul(tile(as_in(ab).first(n), pipeline_side), tile(as_in(ab).drop(n), pipeline_side), tile(as_out(c), pipeline_side))).then([=](context& e) {
      return e.call(map(c, whole, [](double x) { return static_cast<std::uint64_t>(x); })).then([=](context& f) {
        f.free(ab);
        f.free(c);
        return fold_and_free(f, whole);
      });
    });
  });
}
/// Scans, filters, sorts and merges.
step<std::uint64_t> folded_merge(context& cx, array<std::uint64_t> numbers) {
  const array<std::uint64_t> before = cx.alloc<std::uint64_t>(numbers.size());
  return cx.call(ppmm::exclusive_scan(numbers, before, std::uint64_t{0}, std::plus<>())).then([=](context& c, std::uint64_t) {
    return c.call(filter(before, [](std::uint64_t x) { return pipeline_parts::keep(x); })).then([=](context& d, const array<std::uint64_t>& kept) {
      return d.fork(ppmm::sort(before), ppmm::sort(kept)).then([=](context& e) {
        const array<std::uint64_t> merged = e.alloc<std::uint64_t>(before.size() + kept.size());
        return e.call(ppmm::merge(before, kept, merged)).then([=](context& f) {
          f.free(before);
          f.free(kept);
          return fold_and_free(f, merged);
        });
      });
    });
  });
}
/// Counts, finds and groups. The numbers are sorted by their low 10 bits then, and freed.
step<std::uint64_t> folded_groups(context& cx, array<std::uint64_t> numbers) {
  return cx.fork(ppmm::minmax_element(numbers), ppmm::find_if(numbers, [](std::uint64_t x) { return x % 100'000 == 7; }))
      .then([=](context& c, const extremes& at, std::size_t found) {
        return c.call(histogram(numbers, pipeline_buckets, [](std::uint64_t x) { return pipeline_parts::bucket(x); }))
            .then([=](context& d, const array<std::uint64_t>& counts) {
              return d.call(group_by(numbers, [](std::uint64_t x) { return x & 1023; }, 10)).then([=](context& e, const groups<std::uint64_t>& g) {
                return e.fork(task<fold_and_free>(counts), task<fold_and_free>(g.keys), task<fold_and_free>(g.offsets), task<fold_and_free>(numbers))
                    .then([=](context&, std::uint64_t h, std::uint64_t k, std::uint64_t o, std::uint64_t x) -> step<std::uint64_t> {
                      return at.least + 3 * at.greatest + 5 * found + h + 7 * k + 9 * o + 11 * x;
                    });
              });
            });
      });
}

}  // namespace

step<std::uint64_t> pipeline(context& cx, std::uint64_t key, std::size_t n, bool again) {
  const array<std::uint64_t> numbers = cx.alloc<std::uint64_t>(n);
  return cx.call(tabulate(numbers, [key](std::size_t i) { return mix(key + i); })).then([=](context& c) {
    return c.fork(task<folded_merge>(numbers), task<folded_product>(numbers)).then([=](context& d, std::uint64_t m, std::uint64_t p) {
      return d.call(task<folded_groups>(numbers)).then([=](context& e, std::uint64_t g) -> step<std::uint64_t> {
        if (again) e.free(e.find_root<std::uint64_t>("pipeline"));
        e.set_root("pipeline", e.alloc<std::uint64_t>(1));
        return m + 13 * p + 17 * g;
      });
    });
  });
}

std::uint64_t serial_pipeline(std::uint64_t key, std::size_t n, std::uint64_t& units) {
  std::vector<std::uint64_t> numbers(n), merged(n), counts(pipeline_buckets), product(pipeline_side * pipeline_side), keys, offsets;
  for (std::size_t i = 0; i < n; ++i) numbers[i] = mix(key + i);
  std::exclusive_scan(numbers.begin(), numbers.end(), merged.begin(), std::uint64_t{0});
  for (std::size_t i = 0; i < n; ++i)
    if (pipeline_parts::keep(merged[i])) merged.push_back(merged[i]);
  std::sort(merged.begin(), merged.end());
  for (std::size_t i = 0; i < product.size(); ++i)
    for (std::size_t l = 0; l < pipeline_side; ++l)
      product[i] += numbers[i / pipeline_side * pipeline_side + l] % 64 * (numbers[product.size() + l * pipeline_side + i % pipeline_side] % 64);
  const auto least = static_cast<std::uint64_t>(std::min_element(numbers.begin(), numbers.end()) - numbers.begin());
  const auto greatest = static_cast<std::uint64_t>(std::max_element(numbers.begin(), numbers.end()) - numbers.begin());
  std::uint64_t found = 0;
  while (found < n && numbers[found] % 100'000 != 7) ++found;
  for (const std::uint64_t x : numbers) ++counts[pipeline_parts::bucket(x)];
  std::stable_sort(numbers.begin(), numbers.end(), [](std::uint64_t a, std::uint64_t b) { return (a & 1023) < (b & 1023); });
  for (std::size_t i = 0; i < n; ++i)
    if (i == 0 || (numbers[i] & 1023) != (numbers[i - 1] & 1023)) {
      keys.push_back(numbers[i] & 1023);
      offsets.push_back(i);
    }
  offsets.push_back(n);
  units = merged.size() + product.size() + counts.size() + keys.size() + offsets.size() + n;
  const std::uint64_t g = least + 3 * greatest + 5 * found + serial_fold(counts) + 7 * serial_fold(keys) + 9 * serial_fold(offsets) + 11 * serial_fold(numbers);
  return serial_fold(merged) + 13 * serial_fold(product) + 17 * g;
}

std::uint64_t heap_blocks(const pool& p) {
  const detail::image img(p);
  const auto report = detail::inspect_heap(detail::chunk_space(img.heap(), p.medium(), 0));
  for (const std::string& problem : report.problems) std::fprintf(stderr, "heap: %s\n", problem.c_str());
  if (!report.problems.empty()) std::abort();
  return report.blocks;
}

}  // namespace ppmm::test
