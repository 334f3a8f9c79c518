#include <ppmm/sched/scratch.hpp>

#include <ppmm/pmem/errors.hpp>
#include <ppmm/pmem/sanitizers.hpp>

#include <fmt/core.h>  // format

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <new>
#include <utility>

#if PPMM_ADDRESS_SANITIZER
#include <sanitizer/asan_interface.h>  // ASAN_POISON_MEMORY_REGION
#endif

namespace ppmm::detail {
namespace {

#if PPMM_ADDRESS_SANITIZER
void forbid(const void* p, std::size_t n) { ASAN_POISON_MEMORY_REGION(p, n); }
void allow(const void* p, std::size_t n) { ASAN_UNPOISON_MEMORY_REGION(p, n); }
#else
void forbid(const void*, std::size_t) {}
void allow(const void*, std::size_t) {}
#endif

#if !defined(NDEBUG) || defined(PPMM_INSTRUMENT)
constexpr bool always_overwrite = true;
#else
constexpr bool always_overwrite = false;
#endif

constexpr std::size_t unit = 16;          // what is handed out begins at multiples of it
constexpr std::size_t kept_blocks = 64;   // from capsule to capsule
constexpr std::size_t most_bytes = std::size_t{1} << 40;

}  // namespace

void scratch_memory::freed::operator()(std::byte* p) const { ::operator delete[](p, std::align_val_t{alignment}); }

scratch_memory::block scratch_memory::new_block(std::size_t bytes, std::size_t alignment) {
  void* p = bytes < most_bytes ? ::operator new[](bytes, std::align_val_t{alignment}, std::nothrow) : nullptr;
  if (p == nullptr)
    throw error(fmt::format("a task asks for {} bytes of scratch memory, which this machine does not have; ask for less, or use the pool's (alloc)", bytes));
  return {{static_cast<std::byte*>(p), freed{alignment}}, bytes};
}

scratch_memory::~scratch_memory() {
  for (const block& b : blocks_) allow(b.memory.get(), b.bytes);
}

/// Leaves the current block, if there is one, for the next.
void scratch_memory::next_block() {
  if (top_ != nullptr) ++current_;
  if (current_ == blocks_.size()) {
    blocks_.push_back(new_block(block_bytes, alignof(std::max_align_t)));
    forbid(blocks_.back().memory.get(), block_bytes);
  }
  top_ = blocks_[current_].memory.get();
  end_ = top_ + block_bytes;
}

std::byte* scratch_memory::take(std::size_t bytes, std::size_t alignment) {
  alignment = std::max(alignment, unit);
  if (bytes > block_bytes / 2 || alignment > block_bytes / 4) {
    large_.push_back(new_block(bytes, alignment));
    given_ += bytes;
    return large_.back().memory.get();
  }
  const auto padding = [&] { return (alignment - reinterpret_cast<std::uintptr_t>(top_) % alignment) % alignment; };
  if (static_cast<std::size_t>(end_ - top_) < padding() + bytes) next_block();
  std::byte* at = top_ + padding();
  allow(at, bytes);
  top_ = at + (bytes + unit - 1) / unit * unit;
  given_ += bytes;
  return at;
}

void scratch_memory::take_back(bool overwrite) {
  overwrite = overwrite || always_overwrite;
  for (const block& b : large_)
    if (overwrite) std::memset(b.memory.get(), poison, b.bytes);
  large_.clear();
  for (std::size_t i = 0; i <= current_ && i < blocks_.size(); ++i) {
    std::byte* first = blocks_[i].memory.get();
    const std::size_t used = i == current_ ? static_cast<std::size_t>(top_ - first) : block_bytes;
    if (overwrite) {
      allow(first, used);
      std::memset(first, poison, used);
    }
    forbid(first, used);
  }
  while (blocks_.size() > kept_blocks) {
    allow(blocks_.back().memory.get(), block_bytes);
    blocks_.pop_back();
  }
  current_ = 0;
  top_ = blocks_.empty() ? nullptr : blocks_[0].memory.get();
  end_ = blocks_.empty() ? nullptr : top_ + block_bytes;
  given_ = 0;
}

}  // namespace ppmm::detail
