/// Stacklets: lists of chunks on which strands stack their frames.
///
/// Which chunks are in use follows from the frames that records reach, so nothing here is durable: after a crash the
/// chunks on the strands' chains are marked, and all others are free.
#pragma once

#include <ppmm/pmem/errors.hpp>
#include <ppmm/sched/image.hpp>

#include <cstdint>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

namespace ppmm {

/// The job's recursion is deeper than the pool has memory for.
struct out_of_stack_memory : error {
  using error::error;
};

namespace detail {

inline constexpr std::uint32_t no_chunk = 0xffffffff;

/// All chunks of a pool: which are free, and below which other chunk of its stacklet each one stands.
class chunk_pool {
 public:
  explicit chunk_pool(const image& img);

  /// A free chunk. Throws out_of_stack_memory.
  std::uint32_t take();
  void give_back(std::uint32_t chunk);

  /// The next lower chunk of the same stacklet. Belongs to whoever has the stacklet.
  std::uint32_t& below(std::uint32_t chunk) { return below_[chunk]; }

  /// Recovery: this chunk holds frames of a strand.
  void mark_used(std::uint32_t chunk) { used_[chunk / 64] |= std::uint64_t{1} << chunk % 64; }
  std::uint64_t in_use() const;

 private:
  bool used(std::uint32_t chunk) const { return (used_[chunk / 64] >> chunk % 64 & 1) != 0; }

  const image& image_;
  std::unique_ptr<std::uint32_t[], void (*)(void*)> below_;  // by chunk number; memory only where touched
  std::unique_ptr<std::uint64_t[], void (*)(void*)> used_;   // found at recovery
  mutable std::mutex mutex_;
  std::vector<std::uint32_t> free_;
  std::size_t range_ = 0;    // chunks before `next_` of this range were handed out or skipped
  std::uint32_t next_ = 0;
  std::uint64_t taken_ = 0;
};

/// The stacklet of the strand that a worker executes, and its cache of free chunks.
class stacklet {
 public:
  stacklet(const image& img, chunk_pool& chunks) : image_(img), chunks_(chunks) {}

  std::uint32_t top() const { return top_; }
  std::byte* begin() const { return image_.chunk(top_); }
  std::byte* end() const { return image_.chunk(top_) + chunk_bytes; }

  /// A further chunk on top (or the first).
  void grow();
  /// Gives back the chunks above `chunk`, which must be in this stacklet; it becomes the top.
  void shrink_to(std::uint32_t chunk);
  /// Gives back all chunks above the lowest.
  void shrink_to_base();
  /// True if `chunk` is in this stacklet.
  bool has(std::uint32_t chunk) const;
  /// True if `chunk` is the lowest of its stacklet.
  bool is_base(std::uint32_t chunk) const { return chunks_.below(chunk) == no_chunk; }
  /// Gives back everything.
  void clear();
  /// Takes over the stacklet whose top is `chunk`; this one must be empty.
  void adopt(std::uint32_t chunk) { top_ = chunk; }
  /// Lets go without giving anything back: somebody else takes it over.
  std::uint32_t let_go() { return std::exchange(top_, no_chunk); }
  bool empty() const { return top_ == no_chunk; }

 private:
  void give_back(std::uint32_t chunk);

  const image& image_;
  chunk_pool& chunks_;
  std::uint32_t top_ = no_chunk;
  std::vector<std::uint32_t> cache_;
};

}  // namespace detail
}  // namespace ppmm
