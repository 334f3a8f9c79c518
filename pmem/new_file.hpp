/// A file that appears under its name when it is whole, or never.
#pragma once

#include <ppmm/pmem/file.hpp>

#include <cstdint>
#include <filesystem>
#include <string>

namespace ppmm::detail {

/// What becomes a part of a pool, and is none as long as it is not published.
class new_part {
 public:
  virtual ~new_part() = default;
  const descriptor& fd() const { return fd_; }
  /// The size that it will have if `asked` bytes are wanted.
  virtual std::uint64_t size_for(std::uint64_t asked) const = 0;
  /// Gives it `size` bytes of zeros: all the space now, or, of a file, none (`sparse`). Throws disk_full, pool_error.
  virtual void resize(std::uint64_t size, bool sparse) = 0;
  /// From now on it can be opened. With `durable`, it is on the disk on return. Throws pool_exists, disk_full, medium_error.
  virtual void publish(bool durable) = 0;
  /// Takes back what publish() did, as far as that goes: another part could not be published.
  virtual void withdraw() noexcept = 0;

 protected:
  descriptor fd_;
};

class new_file final : public new_part {
 public:
  /// A file without a name in the folder where `file` is to be; where the file system has no such thing, one with the
  /// name `.<file>.ppmm-XXXXXX`. Throws pool_exists (a file of that name stands already), read_only_pool, pool_error.
  explicit new_file(std::filesystem::path file);
  /// Removes it, if it was not published.
  ~new_file() override;
  new_file(const new_file&) = delete;
  new_file& operator=(const new_file&) = delete;

  std::uint64_t size_for(std::uint64_t asked) const override { return asked; }
  void resize(std::uint64_t size, bool sparse) override;
  /// Gives it its name, unless another has it by now.
  void publish(bool durable) override;
  void withdraw() noexcept override;

 private:
  bool name_it();

  std::filesystem::path file_, folder_;
  std::string temporary_;  // empty: the file has no name
};

}  // namespace ppmm::detail
