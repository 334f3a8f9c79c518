/// pmem: a durable byte range.
///
/// A `pool` is a file (on a DAX file system, tmpfs, or a disk) that is always mapped at the same address, so that
/// pointers into it stay valid across restarts. libpmemobj keeps the control plane (who owns the file, format, the
/// job catalog, the table of segments); libpmem2 maps the same file once more for the data plane and tells how stores
/// become durable. This module promises: a pool that opens is the pool that was created, at its address; an error
/// changes nothing in it; and the durability level that is reported is the one the medium gives.
#pragma once

#include <ppmm/pmem/errors.hpp>
#include <ppmm/pmem/layout.hpp>
#include <ppmm/pmem/persist.hpp>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace ppmm {

struct pool_options {
  std::size_t size = std::size_t{64} << 20;  ///< bytes of the file (creation only): pool::min_size to 1 TiB
  /// Where to map it (creation only): a page address. 0: pool::default_address, or the next free place above it.
  std::uint64_t address = 0;
  std::uint32_t max_workers = 64;  ///< worker slots (creation only), 1 to 1024
  bool sparse = false;             ///< do not reserve the space now (a full disk then shows as SIGBUS later)
  /// Asked for. At creation it is stored; default: power where the medium is no memory file system, else process.
  /// At open it is in force instead of the stored one, which stays.
  std::optional<durability> level = std::nullopt;
};

/// Thread-safe, but for the moves and the destructor.
class pool {
 public:
  static constexpr std::size_t min_size = std::size_t{16} << 20;
  static constexpr std::size_t max_size = std::size_t{1} << 40;
  /// Free in ordinary processes and in the address maps of AddressSanitizer and ThreadSanitizer alike.
  static constexpr std::uint64_t default_address = 0x5500'0000'0000;

  /// Makes a pool and opens it. The file appears under its name whole, or not at all, whenever the process or the
  /// machine stops; at level `power` it is on the disk on return. All but some 4 MiB of it becomes segments. Throws
  /// pool_exists, pool_too_small, disk_full, read_only_pool (the folder), durability_refused, address_taken,
  /// medium_error; pool_error for options out of range and all else. Cost: the file system's for the space (none if
  /// `sparse`), and some 10 ms.
  static pool create(const std::filesystem::path& file, const pool_options& options = {});

  /// Opens a pool at its address. What a crash left unfinished in the job catalog is undone. The file may be anybody's:
  /// all that is read from it is checked first, and if this throws, not a byte of it has changed. Throws no_such_pool,
  /// not_a_pool, wrong_version, truncated_pool, pool_too_small, corrupt_pool, read_only_pool, pool_in_use,
  /// address_taken, durability_refused; medium_error where the file cannot be read.
  /// The pool is locked until it is closed, or until the last process that inherited the lock by fork() or exec ends.
  /// Cost: 2 to 5 ms, whatever the size; on a disk its syncs come on top. PMEM2_FORCE_GRANULARITY is changed in the
  /// environment meanwhile, and back (libpmem2 knows no other way): no other thread should call setenv() then.
  static pool open(const std::filesystem::path& file, const pool_options& options = {});

  /// open(), or create() if there is no such file.
  static pool open_or_create(const std::filesystem::path& file, const pool_options& options = {});

  /// Makes the pool `size` bytes large, rounded up to pages: what is added, at least 1 MiB, is one segment more, zero. The
  /// pool stays at its address; what is in it, an unfinished job too, stays as it is, and finds the new room when it is
  /// opened. Nobody may have it open. Gives its size then; if that is what it has, nothing is done. After a crash at any
  /// moment the pool has its old size or the new one; at level `power` the new one is on the disk on return. `sparse`: as
  /// in pool_options. Throws what open() throws; disk_full; pool_error for a size out of range, and for a pool that has
  /// grown too often (64 segments). Cost: 10 ms, and the file system's for the space.
  static std::size_t grow(const std::filesystem::path& file, std::size_t size, bool sparse = false);

  /// A pool that was moved from can only be destroyed or assigned to.
  pool(pool&&) noexcept;
  pool& operator=(pool&&) noexcept;
  /// Unmaps and unlocks. Flushes nothing: what was not flushed and fenced before is as after a crash.
  ~pool();

  const std::filesystem::path& file() const;
  std::byte* base() const;   ///< of the data-plane mapping
  std::size_t size() const;  ///< bytes of the file
  std::uint32_t max_workers() const;
  std::span<const std::span<std::byte>> segments() const;  ///< page-aligned, inside the mapping, zero at creation
  const ppmm::medium& medium() const;  ///< level and granularity in force; lives as long as the pool
  std::string describe_medium() const;  ///< one line in words: level, granularity, file system, what it survives

  /// [p, p + n) lies in the mapping.
  bool contains(const void* p, std::size_t n = 1) const;

  /// The job catalog: a copy of every entry that is not free. Throws corrupt_pool, naming the entry, if one does not
  /// fit its checksum.
  std::vector<layout::job_entry> jobs() const;
  /// The entry of that name, if there is one. Throws corrupt_pool as jobs() does.
  std::optional<layout::job_entry> find_job(std::string_view name) const;
  /// Writes the entry of that name, new or old, as one transaction (the checksum is filled in; `task` and `text` are
  /// cut to fit). Durable on return, as far as the medium's level goes; after a crash the entry is the old one or the
  /// new one. Throws pool_error for a name that is empty, too long or not printable, for a state or result size out of
  /// range, and when the catalog is full; corrupt_pool as jobs() does. Cost: 30 µs in memory, some
  /// msyncs on a disk (where one that fails ends the process: libpmemobj aborts).
  void put_job(const layout::job_entry& job);
  /// Removes the entry of that name, as one transaction; false if there is none. Durable on return. Throws
  /// corrupt_pool.
  bool drop_job(std::string_view name);

 private:
  friend class simulated_medium;
  void set_medium(const ppmm::medium& m);

  struct impl;
  explicit pool(std::unique_ptr<impl> whole);
  std::unique_ptr<impl> impl_;
};

}  // namespace ppmm
