#include <ppmm/pmem/bad_blocks.hpp>

#include <libpmem2.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <fstream>
#include <new>
#include <optional>

namespace ppmm::detail {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t sector = 512;  // sysfs counts in these, whatever the device's own are

struct extent {
  std::uint64_t in_file, on_device, size;
};

/// Where the file's bytes are on its device; none if the file system does not tell.
std::optional<std::vector<extent>> extents_of(int fd) {
  constexpr unsigned at_once = 64;
  alignas(fiemap) std::array<std::byte, sizeof(fiemap) + at_once * sizeof(fiemap_extent)> room;
  std::vector<extent> extents;
  for (std::uint64_t from = 0;;) {
    room.fill({});
    auto* const map = reinterpret_cast<fiemap*>(room.data());
    map->fm_start = from;
    map->fm_length = FIEMAP_MAX_OFFSET - from;
    map->fm_extent_count = at_once;
    if (::ioctl(fd, FS_IOC_FIEMAP, map) != 0) return std::nullopt;
    if (map->fm_mapped_extents == 0) return extents;
    for (unsigned i = 0; i < map->fm_mapped_extents; ++i) {
      const fiemap_extent& e = map->fm_extents[i];
      if ((e.fe_flags & FIEMAP_EXTENT_UNKNOWN) == 0) extents.push_back({e.fe_logical, e.fe_physical, e.fe_length});
      if ((e.fe_flags & FIEMAP_EXTENT_LAST) != 0) return extents;
      from = e.fe_logical + e.fe_length;
    }
  }
}

/// Adds what the block device says: lines of "first sector, number of sectors". A disk that keeps no such list has no
/// file.
bool add_from_sysfs(int fd, const fs::path& device, std::vector<bad_range>& found) {
  if (device.empty()) return false;
  std::uint64_t begin = 0;  // of the partition
  fs::path disk = device;
  if (fs::exists(device / "partition")) {
    disk = device.parent_path();
    if (!(std::ifstream(device / "start") >> begin)) return false;
    begin *= sector;
  }
  std::ifstream list(disk / "badblocks");
  if (!list) return false;
  std::optional<std::vector<extent>> extents;
  for (std::uint64_t first = 0, count = 0; list >> first >> count;) {
    if (!extents) extents = extents_of(fd);
    if (!extents) return false;
    const std::uint64_t bad = first * sector, bad_end = bad + count * sector;
    for (const extent& e : *extents) {
      const std::uint64_t from = std::max(bad, begin + e.on_device);
      const std::uint64_t to = std::min(bad_end, begin + e.on_device + e.size);
      if (from < to) found.push_back({e.in_file + (from - begin - e.on_device), to - from});
    }
  }
  return true;
}

/// Adds what libpmem2 finds. It says that there are none also where it knows of no device, so it is asked only where
/// there is persistent memory.
bool add_from_libpmem2(const pmem2_source* from, std::vector<bad_range>& found) {
  pmem2_badblock_context* context = nullptr;
  if (from == nullptr || pmem2_badblock_context_new(&context, from) != 0) return false;
  int node = 0;
  const bool knows_the_device = pmem2_source_numa_node(from, &node) == 0;
  pmem2_badblock block{};
  while (pmem2_badblock_next(context, &block) == 0) found.push_back({block.offset, block.length});
  pmem2_badblock_context_delete(&context);
  return knows_the_device;
}

/// In order, those that touch as one.
std::vector<bad_range> joined(std::vector<bad_range> all) {
  std::ranges::sort(all, {}, &bad_range::offset);
  std::vector<bad_range> out;
  for (const bad_range& b : all) {
    if (!out.empty() && b.offset <= out.back().offset + out.back().size) {
      out.back().size = std::max(out.back().size, b.offset + b.size - out.back().offset);
    } else {
      out.push_back(b);
    }
  }
  return out;
}

}  // namespace

told<std::vector<bad_range>> bad_blocks_of(int fd, const pmem2_source* from, const fs::path& device) {
  std::vector<bad_range> found;
  const bool by_libpmem2 = add_from_libpmem2(from, found), by_sysfs = add_from_sysfs(fd, device, found);
  if (by_libpmem2 || by_sysfs) return joined(std::move(found));
  return told<std::vector<bad_range>>::not_told(
      from != nullptr ? "libpmem2 does not find the device, nor does sysfs tell" : "the device keeps no list of them");
}

}  // namespace ppmm::detail
