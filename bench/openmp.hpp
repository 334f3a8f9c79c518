/// The workloads by OpenMP's tasks and loops, compiled with -fopenmp: nothing else is.
#pragma once

#include "fork_join.hpp"
#include "graph.hpp"
#include "words.hpp"

#include <cstddef>
#include <cstdint>
#include <span>

namespace bench::openmp {

/// Threads that will be needed are awake for some milliseconds.
void wake(unsigned threads);

long fib(int n, unsigned threads);
double integrate(const quadrature::node& n, unsigned threads);
long queens(const queens_tree::node& n, unsigned threads);
std::uint64_t uts(const uts_tree& tree, unsigned threads);

void multiply(const matrices& m, unsigned threads);
void sort(numbers data, numbers scratch, unsigned threads);
void scan(std::span<const std::uint64_t> from, numbers to, bool inclusive, unsigned threads);
bucket_counts histogram(std::span<const std::uint64_t> from, unsigned threads);

void bfs(const rows_of_edges& g, std::uint32_t source, std::span<std::uint32_t> distance, unsigned threads);
sorted_words count_words(std::span<const char> text, unsigned threads);

}  // namespace bench::openmp
