/// algo [--quick] [--workers N] [--only NAME]
///
/// The parallel algorithms at levels `process` and `emulated`, beside oneTBB's or the standard library's on oneTBB, and
/// beside serial code. Measured in turns in one run, on the same data in the same memory: a Markdown table of ratios.
///
/// What must be written back takes its time, whoever computes it. So `emulated` is compared with the larger of oneTBB's
/// time and of what it wrote back, divided by the bandwidth of storing and writing back that was measured beside it.
#include "arguments.hpp"
#include "kernels.hpp"
#include "measure.hpp"
#include "workbench.hpp"

#include <fmt/format.h>
#include <tbb/blocked_range.h>
#include <tbb/parallel_for.h>
#include <tbb/parallel_reduce.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <execution>
#include <functional>
#include <numeric>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace {

using namespace bench;
using ppmm::context;
using ppmm::in;
using ppmm::out;
using ppmm::step;
using number = std::uint64_t;
using range = tbb::blocked_range<std::size_t>;

constexpr std::size_t many = std::size_t{1} << 24, fewer = std::size_t{1} << 22, buckets = 256, side = 768;
constexpr double enough_ns = 10e9;  // of rounds for one algorithm
constexpr std::uint64_t region_bytes = 2 * many * sizeof(number);

bool is_kept(number x) { return x % 2 == 0; }
constexpr auto keep_even = [](number x) { return x % 2 == 0; };
constexpr auto triple = [](number x) { return 3 * x + 1; };
constexpr auto low_word = [](number x) { return static_cast<std::uint32_t>(x); };
constexpr auto by_low_word = [](number a, number b) { return low_word(a) < low_word(b); };

/// The memory that an algorithm works on: it reads `from` and writes `to`, or sorts `from`.
struct memory {
  numbers from, to;
  memory(ppmm::pool& p, std::size_t n) {
    auto* first = reinterpret_cast<number*>(ppmm::region_of(p, region_bytes).data());
    from = {first, n};
    to = {first + n, n};
    scatter(from);
    scatter(to);
  }
  std::size_t size() const { return from.size(); }
  auto middle() const { return from.begin() + static_cast<std::ptrdiff_t>(size() / 2); }
};

struct algorithm {
  std::size_t size;
  std::string_view name, counterpart;
  std::function<void(memory&)> prepare;  // before each measurement
  std::function<void(memory&)> serial, tbb;
  std::function<measured(workbench&, const memory&, const ppmm::run_options&)> ours;
};

/// A step function of a view to read and one to write, as a job.
template <class Step>
auto job(Step step) {
  return [step](workbench& w, const memory& m, const ppmm::run_options& how) {
    const out<number> from(m.from.data(), m.size()), to(m.to.data(), m.size());
    return w.compute([from, to, step](context& cx) { return step(cx, from, to); }, how);
  };
}
void as_it_is(memory&) {}
void scattered(memory& m) { scatter(m.from); }
template <class T>
auto freed(const ppmm::array<T>& a) {
  return [a](context& cx) -> step<std::size_t> {
    cx.free(a);
    return a.size();
  };
}

void radix_serial(numbers a, numbers b) {
  for (unsigned shift = 0; shift < 32; shift += 8, std::swap(a, b)) {
    std::array<std::size_t, buckets> at{};
    for (const number x : a) ++at[x >> shift & 255];
    std::exclusive_scan(at.begin(), at.end(), at.begin(), std::size_t{0});
    for (const number x : a) b[at[x >> shift & 255]++] = x;
  }
}

/// Two matrices in `from`, and their product in `to`.
matrices matrices_in(memory& m) {
  const auto* const a = reinterpret_cast<double*>(m.from.data());
  return {side, a, a + side * side, reinterpret_cast<double*>(m.to.data())};
}
void small_doubles(memory& m) {
  auto* const p = reinterpret_cast<double*>(m.from.data());
  for (std::size_t i = 0; i < m.size(); ++i) p[i] = static_cast<double>(i % 100);
}

std::vector<algorithm> all_algorithms() {
  std::vector<algorithm> all;
  all.push_back({many, "map", "parallel_for", as_it_is,
                 [](memory& m) { std::transform(m.from.begin(), m.from.end(), m.to.begin(), triple); },
                 [](memory& m) {
                   tbb::parallel_for(range(0, m.size()), [&](const range& r) {
                     for (std::size_t i = r.begin(); i < r.end(); ++i) m.to[i] = triple(m.from[i]);
                   });
                 },
                 job([](context& cx, auto from, auto to) { return ppmm::map(cx, from, to, triple); })});
  all.push_back({many, "reduce", "parallel_reduce", as_it_is,
                 [](memory& m) { keep(std::accumulate(m.from.begin(), m.from.end(), number{0})); },
                 [](memory& m) {
                   keep(tbb::parallel_reduce(
                       range(0, m.size()), number{0},
                       [&](const range& r, number s) {
                         for (std::size_t i = r.begin(); i < r.end(); ++i) s += m.from[i];
                         return s;
                       },
                       std::plus<>()));
                 },
                 job([](context& cx, auto from, auto) { return ppmm::reduce(cx, from, number{0}, std::plus<>()); })});
  all.push_back({many, "min_element", "std::min_element(par)", as_it_is,
                 [](memory& m) { keep(std::min_element(m.from.begin(), m.from.end())); },
                 [](memory& m) { keep(std::min_element(std::execution::par, m.from.begin(), m.from.end())); },
                 job([](context& cx, auto from, auto) { return ppmm::min_element(cx, from); })});
  all.push_back(
      {many, "find_if, nothing found", "std::find_if(par)", as_it_is,
       [](memory& m) { keep(std::find(m.from.begin(), m.from.end(), number{7})); },
       [](memory& m) {
         keep(std::find_if(std::execution::par, m.from.begin(), m.from.end(), [](number x) { return x == 7; }));
       },
       job([](context& cx, auto from, auto) { return ppmm::find_if(cx, from, [](number x) { return x == 7; }); })});
  all.push_back({many, "exclusive_scan", "parallel_scan", as_it_is,
                 [](memory& m) { std::exclusive_scan(m.from.begin(), m.from.end(), m.to.begin(), number{0}); },
                 [](memory& m) { exclusive_scan_tbb(m.from, m.to); },
                 job([](context& cx, auto from, auto to) {
                   return ppmm::exclusive_scan(cx, from, to, number{0}, std::plus<>());
                 })});
  all.push_back(
      {many, "filter, into a view", "std::copy_if(par)", as_it_is,
       [](memory& m) { keep(std::copy_if(m.from.begin(), m.from.end(), m.to.begin(), is_kept)); },
       [](memory& m) { keep(std::copy_if(std::execution::par, m.from.begin(), m.from.end(), m.to.begin(), is_kept)); },
       job([](context& cx, auto from, auto to) { return ppmm::filter(cx, from, to, keep_even); })});
  all.push_back(
      {many, "filter, into a new array", "std::copy_if(par)", as_it_is,
       [](memory& m) { keep(std::copy_if(m.from.begin(), m.from.end(), m.to.begin(), is_kept)); },
       [](memory& m) { keep(std::copy_if(std::execution::par, m.from.begin(), m.from.end(), m.to.begin(), is_kept)); },
       job([](context& cx, auto from, auto) {
         return cx.call(ppmm::filter(from, keep_even)).then([](context& c, const ppmm::array<number>& a) {
           return freed(a)(c);
         });
       })});
  all.push_back(
      {many, "histogram, 256 buckets", "a combinable of arrays", as_it_is,
       [](memory& m) { keep(histogram_serial(m.from)[7]); }, [](memory& m) { keep(histogram_tbb(m.from)[7]); },
       job([](context& cx, auto from, auto) {
         return cx.call(ppmm::histogram(from, buckets, bucket_of)).then([](context& c, const ppmm::array<number>& a) {
           return freed(a)(c);
         });
       })});
  all.push_back({many, "merge", "std::merge(par)",
                 [](memory& m) {
                   if (std::is_sorted(m.from.begin(), m.middle())) return;
                   std::sort(m.from.begin(), m.middle());
                   std::sort(m.middle(), m.from.end());
                 },
                 [](memory& m) { std::merge(m.from.begin(), m.middle(), m.middle(), m.from.end(), m.to.begin()); },
                 [](memory& m) {
                   std::merge(std::execution::par, m.from.begin(), m.middle(), m.middle(), m.from.end(), m.to.begin());
                 },
                 job([](context& cx, auto from, auto to) {
                   return ppmm::merge(cx, from.first(from.size() / 2), from.drop(from.size() / 2), to);
                 })});
  all.push_back({fewer, "sort", "std::stable_sort(par)", scattered,
                 [](memory& m) { std::stable_sort(m.from.begin(), m.from.end()); },
                 [](memory& m) { std::stable_sort(std::execution::par, m.from.begin(), m.from.end()); },
                 job([](context& cx, auto from, auto) { return ppmm::sort(cx, from); })});
  all.push_back({fewer, "integer_sort, 32 bits", "std::stable_sort(par)", scattered,
                 [](memory& m) { radix_serial(m.from, m.to); },
                 [](memory& m) { std::stable_sort(std::execution::par, m.from.begin(), m.from.end(), by_low_word); },
                 job([](context& cx, auto from, auto) { return ppmm::integer_sort(cx, from, low_word, 32); })});
  all.push_back({fewer, "group_by, 16 bits", "std::stable_sort(par), std::copy_if(par)", scattered,
                 [](memory& m) {
                   std::stable_sort(m.from.begin(), m.from.end(), [](number a, number b) { return a >> 48 < b >> 48; });
                   std::size_t groups = 0;
                   for (std::size_t i = 1; i < m.size(); ++i)
                     if (m.from[i] >> 48 != m.from[i - 1] >> 48) m.to[groups++] = i;
                 },
                 [](memory& m) {
                   std::stable_sort(std::execution::par, m.from.begin(), m.from.end(),
                                    [](number a, number b) { return a >> 48 < b >> 48; });
                   const auto begins = [&](const number& x) {
                     return &x != m.from.data() && *(&x - 1) >> 48 != x >> 48;
                   };
                   keep(std::copy_if(std::execution::par, m.from.begin(), m.from.end(), m.to.begin(), begins));
                 },
                 job([](context& cx, auto from, auto) {
                   return cx
                       .call(ppmm::group_by(
                           from, [](number x) { return x >> 48; }, 16))
                       .then([](context& c, const ppmm::groups<number>& g) {
                         return c.fork(freed(g.keys), freed(g.offsets))
                             .then([](context&, std::size_t k, std::size_t) -> step<std::size_t> { return k; });
                       });
                 })});
  all.push_back({2 * side * side, "matmul, 768 × 768", "parallel_for over the same tiles", small_doubles,
                 [](memory& m) { multiply_tiles(matrices_in(m)); }, [](memory& m) { multiply_tiles_tbb(matrices_in(m)); },
                 job([](context& cx, auto from, auto to) {
                   const auto matrix = [](const out<number>& v, std::size_t at) {
                     return out<double>(reinterpret_cast<double*>(v.address()) + at * side * side, side * side);
                   };
                   return ppmm::matmul(cx, ppmm::tile(matrix(from, 0).as_in(), side),
                                       ppmm::tile(matrix(from, 1).as_in(), side), ppmm::tile(matrix(to, 0), side));
                 })});
  return all;
}

}  // namespace

int main(int argc, char** argv) {
  bool quick = false;
  std::string only, asked = "1";
  const char* const usage = "algo [--quick] [--workers N] [--only NAME]";
  if (!read_arguments(argc, argv, usage, quick, {{"--workers", &asked}, {"--only", &only}})) return 2;
  unsigned threads = 0;
  const char* const end = asked.data() + asked.size();
  if (const auto [read, error] = std::from_chars(asked.data(), end, threads); error != std::errc{} || read != end || threads == 0) {
    fmt::print(stderr, "algo: --workers: expected a number from 1 up, found '{}'\n", asked);
    return 2;
  }
  workbench process(ppmm::durability::process, std::size_t{1} << 30),
      emulated(ppmm::durability::emulated, std::size_t{1} << 30);
  ppmm::run_options how = workers(threads);
  how.region = region_bytes;

  fmt::print("{} worker{}; {} MiB, sorts {} MiB\n\n", threads, threads == 1 ? "" : "s", many * sizeof(number) >> 20,
             fewer * sizeof(number) >> 20);
  fmt::print(
      "| | oneTBB | its time | `process` / oneTBB | / serial | `emulated`: MiB written back | time of that | "
      "`emulated` / the larger |\n");
  fmt::print("| --- | --- | --- | --- | --- | --- | --- | --- |\n");
  for (const algorithm& a : all_algorithms()) {
    if (!only.empty() && a.name.find(only) == a.name.npos) continue;
    const std::size_t n = quick && a.size >= fewer ? a.size / 16 : a.size;  // the matrices stay
    memory in_process(process.pool(), n), in_emulated(emulated.pool(), n);
    const on_one_core alone(threads == 1);
    turns t;
    double bytes = 0;
    const auto ready = [&](memory& m) {
      a.prepare(m);
      empty_caches();
    };
    const auto serial = t.add([&] { return ready(in_process), time_ns(1, [&] { a.serial(in_process); }); });
    const auto by_tbb = [&](memory& m) {
      return [&] {
        ready(m);
        double ns = 0;
        with_tbb_threads(static_cast<int>(threads), [&] { ns = time_ns(threads, [&] { a.tbb(m); }); });
        return ns;
      };
    };
    const auto tbb = t.add(by_tbb(in_process));
    const auto ours = t.add([&] { return ready(in_process), a.ours(process, in_process, how).ns; });
    const auto durable = t.add([&] {
      ready(in_emulated);
      const measured m = a.ours(emulated, in_emulated, how);
      bytes = 64 * static_cast<double>(m.statistics.flushed.lines);
      return m.ns;
    });
    const auto tbb_there = t.add(by_tbb(in_emulated));  // other pages: a tenth of the time, sometimes
    const auto flushing = t.add([&] { return written_back_ns_a_byte(emulated, in_emulated.to, threads); });
    t.take(1);  // touches all memory
    t.forget();
    const double round = time_ns(2, [&] { t.take(quick ? 3 : 15); }) / 15;
    if (!quick) t.take(static_cast<unsigned>(std::clamp(enough_ns / round, 15.0, 90.0)) - 15);  // short ones need more
    const double back = bytes * t.median_of(flushing);
    const double beside = t.median_of(tbb_there) > back ? t.ratio(durable, tbb_there) : t.median_of(durable) / back;
    fmt::print("| {} | {} | {:.1f} ms | {:.2f} × | {:.2f} × | {:.0f} | {:.1f} ms | {:.2f} × |\n", a.name, a.counterpart,
               t.median_of(tbb) / 1e6, t.ratio(ours, tbb), t.ratio(ours, serial), bytes / (1 << 20), back / 1e6,
               beside);
    std::fflush(stdout);
  }
}
