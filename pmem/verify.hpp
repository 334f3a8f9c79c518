/// What must hold before a pool file may be opened, checked by reading alone.
///
/// The checks stand in the order in which each makes the next one safe. Each throws the error of its kind and touches
/// nothing; pool::open stops at the first, inspect() goes on and reports all. What they take for granted is only what
/// they have read: a file is a stranger's until they have passed.
#pragma once

#include <ppmm/pmem/bad_blocks.hpp>
#include <ppmm/pmem/file.hpp>
#include <ppmm/pmem/layout.hpp>
#include <ppmm/pmem/pmemobj_format.hpp>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace ppmm::detail {

class verifier {
 public:
  /// Reads nothing yet. The descriptor must outlive the verifier.
  verifier(const descriptor& fd, std::filesystem::path file);

  struct check {
    const char* name;
    void (verifier::*run)();
    bool others_need_it;  ///< the checks below it make no sense without it
  };
  static const std::vector<check>& checks();

  /// Runs all. Throws not_a_pool, wrong_version, truncated_pool, pool_too_small, corrupt_pool, medium_error.
  /// Reads 3 MiB (libpmemobj's lanes) and a few pages: some 0.5 ms, whatever the size of the pool.
  void run_all();

  std::uint64_t file_size() const { return file_size_; }
  /// The pool has libpmemobj's feature CHECK_BAD_BLOCKS, as it has from its creation: then a bad block anywhere in the file
  /// keeps libpmemobj from opening it.
  bool libpmemobj_refuses_bad_blocks() const { return (header_.compat & pmemobj_format::compat_check_bad_blocks) != 0; }
  /// Opening it, libpmemobj may restore what a transaction has begun to change; or refuse it, for the device has lost what
  /// it should have kept at a power failure (its count of unsafe shutdowns). Otherwise it only reads. Valid when all have passed.
  bool libpmemobj_has_its_say() const;
  std::uint64_t root_offset() const { return descriptor_.root_offset; }
  /// Valid when the checks that others need have passed.
  const layout::control_root& root() const { return *root_; }
  std::unique_ptr<layout::control_root> take_root() { return std::move(root_); }
  /// Reads one entry of the job catalog as it is now; none if it is free. Throws corrupt_pool.
  std::optional<layout::job_entry> read_job(std::size_t index);
  /// Reads how the program was called that began the job of that serial; none if that is not kept. Throws corrupt_pool.
  std::optional<std::string> read_call(std::uint64_t serial);

 private:
  void check_header();
  void check_descriptor();
  void check_size();
  void check_root();
  void check_extensions();
  void check_parts();
  void check_segments();
  void check_heap();
  void check_logs();
  void check_lane(std::size_t lane, const std::byte* content);

  template <class Structure>
  Structure read(std::uint64_t offset);

  const descriptor& fd_;
  const std::filesystem::path file_;
  const std::string name_;
  std::uint64_t file_size_ = 0;
  pmemobj_format::pool_header header_{};
  pmemobj_format::pool_descriptor descriptor_{};
  std::unique_ptr<layout::control_root> root_;
  bool logs_are_empty_ = true;
};

/// Throws medium_error if a bad block lies outside of the segments: libpmemobj reads there whenever the pool is opened, and
/// would be killed. Those inside a segment are the business of who has data there, unless libpmemobj refuses them as well.
void check_bad_blocks(const std::vector<bad_range>& bad, const layout::control_root& root,
                      const std::filesystem::path& file, bool libpmemobj_refuses);

/// The entry is in use, and is what was written. False for a free one (all zeros); throws corrupt_pool, naming the
/// index, for one that is neither.
bool check_job(const layout::job_entry& job, std::size_t index, const std::filesystem::path& file);

/// What a root says that has passed the checks: growths that count, the part's bytes, the segments of creation and growths.
std::size_t extensions(const layout::control_root& root);
std::uint64_t part_size(const layout::control_root& root);
std::uint64_t newest_round(const layout::control_root& root);
std::vector<layout::segment_entry> segments_of(const layout::control_root& root);
/// The size that a growth which did not get to its end has announced; none if there was none.
std::optional<std::uint64_t> announced_size(const layout::control_root& root);

/// The address up to which the part can grow: where the next one is mapped, or the end of all addresses that a pool may take.
std::uint64_t end_of_room(const layout::control_root& root);

/// The checksum that belongs into `root.checksum`, `extension.checksum`, `job.checksum`.
std::uint64_t checksum_of(const layout::control_root& root);
std::uint64_t checksum_of(const layout::extension_entry& extension);
std::uint64_t checksum_of(const layout::part_name& name);
std::uint64_t checksum_of(const layout::job_entry& job);
/// And into `call.checksum`.
std::uint64_t checksum_of_call(std::uint64_t serial, std::string_view text);

}  // namespace ppmm::detail
