/// Pool files as the operating system sees them: opening, reading, what file system they are on, who holds them.
#pragma once

#include <ppmm/pmem/errors.hpp>

#include <fmt/format.h>
#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>

namespace ppmm::detail {

/// Throws an Error with a formatted message.
template <class Error, class... Arguments>
[[noreturn]] void fail(fmt::format_string<Arguments...> format, Arguments&&... arguments) {
  throw Error(fmt::format(format, std::forward<Arguments>(arguments)...));
}

/// A file descriptor, closed with its owner.
class descriptor {
 public:
  descriptor() = default;
  explicit descriptor(int fd) : fd_(fd) {}
  descriptor(descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  descriptor& operator=(descriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~descriptor();
  int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }
  /// A path that names this very file, whatever happens to its name. For libraries that want a path.
  std::string path() const;

 private:
  int fd_ = -1;
};

enum class access { read, write };

/// Opens an existing regular file. Throws no_such_pool, not_a_pool (no regular file), read_only_pool, pool_error.
descriptor open_pool_file(const std::filesystem::path& file, access how);

/// Bytes in the file.
std::uint64_t size_of(const descriptor& fd, const std::filesystem::path& file);

/// Reads exactly `size` bytes. Throws truncated_pool where the file ends before, medium_error where reading fails.
void read_at(const descriptor& fd, const std::filesystem::path& file, std::uint64_t offset, void* to, std::size_t size);

struct file_system {
  std::string name;  ///< as mount(8) says it
  bool memory =
      false;  ///< its content is gone at power-off. What an overlay stands on cannot be seen: taken for a disk
};
file_system file_system_of(int fd);

/// The process that has locked the file, as far as /proc/locks tells.
std::optional<pid_t> holder_of(const descriptor& fd);

/// What errno means, in words.
std::string os_message(int error);

}  // namespace ppmm::detail
