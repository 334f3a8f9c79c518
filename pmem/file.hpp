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

/// What is fixed of a DAX device (/dev/daxX.Y). It has no read(2) and no length to set: it is mapped, and that is all.
struct dax_device {
  std::uint64_t size = 0;
  std::uint64_t alignment = 0;  ///< of addresses, offsets and lengths of a mapping
};

/// A file descriptor, closed with its owner.
class descriptor {
 public:
  descriptor() = default;
  explicit descriptor(int fd, std::optional<dax_device> device = std::nullopt) : fd_(fd), device_(device) {}
  descriptor(descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)), device_(other.device_) {}
  descriptor& operator=(descriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    std::swap(device_, other.device_);
    return *this;
  }
  ~descriptor();
  int get() const { return fd_; }
  /// The caller closes it.
  int release() { return std::exchange(fd_, -1); }
  explicit operator bool() const { return fd_ >= 0; }
  /// If it is a DAX device that open_pool_file has opened.
  const std::optional<dax_device>& device() const { return device_; }
  /// Addresses, offsets and lengths of a mapping are multiples of it.
  std::uint64_t alignment() const { return device_ ? device_->alignment : 4096; }

 private:
  int fd_ = -1;
  std::optional<dax_device> device_;
};

/// A path by which this process opens that very file again, whatever happens to its name, while /proc is mounted.
std::string path_of(int fd);

enum class access { read, write };

/// Opens an existing regular file or a DAX device. Throws no_such_pool, not_a_pool (neither of them), read_only_pool,
/// pool_error.
descriptor open_pool_file(const std::filesystem::path& file, access how);

/// Bytes in the file, or of the device.
std::uint64_t size_of(const descriptor& fd, const std::filesystem::path& file);

/// Reads exactly `size` bytes. Throws truncated_pool where the file ends before, medium_error where reading fails; on a
/// DAX device a bad block is SIGBUS.
void read_at(const descriptor& fd, const std::filesystem::path& file, std::uint64_t offset, void* to, std::size_t size);

struct file_system {
  std::string name;     ///< as mount(8) says it
  bool memory = false;  ///< its content is gone at power-off
  /// Why what is synced may be lost at power-off though it is no memory; empty: nothing says so.
  std::string unkept = {};

  bool keeps_power() const { return !memory && unkept.empty(); }
};
/// What the file is on, down to the device, as far as can be seen: an overlay's upper folder, a loop device's file, the
/// disks behind a mapped device, mount options that leave out the flush of the disk's cache. `root`: where /sys and
/// /proc/self/mountinfo are looked for.
file_system file_system_of(int fd, const std::filesystem::path& root = "/");

/// Writes what the page cache has of the file and the disk has not, then forgets all that nobody has mapped: what is read
/// next comes from the disk. A page that could not be written counts as clean in Linux; until it is forgotten, reading
/// gives bytes that are nowhere but in memory, and syncing it writes nothing. Throws medium_error.
void reread_from_disk(const descriptor& fd, const std::filesystem::path& file);

/// The process that has locked the file, as far as /proc/locks tells.
std::optional<pid_t> holder_of(const descriptor& fd);

/// What errno means, in words.
std::string os_message(int error);

}  // namespace ppmm::detail
