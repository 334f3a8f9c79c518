#include <ppmm/pmem/pmemobj_format.hpp>

#include <algorithm>
#include <cstring>

namespace ppmm::pmemobj_format {

std::uint64_t fletcher64(std::span<const std::byte> bytes, std::size_t hole, std::size_t end) {
  std::uint32_t low = 0;
  std::uint32_t high = 0;
  for (std::size_t at = 0; at + sizeof(std::uint32_t) <= bytes.size(); at += sizeof(std::uint32_t)) {
    std::uint32_t word = 0;
    if (at < end && (at < hole || at >= hole + sizeof(std::uint64_t))) {
      std::memcpy(&word, bytes.data() + at, sizeof(word));
    }
    low += word;
    high += low;
  }
  return std::uint64_t{high} << 32 | low;
}

std::uint64_t checksum_of(const pool_header& header) {
  const bool first_half_only = (header.incompat & incompat_checksum_2k) != 0;
  return fletcher64(std::as_bytes(std::span(&header, 1)), offsetof(pool_header, checksum),
                    first_half_only ? sizeof(header) / 2 : offsetof(pool_header, shutdown));
}

std::uint64_t checksum_of(const pool_descriptor& descriptor) {
  constexpr std::size_t size = offsetof(pool_descriptor, checksum) + sizeof(descriptor.checksum);
  return fletcher64(std::as_bytes(std::span(&descriptor, 1)).first(size), offsetof(pool_descriptor, checksum), size);
}

std::uint64_t checksum_of(const heap_header& header) {
  return fletcher64(std::as_bytes(std::span(&header, 1)), offsetof(heap_header, checksum), sizeof(header));
}

std::uint64_t checksum_of_undo(std::span<const std::byte> lines, std::uint64_t generation) {
  const std::uint64_t sum = fletcher64(lines, offsetof(undo_entry, checksum), lines.size());
  std::uint32_t low = static_cast<std::uint32_t>(sum);
  std::uint32_t high = static_cast<std::uint32_t>(sum >> 32);
  for (const std::uint64_t word : {generation & 0xffff'ffff, generation >> 32}) {
    low += static_cast<std::uint32_t>(word);
    high += low;
  }
  return std::uint64_t{high} << 32 | low;
}

}  // namespace ppmm::pmemobj_format
