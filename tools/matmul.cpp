/// ppmm matmul: the product of two matrices of random numbers.
#include "command.hpp"
#include "session.hpp"

#include <ppmm/algo/algo.hpp>

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <cstdint>
#include <cstdio>
#include <functional>
#include <memory>

namespace ppmm::tools {
namespace {

struct matmul_options {
  job_options job;
  std::uint32_t n = 0;
  std::uint64_t seed = 1;
};

/// splitmix64 (Steele, Lea, Flood, OOPSLA 2014), by place: any worker can make any element.
std::uint64_t random_word(std::uint64_t seed, std::uint64_t i) {
  std::uint64_t x = seed + (i + 1) * 0x9e3779b97f4a7c15;
  x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
  x = (x ^ x >> 27) * 0x94d049bb133111eb;
  return x ^ x >> 31;
}

/// Whole numbers from -512 to 511: all sums are exact, so the product is the same in whatever order it is added up.
struct element_at {
  std::uint64_t seed, first;
  double operator()(std::size_t i) const { return static_cast<double>(random_word(seed, first + i) % 1024) - 512; }
};

constexpr std::uint64_t product_units = 1;

struct matrices {
  array<double> a, b, c;
  std::uint32_t n;
};

/// The sum over all elements of their value times a random odd word: other where an element or its place is.
step<std::uint64_t> checksum(context& cx, matrices m) {
  const auto part = [c = m.c](context& d, std::size_t lo, std::size_t hi) {
    const auto some = d.read(as_in(c).sub(lo, hi - lo));
    std::uint64_t sum = 0;
    for (std::size_t i = lo; i < hi; ++i)
      sum += static_cast<std::uint64_t>(static_cast<std::int64_t>(some[i - lo])) * (random_word(0, i) | 1);
    return sum;
  };
  return cx.call(reduce(0, m.c.size(), std::uint64_t{0}, part, std::plus<>()))
      .then([m](context& c, std::uint64_t sum) -> step<std::uint64_t> {
        for (const auto& a : {m.a, m.b, m.c}) c.free(a);
        return sum;
      });
}

step<std::uint64_t> multiply(context& cx, matrices m) {
  const tile<in<double>> a(as_in(m.a), m.n), b(as_in(m.b), m.n);
  return cx.call(matmul(a, b, tile<out<double>>(as_out(m.c), m.n), product_units)).then(task<checksum>(m));
}

step<std::uint64_t> make_and_multiply(context& cx, std::uint32_t n, std::uint64_t seed) {
  const std::size_t all = std::size_t{n} * n;
  const matrices m{cx.alloc<double>(all), cx.alloc<double>(all), cx.alloc<double>(all), n};
  const auto both = [](context&) -> step<void> { return {}; };
  return cx
      .call([=](context& c) -> step<void> {
        return c.fork(tabulate(m.a, element_at{seed, 0}), tabulate(m.b, element_at{seed, all})).then(both);
      })
      .then(task<multiply>(m));
}

void compute(const matmul_options& options) {
  const std::uint64_t all = std::uint64_t{options.n} * options.n;
  job_session session(options.job, {.name = fmt::format("matmul {} {}", options.n, options.seed),
                                    .own_pool = fmt::format("ppmm-matmul-{}.ppmm", options.n),
                                    .heap = 3 * all * sizeof(double)});
  const std::uint64_t sum = session.run(task<make_and_multiply>(options.n, options.seed), product_units * all * options.n);
  fmt::print("{:016x}\n", sum);
  std::fflush(stdout);
  if (session.own_pool()) session.delivered();
}

}  // namespace

void add_matmul(CLI::App& app) {
  auto options = std::make_shared<matmul_options>();
  CLI::App* command =
      app.add_subcommand("matmul", "Multiply two N by N matrices of random whole numbers and print a checksum");
  command->footer(
      "Elements are from -512 to 511, drawn by the seed. The checksum is the sum, modulo 2^64, of the product's "
      "elements,\n"
      "each times a word drawn by its place. All is exact, so it is the same whatever the workers, faults and "
      "crashes.\n"
      "Without --pool the job lives in ppmm-matmul-N.ppmm in the current directory, which is removed after success.");
  command->add_option("N", options->n, "Rows and columns")->required()->check(CLI::Range(0u, 100000u));
  command->add_option("--seed", options->seed, "Other matrices (default 1)")->type_name("SEED");
  options->job.add_to(*command);
  command->callback([options] { compute(*options); });
}

}  // namespace ppmm::tools
