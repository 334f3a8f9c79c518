/// Growing a pool: the file becomes longer, and what was added is one segment more.
///
/// libpmemobj cannot make a pool in one file larger, but it opens one that has become longer: its heap stays as it was,
/// and so does everything that it ever wrote. The data plane is not its business: the new segment lies behind its heap.
#include <ppmm/pmem/control.hpp>
#include <ppmm/pmem/file.hpp>
#include <ppmm/pmem/mapping.hpp>
#include <ppmm/pmem/parts.hpp>
#include <ppmm/pmem/pool.hpp>
#include <ppmm/pmem/slot_lock.hpp>
#include <ppmm/pmem/verify.hpp>

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <vector>

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

/// What a growth makes of one part.
struct change {
  std::size_t before, after;
};

/// Each part in proportion to its size at creation: so a growth that was cut short goes on to the same sizes.
std::vector<change> planned(const std::vector<detail::part_file>& parts, std::size_t asked) {
  const std::string& name = parts[0].file.string();
  std::size_t first = 0, before = 0;
  for (const detail::part_file& p : parts) {
    first += p.root->file_size;
    before += detail::part_size(*p.root);
  }
  std::vector<change> changes;
  bool any = false;
  for (const detail::part_file& p : parts) {
    const std::size_t now = detail::part_size(*p.root);
    const auto share = static_cast<std::size_t>(static_cast<__uint128_t>(asked) * p.root->file_size / first);
    const std::size_t wanted = (share + page - 1) / page * page;
    changes.push_back({now, wanted < now + layout::min_extension ? now : wanted});
    any = any || changes.back().after != now;
  }
  const std::size_t rounded = (asked + page - 1) / page * page;
  if (!any && rounded != before)
    fail<pool_error>("{}: expected a size of at least {} bytes, found {}. A pool of {} bytes grows by {} or more, and never shrinks", name,
                     before + parts.size() * layout::min_extension, asked, before, parts.size() * layout::min_extension);
  return changes;
}

void check_room(const detail::part_file& p, std::size_t size) {
  const layout::control_root& root = *p.root;
  const std::string& name = p.file.string();
  if (root.segment_count + detail::extensions(root) >= layout::max_segments)
    fail<pool_error>("{}: expected a pool of fewer than {} segments, found no room for one more. Create a larger pool", name, layout::max_segments);
  if (const std::uint64_t room = detail::end_of_room(root) - root.base_address; size > room || (root.part + 1 < root.part_count && detail::footprint(size) > room))
    fail<pool_error>("{}: expected a size of at most {} bytes, for there the pool's next part is mapped, or its addresses end; found {}. Ask for less, or create a larger pool",
                     name, detail::end_of_room(root) - root.base_address, size);
  if (!detail::can_be_mapped(root.base_address, size))
    fail<address_taken>("{}: expected {} free bytes at address {:#x}, found something mapped there (another pool, or a library). Grow it in another process, "
                        "or create a larger pool",
                        name, size, root.base_address);
}

}  // namespace

/// Invariants after crash: the size of a part that counts is the old one until its count of extensions is durable, then the
/// new one; part by part.
///  - before the announcement is durable, the file is as long as the part;
///  - after it, it may be longer, as far as was announced; nothing behind the part's size is believed;
///  - the count is written when the longer file, all zeros there, is durable.
/// Recovery: none is needed. The next growth cuts off what this one left, and goes on with the parts that are missing.
std::size_t pool::grow(const std::filesystem::path& file, std::size_t asked, bool sparse) {
  if (asked > max_size) fail<pool_error>("{}: expected a size of at most {} bytes, found {}. Ask for less", file.string(), max_size, asked);
  std::vector<detail::part_file> parts = detail::open_parts(file);
  detail::check_nobody_works(parts[0].fd.get(), parts[0].file);
  for (const detail::part_file& p : parts)
    if (p.fd.device())
      fail<pool_error>("{}: expected files, which can become longer, found a DAX device, which cannot. Create a pool on a larger device, or in files on a DAX file system",
                       p.file.string());
  const std::vector<change> changes = planned(parts, asked);
  for (std::size_t i = 0; i < parts.size(); ++i) {
    detail::check_level(static_cast<durability>(parts[i].root->durability), parts[i].where, parts[i].file);
    if (changes[i].after != changes[i].before) check_room(parts[i], changes[i].after);
  }
  std::size_t size = 0;
  std::uint64_t round = 1;
  for (const detail::part_file& p : parts) round = std::max(round, detail::newest_round(*p.root) + 1);
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const auto [before, after] = changes[i];
    size += after;
    if (after == before) continue;
    detail::control_plane control(std::move(parts[i].fd), std::move(parts[i].lock), parts[i].file, parts[i].root.get());
    control.open();
    if (detail::part_size(control.root()) != before) fail<pool_in_use>("{}: another process has just made it grow. Try again", parts[i].file.string());
    cut(control.fd(), parts[i].file, before);
    control.announce_extension(after - before, round);
    lengthen(control.fd(), parts[i].file, before, after, sparse);
    control.add_extension();
  }
  return size;
}

}  // namespace ppmm
