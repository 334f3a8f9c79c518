/// Hello, fork: two tasks that may run in parallel, and what goes on with their results.
///
///     hello          prints the answer, and leaves hello.pool
///     hello          once more: the answer is read from the pool, nothing is computed
///
/// The pool is a file in the current folder that holds the computation itself. Kill the program whenever you like, even
/// while it makes the pool, and run it again: it goes on from its last commit. To begin anew, remove the file.
#include <ppmm/ppmm.hpp>

#include <cstdio>
#include <exception>

// A task is a function that gets a context and returns a step: here at once a value.
static ppmm::step<int> six(ppmm::context&) { return 6; }
static ppmm::step<int> seven(ppmm::context&) { return 7; }

// This one returns what comes of a fork. Nobody waits for the two children: whichever worker is the last to have a
// result goes on with the continuation, perhaps after a crash, in another process.
static ppmm::step<int> hello(ppmm::context& cx) {
  return cx.fork(ppmm::task<six>(), ppmm::task<seven>())
      .then([](ppmm::context&, int a, int b) -> ppmm::step<int> { return a * b; });
}

int main() try {
  ppmm::pool pool = ppmm::pool::open_or_create("hello.pool");
  const int answer = ppmm::run(pool, "hello", ppmm::task<hello>());  // "hello" is the job's name: it is run once
  std::printf("Hello from a fork: 6 * 7 = %d\n", answer);
} catch (const std::exception& e) {
  std::fprintf(stderr, "hello: %s\n", e.what());
  return 1;
}
