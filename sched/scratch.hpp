/// Scratch memory of a capsule: ephemeral, handed out by bumping a pointer, all taken back at once when the capsule ends.
///
/// It is on the ordinary side of the machine: nothing is flushed, a repeated capsule asks for it anew. Whoever keeps some
/// beyond its capsule is found out: under AddressSanitizer it is poisoned; in builds with assertions, and instrumented
/// ones, it is overwritten.
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

namespace ppmm::detail {

class scratch_memory {
 public:
  /// What is taken back is overwritten with this.
  static constexpr int poison = 0xdb;
  static constexpr std::size_t block_bytes = std::size_t{64} << 10;

  scratch_memory() = default;
  ~scratch_memory();
  scratch_memory(const scratch_memory&) = delete;
  scratch_memory& operator=(const scratch_memory&) = delete;

  /// `bytes` bytes, not written, until the capsule ends. Throws error where the machine has not so much. Cost: some ns;
  /// more than half a block: what operator new takes.
  std::byte* take(std::size_t bytes, std::size_t alignment);
  /// So much was given that the capsule should end soon.
  bool is_full() const { return given_ > std::size_t{4} << 20; }

  /// The capsule is over.
  void end() {
    if (given_ != 0) take_back(false);
  }
  /// A fault: as `end`, and what was there is overwritten in every build.
  void lose() {
    if (given_ != 0) take_back(true);
  }

 private:
  struct freed {
    std::size_t alignment;
    void operator()(std::byte* p) const;
  };
  struct block {
    std::unique_ptr<std::byte[], freed> memory;
    std::size_t bytes;
  };
  static block new_block(std::size_t bytes, std::size_t alignment);
  void take_back(bool overwrite);
  void next_block();

  std::byte *top_ = nullptr, *end_ = nullptr;  // room in the current block
  std::size_t current_ = 0;                    // of blocks_; those before it are used
  std::vector<block> blocks_, large_;          // large ones are one request each
  std::size_t given_ = 0;                      // bytes, since the capsule began
};

}  // namespace ppmm::detail
