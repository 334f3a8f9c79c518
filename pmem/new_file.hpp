/// A file that appears under its name when it is whole, or never.
#pragma once

#include <ppmm/pmem/file.hpp>

#include <cstdint>
#include <filesystem>
#include <string>

namespace ppmm::detail {

class new_file {
 public:
  /// A file without a name in the folder where `file` is to be; where the file system has no such thing, one with the
  /// name `.<file>.ppmm-XXXXXX`. Throws pool_exists (a file of that name stands already), read_only_pool, pool_error.
  explicit new_file(std::filesystem::path file);
  /// Removes it, if it was not published.
  ~new_file();
  new_file(const new_file&) = delete;
  new_file& operator=(const new_file&) = delete;

  const descriptor& fd() const { return fd_; }

  /// Gives it `size` bytes of zeros: all the space now, or none (`sparse`). Throws disk_full, pool_error.
  void resize(std::uint64_t size, bool sparse);

  /// Gives it its name, unless another has it by now. With `durable`, file and name are on the disk on return.
  /// Throws pool_exists, disk_full, medium_error.
  void publish(bool durable);

 private:
  bool name_it();

  std::filesystem::path file_, folder_;
  descriptor fd_;
  std::string temporary_;  // empty: the file has no name
};

}  // namespace ppmm::detail
