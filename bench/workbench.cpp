#include "workbench.hpp"

#include <ppmm/pmem/persist.hpp>

#include <unistd.h>  // getpid

#include <algorithm>
#include <cstdlib>  // getenv
#include <string>
#include <system_error>
#include <thread>
#include <vector>

namespace bench {

// ---------------------------------------------------------------------------------------------------

std::filesystem::path pool_folder() {
  if (const char* chosen = std::getenv("PPMM_BENCH_DIR")) return chosen;
  return std::filesystem::is_directory("/dev/shm") ? "/dev/shm" : std::filesystem::temp_directory_path();
}

std::filesystem::path disk_folder() {
  if (const char* chosen = std::getenv("PPMM_BENCH_DISK")) return chosen;
  return "/var/tmp";
}

namespace {
std::filesystem::path new_file(ppmm::durability level) {
  static int number = 0;
  return (level == ppmm::durability::power ? disk_folder() : pool_folder()) / ("ppmm-bench-" + std::to_string(getpid()) + "-" + std::to_string(++number) + ".pool");
}
}  // namespace

workbench::workbench(ppmm::durability level, std::size_t bytes, std::uint32_t max_workers)
    : file_(new_file(level)), pool_(ppmm::pool::create(file_, {.size = bytes, .max_workers = max_workers, .sparse = true, .level = level})) {}

workbench::~workbench() {
  std::error_code ignored;
  std::filesystem::remove(file_, ignored);
}

double written_back_ns_a_byte(workbench& w, std::span<std::uint64_t> to, unsigned threads) {
  const auto write = [&](std::size_t first, std::size_t last) {
    constexpr std::size_t at_once = 8192;
    ppmm::persister p(w.pool().medium());
    for (std::size_t i = first; i < last; i += at_once) {
      const std::size_t end = std::min(i + at_once, last);
      for (std::size_t j = i; j < end; ++j) to[j] = j;
      p.flush(&to[i], (end - i) * sizeof(std::uint64_t));
      p.fence();
    }
  };
  const std::size_t share = to.size() / threads;
  return time_ns(threads,
                 [&] {
                   std::vector<std::jthread> others;
                   for (unsigned t = 1; t < threads; ++t) others.emplace_back(write, t * share, (t + 1) * share);
                   write(0, share);
                 }) /
         static_cast<double>(share * threads * sizeof(std::uint64_t));
}

void empty_caches() {
  static std::vector<std::uint64_t> other(std::size_t{12} << 20);  // 96 MiB
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < other.size(); i += 8) sum += ++other[i];
  keep(sum);
}

}  // namespace bench
