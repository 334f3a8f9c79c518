/// What a pool file stands on: the device, and what the operating system and libpmem2 tell of it.
///
/// Every fact is optional. Where the system does not tell one, that is said with the reason, never guessed.
#pragma once

#include <ppmm/pmem/bad_blocks.hpp>
#include <ppmm/pmem/file.hpp>
#include <ppmm/pmem/told.hpp>

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace ppmm {

/// Of one file of a pool.
struct device_facts {
  told<std::string> device;              ///< as the kernel calls it: "pmem0", "vda1", "dax0.0"
  std::string file_system;               ///< "ext4", "tmpfs"; "devdax" for a DAX device
  told<bool> dax;                        ///< mapped without the page cache
  told<bool> map_sync;                   ///< a mapping with MAP_SYNC succeeds: no msync is needed for metadata
  told<unsigned> numa_node;              ///< of the persistent memory
  told<std::string> persistence_domain;  ///< "memory_controller" (ADR), "cpu_cache" (eADR)
  told<std::uint64_t> unsafe_shutdowns;  ///< power failures that the device could not finish its writes in
  told<std::vector<bad_range>> bad_blocks;
  std::string sparse_below;              ///< the file that its loop device stands on, if that has holes; else empty

  /// The facts that are told, in a few words: "pmem0, node 0, MAP_SYNC, memory_controller".
  std::string in_words() const;
  /// What is wrong, in one line, with what to do; empty if nothing is.
  std::string warning() const;
};

namespace detail {

/// Changes nothing, in the file or elsewhere. Cost: some 0.1 ms; a few where there is persistent memory.
device_facts facts_of(const descriptor& fd, const std::filesystem::path& sysfs = "/sys");

/// The NUMA node of the memory that the file's bytes are, where it stands on persistent memory: libpmem2's finding,
/// else that of sysfs. None for a disk or tmpfs (what is mapped there are pages that lie wherever they were first
/// touched), and where the machine does not tell. `sysfs`: where it is mounted.
std::optional<unsigned> numa_node_of(const descriptor& fd, const std::filesystem::path& sysfs = "/sys");

/// Bad ranges of the file, as in device_facts: what opening needs to know.
std::vector<bad_range> known_bad_blocks(const descriptor& fd, const std::filesystem::path& sysfs = "/sys");

}  // namespace detail
}  // namespace ppmm
