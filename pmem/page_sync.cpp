#include <ppmm/pmem/page_sync.hpp>

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <utility>

namespace ppmm::detail {
namespace {

int msync_of(address_range r) {
  return ::msync(reinterpret_cast<void*>(r.first), r.last - r.first, MS_SYNC) == 0 ? 0 : errno;
}

/// Each msync flushes the disk's cache, which takes as long as writing megabytes; clean pages between two ranges cost
/// nothing, dirty ones are written a little earlier than their owner needs them. So ranges that are near go in one call.
int sync_clusters(std::span<const address_range> ranges) {
  constexpr std::uintptr_t near = std::uintptr_t{16} << 20;
  for (auto next = ranges.begin(); next != ranges.end();) {
    const auto begin = next;
    address_range cluster = *next++;
    while (next != ranges.end() && next->first <= cluster.last + near) {
      cluster.last = std::max(cluster.last, next->last);
      ++next;
    }
    int error = msync_of(cluster);
    // Something between them is not mapped. The ranges themselves are, or they fail as well.
    if (error == ENOMEM && next - begin > 1) {
      error = 0;
      for (auto r = begin; r != next && error == 0; ++r) error = msync_of(*r);
    }
    if (error != 0) return error;
  }
  return 0;
}

/// Only the pages asked for are written, and the disk's cache is flushed once.
///
/// sync_file_range alone makes nothing durable: it writes pages to the disk, whose cache it does not flush, and no metadata
/// (where a block is, that it was written at all; sync_file_range(2), "Warning"). The msync of the last range makes up for
/// both, where it is of the whole file but for the pages: ext4 commits the transaction of the inode's last change and
/// flushes the cache (fs/ext4/fsync.c: ext4_sync_file hands the range to file_write_and_wait_range only), xfs forces the
/// log up to it, and the same (fs/xfs/xfs_file.c: xfs_file_fsync). btrfs does not: it logs the extents of the range.
int sync_as_one(std::span<const address_range> ranges, const synced_file& file) {
  const auto write_back = [&file](address_range r, unsigned how) {
    const auto offset = static_cast<off64_t>(r.first - file.base);
    return ::sync_file_range(file.fd, offset, static_cast<off64_t>(r.last - r.first), how) == 0 ? 0 : errno;
  };
  constexpr unsigned wait_for_all = SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER;
  const auto others = ranges.first(ranges.size() - 1);
  for (const address_range& r : ranges)
    if (const int error = write_back(r, SYNC_FILE_RANGE_WRITE); error != 0) return error;
  for (const address_range& r : others)  // once more: a page that was on its way already has gone with older bytes
    if (const int error = write_back(r, wait_for_all); error != 0) return error;
  return msync_of(ranges.back());
}

}  // namespace

/// Invariants after crash: of the pages in the ranges, any subset may be on the medium before this returns, each of them
/// whole or torn by sectors. Nothing may depend on an order within it.
int sync_ranges(std::vector<address_range>& ranges, std::span<const synced_file> files) {
  std::ranges::sort(ranges, {}, &address_range::first);
  std::span<const address_range> rest = ranges;
  for (const synced_file& file : files) {  // in the order of their addresses
    const auto in_file = [&file](const address_range& r) {
      return r.first >= file.base && r.last <= file.base + file.size;
    };
    const auto begin = std::ranges::find_if(rest, in_file);
    const auto end = std::find_if_not(begin, rest.end(), in_file);
    if (end - begin < 2 || !file.syncs_as_one) continue;
    if (const int error = sync_clusters({rest.begin(), begin}); error != 0) return error;
    if (const int error = sync_as_one({begin, end}, file); error != 0) return error;
    rest = {end, rest.end()};
  }
  return sync_clusters(rest);
}

write_back_errors::write_back_errors(std::span<const synced_file> files) {
  for (const synced_file& file : files) {
    if (file.fd < 0) continue;
    descriptor own(::open(path_of(file.fd).c_str(), O_RDONLY | O_CLOEXEC));
    if (!own) fail<medium_error>("expected to open the pool's file once more by /proc/self/fd, found: {}. Is /proc mounted?", os_message(errno));
    own_.push_back(std::move(own));
  }
}

/// Waiting for write-back is how sync_file_range looks for errors (fs/sync.c; mm/filemap.c: file_fdatawait_range).
int write_back_errors::heard() const {
  for (const descriptor& own : own_)
    if (::sync_file_range(own.get(), 0, 1, SYNC_FILE_RANGE_WAIT_BEFORE) != 0) return errno;
  return 0;
}

bool syncs_as_one(std::uint32_t file_system_magic) {
  return file_system_magic == EXT4_SUPER_MAGIC || file_system_magic == XFS_SUPER_MAGIC;
}

}  // namespace ppmm::detail
