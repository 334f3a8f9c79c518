/// Holds a pool's file against all others, in the way libpmemobj does while it has it open, until libpmemobj takes over.
///
/// libpmemobj's lock (flock(2)) belongs to an open file of its own, so ours must be let go of before it can be had. In between,
/// another lock keeps other programs of PPMM out: an open file description lock (fcntl(2)) on a byte far behind the file's
/// end, which each of them takes first.
#pragma once

#include <ppmm/pmem/file.hpp>

#include <filesystem>

namespace ppmm::detail {

class opening_lock {
 public:
  /// The descriptor outlives this. Throws pool_in_use.
  opening_lock(const descriptor& fd, const std::filesystem::path& file);
  ~opening_lock();
  opening_lock(const opening_lock&) = delete;
  opening_lock& operator=(const opening_lock&) = delete;

  /// Lets go of libpmemobj's. Once libpmemobj has it, this is to be destroyed.
  void hand_over();

 private:
  const int fd_;
};

}  // namespace ppmm::detail
