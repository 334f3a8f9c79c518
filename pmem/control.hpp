/// The control plane: libpmemobj's view of a pool file. It holds the lock that keeps a second owner out, the control
/// root, and the job catalog.
#pragma once

#include <ppmm/pmem/file.hpp>
#include <ppmm/pmem/layout.hpp>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string_view>
#include <vector>

struct pmemobjpool;

namespace ppmm::detail {

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

  const layout::control_root& root() const { return *root_; }

  std::vector<layout::job_entry> jobs() const;
  std::optional<layout::job_entry> find(std::string_view name) const;
  void put(layout::job_entry job);
  bool drop(std::string_view name);

  /// Notes, durably, that the file may become longer by `bytes`, for a segment that does not count yet.
  void announce_extension(std::uint64_t bytes);
  /// It counts, durably. The file is so long.
  void add_extension();

 private:
  control_plane(pmemobjpool* pool, std::filesystem::path file);
  std::optional<std::size_t> index_of(std::string_view name) const;
  void perform_write(std::size_t index, const layout::job_entry& job);

  pmemobjpool* pool_;
  std::filesystem::path file_;
  layout::control_root* root_;
};

}  // namespace ppmm::detail
