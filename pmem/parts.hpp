/// The files of a pool: found by the first one's name, checked one by one and against each other.
#pragma once

#include <ppmm/pmem/bad_blocks.hpp>
#include <ppmm/pmem/file.hpp>
#include <ppmm/pmem/layout.hpp>
#include <ppmm/pmem/opening_lock.hpp>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace ppmm::detail {

/// A part that verifier has passed.
struct part_file {
  std::filesystem::path file;
  descriptor fd;
  file_system where;
  std::unique_ptr<layout::control_root> root;
  std::uint64_t root_offset = 0;
  std::vector<bad_range> bad;            // in its segments
  bool may_have_unfinished_jobs = false;  // the first part only
  bool libpmemobj_first = false;          // what it says may change when libpmemobj opens it, or libpmemobj may refuse it
  std::unique_ptr<opening_lock> lock;     // none: looked at only
};

/// Whether the files are to be ours alone, or another process has them.
enum class opening { alone, beside_another };

/// One file, checked, and locked if it is to be ours alone. Throws what verifier::run_all and opening_lock throw.
part_file open_part(const std::filesystem::path& file, opening how = opening::alone);

/// All parts of the pool whose first part is that file, in order, each locked. Not a byte of them has changed. Throws what
/// verifier::run_all and opening_lock throw; part_mismatch, naming the file, for one that is not what it should be.
std::vector<part_file> open_parts(const std::filesystem::path& first, opening how = opening::alone);

/// Where the part is to be found, as the first one says.
std::filesystem::path name_of_part(const layout::control_root& first, std::uint32_t part);

/// The file's root is that of part `part` of the pool with this first part. Throws part_mismatch, corrupt_pool.
void check_is_part(const layout::control_root& root, const std::filesystem::path& file, const layout::control_root& first,
                   const std::filesystem::path& first_file, std::uint32_t part);

/// The file's root is a first part's: what a pool is opened by. Throws part_mismatch.
void check_is_first(const layout::control_root& root, const std::filesystem::path& file);

/// Throws part_mismatch where a look at part `part` finds no file; passes all else on.
void look_at_part(const std::filesystem::path& first_file, std::uint32_t part, const std::filesystem::path& file, const std::function<void()>& look);

}  // namespace ppmm::detail
