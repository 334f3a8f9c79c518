/// Parts of a file that the medium cannot give back: who loads from one is killed by SIGBUS.
#pragma once

#include <ppmm/pmem/told.hpp>

#include <cstdint>
#include <filesystem>
#include <vector>

struct pmem2_source;

namespace ppmm {

/// Bytes [offset, offset + size) of a pool file that cannot be read.
struct bad_range {
  std::uint64_t offset = 0, size = 0;
  friend bool operator==(const bad_range&, const bad_range&) = default;
};

namespace detail {

/// Bad ranges of the file, in order, those that touch joined: what libpmem2 finds, and what the block device tells in
/// sysfs (`device`: its folder there; libpmem2 needs rights for some namespaces that this does not). `from` may be null.
told<std::vector<bad_range>> bad_blocks_of(int fd, const pmem2_source* from, const std::filesystem::path& device);

}  // namespace detail
}  // namespace ppmm
