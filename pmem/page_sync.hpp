/// Dirty pages of mapped files made durable: which system call, over which ranges. What each costs is measured by
/// bench/sync; docs/performance.md, "Syncing pages", has the table.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace ppmm {

/// A file of a mapping that is synced by page.
struct synced_file {
  std::uintptr_t base = 0;  // where it is mapped
  std::size_t size = 0;
  int fd = -1;                 // the one that was mapped: errors of write-back are told once to each open file
  bool syncs_as_one = false;  // ext4, xfs: see page_sync.cpp
};

namespace detail {

struct page_range {
  std::uintptr_t first, last;  // [first, last), whole pages
};

/// Waits until all the ranges are on their medium, behind its cache. In any order, and perhaps with pages between them.
/// Gives 0, or the errno of what failed: then nothing is known of any of them. `files` says what is mapped where, as far as
/// that helps; the ranges come back sorted.
int sync_ranges(std::vector<page_range>& ranges, std::span<const synced_file> files);

/// Whether the file system with that magic number syncs a file as one.
bool syncs_as_one(std::uint32_t file_system_magic);

}  // namespace detail
}  // namespace ppmm
