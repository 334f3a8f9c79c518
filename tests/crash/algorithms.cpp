/// Each algorithm on a few dozen words of the simulated medium, beside the standard library's: the same must be done to
/// the same memory, and no block of the heap be left. A row of the table is the job, and what it should have done.
#include <algorithm>
#include <array>
#include <functional>
#include <memory>
#include <numeric>
#include <type_traits>

#include "scenario.hpp"

#include <ppmm/algo/multiply_tile.hpp>

namespace ppmm::test {
namespace {

using word = std::uint64_t;
using words = std::span<word>;

// ---- the job's memory: all of it begins and ends within lines, and what is written shares lines with what is read

constexpr std::size_t n = 21;  // elements

template <class Memory>
auto part(const Memory& m, std::size_t from, std::size_t count) {
  if constexpr (std::is_same_v<Memory, words>)
    return m.subspan(from, count);
  else
    return m.sub(from, count);
}
template <class Memory>
auto input(const Memory& m) {  // in no order, keys that occur several times
  return part(m, 3, n);
}
template <class Memory>
auto run_a(const Memory& m) {  // in order
  return part(m, 3 + n, n);
}
template <class Memory>
auto both_of(const Memory& m) {  // so many that what a thief has added up is cut once more
  return part(m, 3, 2 * n);
}
template <class Memory>
auto run_b(const Memory& m) {  // in order
  return part(m, 3 + 2 * n, n / 2);
}
template <class Memory>
auto flags(const Memory& m) {
  return part(m, 3 + 2 * n + n / 2, n);
}
template <class Memory>
auto room(const Memory& m, std::size_t count = n) {
  return part(m, 3 + 3 * n + n / 2, count);
}
constexpr std::size_t behind_room = 3 + 4 * n + n / 2;

/// A key in the high half, the place in the low half: so what is not stable shows.
word element_at(std::size_t i, word key) { return (2 * key + 1) << 32 | i; }
struct key_of {
  std::uint32_t operator()(word w) const { return static_cast<std::uint32_t>(w >> 33); }
};
struct by_key {
  bool operator()(word a, word b) const { return a >> 33 < b >> 33; }
};
/// An operation that does not commute: a word is a function x -> ax + b, its halves are a and b.
struct compose {
  word operator()(word f, word g) const {
    const std::uint32_t a = half(f, 32), b = half(f, 0), c = half(g, 32), d = half(g, 0);
    return word{a * c} << 32 | (b * c + d);
  }
  static std::uint32_t half(word w, int at) { return static_cast<std::uint32_t>(w >> at); }
};
constexpr word unchanged = word{1} << 32;

void prepare_words(words m) {
  for (std::size_t i = 0; i < n; ++i) input(m)[i] = element_at(i, (i * i * 7 + 3) % 11);
  for (std::size_t i = 0; i < n; ++i) run_a(m)[i] = element_at(i, i / 2);
  for (std::size_t i = 0; i < n / 2; ++i) run_b(m)[i] = element_at(100 + i, i + i / 3);
  for (std::size_t i = 0; i < n; ++i) flags(m)[i] = i * 5 % 3;
}

// ---- matrices: doubles in the same memory

/// a: m × k, b: k × n, c: m × n, one behind the other.
struct matrices {
  std::size_t m, k, n;
  std::size_t size() const { return m * k + k * n + m * n; }
};
constexpr matrices tall{65, 2, 2};                          // two tiles
constexpr matrices deep{2, detail::inner_turn + 3, 1};  // two turns
auto multiply(const out<word>& memory, const matrices& s) {
  const out<double> all(reinterpret_cast<double*>(memory.address()), s.size());
  return matmul(tile(all.first(s.m * s.k).as_in(), s.k), tile(all.sub(s.m * s.k, s.k * s.n).as_in(), s.n),
                tile(all.drop(s.m * s.k + s.k * s.n), s.n));
}
template <const matrices& shape>
void prepare_matrices(words m) {
  auto* const x = reinterpret_cast<double*>(m.data());
  for (std::size_t i = 0; i < shape.m * shape.k + shape.k * shape.n; ++i) x[i] = static_cast<double>(i * 7 % 13);
}
template <const matrices& s>
word multiplied(words memory) {
  auto* const a = reinterpret_cast<double*>(memory.data());
  const double* const b = a + s.m * s.k;
  for (std::size_t i = 0; i < s.m; ++i)
    for (std::size_t j = 0; j < s.n; ++j) {
      double sum = 0;  // exact: these numbers are whole and small
      for (std::size_t l = 0; l < s.k; ++l) sum += a[i * s.k + l] * b[l * s.n + j];
      a[s.m * s.k + s.k * s.n + i * s.n + j] = sum;
    }
  return 0;
}

// ---- what jobs give

word digest(std::span<const word> s) {
  return std::accumulate(s.begin(), s.end(), word{s.size()}, [](word h, word w) { return h * 31 + w; });
}
/// The continuation that reads a new array and frees it.
constexpr auto take = [](context& cx, const array<word>& a) -> step<word> {
  const word h = digest(cx.read(a));
  cx.free(a);
  return h;
};
constexpr auto both = [](context&, word a, word b) -> step<word> { return a * 1'000'003 + b; };
constexpr auto nothing = [](context&) -> step<word> { return word{0}; };
constexpr auto take_groups = [](context& cx, const groups<std::uint32_t>& g) -> step<word> {
  word h = digest(cx.read(g.offsets));
  for (const std::uint32_t key : cx.read(g.keys)) h = h * 31 + key;
  cx.free(g.keys);
  cx.free(g.offsets);
  return h;
};

word sorted(words m) {
  std::ranges::stable_sort(input(m), by_key());
  return 0;
}
word grouped(words m) {
  sorted(m);
  std::vector<word> offsets, keys;
  for (std::size_t i = 0; i < n; ++i)
    if (i == 0 || by_key()(input(m)[i - 1], input(m)[i])) {
      offsets.push_back(i);
      keys.push_back(key_of()(input(m)[i]));
    }
  offsets.push_back(n);
  return std::accumulate(keys.begin(), keys.end(), digest(offsets), [](word h, word key) { return h * 31 + key; });
}
word scanned_before(words m) {
  const words from = both_of(m);
  std::exclusive_scan(from.begin(), from.end(), room(m, 2 * n).begin(), unchanged, compose());
  return std::accumulate(from.begin(), from.end(), unchanged, compose());
}

// ---- the table

struct how {
  unsigned workers = 2;
  bool every_task = true;
  double soft = 0, hard = 0;
  bool splits = true;  // thieves find something
  bool large = false;
  std::uint64_t region = 1024;             // bytes
  std::size_t compared = ~std::size_t{0};  // words; what is behind them holds nothing of use
  word units = 0;
  std::function<void(words)> prepare = prepare_words;
};

/// `job(cx, memory)` is the step, `model(memory)` does the same to memory that nothing can happen to.
template <class Job, class Model>
scenario row(const char* name, const char* about, Job job, Model model, const how& h = {}) {
  auto expected = std::make_shared<std::vector<word>>(h.region / sizeof(word));
  h.prepare(*expected);
  scenario s;
  s.name = name;
  s.about = about;
  s.workers = h.workers;
  s.every_task = h.every_task;
  s.large = h.large;
  s.soft = h.soft;
  s.hard = h.hard;
  s.region = h.region;
  s.blocks = 1;
  s.expected = {model(words(*expected)), h.units + 1};
  s.run = [job, bytes = h.region](pool& p, const run_options& o) {
    const out<word> memory(reinterpret_cast<word*>(region_of(p, bytes).data()), bytes / sizeof(word));
    const auto whole = [job, memory](context& cx) {
      return cx.call([job, memory](context& c) { return job(c, memory); })
          .then([](context& c, word value) -> step<word> {
            c.set_root("kept", c.alloc<word>());  // so the job is kept, and with it what an algorithm forgets to free
            c.advance(1);
            return value;
          });
    };
    return run(p, job_name, whole, o);
  };
  s.prepare = [prepare = h.prepare](std::span<std::byte> region) {
    prepare(words(reinterpret_cast<word*>(region.data()), region.size() / sizeof(word)));
  };
  s.right = [expected, compared = std::min(h.compared, expected->size())](std::span<const std::byte> region) {
    return std::equal(expected->begin(), expected->begin() + static_cast<std::ptrdiff_t>(compared),
                      reinterpret_cast<const word*>(region.data()));
  };
  s.covered = [h](const coverage& c) {
    return (c.steals > 0 || !h.splits) && (c.soft_faults > 0 || h.soft == 0) && (c.robberies > 0 || h.hard == 0) &&
           (c.restarts > 0 || h.every_task);
  };
  return s;
}

const how rare{.every_task = false, .splits = false};
const how soft{.soft = 0.01};
const how graves{.workers = 3, .hard = 0.01};

}  // namespace

std::vector<scenario> algorithm_scenarios() {
  const auto sort_data = [](context& cx, out<word> m) { return cx.call(ppmm::sort(input(m), by_key())).then(nothing); };
  const auto scan_before = [](context& cx, out<word> m) {
    return ppmm::exclusive_scan(cx, both_of(m), room(m, 2 * n), unchanged, compose());
  };
  const auto integer_sort_twice = [](context& cx, out<word> m) {  // four and five bits; then one pass, and back
    return cx.call(integer_sort(input(m), room(m), key_of(), 9)).then([m](context& c) {
      return c.call(integer_sort(input(m), key_of(), 4)).then(nothing);
    });
  };
  const auto integer_sorted = [](words m) {
    sorted(m);
    std::ranges::copy(input(m), room(m).begin());
    return word{0};
  };
  const auto group_by_bits = [](context& cx, out<word> m) {
    return cx.call(group_by(input(m), key_of(), 4)).then(take_groups);
  };
  const auto is_odd = [](word w) { return w % 2 == 1; };

  std::vector<scenario> s;
  s.push_back(row(
      "map", "tabulate, and map of that",
      [](context& cx, out<word> m) {
        return cx.call(tabulate(run_a(m), [](std::size_t i) { return 3 * i; })).then([m](context& c) {
          return c.call(map(run_a(m), room(m), [](word x) { return x + 1; })).then(nothing);
        });
      },
      [](words m) {
        for (std::size_t i = 0; i < n; ++i) room(m)[i] = (run_a(m)[i] = 3 * i) + 1;
        return word{0};
      }));
  s.push_back(row(
      "reduce", "a reduction that does not commute",
      [](context& cx, out<word> m) { return ppmm::reduce(cx, input(m), unchanged, compose()); },
      [](words m) { return std::accumulate(input(m).begin(), input(m).end(), unchanged, compose()); }));
  s.push_back(row(
      "extremes", "min_element and max_element beside minmax_element",
      [](context& cx, out<word> m) {
        return cx
            .fork(ppmm::min_element(input(m), by_key()), ppmm::max_element(input(m), by_key()),
                  ppmm::minmax_element(input(m), by_key()))
            .then([](context&, std::size_t a, std::size_t b, const extremes& e) -> step<word> {
              return ((a * 100 + b) * 100 + e.least) * 100 + e.greatest;
            });
      },
      [](words m) {
        const auto least = static_cast<word>(std::ranges::min_element(input(m), by_key()) - input(m).begin());
        const auto greatest = static_cast<word>(std::ranges::max_element(input(m), by_key()) - input(m).begin());
        return (least * 100 + greatest) * 10'001;
      }));
  s.push_back(row(
      "find", "find_if: behind what is offered to thieves, and nowhere",
      [](context& cx, out<word> m) {
        return cx
            .fork(ppmm::find_if(input(m), [](word w) { return w % 32 == n - 3; }),
                  ppmm::find_if(input(m), [](word w) { return w == 0; }))
            .then([](context&, std::size_t a, std::size_t b) -> step<word> { return a * 100 + b; });
      },
      [](words) { return word{(n - 3) * 100 + n}; }));
  s.push_back(row("scan", "an exclusive scan that does not commute", scan_before, scanned_before));
  s.push_back(row(
      "scan-with", "an inclusive one",
      [](context& cx, out<word> m) { return ppmm::inclusive_scan(cx, input(m), room(m), unchanged, compose()); },
      [](words m) {
        std::inclusive_scan(input(m).begin(), input(m).end(), room(m).begin(), compose());
        return room(m)[n - 1];
      }));
  s.push_back(row(
      "filter", "filter into a new array, and into one that is there",
      [is_odd](context& cx, out<word> m) {
        const auto anew = [m, is_odd](context& c) { return c.call(filter(input(m), is_odd)).then(take); };
        return cx.fork(anew, filter(input(m), room(m), is_odd)).then(both);
      },
      [is_odd](words m) {
        const auto end = std::ranges::copy_if(input(m), room(m).begin(), is_odd).out;
        const auto kept = static_cast<std::size_t>(end - room(m).begin());
        return digest(room(m).first(kept)) * 1'000'003 + kept;
      }));
  s.push_back(row(
      "pack", "pack and pack_index",
      [](context& cx, out<word> m) {
        const auto values = [m](context& c) { return c.call(pack(input(m), flags(m))).then(take); };
        const auto at = [m](context& c) { return c.call(pack_index(flags(m))).then(take); };
        return cx.fork(values, at).then(both);
      },
      [](words m) {
        std::vector<word> values, at;
        for (std::size_t i = 0; i < n; ++i)
          if (flags(m)[i] != 0) {
            values.push_back(input(m)[i]);
            at.push_back(i);
          }
        return digest(values) * 1'000'003 + digest(at);
      }));
  s.push_back(row(
      "merge", "a merge in turns that begin with one element, so that it is split",
      [](context& cx, out<word> m) {
        const auto to = room(m, n + n / 2);
        return cx
            .call(
                detail::merge_loop<word, by_key>{run_a(m).as_in(), run_b(m).as_in(), to, {}, 1, detail::turn_length()})
            .then(nothing);
      },
      [](words m) {
        std::ranges::merge(run_a(m), run_b(m), room(m, n + n / 2).begin(), by_key());
        return word{0};
      },
      {.units = n + n / 2}));
  s.push_back(row("sort", "two leaves and a merge, room from the heap", sort_data, sorted));
  s.push_back(row(
      "sort-tree", "eight leaves, three levels of merges, and units",
      [](context& cx, out<word> m) {
        return cx.call(detail::sort_tree<word, by_key>{input(m), m.sub(behind_room, n), {}, {1, 1}, 3}).then(nothing);
      },
      sorted, {.compared = behind_room, .units = 4 * n}));
  s.push_back(row("integer-sort", "in two passes to a view; then in one and back", integer_sort_twice, integer_sorted));
  s.push_back(row(
      "histogram", "256 buckets, so that adding up is split",
      [](context& cx, out<word> m) {
        return cx.call(histogram(input(m), 256, [](word w) { return (w >> 32) % 256; })).then(take);
      },
      [](words m) {
        std::vector<word> counts(256);
        for (const word w : input(m)) ++counts[(w >> 32) % 256];
        return digest(counts);
      }));
  s.push_back(row("group-by", "group_by keys of four bits", group_by_bits, grouped));
  s.push_back(row(
      "group-by-order", "group_by an order",
      [](context& cx, out<word> m) { return cx.call(group_by(input(m), key_of(), std::less<>())).then(take_groups); },
      grouped));
  s.push_back(row("matmul", "two tiles",
                  [](context& cx, out<word> m) { return cx.call(multiply(m, tall)).then(nothing); }, multiplied<tall>,
                  {.region = 4096, .prepare = prepare_matrices<tall>}));
  s.push_back(row("matmul-deep", "a tile in two turns, the first into the heap",
                  [](context& cx, out<word> m) { return cx.call(multiply(m, deep)).then(nothing); }, multiplied<deep>,
                  {.splits = false, .region = 32'768, .prepare = prepare_matrices<deep>}));
  s.push_back(row("sort-rare", "the merge meets what the leaves of its capsule read", sort_data, sorted, rare));
  s.push_back(row("group-by-rare", "the copy back meets what the pass read", group_by_bits, grouped, rare));
  s.push_back(row("sort-soft", "workers lose their memory", sort_data, sorted, soft));
  s.push_back(row("scan-soft", "workers lose their memory", scan_before, scanned_before, soft));
  s.push_back(row("sort-graves", "workers die, and their graves are robbed", sort_data, sorted, graves));
  s.push_back(row("scan-graves", "workers die, and their graves are robbed", scan_before, scanned_before, graves));
  // Its capsules allocate in many size classes, so there are too many images to try all.
  s.push_back(row("big-integer-sort", "rare commits: the passes meet what those before read", integer_sort_twice,
                  integer_sorted, {.every_task = false, .splits = false, .large = true}));
  return s;
}

}  // namespace ppmm::test
