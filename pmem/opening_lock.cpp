#include <ppmm/pmem/opening_lock.hpp>

#include <fcntl.h>
#include <sys/file.h>

#include <cerrno>

namespace ppmm::detail {
namespace {

bool lock_byte(int fd, short type) {
  struct flock l {};
  l.l_type = type;
  l.l_whence = SEEK_SET;
  l.l_start = (off_t{1} << 61) - 1;  // slot_lock has those behind
  l.l_len = 1;
  return ::fcntl(fd, F_OFD_SETLK, &l) == 0 || (errno != EAGAIN && errno != EACCES);  // where there are no such locks, the other must do
}

}  // namespace

opening_lock::opening_lock(const descriptor& fd, const std::filesystem::path& file) : fd_(fd.get()) {
  if (lock_byte(fd_, F_WRLCK)) {
    if (::flock(fd_, LOCK_EX | LOCK_NB) == 0) return;
    lock_byte(fd_, F_UNLCK);
  }
  const auto holder = holder_of(fd);
  fail<pool_in_use>("{}: expected a pool that nobody has open, found it held by {}. Close it there, or wait",
                    file.string(), holder ? fmt::format("process {}", *holder) : "a process");
}

void opening_lock::hand_over() { ::flock(fd_, LOCK_UN); }

opening_lock::~opening_lock() {
  hand_over();
  lock_byte(fd_, F_UNLCK);
}

}  // namespace ppmm::detail
