/// A pool file in memory that has lost its name: gone with the process, however that ends.
#pragma once

#include "finding.hpp"

#include <ppmm/pmem/pool.hpp>
#include <ppmm/pmem/sanitizers.hpp>

#include <fcntl.h>
#include <unistd.h>

#if PPMM_ADDRESS_SANITIZER
#include <sanitizer/lsan_interface.h>
#endif

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

namespace ppmm::fuzz {

class scratch_pool {
 public:
  explicit scratch_pool(const pool_options& how) {
    const std::string file = "/dev/shm/ppmm-fuzz-" + std::to_string(::getpid()) + ".pool";
    std::filesystem::remove(file);
#if PPMM_ADDRESS_SANITIZER
    // It may stay open, and its file, where libpmemobj has its pointers, is nothing that LeakSanitizer looks at.
    const __lsan::ScopedDisabler no_leaks;
#endif
    pool_.emplace(pool::create(file, how));
    fd_ = ::open(file.c_str(), O_RDWR | O_CLOEXEC);
    std::filesystem::remove(file);
    if (fd_ < 0) finding("no pool file in /dev/shm");
  }
  ~scratch_pool() { ::close(fd_); }
  scratch_pool(const scratch_pool&) = delete;
  scratch_pool& operator=(const scratch_pool&) = delete;

  pool& opened() { return *pool_; }
  void close() { pool_.reset(); }
  int fd() const { return fd_; }
  /// A name for the file that the file system does not know.
  std::string path() const { return "/proc/self/fd/" + std::to_string(fd_); }

  /// Bytes [offset, offset + size) are zeros again.
  void wipe(std::uint64_t offset, std::uint64_t size) const {
    if (::fallocate(fd_, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(offset),
                    static_cast<off_t>(size)) != 0)
      finding("/dev/shm cannot punch holes");
  }

 private:
  std::optional<pool> pool_;
  int fd_ = -1;
};

}  // namespace ppmm::fuzz
