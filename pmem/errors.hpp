/// The errors of PPMM. Each message says what was expected, what was found, and what to do.
#pragma once

#include <stdexcept>
#include <string>

namespace ppmm {

/// Any error that PPMM reports.
struct error : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// A pool file that cannot be created or opened. The file is as it was before the call.
struct pool_error : error {
  using error::error;
};
struct not_a_pool : pool_error { using pool_error::pool_error; };          ///< some other file
struct wrong_version : pool_error { using pool_error::pool_error; };       ///< a pool of another format version
struct truncated_pool : pool_error { using pool_error::pool_error; };      ///< shorter than it was made
struct corrupt_pool : pool_error { using pool_error::pool_error; };        ///< a checksum or a reference is wrong
struct address_taken : pool_error { using pool_error::pool_error; };       ///< something is mapped where it must go
struct pool_in_use : pool_error { using pool_error::pool_error; };         ///< another process (or this one) has it
struct pool_too_small : pool_error { using pool_error::pool_error; };      ///< smaller than its fixed parts
struct disk_full : pool_error { using pool_error::pool_error; };           ///< no room for the file
struct read_only_pool : pool_error { using pool_error::pool_error; };      ///< no right to write
struct no_such_pool : pool_error { using pool_error::pool_error; };        ///< no file of that name
struct pool_exists : pool_error { using pool_error::pool_error; };         ///< create() over a file
struct part_mismatch : pool_error { using pool_error::pool_error; };       ///< a part is missing, swapped, another pool's, or half made
struct durability_refused : pool_error { using pool_error::pool_error; };  ///< the medium cannot give that level

/// The medium failed while it was written (msync). What was committed before is whole.
struct medium_error : error {
  using error::error;
};

}  // namespace ppmm
