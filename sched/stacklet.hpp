/// Stacklets: lists of chunks on which strands stack their frames.
///
/// Which chunks are in use follows from the frames that records reach, so nothing here is durable: after a crash the
/// chunks on the strands' chains are marked, and all others are free.
#pragma once

#include <ppmm/alloc/space.hpp>
#include <ppmm/sched/image.hpp>

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

namespace ppmm::detail {

/// The stacklets' chunks: below which other chunk of its stacklet each one stands. Taken from the pool's high end.
class chunk_pool {
 public:
  chunk_pool(chunk_space& space, commons& shared);

  /// A free chunk, in that part of the pool if it has one. Throws out_of_pool_memory.
  std::uint32_t take(unsigned part, const char* purpose);
  /// Some free chunks, as many as there is room for at most; none: there are none.
  std::size_t take_some(unsigned part, std::span<std::uint32_t> to) { return space_.take_high(part, to); }
  [[noreturn]] void no_room() const { space_.no_room(chunk_bytes, "for the frames of a recursion (it may be too deep)"); }
  void give_back(std::uint32_t chunk) { space_.give_back(chunk); }
  void give_back(std::span<const std::uint32_t> chunks) { space_.give_back(chunks); }
  std::size_t batch() const { return space_.batch(); }
  bool is_in(std::uint32_t chunk, unsigned part) const { return space_.where().range_of(chunk)->part == part; }

  /// The next lower chunk of the same stacklet. Belongs to whoever has the stacklet.
  std::uint32_t& below(std::uint32_t chunk) { return below_[chunk]; }

  /// Recovery: this chunk holds frames of a strand.
  void mark_used(std::uint32_t chunk) { space_.mark_used(chunk); }

 private:
  chunk_space& space_;
  shared_array<std::uint32_t> below_;  // by chunk number; memory only where touched
};

struct room;

/// Which chunks a worker has: for whoever robs it.
struct stacklet_books {
  static constexpr std::size_t most_cached = 64;
  std::atomic<std::uint32_t> top{0};     // the newest chunk of its stacklet + 1; 0: none
  std::atomic<std::uint32_t> cached{0};
  std::uint32_t cache[most_cached] = {};
};

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
  stacklet(const image& img, chunk_pool& chunks, unsigned part, stacklet_books& books, room& free)
      : image_(img), chunks_(chunks), part_(part), books_(books), room_(free) {}

  bool empty() const { return top() == no_chunk; }
  /// Before the workers start: so that they do not all come for their first chunk at once, where that takes long.
  void stock_up() {
    if (chunks_.batch() > 1) fill_cache();
  }
  /// Where another may have died, whose chunks are not known to be its own any more.
  void begin() {
    books_.cached.store(0, std::memory_order_relaxed);
    books_.top.store(0, std::memory_order_relaxed);
  }

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
  void take_over(stacklet_books& dead);

 private:
  void push_chunk();
  void shrink_to(std::uint32_t chunk);  // gives back the chunks above
  bool has(std::uint32_t chunk) const;
  void clear() { shrink_to(no_chunk); }
  void give_back(std::uint32_t chunk);
  std::uint32_t top() const { return books_.top.load(std::memory_order_relaxed) - 1; }
  void set_top(std::uint32_t chunk) { books_.top.store(chunk + 1, std::memory_order_release); }
  bool fill_cache();
  std::byte* first() const { return image_.chunk(top()); }
  std::byte* end() const { return image_.chunk(top()) + chunk_bytes; }
  void start_at(std::byte* top);

  const image& image_;
  chunk_pool& chunks_;
  const unsigned part_;
  stacklet_books& books_;
  room& room_;
  std::byte* high_top_ = nullptr;
  std::uint32_t high_chunk_ = no_chunk;
  std::byte* gap_first_ = nullptr;
  std::byte* gap_last_ = nullptr;
};

}  // namespace ppmm::detail
