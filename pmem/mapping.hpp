/// The data plane: a pool file mapped at its address with libpmem2.
#pragma once

#include <ppmm/pmem/file.hpp>
#include <ppmm/pmem/persist.hpp>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <utility>

struct pmem2_map;
struct pmem2_vm_reservation;

namespace ppmm::detail {

/// Checks what can be known of a level before anything is mapped. Throws durability_refused.
void check_level(durability level, const file_system& where, const std::filesystem::path& file);

class mapping {
 public:
  /// Maps the first `size` bytes of the file at `address`, shared. The file is not changed. Throws address_taken, durability_refused,
  /// pool_error. While it maps, PMEM2_FORCE_GRANULARITY is out of the environment or, for `emulated`, in it.
  mapping(const descriptor& fd, const std::filesystem::path& file, std::uint64_t address, std::size_t size,
          durability level);
  ~mapping();
  mapping(const mapping&) = delete;
  mapping& operator=(const mapping&) = delete;

  std::byte* base() const { return base_; }
  synced_file file() const;
  descriptor take_file() { return std::move(fd_); }  // for who outlives the mapping
  granularity grain() const;
  void (*flush_function() const)(const void*, std::size_t);
  void (*drain_function() const)();
  void* (*copy_function() const)(void*, const void*, std::size_t, unsigned);

 private:
  void release();

  descriptor fd_;  // the file's, as long as it is mapped
  pmem2_vm_reservation* reservation_ = nullptr;
  pmem2_map* map_ = nullptr;
  std::byte* base_ = nullptr;
  std::size_t size_;
  std::size_t rest_ = 0;  // bytes behind the mapping that libpmem2 has taken as well
};

/// Address space that a mapping of `size` bytes takes: more than these, with libpmem2 1.12.
std::size_t footprint(std::size_t size);

/// Nothing is mapped where a pool of that size at that address would go.
bool can_be_mapped(std::uint64_t address, std::size_t size);

/// The first address from `from` on, in steps of 1 GiB, where `count` times `size` bytes can be mapped now, `spacing` bytes
/// apart; 0 if there is none.
std::uint64_t free_address(std::uint64_t from, std::size_t size, std::size_t count = 1, std::uint64_t spacing = 0);

}  // namespace ppmm::detail
