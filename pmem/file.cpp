#include <ppmm/pmem/file.hpp>

#include <fcntl.h>
#include <libpmem2.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <memory>
#include <sstream>
#include <system_error>

namespace ppmm::detail {

namespace {

/// None for any other character device: libpmem2 makes no source of it.
std::optional<dax_device> dax_device_of(int fd) {
  pmem2_source* raw = nullptr;
  if (pmem2_source_from_fd(&raw, fd) != 0) return std::nullopt;
  const std::unique_ptr<pmem2_source, decltype([](pmem2_source* s) { pmem2_source_delete(&s); })> source(raw);
  std::size_t size = 0, alignment = 0;
  if (pmem2_source_size(raw, &size) != 0 || pmem2_source_alignment(raw, &alignment) != 0 || alignment == 0)
    return std::nullopt;
  return dax_device{.size = size / alignment * alignment, .alignment = alignment};
}

void read_mapped(const descriptor& fd, const std::filesystem::path& file, std::uint64_t offset, void* to,
                 std::size_t size) {
  const auto [whole, alignment] = *fd.device();
  if (offset > whole || size > whole - offset)
    fail<truncated_pool>("{}: expected {} bytes at offset {}, found the end of the device. Restore it from a copy",
                         file.string(), size, offset);
  if (size == 0) return;
  const std::uint64_t begin = offset / alignment * alignment;
  const std::size_t length = (offset + size - begin + alignment - 1) / alignment * alignment;
  void* const mapped = ::mmap(nullptr, length, PROT_READ, MAP_SHARED, fd.get(), static_cast<off_t>(begin));
  if (mapped == MAP_FAILED)
    fail<medium_error>("{}: expected {} bytes at offset {:#x}, found that they cannot be mapped: {}. Look at the device: `daxctl list`",
                       file.string(), size, offset, os_message(errno));
  std::memcpy(to, static_cast<const std::byte*>(mapped) + (offset - begin), size);
  ::munmap(mapped, length);
}

}  // namespace

descriptor::~descriptor() {
  if (fd_ >= 0) ::close(fd_);
}

std::string path_of(int fd) { return fmt::format("/proc/self/fd/{}", fd); }

std::string os_message(int error) { return std::generic_category().message(error); }

descriptor open_pool_file(const std::filesystem::path& file, access how) {
  // O_NONBLOCK: a fifo must not hang us.
  const int flags = (how == access::write ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
  descriptor fd(::open(file.c_str(), flags));
  const auto no_file = [&file] {
    fail<not_a_pool>("{}: expected a pool, found something that is no regular file and no DAX device. Name a file, or a device such as /dev/dax0.0",
                     file.string());
  };
  if (!fd) {
    switch (const int error = errno) {
      case ENOENT:
      case ENOTDIR:
        fail<no_such_pool>("{}: expected a pool, found no file. Create it first (pool::create, ppmm create)",
                           file.string());
      case EISDIR:
      case ENXIO:
      case ENODEV:
        no_file();
        break;
      case EACCES:
      case EPERM:
      case EROFS:
        fail<read_only_pool>("{}: expected a file that can be {}, found: {}. Change its permissions, or copy it",
                             file.string(), how == access::write ? "read and written" : "read", os_message(error));
      default:
        fail<pool_error>("{}: cannot be opened: {}", file.string(), os_message(error));
    }
  }
  struct stat status;
  if (::fstat(fd.get(), &status) != 0) no_file();
  if (S_ISREG(status.st_mode)) return fd;
  const auto device = S_ISCHR(status.st_mode) ? dax_device_of(fd.get()) : std::nullopt;
  if (!device) no_file();
  return descriptor(fd.release(), device);
}

std::uint64_t size_of(const descriptor& fd, const std::filesystem::path& file) {
  if (fd.device()) return fd.device()->size;
  struct stat status;
  if (::fstat(fd.get(), &status) != 0) fail<pool_error>("{}: its size: {}", file.string(), os_message(errno));
  return static_cast<std::uint64_t>(status.st_size);
}

void read_at(const descriptor& fd, const std::filesystem::path& file, std::uint64_t offset, void* to,
             std::size_t size) {
  if (fd.device()) return read_mapped(fd, file, offset, to, size);
  for (std::size_t done = 0; done < size;) {
    const ssize_t got =
        ::pread(fd.get(), static_cast<std::byte*>(to) + done, size - done, static_cast<off_t>(offset + done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) {
      fail<medium_error>("{}: expected {} bytes at offset {:#x}, found that they cannot be read: {}. Restore it from a copy",
                         file.string(), size, offset, os_message(errno));
    }
    if (got == 0) {
      fail<truncated_pool>("{}: expected {} bytes at offset {}, found the end of the file. Restore it from a copy",
                           file.string(), size, offset);
    }
    done += static_cast<std::size_t>(got);
  }
}

void reread_from_disk(const descriptor& fd, const std::filesystem::path& file) {
  if (::fdatasync(fd.get()) != 0) {
    const int error = errno;
    ::posix_fadvise(fd.get(), 0, 0, POSIX_FADV_DONTNEED);
    fail<medium_error>("{}: expected to write what an earlier run left in memory, found: {}. Check the disk, then try again",
                       file.string(), os_message(error));
  }
  ::posix_fadvise(fd.get(), 0, 0, POSIX_FADV_DONTNEED);
}

std::optional<pid_t> holder_of(const descriptor& fd) {
  struct stat status;
  if (::fstat(fd.get(), &status) != 0) return std::nullopt;
  const std::string inode = fmt::format("{:02x}:{:02x}:{}", major(status.st_dev), minor(status.st_dev), status.st_ino);
  // 1: FLOCK  ADVISORY  WRITE 4711 fe:00:10952713 0 EOF
  std::ifstream locks("/proc/locks");
  for (std::string line; std::getline(locks, line);) {
    std::istringstream words(line);
    std::string number, kind, strength, type, found;
    pid_t pid = 0;
    if (words >> number >> kind >> strength >> type >> pid >> found && kind == "FLOCK" && found == inode && pid > 0) {
      return pid;
    }
  }
  return std::nullopt;
}

}  // namespace ppmm::detail
