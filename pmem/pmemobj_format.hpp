/// What libpmemobj writes into a pool file (format 6 of its `PMEMOBJ` pools, PMDK 1.5 and later).
///
/// libpmemobj trusts a pool whose header checksums fit: it follows offsets, walks chunk headers and replays logs
/// without looking where they point, and changes the file before it has found out whether it can be opened. PPMM reads
/// these few structures first, by pread, so that a damaged or forged file is an error and stays as it is (verify.hpp).
/// They are a published format (pmempool prints them) that has stayed the same since 2018.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace ppmm::pmemobj_format {

inline constexpr char pool_signature[8] = "PMEMOBJ";
inline constexpr std::uint32_t major_version = 6;

/// Feature bits. Others are refused: this code would not know what they change.
inline constexpr std::uint32_t compat_check_bad_blocks = 1;
inline constexpr std::uint32_t incompat_checksum_2k = 2;     // the header's checksum covers its first 2 KiB only
inline constexpr std::uint32_t incompat_shutdown_state = 4;  // `shutdown` is in use

/// Whether the pool was closed, and how often its devices had lost what they should keep when it was opened.
struct shutdown_state {
  std::uint64_t unsafe_shutdowns, devices;  // sums over the devices: of their counts, and of their names' checksums
  std::uint8_t dirty, unused[39];
  std::uint64_t checksum;
};

/// At offset 0.
struct pool_header {
  char signature[8];
  std::uint32_t major;
  std::uint32_t compat, incompat, read_only_compat;
  std::uint8_t pool_set[16];
  std::uint8_t part[16], previous_part[16], next_part[16], previous_replica[16], next_replica[16];
  std::uint64_t created;
  std::uint8_t architecture[16];
  std::uint8_t unused[3880];
  shutdown_state shutdown;  // not in the checksum
  std::uint64_t checksum;           // Fletcher, of the bytes up to 2 KiB or up to shutdown_state
};
static_assert(sizeof(pool_header) == 4096 && offsetof(pool_header, shutdown) == 4024);

/// At offset 4096. Its second half is working memory of the process that has the pool open: never read.
struct pool_descriptor {
  char layout[1024];
  std::uint64_t lanes_offset, lane_count, heap_offset;
  std::uint8_t unused[992];
  std::uint64_t checksum;  // Fletcher, of all above
  std::uint64_t root_offset;
  std::uint64_t run_id;  // even
  std::uint64_t root_size;
  std::uint64_t conversion_flags;
  std::uint64_t heap_size;
};
static_assert(offsetof(pool_descriptor, checksum) == 2040 && sizeof(pool_descriptor) == 2088);
inline constexpr std::uint64_t descriptor_offset = sizeof(pool_header);

/// A lane: the logs of one thread's operation. The redo logs belong to the allocator, the undo log to transactions.
struct log_header {
  std::uint64_t checksum, next, capacity, generation, flags, unused[3];
};
static_assert(sizeof(log_header) == 64);
inline constexpr std::size_t lane_count = 1024;
inline constexpr std::size_t internal_redo_bytes = 192, external_redo_bytes = 640, undo_bytes = 2048;
inline constexpr std::size_t lane_bytes =
    3 * sizeof(log_header) + internal_redo_bytes + external_redo_bytes + undo_bytes;
static_assert(lane_bytes == 3072);
inline constexpr std::uint64_t lanes_offset = 8192;
inline constexpr std::uint64_t heap_offset = 0x302000;  // after the lanes, on a page boundary
static_assert(heap_offset >= lanes_offset + lane_count * lane_bytes);

/// An undo entry: `size` bytes of old content follow; the next entry begins on the next line. Offset 0 ends the log.
struct undo_entry {
  std::uint64_t offset;  // in the file; the top three bits are the operation
  std::uint64_t checksum, size;
};
inline constexpr int operation_shift = 61;
inline constexpr std::uint64_t operation_copy = 6;

/// The heap: its header, then zones of up to 16 GiB; a zone is a header, a table of chunk headers, the chunks.
struct heap_header {
  char signature[16];
  std::uint64_t major, minor, unused, chunk_size, chunks_per_zone;
  std::uint8_t reserved[960];
  std::uint64_t checksum;  // Fletcher, of all above
};
static_assert(sizeof(heap_header) == 1024);
inline constexpr char heap_signature[16] = "MEMORY_HEAP_HDR";
inline constexpr std::uint64_t chunk_bytes = std::uint64_t{256} << 10;
inline constexpr std::uint64_t chunks_per_zone = 65528;
inline constexpr std::uint64_t object_header_bytes = 16;

struct zone_header {
  std::uint32_t magic;
  std::uint32_t chunks;
  std::uint8_t reserved[56];
};
inline constexpr std::uint32_t zone_magic = 0xc3f0'a2d2;

struct chunk_header {
  std::uint16_t type, flags;
  std::uint32_t chunks;  // that this block covers
};
inline constexpr std::uint16_t chunk_type_end = 6, chunk_flags_valid = 0xf;
inline constexpr std::uint64_t zone_metadata_bytes = sizeof(zone_header) + chunks_per_zone * sizeof(chunk_header);
inline constexpr std::uint64_t zone_bytes = zone_metadata_bytes + chunks_per_zone * chunk_bytes;

/// Where zone `z` begins in the file.
constexpr std::uint64_t zone_offset(std::uint64_t z) { return heap_offset + sizeof(heap_header) + z * zone_bytes; }

/// Zones that hold at least one chunk, in a heap of `heap_size` bytes.
constexpr std::uint64_t zone_count(std::uint64_t heap_size) {
  const std::uint64_t room = heap_size - sizeof(heap_header);
  return room / zone_bytes + (room % zone_bytes >= zone_metadata_bytes + chunk_bytes ? 1 : 0);
}

/// Chunks in zone `z` of `zone_count(heap_size)`.
constexpr std::uint64_t chunks_in_zone(std::uint64_t z, std::uint64_t heap_size) {
  if (z + 1 < zone_count(heap_size)) return chunks_per_zone;
  return (heap_size - sizeof(heap_header) - z * zone_bytes - zone_metadata_bytes) / chunk_bytes;
}

/// libpmemobj's checksum: Fletcher's with 32-bit words, of `bytes` with zeros for the 8 bytes at `hole` (where the sum
/// itself stands) and for all from `end` on.
std::uint64_t fletcher64(std::span<const std::byte> bytes, std::size_t hole, std::size_t end);

/// The checksum that belongs into `header.checksum`.
std::uint64_t checksum_of(const pool_header& header);
std::uint64_t checksum_of(const pool_descriptor& descriptor);
std::uint64_t checksum_of(const heap_header& header);
/// And into that of an undo entry: of its whole lines, and of the generation of the log that it stands in.
std::uint64_t checksum_of_undo(std::span<const std::byte> lines, std::uint64_t generation);

}  // namespace ppmm::pmemobj_format
