#include "workbench.hpp"

#include <unistd.h>  // getpid

#include <cstdlib>  // getenv
#include <string>
#include <system_error>

namespace bench {

// ---------------------------------------------------------------------------------------------------

std::filesystem::path pool_folder() {
  if (const char* chosen = std::getenv("PPMM_BENCH_DIR")) return chosen;
  return std::filesystem::is_directory("/dev/shm") ? "/dev/shm" : std::filesystem::temp_directory_path();
}

namespace {
std::filesystem::path new_file() {
  static int number = 0;
  return pool_folder() / ("ppmm-bench-" + std::to_string(getpid()) + "-" + std::to_string(++number) + ".pool");
}
}  // namespace

workbench::workbench(ppmm::durability level, std::size_t bytes)
    : file_(new_file()), pool_(ppmm::pool::create(file_, {.size = bytes, .sparse = true, .level = level})) {}

workbench::~workbench() {
  std::error_code ignored;
  std::filesystem::remove(file_, ignored);
}

}  // namespace bench
