/// The sum of a real file: adds up the numbers at the beginning of its lines, in parallel.
///
///     seq 10000000 > numbers
///     filesum numbers        prints 50000005000000; leaves filesum.pool
///
/// After a kill, give the same command again: it says how many bytes were done already, and goes on. Only what was
/// computed is in the pool; the file is read where it is. If it has changed since the job began, the run is refused
/// instead of mixing two inputs; to begin anew, as after a line that is no number, remove filesum.pool.
#include <ppmm/ppmm.hpp>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <functional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>

// Ordinary memory: each process that runs the job maps the file anew. Tasks name places in it by their offsets, never
// by an address, which would mean nothing after a restart.
static std::string_view text;
static std::uint64_t mark;  // tells this state of the file from any other

static void map_file(const char* name) {
  struct stat s {};
  const int file = open(name, O_RDONLY | O_CLOEXEC);
  if (file < 0 || fstat(file, &s) != 0) throw std::system_error(errno, std::generic_category(), name);
  if (!S_ISREG(s.st_mode)) throw std::runtime_error(std::string(name) + " is not a regular file; give one");
  mark = static_cast<std::uint64_t>(s.st_mtim.tv_sec * 1'000'000'000 + s.st_mtim.tv_nsec) ^ s.st_ino << 32;
  if (s.st_size == 0) return;
  const auto size = static_cast<std::size_t>(s.st_size);
  void* const p = mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file, 0);
  if (p == MAP_FAILED) throw std::system_error(errno, std::generic_category(), name);
  text = {static_cast<const char*>(p), size};
}

// The sum of the lines that begin in [from, to). Called for ranges that cover the file, cut as the scheduler likes.
static const auto sum_of_lines = [](ppmm::context& cx, std::size_t from, std::size_t to) {
  std::int64_t sum = 0;
  std::size_t at = from;
  if (from > 0) at = std::min(text.find('\n', from - 1), text.size()) + 1;
  while (at < to) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    std::int64_t number = 0;
    if (std::from_chars(text.data() + at, text.data() + end, number).ec != std::errc())
      throw std::runtime_error("the line at byte " + std::to_string(at) + " does not begin with a whole number");
    sum += number;
    at = end + 1;
  }
  cx.advance(to - from);
  return sum;
};

int main(int argc, char** argv) try {
  if (argc != 2) return std::fputs("usage: filesum FILE    (adds up the whole numbers at the beginning of its lines)\n", stderr), 2;
  map_file(argv[1]);
  ppmm::run_options options;
  options.input = mark;
  options.on_resume = [](const ppmm::resume_info& found) {
    std::fprintf(stderr, "filesum: resumed, %llu bytes were done already\n",
                 static_cast<unsigned long long>(found.units_done));
  };
  ppmm::pool pool = ppmm::pool::open_or_create("filesum.pool");
  const auto sum = ppmm::reduce(0, text.size(), std::int64_t{0}, sum_of_lines, std::plus<std::int64_t>());
  std::printf("%lld\n", static_cast<long long>(ppmm::run(pool, "sum", sum, options)));
  std::fflush(stdout);
  pool.drop_job("sum");  // it is told; the next run is another job, of the same file or another one
} catch (const std::exception& e) {
  return std::fprintf(stderr, "filesum: %s\n", e.what()), 1;
}
