/// A checksum for what stands in a pool: it finds torn writes and flipped bits, not forgery. Whatever is read from a
/// pool is bounds-checked as well.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace ppmm {

/// 64 bits over `bytes`. Each step is a bijection of the state, so that any change within one aligned 8-byte word is
/// found for certain, and any other with probability 1 - 2^-64. Not zero for zeros. About 1 ns for 8 bytes.
inline std::uint64_t checksum(std::span<const std::byte> bytes) {
  constexpr std::uint64_t odd = 0x9e37'79b9'7f4a'7c15;  // 2^64 / golden ratio
  std::uint64_t sum = odd ^ bytes.size();
  const auto mix = [&sum](std::uint64_t word) {
    sum = (sum ^ word) * odd;
    sum ^= sum >> 29;
  };
  std::size_t at = 0;
  for (; at + sizeof(std::uint64_t) <= bytes.size(); at += sizeof(std::uint64_t)) {
    std::uint64_t word;
    std::memcpy(&word, bytes.data() + at, sizeof(word));
    mix(word);
  }
  if (at < bytes.size()) {
    std::uint64_t word = 0;
    std::memcpy(&word, bytes.data() + at, bytes.size() - at);
    mix(word);
  }
  return sum ^ (sum >> 32);
}

/// Over the first `size` bytes of an object in memory.
inline std::uint64_t checksum(const void* object, std::size_t size) {
  return checksum({static_cast<const std::byte*>(object), size});
}

static_assert(std::endian::native == std::endian::little, "pools are little-endian");

}  // namespace ppmm
