/// poisoned FILE threads|processes: a page of a pool goes bad under the task that is about to read it, for real:
/// madvise(MADV_HWPOISON), which needs root and a kernel that offers it (that of `ci/dax-guest --kernel full` does, many
/// hosts' do not). Whoever does it gets SIGBUS with the page's address, as from memory that has failed; all others who have
/// the page mapped are told as well. (The emulated memory behind it is good, and on DAX it is mapped again: so a page that
/// stays bad is poisoned again by each repetition.)
/// Exit status: 0 the capsule was repeated, and a page that stays bad ends the run with its address; 77 no such kernel; 1
/// anything else.
#include "jobs.hpp"

#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <string>
#include <string_view>

namespace {

using namespace ppmm;

constexpr std::uint64_t words = (std::uint64_t{1} << 20) / 8, bad_word = 64 * 4096 / 8;
std::atomic<std::uint64_t>* tries;  // of all processes

step<std::uint64_t> reads_a_bad_page(context& cx, in<std::uint64_t> from, std::uint64_t times) {
  const auto page = cx.read(from.sub(bad_word, 512));
  if (tries->fetch_add(1) < times) ::madvise(const_cast<std::uint64_t*>(page.data()), 4096, MADV_HWPOISON);
  std::uint64_t s = 0;
  for (const std::uint64_t w : page) s += w;
  return s;
}
step<std::uint64_t> beside(context& cx, in<std::uint64_t> from, std::uint64_t times) {
  return cx.fork(task<test::fib>(20), task<reads_a_bad_page>(from, times)).then([](context&, long, std::uint64_t s) -> step<std::uint64_t> { return s; });
}

bool can_poison() {
  const pid_t child = ::fork();
  if (child == 0) {
    void* const p = ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    ::_exit(::madvise(p, 4096, MADV_HWPOISON) == 0 ? 0 : errno);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  if (WIFEXITED(status) && WEXITSTATUS(status) != 0) std::printf("no page can be poisoned here: %s\n", std::strerror(WEXITSTATUS(status)));
  return !WIFEXITED(status) || WEXITSTATUS(status) == 0;  // it may have died of it
}

int poison(const char* file, worker_kind kind) {
  tries = static_cast<std::atomic<std::uint64_t>*>(::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  pool p = pool::open_or_create(file);
  auto* const data = reinterpret_cast<std::uint64_t*>(region_of(p, words * 8).data());
  run_statistics statistics;
  run_options how;
  how.workers = 2;
  how.workers_as = kind;
  how.region = words * 8;
  how.statistics = &statistics;
  run(p, "squares", task<test::squares>(out<std::uint64_t>(data, words)), how);
  p.drop_job("squares");
  std::uint64_t expected = 0;
  for (std::uint64_t i = bad_word; i < bad_word + 512; ++i) expected += i * i;

  const in<std::uint64_t> all(data, words);
  const std::uint64_t sum = run(p, "sum", task<beside>(all, std::uint64_t{2}), how);
  std::printf("bad twice: %ju soft faults, %ju workers died, the sum is %s\n", statistics.soft_faults, statistics.deaths, sum == expected ? "right" : "wrong");
  if (sum != expected || statistics.soft_faults != 2 || statistics.deaths != 0) return 1;
  p.drop_job("sum");

  *tries = 0;
  try {
    run(p, "sum", task<beside>(all, ~std::uint64_t{0}), how);
    std::puts("a page that stays bad was read");
    return 1;
  } catch (const medium_error& e) {
    std::printf("always bad: %s\n", e.what());
    char address[32];
    std::snprintf(address, sizeof address, "%p", static_cast<void*>(data + bad_word));
    const std::string_view said = e.what();
    const bool named = said.find("reads_a_bad_page") != said.npos && said.find(address) != said.npos;
    // Four at one record; a heartbeat in the task beside makes another record, from which they are counted anew.
    if (!named || statistics.soft_faults < 4) {
      std::printf("%ju soft faults instead of at least 4, task and address %s\n", statistics.soft_faults, named ? "named" : "not named");
      return 1;
    }
  }
  p.drop_job("sum");
  how.region = 0;
  const long fib = run(p, "fib", task<test::fib>(24), how);
  if (fib != test::serial_fib(24)) std::printf("a job after it gave %ld\n", fib);
  return fib == test::serial_fib(24) ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return std::fputs("usage: poisoned FILE threads|processes\n", stderr), 2;
  try {
    if (!can_poison()) return 77;
    return poison(argv[1], argv[2] == std::string_view("processes") ? worker_kind::processes : worker_kind::threads);
  } catch (const std::exception& e) {
    return std::fprintf(stderr, "poisoned: %s\n", e.what()), 1;
  }
}
