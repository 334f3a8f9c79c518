#include "openmp.hpp"

#include "measure.hpp"

#include <omp.h>

#include <algorithm>
#include <array>
#include <numeric>
#include <vector>

namespace bench::openmp {
namespace {

struct by_tasks {
  template <class F, class G>
  void operator()(const F& f, const G& g) const {
#pragma omp task untied default(none) shared(f)
    f();
    g();
#pragma omp taskwait
  }
};

/// Runs `body` on one of so many threads; the others take its tasks.
template <class Body>
void with_threads(unsigned threads, const Body& body) {
#pragma omp parallel num_threads(static_cast <int>(threads)) default(none) shared(body)
#pragma omp single
  body();
}

template <call_tree Tree>
typename Tree::value search_tree(const Tree& tree, const typename Tree::node& n, unsigned threads) {
  typename Tree::value sum{};
  with_threads(threads, [&] { sum = search(tree, n, by_tasks()); });
  return sum;
}

}  // namespace

void wake(unsigned threads) {
#pragma omp parallel num_threads(static_cast <int>(threads))
  keep(threads);
}

long fib(int n, unsigned threads) { return search_tree(fib_tree(), n, threads); }
double integrate(const quadrature::node& n, unsigned threads) { return search_tree(quadrature(), n, threads); }
long queens(const queens_tree::node& n, unsigned threads) { return search_tree(queens_tree(), n, threads); }
std::uint64_t uts(const uts_tree& tree, unsigned threads) { return search_tree(tree, tree.whole(), threads); }

void multiply(const matrices& m, unsigned threads) {
#pragma omp parallel for collapse(2) schedule(dynamic) num_threads(static_cast <int>(threads))
  for (std::size_t i = 0; i < m.tiles(); ++i)
    for (std::size_t j = 0; j < m.tiles(); ++j) multiply_tile(m, i, j);
}

void sort(numbers data, numbers scratch, unsigned threads) {
  with_threads(threads, [&] { merge_sort(data, scratch, false, by_tasks()); });
}

/// Each thread adds up its part, then writes it knowing the sums before. One thread writes at once.
void scan(std::span<const std::uint64_t> from, numbers to, bool inclusive, unsigned threads) {
  std::vector<std::uint64_t> sums(threads + 1);
#pragma omp parallel num_threads(static_cast <int>(threads))
  {
    const auto t = static_cast<std::size_t>(omp_get_thread_num()),
               all = static_cast<std::size_t>(omp_get_num_threads());
    const std::size_t lo = from.size() * t / all, hi = from.size() * (t + 1) / all;
    const auto part = from.subspan(lo, hi - lo);
    if (t + 1 < all) sums[t + 1] = std::accumulate(part.begin(), part.end(), std::uint64_t{0});
#pragma omp barrier
#pragma omp single
    std::partial_sum(sums.begin(), sums.end(), sums.begin());
    const auto at = to.begin() + static_cast<std::ptrdiff_t>(lo);
    if (inclusive)
      std::inclusive_scan(part.begin(), part.end(), at, std::plus<>(), sums[t]);
    else
      std::exclusive_scan(part.begin(), part.end(), at, sums[t]);
  }
}

bucket_counts histogram(std::span<const std::uint64_t> from, unsigned threads) {
  std::uint64_t all[std::tuple_size_v<bucket_counts>] = {};
#pragma omp parallel for reduction(+ : all) num_threads(static_cast <int>(threads))
  for (std::size_t i = 0; i < from.size(); ++i) ++all[bucket_of(from[i])];
  return std::to_array(all);
}

void bfs(const rows_of_edges& g, std::uint32_t source, std::span<std::uint32_t> distance, unsigned threads) {
  bfs_by_levels(g, source, distance, [threads](std::size_t n, std::size_t grain, const auto& body) {
#pragma omp parallel for schedule(dynamic) num_threads(static_cast <int>(threads)) if (n > grain)
    for (std::size_t i = 0; i < (n + grain - 1) / grain; ++i) body(i * grain, std::min(n, (i + 1) * grain));
  });
}

sorted_words count_words(std::span<const char> text, unsigned threads) {
  word_counts all;
#pragma omp parallel num_threads(static_cast <int>(threads))
  {
    word_counts mine;
#pragma omp for schedule(dynamic)
    for (std::size_t b = 0; b < ppmm::tools::block_count(text.size()); ++b)
      count_words_in(text, b * block_bytes, std::min(text.size(), (b + 1) * block_bytes), mine);
#pragma omp critical
    if (all.empty())
      all = std::move(mine);
    else
      add_counts(mine, all);
  }
  sorted_words words = unsorted(all);
  std::ranges::sort(words);
  return words;
}

}  // namespace bench::openmp
