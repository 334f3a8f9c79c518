#include <ppmm/pmem/slot_lock.hpp>

#include <fcntl.h>

#include <cerrno>
#include <string>

namespace ppmm::detail {
namespace {

constexpr off_t first_byte = off_t{1} << 61;

/// An open file of its own: locks belong to it. By the descriptor, for the name may be another file's by now.
descriptor open_again(const pool& p) {
  int fd = ::open(path_of(p.medium().files[0].fd).c_str(), O_RDWR | O_CLOEXEC);
  if (fd < 0 && errno == ENOENT) fd = ::open(p.file().c_str(), O_RDWR | O_CLOEXEC);  // no /proc
  if (fd < 0) fail<pool_error>("{}: cannot be opened for the locks of worker processes: {}", p.file().string(), os_message(errno));
  return descriptor(fd);
}

struct flock bytes(unsigned first, unsigned n) {
  struct flock l {};
  l.l_type = F_WRLCK;
  l.l_whence = SEEK_SET;
  l.l_start = first_byte + first;
  l.l_len = n;
  return l;
}

bool held(int fd, unsigned first, unsigned n) {
  struct flock l = bytes(first, n);
  return ::fcntl(fd, F_OFD_GETLK, &l) == 0 && l.l_type != F_UNLCK;
}

}  // namespace

descriptor lock_slot(const pool& p, unsigned slot) {
  descriptor file = open_again(p);
  struct flock l = bytes(slot, 1);
  if (::fcntl(file.get(), F_OFD_SETLK, &l) == 0) return file;
  if (errno != EAGAIN && errno != EACCES) fail<pool_error>("{}: the file system gives no locks for worker processes: {}", p.file().string(), os_message(errno));
  return {};
}

std::vector<std::uint32_t> held_slots(int first_file, std::uint32_t slots) {
  std::vector<std::uint32_t> found;
  if (!held(first_file, 0, slots)) return found;
  for (std::uint32_t i = 0; i < slots; ++i)
    if (held(first_file, i, 1)) found.push_back(i);
  return found;
}

void check_nobody_works(int first_file, const std::filesystem::path& file) {
  if (held(first_file, 0, pool::most_workers))
    fail<pool_in_use>("{}: worker processes whose coordinator is gone are still at work in it. Wait for them, or stop them (`ppmm top` has their process ids)",
                      file.string());
}

slot_watch::slot_watch(const pool& p) : file_(open_again(p)) {}

bool slot_watch::is_held(unsigned slot) const { return held(file_.get(), slot, 1); }
bool slot_watch::any_held() const { return held(file_.get(), 0, pool::most_workers); }

}  // namespace ppmm::detail
