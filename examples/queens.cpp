/// Queens: in how many ways can N queens stand on an N x N board so that none attacks another?
///
///     queens 13      forks at every square where a queen could stand; leaves queens.pool
///
/// There is no cut-off below which it would stop forking: a fork costs a few nanoseconds, and is made durable only if
/// it is still there at the next heartbeat. After a kill, give the same command again: it says how many solutions were
/// counted already, and goes on. Another N starts when this one is done.
#include <ppmm/ppmm.hpp>

#include <charconv>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <exception>
#include <string>

// The rows filled so far, as what they attack in the next row: a bit a column. It is an argument of tasks, so it has to
// be trivially copyable: its bytes are its value, also in a process that is started after a crash.
struct board {
  std::uint32_t all;                               // columns
  std::uint32_t columns = 0, left = 0, right = 0;  // attacked straight down, and on the two diagonals

  std::uint32_t free() const { return all & ~(columns | left | right); }
  board with(std::uint32_t queen) const {
    return {all, columns | queen, (left | queen) << 1 & all, (right | queen) >> 1};
  }
};

static ppmm::step<std::uint64_t> try_columns(ppmm::context& cx, board b, std::uint32_t candidates);

// The solutions that begin with these rows.
static ppmm::step<std::uint64_t> solutions(ppmm::context& cx, board b) {
  if (b.columns == b.all) {
    cx.advance(1);  // work done, in units of one's own: what is committed counts exactly once, whatever crashes
    return 1u;
  }
  return try_columns(cx, b, b.free());
}

// Those of them in which the queen of the next row stands in one of the candidates' columns: the first, or the others.
static ppmm::step<std::uint64_t> try_columns(ppmm::context& cx, board b, std::uint32_t candidates) {
  if (candidates == 0) return 0u;
  const std::uint32_t first = candidates & -candidates;
  return cx.fork(ppmm::task<solutions>(b.with(first)), ppmm::task<try_columns>(b, candidates ^ first))
      .then([](ppmm::context&, std::uint64_t m, std::uint64_t n) -> ppmm::step<std::uint64_t> { return m + n; });
}

int main(int argc, char** argv) try {
  unsigned n = 0;
  const char* const end = argc == 2 ? argv[1] + std::strlen(argv[1]) : nullptr;
  if (argc != 2 || std::from_chars(argv[1], end, n).ptr != end || n < 1 || n > 20) {
    std::fprintf(stderr, "usage: queens N    (N queens, 1 to 20; 13 takes about a second)\n");
    return 2;
  }
  ppmm::run_options options;
  options.on_resume = [](const ppmm::resume_info& found) {
    std::fprintf(stderr, "queens: resumed, %llu solutions were counted already\n",
                 static_cast<unsigned long long>(found.units_done));
  };
  ppmm::pool pool = ppmm::pool::open_or_create("queens.pool");
  const std::uint64_t answer =
      ppmm::run(pool, "queens " + std::to_string(n), ppmm::task<solutions>(board{(1u << n) - 1}), options);
  std::printf("%u queens: %llu solutions\n", n, static_cast<unsigned long long>(answer));
} catch (const std::exception& e) {
  std::fprintf(stderr, "queens: %s\n", e.what());
  return 1;
}
