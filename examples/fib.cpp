/// Recursion: Fibonacci numbers as everybody writes them first, with a fork at every call.
///
///     fib            takes a second or two; leaves fib.pool
///
/// After a kill, run it again: it goes on. When it is done, the answer is read from the pool; to begin anew, remove the
/// file.
#include <ppmm/ppmm.hpp>

#include <cstdio>
#include <exception>

static ppmm::step<long> fib(ppmm::context& cx, int n) {
  if (n < 2) return n;
  return cx.fork(ppmm::task<fib>(n - 1), ppmm::task<fib>(n - 2))
      .then([](ppmm::context&, long a, long b) -> ppmm::step<long> { return a + b; });
}

int main() try {
  ppmm::pool pool = ppmm::pool::open_or_create("fib.pool");
  const long answer = ppmm::run(pool, "fib 42", ppmm::task<fib>(42));
  std::printf("fib(42) = %ld\n", answer);
} catch (const std::exception& e) {
  std::fprintf(stderr, "%s\n", e.what());
  return 1;
}
