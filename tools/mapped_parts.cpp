#include "mapped_parts.hpp"

#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>

namespace ppmm::tools {

namespace {

std::string reason() { return std::system_category().message(errno); }

}  // namespace

part_files::part_files(const pool_facts& facts) : facts_(facts) {
  for (const part_facts& p : facts_.parts) fds_.push_back(detail::open_pool_file(p.file, detail::access::read));
}

void part_files::read(std::size_t part, std::uint64_t offset, void* to, std::size_t bytes) const {
  detail::read_at(fds_[part], facts_.parts[part].file, offset, to, bytes);
}

std::optional<std::uint64_t> part_files::next_written(std::size_t part, std::uint64_t offset) const {
  if (fds_[part].device()) return offset < fds_[part].device()->size ? std::optional(offset) : std::nullopt;
  const off_t at = ::lseek(fds_[part].get(), static_cast<off_t>(offset), SEEK_DATA);
  return at >= 0 ? std::optional(static_cast<std::uint64_t>(at)) : std::nullopt;
}

mapped_parts::mapped_parts(const part_files& files, where at) : facts_(files.facts()) {
  const part_facts& last = facts_.parts.back();
  span_ = last.base_address + last.size - facts_.base_address();
  if (at == where::anywhere) {
    std::uint64_t alignment = detail::chunk_bytes;
    for (std::size_t i = 0; i < facts_.parts.size(); ++i) alignment = std::max(alignment, files.fd(i).alignment());
    reserved_ = span_ + alignment;
    room_ = ::mmap(nullptr, reserved_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (room_ == MAP_FAILED) throw error(fmt::format("cannot map {}: {}", facts_.parts[0].file.string(), reason()));
    base_ = static_cast<std::byte*>(room_) + (facts_.base_address() - reinterpret_cast<std::uintptr_t>(room_)) % alignment;
  } else {
    base_ = reinterpret_cast<std::byte*>(facts_.base_address());
  }
  for (std::size_t i = 0; i < facts_.parts.size(); ++i) {
    const part_facts& p = facts_.parts[i];
    const int fixed = at == where::anywhere ? MAP_FIXED : MAP_FIXED_NOREPLACE;
    void* const there = ::mmap(base(i), p.size, PROT_READ, MAP_SHARED | fixed, files.fd(i).get(), 0);
    if (there != base(i)) {
      const std::string why = there == MAP_FAILED ? reason() : "the kernel knows no MAP_FIXED_NOREPLACE";
      if (there != MAP_FAILED) ::munmap(there, p.size);
      unmap();
      throw address_taken(fmt::format("{} cannot be mapped at {:#x}: {}", p.file.string(), reinterpret_cast<std::uintptr_t>(base(i)), why));
    }
    mapped_ = i + 1;
    segments_.emplace_back();
    for (const layout::segment_entry& s : p.segments) segments_.back().emplace_back(base(i) + s.offset, s.size);
  }
}

mapped_parts::~mapped_parts() { unmap(); }

void mapped_parts::unmap() {
  if (room_ != nullptr) {
    ::munmap(room_, reserved_);
    return;
  }
  for (std::size_t i = 0; i < mapped_; ++i) ::munmap(base(i), facts_.parts[i].size);
}

detail::heap_place mapped_parts::heap() const {
  const std::vector<detail::part_segments> parts(segments_.begin(), segments_.end());
  return detail::heap_place_in(base_, span_, parts, facts_.max_workers);
}

std::size_t mapped_parts::part_of(const std::byte* p) const {
  std::size_t i = facts_.parts.size() - 1;
  while (i > 0 && p < base(i)) --i;
  return i;
}

}  // namespace ppmm::tools
