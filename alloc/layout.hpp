/// What the heap keeps in a pool: chunk entries, bits of blocks, heap control with the roots, redo areas.
///
/// All zero bytes are a valid, empty heap. docs/design.md, "Heap", gives the picture and the invariants (H1 to H9).
#pragma once

#include <ppmm/pmem/durable_word.hpp>

#include <cstddef>
#include <cstdint>

namespace ppmm::detail {

/// The segments are cut into chunks, aligned to their size: for stacklets, superblocks, extents and long redo lists.
inline constexpr std::size_t chunk_bytes = std::size_t{64} << 10;
inline constexpr std::uint32_t no_chunk = 0xffffffff;

// ---- blocks --------------------------------------------------------------------------------------------------------

/// For 64 blocks. A block is allocated if and only if its alloc and free bits differ: allocating changes alloc, freeing
/// changes free, so that a repeated change of one kind never undoes a later one of the other kind.
struct alignas(32) block_bits {
  durable_word<std::uint64_t> alloc;  // by the lists of the arena that has the superblock
  durable_word<std::uint64_t> free;   // by the lists of whoever frees
  durable_word<std::uint64_t> young;  // allocated by the job whose serial stands in the chunk's entry; with alloc
  std::uint64_t unused;
};
static_assert(sizeof(block_bits) == 32);  // never across lines

// ---- chunks --------------------------------------------------------------------------------------------------------

enum class chunk_kind : std::uint8_t {
  none = 0,        // free, or a chunk of a stacklet or of a list, which records lead to
  superblock = 1,  // blocks of one size class
  extent = 2,      // the first chunk of one block of many
  rest = 3,        // a further chunk of an extent, if the first one says so
};

/// {claim 32, arena 16, size class 8, kind 8}. The claim counts what the chunk has been used for: an entry of a redo
/// list names it, and is void when the chunk is something else by now.
constexpr std::uint64_t chunk_word(std::uint32_t claim, chunk_kind kind, unsigned size_class = 0, unsigned arena = 0) {
  return std::uint64_t{claim} << 32 | std::uint64_t{arena & 0xffff} << 16 | std::uint64_t{size_class & 0xff} << 8 | static_cast<std::uint64_t>(kind);
}
constexpr std::uint32_t claim_of(std::uint64_t word) { return static_cast<std::uint32_t>(word >> 32); }
constexpr unsigned arena_of(std::uint64_t word) { return static_cast<unsigned>(word >> 16 & 0xffff); }
constexpr unsigned size_class_of(std::uint64_t word) { return static_cast<unsigned>(word >> 8 & 0xff); }
constexpr unsigned kind_of(std::uint64_t word) { return static_cast<unsigned>(word & 0xff); }
constexpr bool is_kind(std::uint64_t word, chunk_kind kind) { return kind_of(word) == static_cast<unsigned>(kind); }

/// One line a chunk. The word is written last when a chunk becomes something, and first when it becomes free; each time
/// durable before what follows.
struct alignas(64) chunk_entry {
  durable_word<std::uint64_t> word;
  durable_word<std::uint64_t> serial;  // of the job that adopted the superblock last: whose the young blocks are
  durable_word<std::uint64_t> chunks;  // extent: how many; rest: how far the first one is
  std::uint64_t unused;
  block_bits bits;                     // of an extent, or of a class of at most 64 blocks; else they begin the chunk
};
static_assert(sizeof(chunk_entry) == 64);
static_assert(offsetof(chunk_entry, bits) == 32);

// ---- heap control --------------------------------------------------------------------------------------------------

inline constexpr std::size_t max_roots = 64;
inline constexpr std::size_t max_root_name = 64;      // with the final NUL
inline constexpr std::uint64_t serial_window = 4096;  // serials whose kept bits are there

/// A root's value, as one job set it. Counts if that job is kept; of two, the later.
struct alignas(64) root_version {
  durable_word<std::uint64_t> serial;  // 0: none
  durable_word<std::uint64_t> address;
  durable_word<std::uint64_t> count;   // elements
  durable_word<std::uint64_t> type;    // hash of the element type's name
  durable_word<std::uint64_t> bytes;   // of an element
  std::uint64_t unused[3];
};
static_assert(sizeof(root_version) == 64);

/// Free if neither version counts or is of the running job.
struct root_slot {
  char name[max_root_name];
  root_version versions[2];
};
static_assert(sizeof(root_slot) == 192);

/// After the exposure slots. Written when jobs begin and end, roots when a task sets them.
struct alignas(64) heap_control {
  durable_word<std::uint64_t> newest;  // serial of the last job that began
  durable_word<std::uint64_t> first;   // older ones are kept: what they did not keep is resolved
  std::uint64_t unused[6];
  durable_word<std::uint64_t> kept[serial_window / 64];  // bit serial % window
  root_slot roots[max_roots];
};
static_assert(sizeof(heap_control) == 64 + serial_window / 8 + max_roots * sizeof(root_slot));

// ---- redo lists ----------------------------------------------------------------------------------------------------

/// One change of one bit: {claim 26, chunk 24, block 12, value 1, free 1}.
constexpr std::uint64_t redo_word(std::uint32_t claim, std::uint32_t chunk, std::uint32_t block, bool value, bool free) {
  return std::uint64_t{claim} << 38 | std::uint64_t{chunk} << 14 | std::uint64_t{block} << 2 | std::uint64_t{value} << 1 | std::uint64_t{free};
}
constexpr std::uint32_t redo_claim_mask = (1u << 26) - 1;
constexpr std::uint32_t redo_claim(std::uint64_t w) { return static_cast<std::uint32_t>(w >> 38); }
constexpr std::uint32_t redo_chunk(std::uint64_t w) { return static_cast<std::uint32_t>(w >> 14) & 0xff'ffff; }
constexpr std::uint32_t redo_block(std::uint64_t w) { return static_cast<std::uint32_t>(w >> 2) & 0xfff; }
constexpr bool redo_value(std::uint64_t w) { return (w >> 1 & 1) != 0; }
constexpr bool redo_is_free(std::uint64_t w) { return (w & 1) != 0; }

/// The list of the record of the same buffer. Written and durable before the record is written; counts only if the
/// record says that it has one. What does not fit goes on in chunks: {next chunk + 1, words}.
struct alignas(512) redo_area {
  std::uint64_t sequence;  // the record's
  std::uint64_t count;     // words in all
  std::uint64_t next;      // chunk + 1; 0: none
  std::uint64_t checksum;  // of the three above and the words
  std::uint64_t words[124];
};
static_assert(sizeof(redo_area) == 1024);
inline constexpr std::size_t redo_words_in_area = 124, redo_words_in_chunk = chunk_bytes / 8 - 1;
inline constexpr std::uint64_t max_redo_words = std::uint64_t{1} << 32;

}  // namespace ppmm::detail
