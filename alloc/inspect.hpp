/// What the heap of a pool holds: a walk over the chunk table, for `ppmm info`, `check` and `dump`, and for tests.
#pragma once

#include <ppmm/alloc/space.hpp>

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

namespace ppmm::detail {

struct heap_report {
  struct use {
    std::uint64_t chunks = 0, blocks = 0, allocated = 0;  // blocks: that there is room for
  };
  std::array<use, size_classes> classes;
  use extents;
  std::map<unsigned, std::uint64_t> bytes_by_worker;  // allocated, by the worker that had the superblock last
  std::uint64_t blocks = 0, bytes = 0;                // allocated in all; bytes of whole blocks
  std::vector<std::string> problems;
};

struct heap_block {
  std::uint64_t address, bytes;
  unsigned worker;
  std::uint64_t serial;  // of the job that adopted the superblock last
  bool young;            // allocated by it
};

struct heap_walk {
  std::function<void(const heap_block&)> on_block = {};  // each allocated block
  /// From here on, where the file was written first; nullptr: nowhere. What was not written is not even read, for a
  /// sparse file may claim to be large.
  std::function<const void*(const void*)> next_written = {};
  std::uint64_t moved = 0;  // what the pool's own addresses are larger than those where it is mapped
};

/// Walks over all entries and all bits. Changes nothing; what is wrong is in the report, the first hundred of it. Cost:
/// some ns a chunk of the pool, and a look at each allocated block's bits.
heap_report inspect_heap(const chunk_space& chunks, const heap_walk& walk = {});

}  // namespace ppmm::detail
