#include <ppmm/pmem/file.hpp>

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <sstream>
#include <system_error>

namespace ppmm::detail {

descriptor::~descriptor() {
  if (fd_ >= 0) ::close(fd_);
}

std::string descriptor::path() const { return fmt::format("/proc/self/fd/{}", fd_); }

std::string os_message(int error) { return std::generic_category().message(error); }

descriptor open_pool_file(const std::filesystem::path& file, access how) {
  // O_NONBLOCK: a fifo must not hang us.
  const int flags = (how == access::write ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
  descriptor fd(::open(file.c_str(), flags));
  const auto no_file = [&file] {
    fail<not_a_pool>("{}: expected a pool file, found something that is no regular file. Name a file", file.string());
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
  if (::fstat(fd.get(), &status) != 0 || !S_ISREG(status.st_mode)) no_file();
  return fd;
}

std::uint64_t size_of(const descriptor& fd, const std::filesystem::path& file) {
  struct stat status;
  if (::fstat(fd.get(), &status) != 0) fail<pool_error>("{}: its size: {}", file.string(), os_message(errno));
  return static_cast<std::uint64_t>(status.st_size);
}

void read_at(const descriptor& fd, const std::filesystem::path& file, std::uint64_t offset, void* to,
             std::size_t size) {
  for (std::size_t done = 0; done < size;) {
    const ssize_t got =
        ::pread(fd.get(), static_cast<std::byte*>(to) + done, size - done, static_cast<off_t>(offset + done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) {
      fail<medium_error>("{}: reading {} bytes at offset {}: {}", file.string(), size, offset, os_message(errno));
    }
    if (got == 0) {
      fail<truncated_pool>("{}: expected {} bytes at offset {}, found the end of the file. Restore it from a copy",
                           file.string(), size, offset);
    }
    done += static_cast<std::size_t>(got);
  }
}

file_system file_system_of(int fd) {
  struct statfs status;
  if (::fstatfs(fd, &status) != 0) return {"an unknown file system", false};
  switch (static_cast<std::uint32_t>(status.f_type)) {
    case TMPFS_MAGIC:
      return {"tmpfs", true};
    case RAMFS_MAGIC:
      return {"ramfs", true};
    case HUGETLBFS_MAGIC:
      return {"hugetlbfs", true};
    case EXT4_SUPER_MAGIC:
      return {"ext4", false};
    case XFS_SUPER_MAGIC:
      return {"xfs", false};
    case BTRFS_SUPER_MAGIC:
      return {"btrfs", false};
    case F2FS_SUPER_MAGIC:
      return {"f2fs", false};
    case OVERLAYFS_SUPER_MAGIC:
      return {"overlay", false};
    case NFS_SUPER_MAGIC:
      return {"nfs", false};
    case 0x2fc12fc1:
      return {"zfs", false};
    default:
      return {fmt::format("file system {:#x}", static_cast<std::uint32_t>(status.f_type)), false};
  }
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
