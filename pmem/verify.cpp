#include <ppmm/pmem/checksum.hpp>
#include <ppmm/pmem/pool.hpp>
#include <ppmm/pmem/verify.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>
#include <span>
#include <type_traits>

namespace ppmm::detail {

namespace format = pmemobj_format;

namespace {

constexpr std::uint64_t page = 4096;
constexpr std::uint64_t end_of_user_addresses = std::uint64_t{1} << 47;
constexpr std::uint64_t lowest_address = std::uint64_t{1} << 16;  // vm.mmap_min_addr

/// [offset, offset + size) lies in [from, to), without overflow.
constexpr bool inside(std::uint64_t offset, std::uint64_t size, std::uint64_t from, std::uint64_t to) {
  return from <= offset && offset <= to && size <= to - offset;
}

bool terminated(std::span<const char> text) { return std::ranges::find(text, '\0') != text.end(); }

constexpr const char* restore = "Restore the pool from a copy";

}  // namespace

// No padding: a checksum covers every byte that counts, and none that does not.
static_assert(std::has_unique_object_representations_v<layout::control_root>);
static_assert(std::has_unique_object_representations_v<layout::job_entry>);
static_assert(std::has_unique_object_representations_v<layout::part_name>);

std::uint64_t checksum_of(const layout::control_root& root) {
  return checksum(&root, offsetof(layout::control_root, checksum));
}

std::uint64_t checksum_of(const layout::extension_entry& extension) {
  return checksum(&extension, offsetof(layout::extension_entry, checksum));
}

std::uint64_t checksum_of(const layout::part_name& name) { return checksum(&name, offsetof(layout::part_name, checksum)); }

std::uint64_t end_of_room(const layout::control_root& root) {
  return root.part + 1 < root.part_count ? root.parts[root.part + 1].base_address : root.parts[0].base_address + pool::max_size;
}

std::size_t extensions(const layout::control_root& root) { return static_cast<std::uint32_t>(root.extension_count); }

void check_bad_blocks(const std::vector<bad_range>& bad, const layout::control_root& root,
                      const std::filesystem::path& file, bool libpmemobj_refuses) {
  const std::vector<layout::segment_entry> segments = segments_of(root);
  std::uint64_t count = 0, bytes = 0;
  for (const bad_range& b : bad) {
    if (b.offset >= part_size(root)) continue;
    const bool in_data = std::ranges::any_of(segments, [&b](const layout::segment_entry& s) {
      return b.offset >= s.offset && b.offset - s.offset <= s.size && b.size <= s.size - (b.offset - s.offset);
    });
    ++count;
    bytes += b.size;
    if (in_data) continue;
    fail<medium_error>(
        "{}: expected a medium that can be read, found {} bad bytes at offset {:#x}, among what every opening needs. "
        "Restore the pool from a copy on good memory",
        file.string(), b.size, b.offset);
  }
  if (count == 0 || !libpmemobj_refuses) return;
  fail<medium_error>(
      "{}: expected a medium that can be read, found {} bad range{} in the pool's data, {} bytes, the first at offset {:#x}. Restore the pool from a copy on "
      "good memory; or open it as it is, where whoever reads there is killed: `pmempool feature --disable CHECK_BAD_BLOCKS {}`",
      file.string(), count, count == 1 ? "" : "s", bytes, bad.front().offset, file.string());
}

std::uint64_t part_size(const layout::control_root& root) {
  const std::size_t n = extensions(root);
  return n == 0 ? root.file_size : root.extensions[n - 1].offset + root.extensions[n - 1].size;
}

std::uint64_t newest_round(const layout::control_root& root) {
  const std::size_t n = extensions(root);
  return n == 0 ? 0 : root.extensions[n - 1].round;
}

std::vector<layout::segment_entry> segments_of(const layout::control_root& root) {
  std::vector<layout::segment_entry> all(root.segments, root.segments + root.segment_count);
  for (std::size_t i = 0; i < extensions(root); ++i) all.push_back({root.extensions[i].offset, root.extensions[i].size});
  return all;
}

namespace {

/// It continues a part of that many bytes, as it was after that growth of the pool.
bool continues(const layout::extension_entry& e, std::uint64_t size, std::uint64_t round) {
  return e.round > round && e.checksum == checksum_of(e) && e.offset == size && e.size % page == 0 && e.size >= layout::min_extension && size <= pool::max_size &&
         e.size <= pool::max_size - size;
}

}  // namespace

std::optional<std::uint64_t> announced_size(const layout::control_root& root) {
  const std::size_t n = extensions(root);
  if (n == layout::max_segments || !continues(root.extensions[n], part_size(root), newest_round(root))) return std::nullopt;
  return part_size(root) + root.extensions[n].size;
}

std::uint64_t checksum_of(const layout::job_entry& job) {
  return checksum(&job, offsetof(layout::job_entry, checksum));
}

std::uint64_t checksum_of_call(std::uint64_t serial, std::string_view text) {
  const std::uint64_t head[] = {serial, text.size(), checksum(text.data(), text.size())};
  return checksum(head, sizeof head);
}

verifier::verifier(const descriptor& fd, std::filesystem::path file)
    : fd_(fd), file_(std::move(file)), name_(file_.string()) {}

const std::vector<verifier::check>& verifier::checks() {
  static const std::vector<check> all = {
      {"libpmemobj header", &verifier::check_header, true},
      {"libpmemobj descriptor", &verifier::check_descriptor, true},
      {"control root", &verifier::check_root, true},
      {"growths", &verifier::check_extensions, true},
      {"file size", &verifier::check_size, true},
      {"table of parts", &verifier::check_parts, true},
      {"segment table", &verifier::check_segments, true},
      {"libpmemobj heap", &verifier::check_heap, false},
      {"libpmemobj logs", &verifier::check_logs, false},
  };
  return all;
}

void verifier::run_all() {
  for (const check& c : checks()) (this->*c.run)();
}

template <class Structure>
Structure verifier::read(std::uint64_t offset) {
  static_assert(std::is_trivially_copyable_v<Structure>);
  Structure found;
  read_at(fd_, file_, offset, &found, sizeof(found));
  return found;
}

void verifier::check_header() {
  file_size_ = size_of(fd_, file_);
  if (file_size_ < sizeof(format::pool_signature)) {
    fail<not_a_pool>("{}: expected a pool, found a file of {} bytes. Name another file, or remove it and create a pool",
                     name_, file_size_);
  }
  const auto signature = read<std::array<char, sizeof(format::pool_signature)>>(0);
  if (fd_.device() && signature == decltype(signature){}) {
    fail<not_a_pool>("{}: expected a pool, found a DAX device without one. Create it first (pool::create, ppmm create)", name_);
  }
  if (std::memcmp(signature.data(), format::pool_signature, signature.size()) != 0) {
    fail<not_a_pool>(
        "{}: expected a libpmemobj pool (it begins with PMEMOBJ), found some other file. Name another file", name_);
  }
  header_ = read<format::pool_header>(0);
  if (header_.major != format::major_version) {
    fail<wrong_version>(
        "{}: expected version {} of libpmemobj's format, found {}. Open it with a PMDK of its time "
        "(pmdk-convert)",
        name_, format::major_version, header_.major);
  }
  constexpr std::uint32_t compat_known = format::compat_check_bad_blocks;
  constexpr std::uint32_t incompat_known = format::incompat_checksum_2k | format::incompat_shutdown_state;
  if ((header_.compat & ~compat_known) != 0 || (header_.incompat & ~incompat_known) != 0 ||
      header_.read_only_compat != 0) {
    fail<wrong_version>(
        "{}: expected no libpmemobj features but {:#x}, {:#x}, 0x0, found {:#x}, {:#x}, {:#x}. Remove "
        "them with pmempool feature",
        name_, compat_known, incompat_known, header_.compat, header_.incompat, header_.read_only_compat);
  }
  if (const std::uint64_t sum = format::checksum_of(header_); sum != header_.checksum) {
    fail<corrupt_pool>("{}: expected checksum {:#x} in libpmemobj's pool header, found {:#x}. {}", name_, sum,
                       header_.checksum, restore);
  }
  for (const auto& link : {header_.previous_part, header_.next_part, header_.previous_replica, header_.next_replica}) {
    if (std::memcmp(link, header_.part, sizeof(header_.part)) != 0) {
      fail<not_a_pool>("{}: expected a pool in one file, found a part of a libpmemobj pool set. Name another file",
                       name_);
    }
  }
}

void verifier::check_descriptor() {
  descriptor_ = read<format::pool_descriptor>(format::descriptor_offset);
  if (const std::uint64_t sum = format::checksum_of(descriptor_); sum != descriptor_.checksum) {
    fail<corrupt_pool>("{}: expected checksum {:#x} in libpmemobj's pool descriptor, found {:#x}. {}", name_, sum,
                       descriptor_.checksum, restore);
  }
  if (!terminated(descriptor_.layout) || std::strcmp(descriptor_.layout, layout::pool_layout_name) != 0) {
    fail<not_a_pool>(
        "{}: expected a libpmemobj pool of layout \"{}\", found layout \"{}\". It belongs to another "
        "program: name another file",
        name_, layout::pool_layout_name, std::string(descriptor_.layout, ::strnlen(descriptor_.layout, 64)));
  }
  if (descriptor_.lanes_offset != format::lanes_offset || descriptor_.lane_count != format::lane_count ||
      descriptor_.heap_offset != format::heap_offset) {
    fail<corrupt_pool>("{}: expected {} lanes at {:#x} and the heap at {:#x}, found {} at {:#x} and {:#x}. {}", name_,
                       format::lane_count, format::lanes_offset, format::heap_offset, descriptor_.lane_count,
                       descriptor_.lanes_offset, descriptor_.heap_offset, restore);
  }
  if (descriptor_.run_id % 2 != 0 || descriptor_.conversion_flags != 0) {
    fail<corrupt_pool>(
        "{}: expected an even run id and no conversion flags in libpmemobj's descriptor, found {} and "
        "{:#x}. {}",
        name_, descriptor_.run_id, descriptor_.conversion_flags, restore);
  }
  if (descriptor_.heap_size > end_of_user_addresses || descriptor_.heap_size % page != 0) {
    fail<corrupt_pool>("{}: expected a heap of whole pages, found {} bytes. {}", name_, descriptor_.heap_size, restore);
  }
  // The heap ends with the file. This is the first thing that a cut file shows: its root may be gone as well.
  if (const std::uint64_t end = descriptor_.heap_offset + descriptor_.heap_size; end > file_size_) {
    fail<truncated_pool>("{}: expected {} bytes, found {}. {}", name_, end, file_size_, restore);
  }
}

void verifier::check_root() {
  const std::uint64_t offset = descriptor_.root_offset;
  const std::uint64_t size = descriptor_.root_size;
  constexpr std::size_t least = offsetof(layout::control_root, max_workers);
  if (offset % alignof(layout::control_root) != 0 || size < least ||
      !inside(offset, size, format::zone_offset(0) + format::zone_metadata_bytes, file_size_)) {
    fail<corrupt_pool>("{}: expected the control root in the heap, found {} bytes at {:#x}. {}", name_, size, offset,
                       restore);
  }
  auto root = std::make_unique<layout::control_root>();
  read_at(fd_, file_, offset, root.get(), std::min<std::uint64_t>(size, sizeof(*root)));
  if (root->magic != layout::control_magic) {
    fail<corrupt_pool>("{}: expected {:#x} at the start of the control root, found {:#x}. {}", name_,
                       layout::control_magic, root->magic, restore);
  }
  if (root->version != layout::format_version) {
    fail<wrong_version>(
        "{}: expected format version {}, found {}. Open it with the PPMM that made it, or create a new "
        "pool",
        name_, layout::format_version, root->version);
  }
  if (size != layout::root_object_bytes) {
    fail<corrupt_pool>("{}: expected a root object of {} bytes, found {}. {}", name_, layout::root_object_bytes, size,
                       restore);
  }
  if (const std::uint64_t sum = checksum_of(*root); sum != root->checksum) {
    fail<corrupt_pool>("{}: expected checksum {:#x} in the control root, found {:#x}. {}", name_, sum, root->checksum,
                       restore);
  }
  if (root->max_workers == 0 || root->max_workers > layout::most_workers) {
    fail<corrupt_pool>("{}: expected 1 to {} worker slots, found {}. {}", name_, layout::most_workers, root->max_workers, restore);
  }
  if (root->durability > static_cast<std::uint32_t>(durability::emulated)) {
    fail<corrupt_pool>("{}: expected durability level 0, 1 or 2, found {}. {}", name_, root->durability, restore);
  }
  root_ = std::move(root);
}

void verifier::check_extensions() {
  const layout::control_root& root = *root_;
  const std::size_t n = extensions(root);
  if (root.extension_count >> 32 != n || n > layout::max_segments)
    fail<corrupt_pool>("{}: expected a number of growths, found {:#x}. {}", name_, root.extension_count, restore);
  std::uint64_t size = root.file_size;
  for (std::size_t i = 0; i < n; ++i) {
    const layout::extension_entry& e = root.extensions[i];
    if (!continues(e, size, i == 0 ? 0 : root.extensions[i - 1].round))
      fail<corrupt_pool>("{}: expected growth {} to continue a pool of {} bytes, found {} bytes at {:#x}, with checksum {:#x}. {}", name_, i, size, e.size,
                         e.offset, e.checksum, restore);
    size += e.size;
  }
}

void verifier::check_size() {
  const layout::control_root& root = *root_;
  if (root.file_size < pool::min_size) {
    fail<pool_too_small>("{}: expected a pool of at least {} bytes, found one of {}. Create a bigger one", name_,
                         pool::min_size, root.file_size);
  }
  if (root.file_size > pool::max_size) {
    fail<corrupt_pool>("{}: expected a pool of at most {} bytes, found one of {}. {}", name_, pool::max_size, root.file_size, restore);
  }
  const std::uint64_t size = part_size(root);
  if (size > file_size_) {
    fail<truncated_pool>("{}: expected {} bytes, found {}. {}", name_, size, file_size_, restore);
  }
  // Longer it is only where a growth was cut short: what it added counts for nothing yet.
  if (file_size_ > announced_size(root).value_or(size) || root.file_size != descriptor_.heap_offset + descriptor_.heap_size) {
    fail<corrupt_pool>("{}: expected {} bytes, {} of them as at its creation, found {} (libpmemobj: {}). {}", name_, size, root.file_size,
                       file_size_, descriptor_.heap_offset + descriptor_.heap_size, restore);
  }
  if (root.base_address % page != 0 || !inside(root.base_address, size, lowest_address, end_of_user_addresses)) {
    fail<corrupt_pool>("{}: expected a page address of this machine to map {} bytes at, found {:#x}. {}", name_, size,
                       root.base_address, restore);
  }
}

/// This file is one of them; where they are mapped they do not meet, and the first knows where they are.
void verifier::check_parts() {
  const layout::control_root& root = *root_;
  if (root.part_count == 0 || root.part_count > layout::max_parts || root.part >= root.part_count) {
    fail<corrupt_pool>("{}: expected one of 1 to {} parts, found number {} of {}. {}", name_, layout::max_parts, root.part, root.part_count, restore);
  }
  const layout::part_entry& own = root.parts[root.part];
  if (own.base_address != root.base_address || own.file_size != root.file_size) {
    fail<corrupt_pool>("{}: expected part {} of {} bytes at {:#x}, as it is, in the table of parts, found {} bytes at {:#x}. {}", name_, root.part,
                       root.file_size, root.base_address, own.file_size, own.base_address, restore);
  }
  std::uint64_t free_from = lowest_address;
  for (std::uint32_t i = 0; i < root.part_count; ++i) {
    const layout::part_entry& p = root.parts[i];
    const std::uint64_t size = i == root.part ? part_size(root) : p.file_size;
    if (p.base_address % page != 0 || p.file_size < pool::min_size || !inside(p.base_address, size, free_from, end_of_user_addresses) ||
        p.base_address + size - root.parts[0].base_address > pool::max_size) {
      fail<corrupt_pool>("{}: expected part {} mapped behind those before it, and all within {} bytes, found {} bytes at {:#x}. {}", name_, i, pool::max_size,
                         size, p.base_address, restore);
    }
    free_from = p.base_address + size;
    if (root.part != 0) continue;
    const layout::part_name& n = root.names[i];
    if (n.checksum != checksum_of(n) || !terminated(n.file) || n.file[0] != '/') {
      fail<corrupt_pool>("{}: expected the name of part {}, found something that its checksum does not fit. {}", name_, i, restore);
    }
  }
}

void verifier::check_segments() {
  const layout::control_root& root = *root_;
  if (root.segment_count == 0 || root.segment_count > layout::max_segments - extensions(root)) {
    fail<corrupt_pool>("{}: expected 1 to {} segments, found {} and {} growths. {}", name_, layout::max_segments,
                       root.segment_count, extensions(root), restore);
  }
  std::uint64_t free_from = 0;  // segments stand in the order of their offsets
  for (std::uint32_t i = 0; i < root.segment_count; ++i) {
    const auto [offset, size] = root.segments[i];
    const std::uint64_t zone =
        offset < format::zone_offset(0) ? 0 : (offset - format::zone_offset(0)) / format::zone_bytes;
    const std::uint64_t first = format::zone_offset(zone) + format::zone_metadata_bytes;
    const std::uint64_t last = std::min(root.file_size, format::zone_offset(zone + 1));
    const bool over_root = offset < descriptor_.root_offset + descriptor_.root_size &&
                           descriptor_.root_offset < offset + std::min(size, root.file_size);
    if (offset % page != 0 || size % page != 0 || size == 0 || offset < free_from ||
        !inside(offset, size, first, last) || over_root) {
      fail<corrupt_pool>("{}: expected segment {} in the heap and clear of all else, found {} bytes at {:#x}. {}",
                         name_, i, size, offset, restore);
    }
    free_from = offset + size;
  }
}

void verifier::check_heap() {
  const auto heap = read<format::heap_header>(format::heap_offset);
  if (const std::uint64_t sum = format::checksum_of(heap); sum != heap.checksum) {
    fail<corrupt_pool>("{}: expected checksum {:#x} in libpmemobj's heap header, found {:#x}. {}", name_, sum,
                       heap.checksum, restore);
  }
  if (std::memcmp(heap.signature, format::heap_signature, sizeof(heap.signature)) != 0) {
    fail<corrupt_pool>("{}: expected libpmemobj's heap header, found something else. {}", name_, restore);
  }
  // libpmemobj walks each zone's chunk headers at open: by their lengths, which must neither stand still nor run off.
  for (std::uint64_t z = 0; z < format::zone_count(descriptor_.heap_size); ++z) {
    const auto zone = read<format::zone_header>(format::zone_offset(z));
    if (zone.magic == 0) continue;  // not used yet
    const std::uint64_t chunks = format::chunks_in_zone(z, descriptor_.heap_size);
    if (zone.magic != format::zone_magic || zone.chunks != chunks) {
      fail<corrupt_pool>("{}: expected {} chunks in zone {} of libpmemobj's heap, found {}. {}", name_, chunks, z,
                         zone.chunks, restore);
    }
    std::array<format::chunk_header, 512> some;  // a page of them, from `first` on
    std::uint64_t first = chunks;
    for (std::uint64_t c = 0; c < chunks;) {
      if (c < first || c - first >= some.size()) {
        first = c;
        read_at(fd_, file_, format::zone_offset(z) + sizeof(zone) + c * sizeof(some[0]), some.data(), std::min<std::uint64_t>(some.size(), chunks - c) * sizeof(some[0]));
      }
      const format::chunk_header chunk = some[c - first];
      if (chunk.type == 0 || chunk.type >= format::chunk_type_end || (chunk.flags & ~format::chunk_flags_valid) != 0 ||
          chunk.chunks == 0 || chunk.chunks > chunks - c) {
        fail<corrupt_pool>(
            "{}: expected a chunk at {} in zone {} of libpmemobj's heap, found type {}, flags {:#x}, {} "
            "chunks. {}",
            name_, c, z, chunk.type, chunk.flags, chunk.chunks, restore);
      }
      c += chunk.chunks;
    }
  }
}

void verifier::check_logs() {
  constexpr std::size_t together = 32;  // lanes a read: what fits the cache
  static_assert(format::lane_count % together == 0);
  std::vector<std::byte> lanes(together * format::lane_bytes);
  for (std::size_t first = 0; first < format::lane_count; first += together) {
    read_at(fd_, file_, format::lanes_offset + first * format::lane_bytes, lanes.data(), lanes.size());
    for (std::size_t i = 0; i < together; ++i) check_lane(first + i, lanes.data() + i * format::lane_bytes);
  }
}

/// What libpmemobj would replay at open. A finished pool allocates nothing: its redo logs are empty. Its transactions
/// change one job entry or name each: an undo log, in one piece, of bytes there. Whatever else a log says would be
/// written anywhere.
void verifier::check_lane(std::size_t lane, const std::byte* content) {
  struct log {
    const char* name;
    std::size_t bytes;
    bool undo;
  };
  for (const log& l :
       {log{"internal redo", format::internal_redo_bytes, false},
        log{"external redo", format::external_redo_bytes, false}, log{"undo", format::undo_bytes, true}}) {
    format::log_header header;
    std::memcpy(&header, content, sizeof(header));
    const std::byte* data = content + sizeof(header);
    content = data + l.bytes;
    const auto refuse = [&](const char* what) {
      fail<corrupt_pool>(
          "{}: expected the {} log of libpmemobj's lane {} to name bytes of the job catalog or of "
          "the parts' names only, found {}. {}",
          name_, l.name, lane, what, restore);
    };
    if (header.next != 0) refuse("an extension");
    if (header.flags != 0) refuse("flags");
    if (header.capacity > l.bytes || header.capacity % line_size != 0) refuse("a wrong capacity");
    for (std::uint64_t at = 0; at < header.capacity;) {
      format::undo_entry entry;
      std::memcpy(&entry, data + at, sizeof(entry));
      if (entry.offset == 0) break;
      if (!l.undo) refuse("an entry");
      if (entry.offset >> format::operation_shift != format::operation_copy) refuse("an unknown operation");
      const std::uint64_t target = entry.offset & ((std::uint64_t{1} << format::operation_shift) - 1);
      const std::uint64_t first = descriptor_.root_offset + offsetof(layout::control_root, jobs);
      const std::uint64_t last = descriptor_.root_offset + offsetof(layout::control_root, extension_count);
      if (!inside(target, entry.size, first, last)) refuse("other bytes");
      if (entry.size > header.capacity - at - sizeof(entry)) refuse("an entry that is too long");
      const std::size_t lines = (sizeof(entry) + entry.size + line_size - 1) / line_size * line_size;
      // Those of a transaction that is over stay, and only the log's generation goes on.
      if (format::checksum_of_undo({data + at, lines}, header.generation) == entry.checksum) logs_are_empty_ = false;
      at += lines;
    }
  }
}

bool verifier::libpmemobj_has_its_say() const {
  const format::shutdown_state& s = header_.shutdown;
  return !logs_are_empty_ || (s.dirty != 0 && (s.unsafe_shutdowns != 0 || s.devices != 0));
}

std::optional<layout::job_entry> verifier::read_job(std::size_t index) {
  const auto job = read<layout::job_entry>(descriptor_.root_offset + offsetof(layout::control_root, jobs) +
                                           index * sizeof(layout::job_entry));
  return check_job(job, index, file_) ? std::optional(job) : std::nullopt;
}

std::optional<std::string> verifier::read_call(std::uint64_t serial) {
  auto call = std::make_unique<layout::call_record>();
  read_at(fd_, file_, descriptor_.root_offset + offsetof(layout::control_root, call), call.get(), sizeof(*call));
  if (call->serial != serial || call->bytes == 0) return std::nullopt;
  const std::string_view text(call->text, std::min<std::uint64_t>(call->bytes, layout::max_call));
  if (const std::uint64_t sum = checksum_of_call(serial, text); call->bytes > layout::max_call || sum != call->checksum) {
    fail<corrupt_pool>(
        "{}: expected checksum {:#x} in the record of how the newest job was called, found {:#x} and {} bytes. The job "
        "is not touched by it: give its command again",
        name_, sum, call->checksum, call->bytes);
  }
  return std::string(text);
}

bool check_job(const layout::job_entry& job, std::size_t index, const std::filesystem::path& file) {
  // Free is nothing but zeros: so a flipped bit cannot make a job disappear.
  const auto* const bytes = reinterpret_cast<const char*>(&job);
  if (bytes[0] == 0 && std::memcmp(bytes, bytes + 1, sizeof job - 1) == 0) return false;  // each is as the one before
  if (const std::uint64_t sum = checksum_of(job); sum != job.checksum) {
    fail<corrupt_pool>(
        "{}: expected checksum {:#x} in entry {} of the job catalog, found {:#x}. The other entries are "
        "not touched; restore the pool from a copy",
        file.string(), sum, index, job.checksum);
  }
  if (job.state == layout::job_state::free || job.state > layout::job_state::failed ||
      job.result_size > layout::max_job_result || !terminated(job.name) || job.name[0] == '\0' ||
      !terminated(job.task) || !terminated(job.text)) {
    fail<corrupt_pool>(
        "{}: expected a job in entry {} of the job catalog, found state {}, {} bytes of result, or text "
        "without an end. Restore the pool from a copy",
        file.string(), index, static_cast<std::uint32_t>(job.state), job.result_size);
  }
  return true;
}

}  // namespace ppmm::detail
