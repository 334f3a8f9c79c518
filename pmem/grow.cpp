/// Growing a pool: the file becomes longer, and what was added is one segment more.
///
/// libpmemobj cannot make a pool in one file larger, but it opens one that has become longer: its heap stays as it was,
/// and so does everything that it ever wrote. The data plane is not its business: the new segment lies behind its heap.
#include <ppmm/pmem/control.hpp>
#include <ppmm/pmem/file.hpp>
#include <ppmm/pmem/mapping.hpp>
#include <ppmm/pmem/opening_lock.hpp>
#include <ppmm/pmem/pool.hpp>
#include <ppmm/pmem/verify.hpp>

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

namespace ppmm {

using detail::fail;

namespace {

constexpr std::size_t page = 4096;

[[noreturn]] void fail_to_grow(const std::filesystem::path& file, int error) {
  if (error == ENOSPC || error == EDQUOT || error == EFBIG)
    fail<disk_full>("{}: expected room for the pool to grow, found: {}. Make room, or ask for less, or for a sparse file",
                    file.string(), detail::os_message(error));
  fail<pool_error>("{}: the file cannot be made longer: {}", file.string(), detail::os_message(error));
}

/// Durable on return.
void cut(const detail::descriptor& fd, const std::filesystem::path& file, std::size_t size) {
  if (::ftruncate(fd.get(), static_cast<off_t>(size)) != 0 || ::fsync(fd.get()) != 0) fail_to_grow(file, errno);
}

/// Zeros up to `size`; durable on return.
void lengthen(const detail::descriptor& fd, const std::filesystem::path& file, std::size_t before, std::size_t size, bool sparse) {
  int error = 0;
  do {
    error = !sparse ? ::posix_fallocate(fd.get(), static_cast<off_t>(before), static_cast<off_t>(size - before))
            : ::ftruncate(fd.get(), static_cast<off_t>(size)) != 0 ? errno
                                                                    : 0;
  } while (error == EINTR);
  if (error == 0 && ::fsync(fd.get()) != 0) error = errno;
  if (error == 0) return;
  cut(fd, file, before);
  fail_to_grow(file, error);
}

}  // namespace

/// Invariants after crash: the size that counts is the old one until the count of extensions is durable, then the new one.
///  - before the announcement is durable, the file is as long as the pool;
///  - after it, it may be longer, as far as was announced; nothing behind the pool's size is believed;
///  - the count is written when the longer file, all zeros there, is durable.
/// Recovery: none is needed. The next growth cuts off what this one left.
std::size_t pool::grow(const std::filesystem::path& file, std::size_t asked, bool sparse) {
  const detail::descriptor fd = detail::open_pool_file(file, detail::access::write);
  if (asked > max_size) fail<pool_error>("{}: expected a size of at most {} bytes, found {}. Ask for less", file.string(), max_size, asked);
  const std::size_t size = (asked + page - 1) / page * page;
  std::size_t before = 0;
  {
    const detail::opening_lock lock(fd, file);
    detail::verifier verify(fd, file);
    verify.run_all();
    const layout::control_root& root = verify.root();
    detail::check_level(static_cast<durability>(root.durability), detail::file_system_of(fd.get()), file);
    before = detail::pool_size(root);
    if (size == before) return size;
    if (size < before + layout::min_extension)
      fail<pool_error>("{}: expected a size of at least {} bytes, found {}. A pool of {} bytes grows by {} or more, and never shrinks", file.string(),
                       before + layout::min_extension, asked, before, layout::min_extension);
    if (root.segment_count + detail::extensions(root) >= layout::max_segments)
      fail<pool_error>("{}: expected a pool of fewer than {} segments, found no room for one more. Create a larger pool", file.string(), layout::max_segments);
    if (!detail::can_be_mapped(root.base_address, size))
      fail<address_taken>("{}: expected {} free bytes at address {:#x}, found something mapped there (another pool, or a library). Grow it in another process, "
                          "or create a larger pool",
                          file.string(), size, root.base_address);
  }
  auto control = detail::control_plane::open(fd, file);
  if (detail::pool_size(control.root()) != before) fail<pool_in_use>("{}: another process has just made it grow. Try again", file.string());
  cut(fd, file, before);
  control.announce_extension(size - before);
  lengthen(fd, file, before, size, sparse);
  control.add_extension();
  return size;
}

}  // namespace ppmm
