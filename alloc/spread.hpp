/// Bulk data over the parts of a pool, so that it is near to workers on all NUMA nodes.
#pragma once

#include <ppmm/alloc/array.hpp>
#include <ppmm/pmem/layout.hpp>

#include <algorithm>
#include <cassert>
#include <cstddef>
#include <cstdint>

namespace ppmm {

/// Where the memory of an array is to be (`context::alloc`). Advice: where there is no room, it is in another part.
namespace placement {

/// In the part of the pool on that NUMA node; if there is none, near the worker that allocates.
struct on_node {
  unsigned node;
};
/// Over all parts in turn, blocks of so many bytes: for what all read alike.
struct interleaved {
  std::size_t bytes = std::size_t{64} << 10;
};
/// One block in each part: for what is worked on in order.
struct blocked {};

}  // namespace placement

/// Objects of the heap, in blocks of one size that go round the parts of the pool: block k is in piece k % pieces. A durable
/// value, like `array`; `for_each(s, body)` works on it where it is.
template <class T>
class spread {
 public:
  constexpr spread() = default;
  /// `block`: elements, at least 1. Pieces are set one by one.
  spread(std::size_t size, std::size_t block, unsigned pieces)
      : size_(size), block_(std::max<std::uint64_t>(block, 1)), pieces_(std::clamp<std::uint64_t>(pieces, 1, layout::max_parts)) {}

  std::size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  std::size_t block_size() const { return block_; }
  std::size_t blocks() const { return (size_ + block_ - 1) / block_; }
  unsigned pieces() const { return static_cast<unsigned>(pieces_); }

  /// All elements of a piece, in the order in which they stand there.
  array<T> piece(unsigned p) const { return {reinterpret_cast<T*>(address_[p]), piece_size(p)}; }
  std::size_t piece_size(unsigned p) const {
    const std::size_t whole = size_ / block_, round = whole / pieces_, more = whole % pieces_;
    return (round + (p < more ? 1 : 0)) * block_ + (p == more ? size_ % block_ : 0);
  }
  void set_piece(unsigned p, T* first) { address_[p] = reinterpret_cast<std::uintptr_t>(first); }

  /// Elements [k * block_size(), …) of the whole: a block of them, the last one may be shorter.
  array<T> block(std::size_t k) const {
    assert(k < blocks());
    const std::size_t first = k / pieces_ * block_;
    return {reinterpret_cast<T*>(address_[k % pieces_]) + first, std::min<std::size_t>(block_, size_ - k * block_)};
  }
  ptr<T> operator[](std::size_t i) const {
    assert(i < size_);
    return block(i / block_)[i % block_];
  }
  /// Of element i of a piece: which it is of the whole.
  std::size_t index_of(unsigned p, std::size_t i) const { return (i / block_ * pieces_ + p) * block_ + i % block_; }

 private:
  std::uint64_t size_ = 0, block_ = 1, pieces_ = 1;
  std::uintptr_t address_[layout::max_parts] = {};  // of the pieces; 0 for an empty one
};

}  // namespace ppmm
