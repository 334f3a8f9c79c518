#include <ppmm/pmem/new_file.hpp>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>

namespace ppmm::detail {

namespace {

[[noreturn]] void fail_to_create(const std::filesystem::path& file, int error) {
  switch (error) {
    case EACCES:
    case EPERM:
    case EROFS:
      fail<read_only_pool>(
          "{}: expected a folder that can be written, found: {}. Change its permissions, or choose "
          "another place",
          file.string(), os_message(error));
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
      fail<disk_full>("{}: expected room for the pool, found: {}. Make room, or ask for a smaller or a sparse pool",
                      file.string(), os_message(error));
    case EEXIST:
      fail<pool_exists>("{}: expected no file of that name, found one. Open it, remove it, or choose another name",
                        file.string());
    case ENOENT:
    case ENOTDIR:
      fail<pool_error>("{}: expected a folder to create it in, found none. Create the folder first", file.string());
    default:
      fail<pool_error>("{}: cannot be created: {}", file.string(), os_message(error));
  }
}

}  // namespace

new_file::new_file(std::filesystem::path file) : file_(std::move(file)) {
  folder_ = file_.has_parent_path() ? file_.parent_path() : std::filesystem::path(".");
  struct stat status;
  if (::lstat(file_.c_str(), &status) == 0) fail_to_create(file_, EEXIST);

  fd_ = descriptor(::open(folder_.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
  if (fd_) return;
  // What a file system or kernel says that has no O_TMPFILE.
  if (errno != EOPNOTSUPP && errno != EISDIR) fail_to_create(file_, errno);
  temporary_ = (folder_ / fmt::format(".{}.ppmm-XXXXXX", file_.filename().string())).string();
  fd_ = descriptor(::mkostemp(temporary_.data(), O_CLOEXEC));
  if (!fd_) {
    const int error = errno;
    temporary_.clear();
    fail_to_create(file_, error);
  }
}

new_file::~new_file() {
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
}

void new_file::resize(std::uint64_t size, bool sparse) {
  const auto bytes = static_cast<off_t>(size);
  int error = 0;
  do {
    error = !sparse ? ::posix_fallocate(fd_.get(), 0, bytes) : ::ftruncate(fd_.get(), bytes) != 0 ? errno : 0;
  } while (error == EINTR);
  if (error != 0) fail_to_create(file_, error);
}

/// False, with errno set, where it fails. Never replaces a file, as a plain rename would.
bool new_file::name_it() {
  if (temporary_.empty()) {
    return ::linkat(AT_FDCWD, path_of(fd_.get()).c_str(), AT_FDCWD, file_.c_str(), AT_SYMLINK_FOLLOW) == 0;
  }
  if (::renameat2(AT_FDCWD, temporary_.c_str(), AT_FDCWD, file_.c_str(), RENAME_NOREPLACE) == 0) {
    temporary_.clear();
    return true;
  }
  // Some file systems know no RENAME_NOREPLACE, others no links; the destructor takes the temporary name away.
  return (errno == EINVAL || errno == ENOSYS) && ::link(temporary_.c_str(), file_.c_str()) == 0;
}

/// Invariants after crash: before it is named, there is no file of that name (a named temporary one may be left behind,
/// which nobody opens). After it, the file of that name is whole: with `durable`, its content reached the disk first.
/// Nothing to recover.
void new_file::publish(bool durable) {
  if (durable && ::fsync(fd_.get()) != 0) {
    fail<medium_error>("{}: expected to sync the new pool, found: {}", file_.string(), os_message(errno));
  }
  if (!name_it()) fail_to_create(file_, errno);
  if (!durable) return;
  const descriptor folder(::open(folder_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!folder || ::fsync(folder.get()) != 0) {
    const int error = errno;
    ::unlink(file_.c_str());
    fail<medium_error>("{}: expected to sync its folder, found: {}", file_.string(), os_message(error));
  }
}

void new_file::withdraw() noexcept { ::unlink(file_.c_str()); }

}  // namespace ppmm::detail
