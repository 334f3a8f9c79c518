/// Stacklets: lists of chunks on which strands stack their frames.
///
/// Which chunks are in use follows from the frames that records reach, so nothing here is durable: after a crash the
/// chunks on the strands' chains are marked, and all others are free.
#pragma once

#include <ppmm/alloc/space.hpp>
#include <ppmm/sched/image.hpp>

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

namespace ppmm::detail {

/// The stacklets' chunks: below which other chunk of its stacklet each one stands. Taken from the pool's high end.
class chunk_pool {
 public:
  explicit chunk_pool(chunk_space& space);

  /// A free chunk. Throws out_of_pool_memory.
  std::uint32_t take(const char* purpose = "for the frames of a recursion (it may be too deep)");
  void give_back(std::uint32_t chunk) { space_.give_back(chunk); }

  /// The next lower chunk of the same stacklet. Belongs to whoever has the stacklet.
  std::uint32_t& below(std::uint32_t chunk) { return below_[chunk]; }

  /// Recovery: this chunk holds frames of a strand.
  void mark_used(std::uint32_t chunk) { space_.mark_used(chunk); }

 private:
  chunk_space& space_;
  lazy_array<std::uint32_t> below_;  // by chunk number; memory only where touched
};

struct room;

/// The stacklet of the strand that a worker executes, and its cache of free chunks.
///
/// Frames stand above their parents. Committed frames that were popped, but that the last record still reaches, may not
/// be overwritten: the next frame goes above the newest that the record reaches (the high top), or, where there is
/// space for some, into the *gap* between a popped one and its parent, where only garbage is.
///
/// ```
///   | A | B |   gap   | C (popped) | D (popped) | free ...     last record: D -> C -> B -> A
///            ^ room                              ^ high top
/// ```
class stacklet {
 public:
  /// `free` is where the next frame goes: kept by this class, but for pushes and pops inside it.
  stacklet(const image& img, chunk_pool& chunks, room& free) : image_(img), chunks_(chunks), room_(free) {}

  bool empty() const { return top_ == no_chunk; }

  /// The last record reaches this frame and nothing above it. Takes over the frame's stacklet if it is another one;
  /// nobody else may have it.
  void stand_on(const frame* newest);
  /// The last record reaches no frame of this stacklet.
  void stand_on_base();

  /// Room for a frame that does not fit where the last one went. Throws out_of_pool_memory.
  std::byte* grow(std::size_t bytes);
  /// A committed frame was popped, with all above it; its parent in this stacklet, or nullptr.
  void open_gap(const frame* popped, const frame* parent);
  /// A frame was popped whose children may have been in another chunk, or beyond the gap.
  void return_to(const frame* popped);

  /// Lets go of everything: what is below `kept`'s top waits for whoever takes it over, the rest is free. nullptr:
  /// everything is free.
  void leave(const frame* kept);
  /// A fault: where frames go is lost, the chunks are not. To be followed by stand_on, stand_on_base or leave.
  void forget();
  /// Takes over a dead worker's stacklet and cache; this one's is given back.
  void take_over(stacklet& dead);

 private:
  void push_chunk();
  void shrink_to(std::uint32_t chunk);  // gives back the chunks above
  bool has(std::uint32_t chunk) const;
  void clear() { shrink_to(no_chunk); }
  void give_back(std::uint32_t chunk);
  std::byte* begin() const { return image_.chunk(top_); }
  std::byte* end() const { return image_.chunk(top_) + chunk_bytes; }
  void start_at(std::byte* top);

  const image& image_;
  chunk_pool& chunks_;
  room& room_;
  std::uint32_t top_ = no_chunk;
  std::byte* high_top_ = nullptr;
  std::uint32_t high_chunk_ = no_chunk;
  std::byte* gap_first_ = nullptr;
  std::byte* gap_last_ = nullptr;
  std::vector<std::uint32_t> cache_;
};

}  // namespace ppmm::detail
