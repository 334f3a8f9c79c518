/// What stands in a pool file, outside the segments.
///
/// A pool is one file or several, its *parts*, one a NUMA node. Each is a libpmemobj pool (layout name `ppmm`). Its root
/// object is the `control_root` below: the control plane. Its other objects are *segments*: big blocks whose insides belong
/// to the data plane (sched/layout.hpp, alloc/layout.hpp). The job catalog and the table of names are the first part's; they
/// are changed only by libpmemobj transactions, extensions by single words; by the process that holds the pool.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace ppmm::layout {

inline constexpr char pool_layout_name[] = "ppmm";
inline constexpr std::uint64_t control_magic = 0x4c4f4f504d4d5050;  // "PPMMPOOL"
inline constexpr std::uint32_t format_version = 3;
inline constexpr std::size_t max_parts = 16;
inline constexpr std::size_t max_part_name = 512;     // with the final NUL
inline constexpr std::uint32_t no_node = 0xffffffff;
inline constexpr std::uint32_t most_workers = 4096;  // worker slots
inline constexpr std::size_t max_segments = 64;
inline constexpr std::size_t max_jobs = 64;
inline constexpr std::size_t max_job_name = 64;       // with the final NUL
inline constexpr std::size_t max_job_result = 256;    // bytes
inline constexpr std::size_t max_job_text = 512;      // with the final NUL
inline constexpr std::size_t build_id_bytes = 20;
inline constexpr std::size_t max_call = (std::size_t{64} << 10) - 24;  // bytes

/// Where a job stands. `free` entries may be reused.
enum class job_state : std::uint32_t { free = 0, running = 1, finished = 2, failed = 3 };

/// One entry of the job catalog. Written when a job starts, ends or fails. A free entry is all zeros, its checksum too.
struct job_entry {
  job_state state;
  std::uint32_t result_size;                       // bytes of `result` that count
  char name[max_job_name];                         // what the user calls it
  char task[256];                                  // readable name of the root task's type, cut to fit
  std::uint64_t task_id;                           // its type id
  std::uint64_t arguments;                         // hash of the root task's arguments
  std::uint8_t build_id[build_id_bytes];           // of the program that started it
  std::uint32_t workers;                           // worker slots used so far
  std::uint64_t started_ns;                        // CLOCK_REALTIME
  std::uint64_t ended_ns;
  std::uint64_t resumed;                           // how often it was resumed
  std::uint64_t serial;                            // names this run of the job in the records; never reused in a pool
  std::uint64_t region;                            // bytes of pool memory handed to the job (sched/region.hpp)
  std::uint64_t input;                             // the user's own mark for what it works on (0: none)
  std::uint8_t result[max_job_result];
  char text[max_job_text];                         // why it failed, or stopped
  std::uint64_t checksum;                          // of all above
};
static_assert(std::is_trivially_copyable_v<job_entry>);

/// A block that libpmemobj allocated when the pool was created.
struct segment_entry {
  std::uint64_t offset;  // from the start of the file; a multiple of 4096
  std::uint64_t size;    // bytes; a multiple of 4096
};

/// What a growth of the pool added: bytes of the file, behind all that was there before.
struct extension_entry {
  std::uint64_t offset;    // where the pool ended
  std::uint64_t size;      // bytes; a multiple of 4096
  std::uint64_t round;     // growths of the pool, this one included: the order in which parts grew
  std::uint64_t checksum;  // of these
};
inline constexpr std::uint64_t min_extension = std::uint64_t{1} << 20;

/// One file of a pool, as all parts know it. Of those that are not there all is zero.
struct part_entry {
  std::uint64_t base_address;  // where it is mapped, always; ascending
  std::uint64_t file_size;     // bytes, at creation
  std::uint32_t node;          // NUMA node that its memory is on, or is to be; no_node: not known
  std::uint32_t unused;
};

/// Where a part was when the pool was made, or was said to be since.
struct part_name {
  char file[max_part_name];  // an absolute path; empty: there is no such part
  std::uint64_t checksum;
};

/// How the program was called whose job is the newest in the pool, in its own words, so that it can be called again.
/// Written before the job's entry. All zeros, as in pools made before there was such a record: none.
struct call_record {
  std::uint64_t serial;    // the job's; written last. 0, or one that no entry has: the rest counts for nothing
  std::uint64_t bytes;     // of `text` that count
  std::uint64_t checksum;  // of serial, bytes and those
  char text[max_call];
};
static_assert(sizeof(call_record) == std::size_t{64} << 10);

/// The root object of the libpmemobj pool.
struct control_root {
  std::uint64_t magic;
  std::uint32_t version;
  std::uint32_t max_workers;     // worker slots of the pool, laid out in the first segments of its parts
  std::uint64_t base_address;    // where the file is mapped, always
  std::uint64_t file_size;       // bytes, at creation
  std::uint32_t durability;      // level asked for at creation (ppmm::durability)
  std::uint32_t segment_count;
  segment_entry segments[max_segments];
  std::uint8_t pool_id[16];      // random: the same in all parts, and in no other pool
  std::uint32_t part;            // which part this file is
  std::uint32_t part_count;
  part_entry parts[max_parts];
  std::uint64_t checksum;        // of all above: written once, at creation
  job_entry jobs[max_jobs];      // of the first part; in others all are free
  part_name names[max_parts];    // the first part's count; others keep what was at creation
  std::uint64_t extension_count;  // {count 32, count 32}: so many of the next are segments as well; one store
  extension_entry extensions[max_segments];  // the one after those may announce what the file is about to grow by
  call_record call;
};
/// What the root object takes: one of libpmemobj's chunks (256 KiB), less its header. At the size of `control_root` it
/// would come from a run of nine chunks, of which nothing else would ever be used.
inline constexpr std::size_t root_object_bytes = 256 * 1024 - 16;
static_assert(sizeof(control_root) <= root_object_bytes);
static_assert(offsetof(control_root, segments) == 40);
static_assert(offsetof(control_root, checksum) == 40 + max_segments * sizeof(segment_entry) + 24 + max_parts * sizeof(part_entry));
static_assert(sizeof(segment_entry) == 16 && sizeof(part_entry) == 24);

}  // namespace ppmm::layout
