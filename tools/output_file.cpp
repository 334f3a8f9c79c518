#include "output_file.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <pthread.h>
#include <sys/file.h>  // flock
#include <sys/stat.h>
#include <unistd.h>
#include <ppmm/pmem/errors.hpp>

#include <algorithm>
#include <cerrno>
#include <system_error>

namespace ppmm::tools {
namespace {

constexpr std::size_t buffer_bytes = std::size_t{1} << 20;

bool same_file(int fd, const std::filesystem::path& path) {
  struct stat mine {
  }, there{};
  return fstat(fd, &mine) == 0 && stat(path.c_str(), &there) == 0 && mine.st_dev == there.st_dev &&
         mine.st_ino == there.st_ino;
}

/// Temporary files of this process. A worker process has no business with them, and may outlive whoever writes: it would
/// keep their locks. On the thread that forks, as is all that writes.
std::vector<int> temporary_files;

void not_in_forked_processes() {
  static const int once = pthread_atfork(nullptr, nullptr, [] {
    for (const int fd : temporary_files) close(fd);
  });
  static_cast<void>(once);
}

}  // namespace

bool replaces_file(const std::filesystem::path& output) {
  std::error_code ignored;
  return !output.empty() && (!std::filesystem::exists(output, ignored) || std::filesystem::is_regular_file(output, ignored));
}

output_file::output_file(const std::filesystem::path& file) : file_(file) {
  buffer_.reserve(buffer_bytes);
  if (file_.empty()) {
    fd_ = STDOUT_FILENO;
    return;
  }
  std::error_code ignored;
  if (const auto real = std::filesystem::weakly_canonical(file_, ignored); !ignored)
    file_ = real;  // a link's target is replaced, not the link
  struct stat st {};
  const bool exists = stat(file_.c_str(), &st) == 0;
  if (exists && S_ISDIR(st.st_mode)) fail("cannot write to", EISDIR);
  if (exists && !S_ISREG(st.st_mode)) {
    fd_ = open(file_.c_str(), O_WRONLY | O_CLOEXEC);
    if (fd_ < 0) fail("cannot write to", errno);
    return;
  }
  if (exists && access(file_.c_str(), W_OK) != 0) fail("cannot write to", errno);  // as a shell's redirection would
  open_temporary();
}

void output_file::open_temporary() {
  temporary_ = file_;
  temporary_ += ".part";
  for (;;) {
    fd_ = open(temporary_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (fd_ < 0) {
      const int code = errno;
      const auto what = fmt::format("cannot create {} beside", temporary_.filename().string());
      temporary_.clear();
      fail(what.c_str(), code);
    }
    if (flock(fd_, LOCK_EX | LOCK_NB) != 0) {
      const auto what = fmt::format("another process is writing {}", temporary_.string());
      close(fd_);
      fd_ = -1;
      temporary_.clear();
      throw error(what);
    }
    if (same_file(fd_, temporary_)) break;
    close(fd_);  // it was renamed by its writer between our open and our lock
  }
  not_in_forked_processes();
  temporary_files.push_back(fd_);
  if (ftruncate(fd_, 0) != 0) fail("cannot write beside", errno);
}

output_file::~output_file() {
  if (!temporary_.empty()) unlink(temporary_.c_str());
  std::erase(temporary_files, fd_);
  if (fd_ >= 0 && fd_ != STDOUT_FILENO) close(fd_);
}

void output_file::reserve(std::uint64_t bytes) {
  if (temporary_.empty() || bytes == 0) return;
  if (fallocate(fd_, FALLOC_FL_KEEP_SIZE, 0, static_cast<off_t>(bytes)) != 0 &&
      (errno == ENOSPC || errno == EFBIG || errno == EDQUOT))
    fail("cannot write", errno);  // other errors: this file system cannot reserve
}

void output_file::append(std::span<const char> bytes) {
  if (bytes.size() > buffer_bytes - buffer_.size()) {
    flush();
    if (bytes.size() >= buffer_bytes) return write_all(bytes);
  }
  buffer_.insert(buffer_.end(), bytes.begin(), bytes.end());
}

void output_file::flush() {
  write_all(buffer_);
  buffer_.clear();
}

void output_file::write_all(std::span<const char> bytes) {
  while (!bytes.empty()) {
    const ssize_t n = write(fd_, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EPIPE) throw reader_gone{};
    if (n < 0) fail("cannot write", errno);
    bytes = bytes.subspan(static_cast<std::size_t>(n));
  }
}

void output_file::publish() {
  flush();
  if (temporary_.empty()) {
    if (fsync(fd_) != 0 && errno != EINVAL && errno != EROFS && errno != ENOTSUP)
      fail("cannot write", errno);  // pipes and terminals cannot
    return;
  }
  take_permissions_over();
  if (fsync(fd_) != 0) fail("cannot write", errno);
  if (rename(temporary_.c_str(), file_.c_str()) != 0) fail("cannot replace", errno);
  temporary_.clear();
  const auto directory = file_.parent_path();
  const int fd = open(directory.empty() ? "." : directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const bool durable = fd >= 0 && (fsync(fd) == 0 || errno == EINVAL);
  const int code = errno;
  if (fd >= 0) close(fd);
  if (!durable) fail("cannot make durable the name of", code);
}

/// A file that was there keeps its mode and, where that is allowed, its owner.
void output_file::take_permissions_over() {
  struct stat st {};
  if (stat(file_.c_str(), &st) != 0) return;
  if (fchown(fd_, st.st_uid, st.st_gid) != 0 && fchown(fd_, static_cast<uid_t>(-1), st.st_gid) != 0) errno = 0;
  if (fchmod(fd_, st.st_mode & 07777) != 0) fail("cannot set the permissions of", errno);
}

void output_file::fail(const char* what, int code) const {
  throw error(fmt::format("{} {}: {}", what, file_.empty() ? "standard output" : file_.string(),
                          std::system_category().message(code)));
}

}  // namespace ppmm::tools
