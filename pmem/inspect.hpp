/// A look at a pool file that opens nothing and changes nothing: for `ppmm info` and `ppmm check`.
#pragma once

#include <ppmm/pmem/device.hpp>
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

/// One file of a pool.
struct part_facts {
  std::filesystem::path file;
  std::uint64_t base_address = 0;
  std::uint64_t size = 0;        ///< bytes of the part; the file may be longer, where a growth was cut short
  std::uint64_t first_size = 0;  ///< at creation
  std::optional<unsigned> node;  ///< NUMA node
  std::uint64_t file_size = 0;   ///< bytes, now
  std::string file_system;       ///< "tmpfs", "ext4", …
  bool in_memory = false;        ///< the file system loses its content at power-off
  std::string unkept;            ///< why what is synced may be lost at power-off all the same; empty: nothing says so
  std::optional<device_facts> device;  ///< what the file is on; none where it was not looked at
  std::vector<layout::segment_entry> segments;  ///< the last `growths` of them are what the part grew by
  std::size_t growths = 0;
};

/// What the pool says about itself. Every field is in range, and the checksums over them fit.
struct pool_facts {
  std::uint32_t format_version = 0;
  std::uint32_t max_workers = 0;
  std::uint32_t part = 0;        ///< which part the file is: only of the first one (0) the others were looked at
  durability level = durability::process;
  std::vector<part_facts> parts;  ///< all; where they were not looked at: as the table of parts says

  std::uint64_t base_address() const { return parts[0].base_address; }
  /// Bytes of all parts, now and at creation; how often they grew.
  std::uint64_t size() const { return sum(&part_facts::size); }
  std::uint64_t first_size() const { return sum(&part_facts::first_size); }
  std::size_t growths() const { return sum(&part_facts::growths); }
  std::size_t segments() const {
    std::size_t n = 0;
    for (const part_facts& p : parts) n += p.segments.size();
    return n;
  }

 private:
  template <class T>
  T sum(T part_facts::* of) const {
    T all = 0;
    for (const part_facts& p : parts) all += p.*of;
    return all;
  }
};

/// A check that failed.
struct pool_finding {
  std::string check;    ///< which, in a few words: "control root", "job catalog"
  std::string message;  ///< what was expected, what was found, what to do
};

struct pool_report {
  std::filesystem::path file;       ///< of the first part
  std::uint64_t file_size = 0;      ///< its bytes, now
  std::string file_system;          ///< "tmpfs", "ext4", …
  bool in_memory = false;           ///< its file system loses its content at power-off
  std::string unkept;               ///< why what is synced may be lost at power-off all the same; empty: nothing says so
  std::optional<device_facts> device;  ///< what it is on
  std::optional<pid_t> holder;      ///< the process that has the pool open, as far as /proc/locks tells
  std::vector<std::uint32_t> worked_in;  ///< worker slots in which processes are at work (slot_lock.hpp); without a holder: their coordinator is gone
  std::optional<pool_facts> facts;  ///< none if the control root of a part cannot be believed
  std::vector<pool_finding> failed;
  std::vector<layout::job_entry> jobs;  ///< those whose entries are whole
  std::optional<std::string> call;      ///< how the program was called, in its own words, that began the newest of them

  bool ok() const { return failed.empty(); }
  bool in_use() const { return holder || !worked_in.empty(); }
};

/// Runs the checks of pool::open, all that make sense, on all parts, and checks every entry of the job catalog. Takes no lock, maps
/// nothing, changes nothing; works while another process has the pool open. Throws no_such_pool, not_a_pool (no regular
/// file), read_only_pool (no right to read); what is wrong inside the file, or cannot be read, is in the report.
pool_report inspect(const std::filesystem::path& file);

}  // namespace ppmm
