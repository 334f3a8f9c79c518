/// ppmm nqueens: in how many ways N queens stand on an N × N board so that none attacks another.
#include "command.hpp"
#include "session.hpp"

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <bit>
#include <cstdint>
#include <cstdio>
#include <memory>

namespace ppmm::tools {
namespace {

/// The rows filled so far, as what they attack in the next row: a bit a column.
struct board {
  std::uint32_t all;                               // columns of the board
  std::uint32_t columns = 0, left = 0, right = 0;  // attacked straight down and on the two diagonals
  std::uint32_t row = 0;

  std::uint32_t free() const { return all & ~(columns | left | right); }
  std::uint32_t size() const { return static_cast<std::uint32_t>(std::popcount(all)); }
  board with(std::uint32_t queen) const {
    return {all, columns | queen, (left | queen) << 1 & all, (right | queen) >> 1, row + 1};
  }
};

// Progress: every way to fill the first rows counts one, at once where a queen cannot stand.
constexpr std::uint32_t counted_rows = 3;

std::uint64_t ways_to_fill(std::uint32_t size, std::uint32_t rows) {
  std::uint64_t ways = 1;
  for (; rows > 0; --rows) ways *= size;
  return ways;
}

step<long> place(context& cx, board b, std::uint32_t candidates);

step<long> next_row(context& cx, board b) {
  if (b.row == counted_rows) {
    cx.advance(1);
  } else if (b.row < counted_rows) {
    const auto blocked = b.size() - static_cast<std::uint32_t>(std::popcount(b.free()));
    cx.advance(blocked * ways_to_fill(b.size(), counted_rows - b.row - 1));
  }
  if (b.columns == b.all) return 1;
  return place(cx, b, b.free());
}

/// The queen of this row stands on one of the candidates.
step<long> place(context& cx, board b, std::uint32_t candidates) {
  if (candidates == 0) return 0;
  const std::uint32_t first = candidates & -candidates;
  const std::uint32_t others = candidates ^ first;
  if (others == 0) return next_row(cx, b.with(first));
  return cx.fork(task<next_row>(b.with(first)), task<place>(b, others))
      .then([](context&, long m, long n) -> step<long> { return m + n; });
}

struct nqueens_options {
  job_options job;
  std::uint32_t n = 0;
};

void compute(const nqueens_options& options) {
  const std::uint32_t n = options.n;
  job_session session(options.job,
                      {.name = fmt::format("nqueens {}", n), .own_pool = fmt::format("ppmm-nqueens-{}.ppmm", n)});
  const board empty{static_cast<std::uint32_t>((std::uint64_t{1} << n) - 1)};
  const long answer = session.run(task<next_row>(empty), ways_to_fill(n, counted_rows));
  fmt::print("{}\n", answer);
  std::fflush(stdout);
  if (session.own_pool()) session.delivered();
}

}  // namespace

void add_nqueens(CLI::App& app) {
  auto options = std::make_shared<nqueens_options>();
  CLI::App* command =
      app.add_subcommand("nqueens", "Count the solutions of the N queens problem by forking at every candidate");
  command->footer(
      "Without --pool the job lives in ppmm-nqueens-N.ppmm in the current directory, which is removed after success.");
  command->add_option("N", options->n, "Size of the board")->required()->check(CLI::Range(1, 31));
  options->job.add_to(*command);
  command->callback([options] { compute(*options); });
}

}  // namespace ppmm::tools
