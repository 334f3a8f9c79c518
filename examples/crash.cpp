/// A crash by design: counts primes, kills itself with SIGKILL in the middle, and goes on when it is run again.
///
///     crash          first run: dies in the middle; leaves crash.pool
///     crash          second run: tells that it went on, not began again, and how much it had to do
///     crash never    the same without the crash
///
/// Nothing is saved before the crash, and nothing is restored after it: what the first run did is in the pool because
/// it is a computation in a pool. To begin anew, remove the file.
#include <ppmm/ppmm.hpp>

#include <atomic>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <functional>
#include <string_view>

static constexpr std::size_t slices = 200, slice = 10'000;  // of the numbers below two million

// Ordinary memory is lost with its process. These two tell what *this* process did.
static std::atomic<std::size_t> done_here = 0;
static std::atomic<bool> crash_in_the_middle = true;

static bool is_prime(std::size_t n) {
  if (n < 4) return n > 1;
  if (n % 2 == 0) return false;
  for (std::size_t d = 3; d * d <= n; d += 2)
    if (n % d == 0) return false;
  return true;
}

// The primes in slices [from, to). Run for parts of the whole range, in parallel.
static const auto primes = [](ppmm::context& cx, std::size_t from, std::size_t to) {
  std::size_t count = 0;
  for (std::size_t s = from; s < to; ++s) {
    for (std::size_t n = s * slice; n < (s + 1) * slice; ++n) if (is_prime(n)) ++count;
    if (++done_here == slices / 2 && crash_in_the_middle) {
      std::fprintf(stderr, "crash: %zu of %zu slices are done; killing myself now. Run me again.\n", slices / 2, slices);
      std::raise(SIGKILL);
    }
  }
  cx.advance(to - from);
  return count;
};

int main(int argc, char** argv) try {
  if (argc > 2 || (argc == 2 && argv[1] != std::string_view("never"))) {
    std::fprintf(stderr, "usage: crash [never]    (counts primes, and crashes in the middle of it unless it is told not to)\n");
    return 2;
  }
  if (argc == 2) crash_in_the_middle = false;
  ppmm::run_options options;
  options.on_resume = [](const ppmm::resume_info& found) {  // told only to a process that finds the job begun
    crash_in_the_middle = false;
    std::fprintf(stderr, "crash: resumed, %llu of %zu slices were done already\n",
                 static_cast<unsigned long long>(found.units_done), slices);
  };
  ppmm::pool pool = ppmm::pool::open_or_create("crash.pool");
  const std::size_t count =
      ppmm::run(pool, "primes", ppmm::reduce(0, slices, std::size_t{0}, primes, std::plus<std::size_t>()), options);
  std::fprintf(stderr, "crash: this process did %zu of %zu slices\n", done_here.load(), slices);
  std::printf("%zu primes below %zu\n", count, slices * slice);
} catch (const std::exception& e) {
  std::fprintf(stderr, "crash: %s\n", e.what());
  return 1;
}
