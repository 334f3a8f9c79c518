/// The control plane: libpmemobj's view of a pool file. It holds the lock that keeps a second owner out, the control
/// root, and the job catalog.
///
/// Opening a pool with libpmemobj takes longer than all else that a job needs to go on (1024 lanes are made ready, sysfs is
/// searched), and it is only to change the catalog. So it is opened when that is first changed.
#pragma once

#include <ppmm/pmem/file.hpp>
#include <ppmm/pmem/layout.hpp>
#include <ppmm/pmem/opening_lock.hpp>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

struct pmemobjpool;

namespace ppmm::detail {

/// A part's name as it stands in the pool. Throws pool_error for a path that is too long.
layout::part_name name_entry(const std::string& file);

class control_plane {
 public:
  /// Makes a pool out of an empty file of its final size: header, control root, segments. `facts` gives the root's
  /// fields but the segments. Throws pool_error. All of it is in the file on return (not yet synced to a disk).
  static control_plane create(const descriptor& fd, const std::filesystem::path& file,
                              const layout::control_root& facts);

  /// A file that verifier has passed, locked, and mapped with its root there, which outlives this. Nothing is opened yet.
  control_plane(descriptor fd, std::unique_ptr<opening_lock> lock, std::filesystem::path file, const layout::control_root* root);
  control_plane(control_plane&& other) noexcept;
  control_plane& operator=(control_plane&&) = delete;
  ~control_plane();

  /// libpmemobj opens the file now, unless it has. It undoes what a crash left unfinished, and takes the lock over. Throws
  /// pool_in_use, read_only_pool, corrupt_pool. So does whatever changes something below.
  void open();

  /// Closes the pool whose file a sync has failed on. libpmemobj's msyncs abort when they fail, and each open file is told
  /// once of a failure, whosever page it was (errseq_t, Linux 4.13): so its own first msync would end the process. It is
  /// told here, by an msync of ours. If its own pages cannot be written either, the pool stays open until the process ends.
  void close_after_failure();

  /// Opens it. Children forked from now on have neither libpmemobj's mapping nor, with it, its lock on the file of `size` bytes.
  void keep_from_forks(std::size_t size);

  const layout::control_root& root() const { return *root_; }
  const descriptor& fd() const { return fd_; }

  std::vector<layout::job_entry> jobs() const;
  std::optional<layout::job_entry> find(std::string_view name) const;
  void put(layout::job_entry job);
  bool drop(std::string_view name);
  /// As pool::keep_call.
  void keep_call(std::uint64_t serial, std::string_view text);

  /// The part is there from now on, durably: an absolute path. Throws pool_error for one that is too long.
  void rename_part(std::size_t part, const std::string& file);

  /// Notes, durably, that the file may become longer by `bytes`, for a segment that does not count yet. `round`: which
  /// growth of the pool this is.
  void announce_extension(std::uint64_t bytes, std::uint64_t round);
  /// It counts, durably. The file is so long.
  void add_extension();

 private:
  void find_root();
  std::optional<std::size_t> index_of(std::string_view name) const;
  layout::control_root& writable();
  template <class Entry>  // of the catalog, or a part's name
  void perform_write(Entry& entry, const Entry& content);

  descriptor fd_;
  std::unique_ptr<opening_lock> lock_;  // until it is open
  std::filesystem::path file_;
  pmemobjpool* pool_ = nullptr;               // none: not open
  const layout::control_root* root_ = nullptr;  // in libpmemobj's mapping once it is open
};

}  // namespace ppmm::detail
