/// The control plane: libpmemobj's view of a pool file. It holds the lock that keeps a second owner out, the control
/// root, and the job catalog.
#pragma once

#include <ppmm/pmem/file.hpp>
#include <ppmm/pmem/layout.hpp>

#include <cstddef>
#include <cstdint>
#include <filesystem>
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

  /// Opens a file that verifier has passed. libpmemobj undoes what a crash left unfinished. Throws pool_in_use,
  /// read_only_pool, corrupt_pool.
  static control_plane open(const descriptor& fd, const std::filesystem::path& file);

  control_plane(control_plane&& other) noexcept;
  control_plane& operator=(control_plane&&) = delete;
  ~control_plane();

  /// Closes the pool whose file a sync has failed on. libpmemobj's msyncs abort when they fail, and each open file is told
  /// once of a failure, whosever page it was (errseq_t, Linux 4.13): so its own first msync would end the process. It is
  /// told here, by an msync of ours. If its own pages cannot be written either, the pool stays open until the process ends.
  void close_after_failure();

  /// Children forked from now on have neither libpmemobj's mapping nor, with it, its lock on the file of `size` bytes.
  void keep_from_forks(std::size_t size) const;

  const layout::control_root& root() const { return *root_; }

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
  control_plane(pmemobjpool* pool, std::filesystem::path file);
  std::optional<std::size_t> index_of(std::string_view name) const;
  template <class Entry>  // of the catalog, or a part's name
  void perform_write(Entry& entry, const Entry& content);

  pmemobjpool* pool_;
  std::filesystem::path file_;
  layout::control_root* root_;
};

}  // namespace ppmm::detail
