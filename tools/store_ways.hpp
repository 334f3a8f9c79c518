/// Ways to make lines of memory durable, as instructions: what `ppmm profile medium` measures. Knows no library.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace ppmm::tools {

enum class store_way : std::uint8_t {
  fence_only,  // stores and sfence: all that is needed where the caches are protected (eADR)
  clwb,        // stores, clwb by line, sfence
  clflushopt,
  clflush,
  movnti,         // stores past the caches, sfence
  movdir64b,      // the same, a line at a time
  library_flush,  // stores, libpmem2's flush and drain
  library_copy,   // libpmem2's memcpy, not temporal, and drain
  msync,          // stores, msync of the pages between the first line and the last
};
inline constexpr std::array all_store_ways{store_way::fence_only,    store_way::clwb,         store_way::clflushopt,
                                           store_way::clflush,       store_way::movnti,       store_way::movdir64b,
                                           store_way::library_flush, store_way::library_copy, store_way::msync};

std::string_view name_of(store_way way);

/// What cpuid says; true for what is no instruction.
bool processor_has(store_way way);

/// A mapping to write to, and the functions of a library for it.
struct store_target {
  std::byte* base = nullptr;
  std::size_t size = 0;
  void (*flush)(const void*, std::size_t) = nullptr;
  void (*drain)() = nullptr;
  void* (*copy)(void*, const void*, std::size_t, unsigned) = nullptr;
  unsigned copy_flags = 0;
};

/// Writes whole lines, each filled with `value`, at these offsets of 64 bytes, and waits until they are durable, as far
/// as that way makes them so. Returns false if msync failed. Cost: what is to be measured, and a call.
bool write_lines(store_way way, const store_target& to, std::span<const std::uint32_t> lines, std::uint64_t value);

}  // namespace ppmm::tools
