/// Dirty pages of mapped files made durable: which system call, over which ranges. What each costs is measured by
/// bench/sync; docs/performance.md, "Syncing pages", has the table.
#pragma once

#include <ppmm/pmem/file.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace ppmm {

/// A file of a mapping that is synced by page.
struct synced_file {
  std::uintptr_t base = 0;  // where it is mapped
  std::size_t size = 0;
  int fd = -1;                 // the one that was mapped
  bool syncs_as_one = false;  // ext4, xfs: see page_sync.cpp
};

namespace detail {

struct address_range {
  std::uintptr_t first, last;  // [first, last)
};

/// Waits until all the ranges are on their medium, behind its cache. In any order, and perhaps with pages between them.
/// Gives 0, or the errno of what failed: then nothing is known of any of them. `files` says what is mapped where, as far as
/// that helps; the ranges come back sorted.
int sync_ranges(std::vector<address_range>& ranges, std::span<const synced_file> files);

/// Hears of every page of the files that could not be written back, whosever it was and whoever has been told before. The
/// kernel tells each open file once (errseq_t, since Linux 4.13), and all workers sync by the one that is mapped: a sync that
/// succeeds may be of pages whose loss another worker is being told. So this has open files of its own.
class write_back_errors {
 public:
  write_back_errors() = default;
  /// Hears of what happens from now on. Throws medium_error if a file cannot be opened once more.
  explicit write_back_errors(std::span<const synced_file> files);
  /// The errno of a failure that was not told yet, or 0. Cost: a system call a file, which waits for nothing but the write-back
  /// of the file's first page.
  int heard() const;

 private:
  std::vector<descriptor> own_;
};

/// Whether the file system with that magic number syncs a file as one.
bool syncs_as_one(std::uint32_t file_system_magic);

}  // namespace detail
}  // namespace ppmm
