/// A look at a pool file that opens nothing and changes nothing: for `ppmm info` and `ppmm check`.
#pragma once

#include <ppmm/pmem/errors.hpp>
#include <ppmm/pmem/layout.hpp>
#include <ppmm/pmem/persist.hpp>

#include <sys/types.h>

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace ppmm {

/// What the pool says about itself. Every field is in range, and the checksum over them fits.
struct pool_facts {
  std::uint32_t format_version = 0;
  std::uint32_t max_workers = 0;
  std::uint64_t base_address = 0;
  std::uint64_t size = 0;        ///< bytes of the pool; the file may be longer, where a growth was cut short
  std::uint64_t first_size = 0;  ///< at creation
  durability level = durability::process;
  std::vector<layout::segment_entry> segments;  ///< the last `growths` of them are what the pool grew by
  std::size_t growths = 0;
};

/// A check that failed.
struct pool_finding {
  std::string check;    ///< which, in a few words: "control root", "job catalog"
  std::string message;  ///< what was expected, what was found, what to do
};

struct pool_report {
  std::filesystem::path file;
  std::uint64_t file_size = 0;      ///< bytes, now
  std::string file_system;          ///< "tmpfs", "ext4", …
  bool in_memory = false;           ///< the file system loses its content at power-off
  std::optional<pid_t> holder;      ///< the process that has the pool open, as far as /proc/locks tells
  std::optional<pool_facts> facts;  ///< none if the control root cannot be believed
  std::vector<pool_finding> failed;
  std::vector<layout::job_entry> jobs;  ///< those whose entries are whole

  bool ok() const { return failed.empty(); }
};

/// Runs the checks of pool::open, all that make sense, and checks every entry of the job catalog. Takes no lock, maps
/// nothing, changes nothing; works while another process has the pool open. Throws no_such_pool, not_a_pool (no regular
/// file), read_only_pool (no right to read), medium_error; what is wrong inside the file is in the report.
pool_report inspect(const std::filesystem::path& file);

}  // namespace ppmm
