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

/// Chunks [first, end) in a row.
struct chunk_run {
  std::uint32_t first, end;
};

/// Walks over all entries and all bits. Changes nothing; what is wrong is in the report. `on_block` is told of each
/// allocated block. `written`: the runs, ascending, outside of which all entries are known to be zero: where the file of a
/// sparse pool has nothing, which may be most of it. Cost: some ns a chunk of these, or of the pool; and a look at each
/// allocated block's bits.
heap_report inspect_heap(const chunk_space& chunks, const std::function<void(const heap_block&)>& on_block = {},
                         const std::vector<chunk_run>* written = nullptr);

}  // namespace ppmm::detail
