/// pmem: a durable byte range.
///
/// A `pool` is a file (on a DAX file system, tmpfs, or a disk), or several, its *parts*, one a NUMA node. It is always
/// mapped at the same address, so that pointers into it stay valid across restarts. libpmemobj keeps the control plane
/// (who owns the files, format, the job catalog, the table of segments); libpmem2 maps the same files once more for the
/// data plane and tells how stores become durable. This module promises: a pool that opens is the pool that was created,
/// at its address; an error changes nothing in it; and the durability level that is reported is the one the medium gives.
#pragma once

#include <ppmm/pmem/device.hpp>
#include <ppmm/pmem/errors.hpp>
#include <ppmm/pmem/layout.hpp>
#include <ppmm/pmem/persist.hpp>
#include <ppmm/pmem/virtual_time.hpp>

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

/// A further part of a pool that is to be created.
struct part_options {
  std::filesystem::path file;
  std::optional<unsigned> node = std::nullopt;  ///< NUMA node; default: the one that its device is on, if that is known
};

/// A file of a pool.
struct pool_part {
  std::filesystem::path file;
  std::byte* base;                              ///< of its mapping
  std::size_t size;                             ///< bytes of the file
  std::optional<unsigned> node;                 ///< NUMA node that its memory is on, or was said to be on
  bool in_memory;                               ///< on a memory file system: its pages can be placed
  std::vector<std::span<std::byte>> segments;   ///< as pool::segments() has them
  std::vector<std::uint64_t> rounds;            ///< by segment: 0, or which growth of the pool added it
};

struct pool_options {
  /// Bytes of each file (creation only): pool::min_size to 1 TiB in all. A DAX device (/dev/daxX.Y) is taken whole.
  std::size_t size = std::size_t{64} << 20;
  /// Creation only: a DAX device whose first page is not zero is used all the same, and what is on it is lost.
  bool wipe_devices = false;
  /// Parts beside the file that gives the pool its name (creation only), up to 15.
  std::vector<part_options> further_parts = {};
  std::optional<unsigned> node = std::nullopt;  ///< of the first file (creation only): as part_options::node
  /// Addresses from a part to the next (creation only), for it may grow: a multiple of 2 MiB. 0: as many as there are.
  std::uint64_t spacing = 0;
  /// Where to map it (creation only): a page address. 0: pool::default_address, or the next free place above it.
  std::uint64_t address = 0;
  std::uint32_t max_workers = 64;  ///< worker slots (creation only), 1 to pool::most_workers
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
  static constexpr std::uint32_t most_workers = layout::most_workers;
  /// Free in ordinary processes and in the address maps of AddressSanitizer and ThreadSanitizer alike.
  static constexpr std::uint64_t default_address = 0x5500'0000'0000;

  /// Makes a pool and opens it. The file appears under its name whole, or not at all, whenever the process or the
  /// machine stops; at level `power` it is on the disk on return. Further parts appear before it: without the first they
  /// are nothing, and are to be removed. All but some 4 MiB of each becomes segments. Throws
  /// pool_exists, pool_too_small, disk_full, read_only_pool (the folder), durability_refused, address_taken,
  /// medium_error; pool_error for options out of range and all else. Cost: the file system's for the space (none if
  /// `sparse`), and some 10 ms.
  static pool create(const std::filesystem::path& file, const pool_options& options = {});

  /// Opens a pool at its address. What a crash left unfinished in the job catalog is undone. libpmemobj opens the file only when
  /// something of the catalog is first written, then and there: that throws pool_in_use and corrupt_pool as well. The file may be anybody's:
  /// all that is read from it is checked first, and if this throws, not a byte of it has changed. A pool of several
  /// parts is opened by the first one's name; the others are where they were made, or where move_part says. Throws
  /// no_such_pool, not_a_pool, wrong_version, truncated_pool, pool_too_small, corrupt_pool, read_only_pool, pool_in_use,
  /// address_taken, durability_refused, part_mismatch; medium_error where a file cannot be read.
  /// The pool is locked until it is closed, or until the last process that inherited the lock by fork() ends
  /// (keep_control_from_forks).
  /// Cost: 0.5 to 1 ms, whatever the size, and 1.5 to 8 ms more when libpmemobj opens; on a disk its syncs come on top. PMEM2_FORCE_GRANULARITY is changed in the
  /// environment meanwhile, and back (libpmem2 knows no other way): no other thread should call setenv() then. Each further
  /// part costs as much again.
  static pool open(const std::filesystem::path& file, const pool_options& options = {});

  /// The data plane of a pool that another process has open, mapped at its address: for the worker processes of a job that
  /// runs there (`join`). There is no job catalog. `level`: that of the process that has it open; none: the stored one. Throws
  /// what open() throws, but pool_in_use. Cost: as open().
  static pool attach(const std::filesystem::path& file, std::optional<durability> level = std::nullopt);

  /// open(), or create() if there is no such file.
  static pool open_or_create(const std::filesystem::path& file, const pool_options& options = {});

  /// Makes the pool `size` bytes large, rounded up to pages: what is added, at least 1 MiB, is one segment more, zero; of
  /// several parts each grows in proportion to its size at creation. The pool stays at its address; what is in it, an
  /// unfinished job too, stays as it is, and finds the new room when it is opened. Nobody may have it open. Gives its size
  /// then; if that is what it has, nothing is done. After a crash at any moment the pool (of several parts: each of them)
  /// has its old size or the new one; at level `power` the new one is on the disk on return. `sparse`: as in pool_options. Throws what open() throws; disk_full; pool_error for a size out of range, and for a pool that has
  /// grown too often (64 segments). Cost: 10 ms, and the file system's for the space.
  static std::size_t grow(const std::filesystem::path& file, std::size_t size, bool sparse = false);

  /// Part `part` of the pool, not the first, is at that place from now on: durably, one transaction. It is looked at first.
  /// Throws what open() throws of these two files; pool_error for a part that there is not, and a path of 512 bytes.
  static void move_part(const std::filesystem::path& file, unsigned part, const std::filesystem::path& to);

  /// A pool that was moved from can only be destroyed or assigned to.
  pool(pool&&) noexcept;
  pool& operator=(pool&&) noexcept;
  /// Unmaps and unlocks. Flushes nothing: what was not flushed and fenced before is as after a crash.
  ~pool();

  const std::filesystem::path& file() const;  ///< of the first part
  std::byte* base() const;   ///< of the data-plane mapping
  std::size_t size() const;  ///< bytes of all files
  std::size_t span() const;  ///< bytes of addresses from base() to the end of the last part
  std::uint32_t max_workers() const;
  std::span<const pool_part> parts() const;                ///< at least one; by address
  std::span<const std::span<std::byte>> segments() const;  ///< page-aligned, inside the mappings, zero at creation
  const ppmm::medium& medium() const;  ///< level and granularity in force; lives as long as the pool
  std::string describe_medium() const;  ///< one line in words: level, granularity, file system, what it survives
  std::vector<device_facts> devices() const;  ///< what each file of the pool is on, as it is now
  /// Parts of the mapping that the medium could not give back when the pool was opened: loading from them raises SIGBUS.
  const std::vector<std::span<std::byte>>& unreadable() const;

  /// [p, p + n) lies in the mapping of a part.
  bool contains(const void* p, std::size_t n = 1) const;

  /// Processes forked from now on have the data plane alone: no job catalog, which they must not touch, and no lock on the
  /// pool. libpmemobj opens it if it has not. Throws pool_error.
  void keep_control_from_forks() const;

  /// The job catalog: a copy of every entry that is not free. Throws corrupt_pool, naming the entry, if one does not
  /// fit its checksum.
  std::vector<layout::job_entry> jobs() const;
  /// The entry of that name, if there is one. Throws corrupt_pool as jobs() does.
  std::optional<layout::job_entry> find_job(std::string_view name) const;
  /// Writes the entry of that name, new or old, as one transaction (the checksum is filled in; `task` and `text` are
  /// cut to fit). Durable on return, as far as the medium's level goes; after a crash the entry is the old one or the
  /// new one. Throws pool_error for a name that is empty, too long or not printable, for a state or result size out of
  /// range, and when the catalog is full; corrupt_pool as jobs() does. Cost: 30 µs in memory, some
  /// msyncs on a disk (where one that fails ends the process: libpmemobj aborts). Throws medium_error after a sync has failed.
  void put_job(const layout::job_entry& job);
  /// Notes how the program was called that begins the job of that serial, before its entry is put: for inspect(). One a
  /// pool, and the last one counts; an empty text, or one of more than layout::max_call bytes: none. Durable on return;
  /// after a crash on the way there may be none. Cost: as put_job, less where it stands there already.
  void keep_call(std::uint64_t serial, std::string_view text);
  /// Removes the entry of that name, as one transaction; false if there is none. Durable on return. Throws
  /// corrupt_pool.
  bool drop_job(std::string_view name);

 private:
  friend class simulated_medium;
  friend class detail::virtual_machine;
  void set_medium(const ppmm::medium& m);

  struct impl;
  explicit pool(std::unique_ptr<impl> whole);
  std::unique_ptr<impl> impl_;
};

}  // namespace ppmm
