/// Holds a pool's lock while its file is looked at, in the way libpmemobj takes it.
#pragma once

#include <ppmm/pmem/file.hpp>

#include <sys/file.h>

#include <filesystem>

namespace ppmm::detail {

class opening_lock {
 public:
  /// Throws pool_in_use.
  opening_lock(const descriptor& fd, const std::filesystem::path& file) : fd_(fd.get()) {
    if (::flock(fd_, LOCK_EX | LOCK_NB) == 0) return;
    const auto holder = holder_of(fd);
    fail<pool_in_use>("{}: expected a pool that nobody has open, found it held by {}. Close it there, or wait",
                      file.string(), holder ? fmt::format("process {}", *holder) : "a process");
  }
  ~opening_lock() { ::flock(fd_, LOCK_UN); }
  opening_lock(const opening_lock&) = delete;
  opening_lock& operator=(const opening_lock&) = delete;

 private:
  const int fd_;  // outlives this
};

}  // namespace ppmm::detail
