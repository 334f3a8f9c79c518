/// The files of a pool, opened and mapped for reading: nothing is locked or changed.
#pragma once

#include <ppmm/pmem/file.hpp>
#include <ppmm/pmem/inspect.hpp>
#include <ppmm/sched/image.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace ppmm::tools {

class part_files {
 public:
  /// Throws ppmm::error if one cannot be opened.
  explicit part_files(const pool_facts& facts);

  const detail::descriptor& fd(std::size_t part) const { return fds_[part]; }
  const pool_facts& facts() const { return facts_; }
  /// Throws ppmm::error if the file cannot be read.
  void read(std::size_t part, std::uint64_t offset, void* to, std::size_t bytes) const;
  /// The first offset from that one on which may hold something else than zeros; none if there is none.
  std::optional<std::uint64_t> next_written(std::size_t part, std::uint64_t offset) const;

 private:
  const pool_facts facts_;
  std::vector<detail::descriptor> fds_;
};

class mapped_parts {
 public:
  enum class where { own_address, anywhere };
  /// All parts, as far from each other as they always are; chunks are aligned to their size, as always. Throws
  /// address_taken, ppmm::error.
  mapped_parts(const part_files& files, where at);
  ~mapped_parts();
  mapped_parts(const mapped_parts&) = delete;
  mapped_parts& operator=(const mapped_parts&) = delete;

  /// Throws pool_too_small.
  detail::heap_place heap() const;
  std::byte* base() const { return base_; }
  std::byte* base(std::size_t part) const { return base_ + (facts_.parts[part].base_address - facts_.base_address()); }
  /// What an address that stands in the pool is larger than where that is mapped here.
  std::uint64_t moved() const { return facts_.base_address() - reinterpret_cast<std::uintptr_t>(base_); }
  /// The part that an address here is in.
  std::size_t part_of(const std::byte* p) const;

 private:
  void unmap();
  const pool_facts& facts_;
  std::size_t span_ = 0, reserved_ = 0;
  void* room_ = nullptr;  // of the address space: with all parts in it, or, at their own addresses, none
  std::byte* base_ = nullptr;
  std::size_t mapped_ = 0;  // parts
  std::vector<std::vector<std::span<std::byte>>> segments_;
};

}  // namespace ppmm::tools
