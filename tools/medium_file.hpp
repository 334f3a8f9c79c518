/// A file to measure a medium with: without a name, in a folder of the user's, gone when the process ends. Whatever
/// else is there stays as it is.
#pragma once

#include "store_ways.hpp"

#include <ppmm/pmem/file.hpp>
#include <ppmm/pmem/mapping.hpp>

#include <cstddef>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>

namespace ppmm::tools {

class medium_file {
 public:
  /// In `where`, or, if that is a file, beside it. The space is taken, on NUMA node `node` where it is memory that has
  /// nodes, and written once. Throws ppmm::error; disk_full.
  medium_file(const std::filesystem::path& where, std::size_t bytes, std::optional<unsigned> node = std::nullopt);

  const std::string& file_system() const { return system_.name; }
  bool in_memory() const { return system_.memory; }       // of the file system
  granularity grain() const { return grain_; }            // libpmem2's finding
  std::optional<unsigned> node() const { return node_; }  // of its first page, if the system tells
  store_target target() const;                            // libpmem2's functions are those for cache lines

 private:
  detail::descriptor fd_;
  detail::file_system system_;
  granularity grain_ = granularity::page;
  std::size_t bytes_;
  std::unique_ptr<detail::mapping> mapping_;
  std::optional<unsigned> node_;
};

}  // namespace ppmm::tools
