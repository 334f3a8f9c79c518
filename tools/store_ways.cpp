#include "store_ways.hpp"

#include <cpuid.h>
#include <immintrin.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstring>

namespace ppmm::tools {
namespace {

constexpr std::size_t line = 64, page = 4096;

using line_list = std::span<const std::uint32_t>;

[[gnu::always_inline]] inline void store_line(std::byte* to, std::uint64_t value) {
  for (std::size_t at = 0; at < line; at += 8) {
    std::memcpy(to + at, &value, 8);
    asm volatile("" : : : "memory");  // eight stores, as a program makes them, and none left out
  }
}

void by_fence_only(const store_target& to, line_list lines, std::uint64_t value) {
  for (const std::uint32_t l : lines) store_line(to.base + l * line, value);
  _mm_sfence();
}

[[gnu::target("clwb")]] void by_clwb(const store_target& to, line_list lines, std::uint64_t value) {
  for (const std::uint32_t l : lines) {
    store_line(to.base + l * line, value);
    _mm_clwb(to.base + l * line);
  }
  _mm_sfence();
}

[[gnu::target("clflushopt")]] void by_clflushopt(const store_target& to, line_list lines, std::uint64_t value) {
  for (const std::uint32_t l : lines) {
    store_line(to.base + l * line, value);
    _mm_clflushopt(to.base + l * line);
  }
  _mm_sfence();
}

void by_clflush(const store_target& to, line_list lines, std::uint64_t value) {
  for (const std::uint32_t l : lines) {
    store_line(to.base + l * line, value);
    _mm_clflush(to.base + l * line);
  }
  _mm_sfence();
}

void by_movnti(const store_target& to, line_list lines, std::uint64_t value) {
  for (const std::uint32_t l : lines)
    for (std::size_t at = 0; at < line; at += 8)
      _mm_stream_si64(reinterpret_cast<long long*>(to.base + l * line + at), static_cast<long long>(value));
  _mm_sfence();
}

[[gnu::target("movdir64b")]] void by_movdir64b(const store_target& to, line_list lines, std::uint64_t value) {
  alignas(line) std::byte source[line];
  store_line(source, value);
  for (const std::uint32_t l : lines) _movdir64b(to.base + l * line, source);
  _mm_sfence();
}

void by_library_flush(const store_target& to, line_list lines, std::uint64_t value) {
  for (const std::uint32_t l : lines) {
    store_line(to.base + l * line, value);
    to.flush(to.base + l * line, line);
  }
  to.drain();
}

void by_library_copy(const store_target& to, line_list lines, std::uint64_t value) {
  alignas(line) std::byte source[line];
  store_line(source, value);
  for (const std::uint32_t l : lines) to.copy(to.base + l * line, source, line, to.copy_flags);
  to.drain();
}

bool by_msync(const store_target& to, line_list lines, std::uint64_t value) {
  if (lines.empty()) return true;
  for (const std::uint32_t l : lines) store_line(to.base + l * line, value);
  const auto [first, last] = std::ranges::minmax(lines);
  const std::size_t begin = first * line / page * page, end = (last * line / page + 1) * page;
  return ::msync(to.base + begin, std::min(end, to.size) - begin, MS_SYNC) == 0;
}

struct features {
  unsigned ebx = 0, ecx = 0;
  features() {
    unsigned eax = 0, edx = 0;
    if (__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) == 0) ebx = ecx = 0;
  }
};

}  // namespace

std::string_view name_of(store_way way) {
  switch (way) {
    case store_way::fence_only:
      return "sfence";
    case store_way::clwb:
      return "clwb";
    case store_way::clflushopt:
      return "clflushopt";
    case store_way::clflush:
      return "clflush";
    case store_way::movnti:
      return "movnti";
    case store_way::movdir64b:
      return "movdir64b";
    case store_way::library_flush:
      return "pmem2 flush";
    case store_way::library_copy:
      return "pmem2 copy";
    case store_way::msync:
      return "msync";
  }
  return "unknown";
}

bool processor_has(store_way way) {
  static const features found;
  switch (way) {
    case store_way::clwb:
      return (found.ebx >> 24 & 1) != 0;
    case store_way::clflushopt:
      return (found.ebx >> 23 & 1) != 0;
    case store_way::movdir64b:
      return (found.ecx >> 28 & 1) != 0;
    default:
      return true;  // every x86-64 has clflush and movnti
  }
}

bool write_lines(store_way way, const store_target& to, std::span<const std::uint32_t> lines, std::uint64_t value) {
  switch (way) {
    case store_way::fence_only:
      by_fence_only(to, lines, value);
      return true;
    case store_way::clwb:
      by_clwb(to, lines, value);
      return true;
    case store_way::clflushopt:
      by_clflushopt(to, lines, value);
      return true;
    case store_way::clflush:
      by_clflush(to, lines, value);
      return true;
    case store_way::movnti:
      by_movnti(to, lines, value);
      return true;
    case store_way::movdir64b:
      by_movdir64b(to, lines, value);
      return true;
    case store_way::library_flush:
      by_library_flush(to, lines, value);
      return true;
    case store_way::library_copy:
      by_library_copy(to, lines, value);
      return true;
    case store_way::msync:
      return by_msync(to, lines, value);
  }
  return false;
}

}  // namespace ppmm::tools
