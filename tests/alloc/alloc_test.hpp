/// A heap without a scheduler: memory of the test, a medium that tells what is durable, and workers that are objects.
///
/// The medium is exact as far as the heap can tell: what a worker flushed is durable when that worker fences; at a
/// crash every other line keeps its durable content or what stood in it at the crash.
#pragma once

#include <ppmm/alloc/arena.hpp>
#include <ppmm/alloc/heap.hpp>

#include <array>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <stdexcept>
#include <vector>

namespace ppmm::test {

using detail::chunk_bytes;

class fake_medium {
 public:
  explicit fake_medium(std::uint32_t chunks) : bytes_((chunks + 1) * chunk_bytes) {
    memory_ = static_cast<std::byte*>(std::aligned_alloc(chunk_bytes, bytes_));
    std::memset(memory_, 0, bytes_);
    durable_.assign(memory_, memory_ + bytes_);
    medium_.level = durability::emulated;
    medium_.grain = granularity::cache_line;
    medium_.flush = [](const void* p, std::size_t n) { now_->flush(p, n); };
    medium_.drain = [] { now_->drain(); };
    medium_.base = reinterpret_cast<std::uintptr_t>(memory_);
    medium_.size = bytes_;
    now_ = this;
    place_.base = memory_;
    place_.numbers = chunks + 1;
    place_.control = reinterpret_cast<detail::heap_control*>(memory_);
    auto* table = reinterpret_cast<detail::chunk_entry*>(memory_ + sizeof(detail::heap_control));
    if (sizeof(detail::heap_control) + chunks * sizeof(detail::chunk_entry) > areas_at) throw std::logic_error("too many chunks");
    place_.ranges.push_back({1, chunks + 1, chunks + 1, 0, table});
  }
  ~fake_medium() { std::free(memory_); }
  fake_medium(const fake_medium&) = delete;
  fake_medium& operator=(const fake_medium&) = delete;

  const medium& get() const { return medium_; }
  detail::heap_place& place() { return place_; }
  /// The redo areas of a worker.
  detail::redo_area* areas(unsigned worker) const { return reinterpret_cast<detail::redo_area*>(memory_ + areas_at) + 2 * worker; }
  /// Whose flushes and fences follow.
  void become(unsigned worker) { worker_ = worker; }
  /// All workers are gone; of each line that was not durable, either content is kept.
  void crash(std::mt19937_64& dice) {
    for (std::size_t at = 0; at < bytes_; at += line_size)
      if (std::memcmp(memory_ + at, durable_.data() + at, line_size) != 0) {
        if (dice() % 2 == 0) std::memcpy(durable_.data() + at, memory_ + at, line_size);
        std::memcpy(memory_ + at, durable_.data() + at, line_size);
      }
    pending_.clear();
  }
  unsigned fences() const { return fences_; }
  /// From now on a fence may be the last thing that happens, once in so many; 0: never.
  void die_at_fences(unsigned once_in, std::mt19937_64* dice) {
    once_in_ = once_in;
    dice_ = dice;
  }
  struct power_off {};

 private:
  static constexpr std::size_t areas_at = 48 << 10;
  void flush(const void* p, std::size_t n) {
    const auto first = static_cast<std::size_t>(static_cast<const std::byte*>(p) - memory_) / line_size;
    const auto last = static_cast<std::size_t>(static_cast<const std::byte*>(p) + n - 1 - memory_) / line_size;
    for (std::size_t l = first; l <= last; ++l) {
      written_back w{++time_, {}};
      std::memcpy(w.content.data(), memory_ + l * line_size, line_size);
      pending_[worker_][l] = w;  // what is written back is what stood there at the flush, at least
    }
  }
  void drain() {
    ++fences_;
    if (once_in_ != 0 && (*dice_)() % once_in_ == 0) throw power_off{};
    for (const auto& [l, w] : pending_[worker_]) {
      std::uint64_t& since = durable_since_[l];
      if (since > w.time) continue;  // another's later flush was fenced before
      since = w.time;
      std::memcpy(durable_.data() + l * line_size, w.content.data(), line_size);
    }
    pending_[worker_].clear();
  }

  static inline fake_medium* now_ = nullptr;
  std::size_t bytes_;
  std::byte* memory_;
  std::vector<std::byte> durable_;
  struct written_back {
    std::uint64_t time;
    std::array<std::byte, line_size> content;
  };
  std::map<unsigned, std::map<std::size_t, written_back>> pending_;
  std::map<std::size_t, std::uint64_t> durable_since_;
  std::uint64_t time_ = 0;
  unsigned worker_ = 0, fences_ = 0, once_in_ = 0;
  std::mt19937_64* dice_ = nullptr;
  medium medium_;
  detail::heap_place place_;
};

}  // namespace ppmm::test
