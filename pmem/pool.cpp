#include <ppmm/pmem/control.hpp>
#include <ppmm/pmem/device.hpp>
#include <ppmm/pmem/file.hpp>
#include <ppmm/pmem/inspect.hpp>
#include <ppmm/pmem/mapping.hpp>
#include <ppmm/pmem/new_device.hpp>
#include <ppmm/pmem/new_file.hpp>
#include <ppmm/pmem/parts.hpp>
#include <ppmm/pmem/pool.hpp>
#include <ppmm/pmem/slot_lock.hpp>
#include <ppmm/pmem/verify.hpp>

#include <sys/mman.h>
#include <sys/random.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cerrno>
#include <iterator>
#include <mutex>
#include <new>
#include <utility>

namespace ppmm {

using detail::fail;

namespace {

/// A file of an open pool. The mapping goes before the control plane, which has the lock on the file.
struct open_part {
  std::filesystem::path file;
  detail::file_system where;
  std::optional<detail::control_plane> control;  // none: another process has it. It reads by the mapping
  std::unique_ptr<detail::mapping> data;
  std::vector<bad_range> bad = {};  // when it was opened
  std::unique_ptr<layout::control_root> checked = {};  // none: it has just been made

  const layout::control_root& root() const { return checked ? *checked : control->root(); }
};

/// In memory that the processes forked later share: a worker's sync may fail in any of them.
class shared_word {
 public:
  shared_word() {
    void* const at = ::mmap(nullptr, sizeof(std::atomic<int>), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED) throw std::bad_alloc();
    word_ = new (at) std::atomic<int>(0);
  }
  ~shared_word() { ::munmap(word_, sizeof *word_); }
  shared_word(const shared_word&) = delete;
  shared_word& operator=(const shared_word&) = delete;

  std::atomic<int>* get() const { return word_; }
  std::atomic<int>& operator*() const { return *word_; }

 private:
  std::atomic<int>* word_;
};

std::optional<unsigned> node_of(const layout::part_entry& p) {
  return p.node == layout::no_node ? std::nullopt : std::optional<unsigned>(p.node);
}

/// A fence of one kind does for the whole pool.
void check_same_grain(const std::vector<open_part>& parts) {
  for (const open_part& p : parts)
    if (p.data->grain() != parts[0].data->grain())
      fail<durability_refused>(
          "{}: expected a medium of the same granularity as the first part's, {}, found another. Put all parts on media of one kind, or ask for "
          "level `process`",
          p.file.string(), parts[0].file.string());
}

}  // namespace

struct pool::impl {
  impl(std::vector<open_part>&& opened, durability level) : parts(std::move(opened)) {
    if (level == durability::power) check_same_grain(parts);
    for (const open_part& p : parts) {
      const layout::control_root& root = p.root();
      pool_part told{.file = p.file,
                     .base = p.data->base(),
                     .size = detail::part_size(root),
                     .node = node_of(root.parts[root.part]),
                     .in_memory = p.where.memory,
                     .segments = {},
                     .rounds = std::vector<std::uint64_t>(root.segment_count)};
      for (const auto& [offset, bytes] : detail::segments_of(root)) told.segments.emplace_back(told.base + offset, bytes);
      for (std::size_t i = 0; i < detail::extensions(root); ++i) told.rounds.push_back(root.extensions[i].round);
      segments.insert(segments.end(), told.segments.begin(), told.segments.end());
      for (const bad_range& b : p.bad)
        if (b.offset < told.size) unreadable.emplace_back(told.base + b.offset, std::min(b.size, told.size - b.offset));
      synced.push_back(p.data->file());
      size += told.size;
      all.push_back(std::move(told));
    }
    max_workers = parts[0].root().max_workers;
    const detail::mapping& data = *parts[0].data;
    medium = {.level = level,
              .grain = data.grain(),
              .flush = data.flush_function(),
              .drain = data.drain_function(),
#if !defined(PPMM_INSTRUMENT)  // observers see no store of a library
              .copy = data.copy_function(),
#endif
              .base = reinterpret_cast<std::uintptr_t>(data.base()),
              .size = static_cast<std::size_t>(all.back().base + all.back().size - data.base()),
              .failed = failed.get(),
              .files = synced};
  }

  ~impl() {
    if (*failed == 0) return;
    for (open_part& p : parts) {
      const detail::descriptor fd = p.data->take_file();
      p.data.reset();
      if (p.control) p.control->close_after_failure();
      try {
        detail::reread_from_disk(fd, p.file);  // not by whoever opens it next, who would take it for what the disk has
      } catch (const medium_error&) {
        // It was told when it happened.
      }
    }
  }
  impl(const impl&) = delete;
  impl& operator=(const impl&) = delete;

  void check_medium() const {
    if (const int error = *failed; error != 0)
      fail<medium_error>("{}: expected a medium that works, found that a sync failed: {}. Check the disk, then start again", file().string(),
                         detail::os_message(error));
  }

  const std::filesystem::path& file() const { return parts[0].file; }
  detail::control_plane& control() {
    if (!parts[0].control) fail<pool_in_use>("{}: its job catalog belongs to the process that has it open", file().string());
    return *parts[0].control;
  }

  mutable std::mutex catalog;  // libpmemobj's transactions do not exclude each other
  std::vector<open_part> parts;
  std::vector<pool_part> all;
  std::uint32_t max_workers = 0;
  std::vector<std::span<std::byte>> segments, unreadable;
  std::size_t size = 0;
  shared_word failed;
  std::vector<synced_file> synced;
  ppmm::medium medium;
};

namespace {

constexpr std::size_t page = 4096;
constexpr std::uint64_t huge_page = std::uint64_t{2} << 20;

/// The size that a part will have.
std::size_t checked_size(const std::filesystem::path& file, std::size_t size) {
  if (size < pool::min_size) {
    fail<pool_too_small>("{}: expected a size of at least {} bytes, found {}. Ask for more", file.string(),
                         pool::min_size, size);
  }
  if (size > pool::max_size) {
    fail<pool_error>("{}: expected a size of at most {} bytes, found {}. Ask for less", file.string(), pool::max_size,
                     size);
  }
  return (size + page - 1) / page * page;
}

void check_options(const std::filesystem::path& file, const pool_options& options) {
  if (options.max_workers == 0 || options.max_workers > pool::most_workers) {
    fail<pool_error>("{}: expected 1 to {} workers, found {}", file.string(), pool::most_workers, options.max_workers);
  }
  if (options.level && *options.level > durability::emulated) {
    fail<pool_error>("{}: expected durability level 0, 1 or 2, found {}", file.string(),
                     static_cast<std::uint32_t>(*options.level));
  }
  if (options.further_parts.size() >= layout::max_parts) {
    fail<pool_error>("{}: expected at most {} parts, found {}", file.string(), layout::max_parts, options.further_parts.size() + 1);
  }
}

/// What a part is made in: a device that stands there, or a file that is to be.
std::unique_ptr<detail::new_part> new_part(const std::filesystem::path& file, bool wipe) {
  std::error_code none;
  if (std::filesystem::is_character_file(file, none)) return std::make_unique<detail::new_device>(file, wipe);
  return std::make_unique<detail::new_file>(file);
}

/// Addresses from a part to the next, if the largest has that size.
std::uint64_t checked_spacing(const std::filesystem::path& file, const pool_options& options, std::size_t size, std::uint64_t alignment) {
  const std::size_t n = options.further_parts.size() + 1;
  const std::uint64_t most = pool::max_size / std::bit_ceil(n), least = detail::footprint(size);
  if (n == 1) return 0;
  const std::uint64_t spacing = options.spacing != 0 ? options.spacing : most;
  if (spacing % std::max(huge_page, alignment) != 0 || spacing < least || spacing > most) {
    fail<pool_error>("{}: expected {} parts of {} bytes with {} to {} bytes of addresses each, found {}. Ask for smaller or fewer parts, or leave it 0 to have it chosen",
                     file.string(), n, size, least, most, spacing);
  }
  return spacing;
}

std::uint64_t checked_address(const std::filesystem::path& file, const pool_options& options, std::size_t size, std::uint64_t spacing,
                              std::uint64_t alignment) {
  const std::size_t span = options.further_parts.size() * spacing + size;
  constexpr std::uint64_t lowest = std::uint64_t{1} << 16;
  constexpr std::uint64_t end = std::uint64_t{1} << 47;
  if (options.address != 0 &&
      (options.address % alignment != 0 || options.address < lowest || options.address > end - span)) {
    fail<pool_error>("{}: expected a page address, a multiple of {}, between {:#x} and {:#x}, found {:#x}. Leave it 0 to have one chosen",
                     file.string(), alignment, lowest, end - span, options.address);
  }
  if (options.address != 0) return options.address;
  const std::uint64_t address = detail::free_address(pool::default_address, size, options.further_parts.size() + 1, spacing);
  if (address == 0) {
    fail<address_taken>("{}: expected {} free bytes of addresses from {:#x} on, found none. Give an address",
                        file.string(), span, pool::default_address);
  }
  return address;
}

/// What a file of that name is, that stands where a part is to be created.
[[noreturn]] void explain_existing_part(const std::filesystem::path& file, const pool_exists& e) {
  if (std::filesystem::is_character_file(file)) throw e;
  pool_report there;
  try {
    there = inspect(file);
  } catch (const error&) {
    throw e;
  }
  if (there.facts && there.facts->part != 0 && !std::filesystem::exists(there.facts->parts[0].file))
    fail<pool_exists>("{}: expected no file of that name, found part {} of a pool whose first part, {}, never came to be. Remove it, and create the pool again",
                      file.string(), there.facts->part, there.facts->parts[0].file.string());
  throw e;
}

std::string full_path(const std::filesystem::path& file) { return std::filesystem::absolute(file).lexically_normal().string(); }

}  // namespace

/// Invariants after crash: no part has a name, or some of the further ones have, whole; the first one's name comes last,
/// and without it none is ever opened. A device has its name from the beginning (new_device::resize): as the first part it can be
/// opened when all devices are whole, and then misses the files that have no name yet, which opening tells.
/// Recovery: none; `create` says which files are to be removed, and which devices wiped.
pool pool::create(const std::filesystem::path& file, const pool_options& options) {
  check_options(file, options);
  std::vector<part_options> wanted{{file, options.node}};
  wanted.insert(wanted.end(), options.further_parts.begin(), options.further_parts.end());

  std::vector<std::unique_ptr<detail::new_part>> made;
  std::vector<std::size_t> sizes;
  std::uint64_t alignment = page;
  std::vector<detail::file_system> where;
  for (const part_options& p : wanted) {
    for (const part_options& other : wanted)
      if (&p != &other && full_path(p.file) == full_path(other.file)) fail<pool_error>("{}: expected parts in different files, found this one named twice", p.file.string());
    try {
      made.push_back(new_part(p.file, options.wipe_devices));
    } catch (const pool_exists& e) {
      explain_existing_part(p.file, e);
    }
    where.push_back(detail::file_system_of(made.back()->fd().get()));
    sizes.push_back(checked_size(p.file, made.back()->size_for(options.size)));
    alignment = std::max(alignment, made.back()->fd().alignment());
  }
  const std::size_t largest = std::ranges::max(sizes);
  const std::uint64_t spacing = checked_spacing(file, options, largest, alignment);
  const std::uint64_t address = checked_address(file, options, largest, spacing, alignment);
  const bool all_keep_power = std::ranges::all_of(where, &detail::file_system::keeps_power);
  const durability level = options.level.value_or(all_keep_power ? durability::power : durability::process);

  layout::control_root facts{};
  facts.magic = layout::control_magic;
  facts.version = layout::format_version;
  facts.max_workers = options.max_workers;
  facts.durability = static_cast<std::uint32_t>(level);
  if (::getrandom(facts.pool_id, sizeof facts.pool_id, 0) != sizeof facts.pool_id) fail<pool_error>("{}: no random numbers: {}", file.string(), detail::os_message(errno));
  facts.part_count = static_cast<std::uint32_t>(wanted.size());
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    detail::check_level(level, where[i], wanted[i].file);
    facts.names[i] = detail::name_entry(full_path(wanted[i].file));
  }
  for (std::size_t i = 0; i < wanted.size(); ++i) made[i]->resize(sizes[i], options.sparse);
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    const std::optional<unsigned> node = wanted[i].node ? wanted[i].node : detail::numa_node_of(made[i]->fd());
    facts.parts[i] = {.base_address = address + i * spacing, .file_size = sizes[i], .node = node.value_or(layout::no_node), .unused = 0};
  }
  std::vector<open_part> parts;
  for (std::size_t i = wanted.size(); i-- > 0;) {  // without the first part, no other is opened
    facts.part = static_cast<std::uint32_t>(i);
    facts.base_address = facts.parts[i].base_address;
    facts.file_size = sizes[i];
    auto mapped = std::make_unique<detail::mapping>(made[i]->fd(), wanted[i].file, facts.base_address, sizes[i], level);
    auto control = detail::control_plane::create(made[i]->fd(), wanted[i].file, facts);
    parts.push_back({wanted[i].file, where[i], std::move(control), std::move(mapped)});
  }
  std::vector<open_part> in_order(std::make_move_iterator(parts.rbegin()), std::make_move_iterator(parts.rend()));
  auto whole = std::make_unique<impl>(std::move(in_order), level);
  std::size_t published = made.size();
  try {
    for (; published > 0; --published) made[published - 1]->publish(level == durability::power);
  } catch (...) {
    whole.reset();  // and its locks
    for (; published < made.size(); ++published) made[published]->withdraw();
    throw;
  }
  return pool(std::move(whole));
}

pool pool::open(const std::filesystem::path& file, const pool_options& options) {
  std::vector<std::unique_ptr<detail::mapping>> mapped;
  // Whatever can be wrong is found by looking. libpmemobj writes as soon as it opens, which is when the catalog is changed.
  std::vector<detail::part_file> found = detail::open_parts(file);
  const durability level = options.level.value_or(static_cast<durability>(found[0].root->durability));
  for (const detail::part_file& p : found) {
    detail::check_level(level, p.where, p.file);
    mapped.push_back(std::make_unique<detail::mapping>(p.fd, p.file, p.root->base_address, detail::part_size(*p.root), level));
  }
  const bool syncs_pages = level == durability::power && mapped[0]->grain() == granularity::page;
  // A run that did not end may have left pages that could not be written. What it committed is on the disks.
  if (syncs_pages && found[0].may_have_unfinished_jobs) {
    for (const detail::part_file& p : found) {
      detail::reread_from_disk(p.fd, p.file);
      detail::verifier(p.fd, p.file).run_all();
    }
  }
  std::vector<open_part> parts;
  for (std::size_t i = 0; i < found.size(); ++i) {
    detail::part_file& p = found[i];
    const auto* const root = reinterpret_cast<const layout::control_root*>(mapped[i]->base() + p.root_offset);
    detail::control_plane control(std::move(p.fd), std::move(p.lock), p.file, root);
    if (p.libpmemobj_first || syncs_pages) control.open();  // later it would die of a sync that fails
    parts.push_back({p.file, p.where, std::move(control), std::move(mapped[i]), std::move(p.bad), std::move(p.root)});
  }
  return pool(std::make_unique<impl>(std::move(parts), level));
}

pool pool::attach(const std::filesystem::path& file, std::optional<durability> asked) {
  std::vector<open_part> parts;
  std::vector<detail::part_file> found = detail::open_parts(file, detail::opening::beside_another);
  const durability level = asked.value_or(static_cast<durability>(found[0].root->durability));
  for (detail::part_file& p : found) {
    detail::check_level(level, p.where, p.file);
    auto data = std::make_unique<detail::mapping>(p.fd, p.file, p.root->base_address, detail::part_size(*p.root), level);
    parts.push_back({p.file, p.where, std::nullopt, std::move(data), std::move(p.bad), std::move(p.root)});
  }
  return pool(std::make_unique<impl>(std::move(parts), level));
}

void pool::move_part(const std::filesystem::path& file, unsigned part, const std::filesystem::path& to) {
  detail::part_file first = detail::open_part(file);
  detail::check_is_first(*first.root, file);
  if (part == 0 || part >= first.root->part_count)
    fail<pool_error>("{}: expected a part from 1 to {}, found {}. The first part is where it is opened", file.string(), first.root->part_count - 1, part);
  detail::look_at_part(file, part, to, [&] {
    const detail::part_file moved = detail::open_part(to);
    detail::check_is_part(*moved.root, to, *first.root, file, part);
  });
  detail::control_plane(std::move(first.fd), std::move(first.lock), file, first.root.get()).rename_part(part, full_path(to));
}

pool pool::open_or_create(const std::filesystem::path& file, const pool_options& options) {
  try {
    return open(file, options);
  } catch (const no_such_pool&) {
  }
  try {
    return create(file, options);
  } catch (const pool_exists&) {  // somebody was faster
    return open(file, options);
  }
}

pool::pool(std::unique_ptr<impl> whole) : impl_(std::move(whole)) {}
pool::pool(pool&&) noexcept = default;
pool& pool::operator=(pool&&) noexcept = default;
pool::~pool() = default;

const std::filesystem::path& pool::file() const { return impl_->file(); }
std::byte* pool::base() const { return impl_->all[0].base; }
std::size_t pool::size() const { return impl_->size; }
std::size_t pool::span() const { return impl_->medium.size; }
std::span<const pool_part> pool::parts() const { return impl_->all; }
std::uint32_t pool::max_workers() const { return impl_->max_workers; }
std::span<const std::span<std::byte>> pool::segments() const { return impl_->segments; }
const medium& pool::medium() const { return impl_->medium; }
const std::vector<std::span<std::byte>>& pool::unreadable() const { return impl_->unreadable; }
std::vector<device_facts> pool::devices() const {
  std::vector<device_facts> all;
  for (const open_part& p : impl_->parts) all.push_back(detail::facts_of(detail::open_pool_file(p.file, detail::access::read)));
  return all;
}
void pool::set_medium(const ppmm::medium& m) { impl_->medium = m; }
void detail::virtual_machine::give_medium(pool& p, const ppmm::medium& m) { p.set_medium(m); }

std::string pool::describe_medium() const {
  const std::string& on = impl_->parts[0].where.name;
  switch (impl_->medium.level) {
    case durability::process:
      return fmt::format(
          "process: no flushes, only program order, on {}; survives kill -9 and crashes of the process, "
          "not a power failure",
          on);
    case durability::emulated:
      return fmt::format(
          "emulated: flushes as on DAX (clwb + sfence, cache-line granularity forced) on {}; survives "
          "kill -9 and crashes of the process, not a power failure",
          on);
    case durability::simulated:
      return fmt::format("simulated: a model of cache lines, on {}; for tests, survives only what they decide", on);
    case durability::power:
      break;
  }
  switch (impl_->medium.grain) {
    case granularity::byte:
      return fmt::format(
          "power: sfence (byte granularity: the caches are flushed at a power failure) on {}; survives a "
          "power failure",
          on);
    case granularity::cache_line:
      return fmt::format("power: clwb + sfence (cache-line granularity, DAX) on {}; survives a power failure", on);
    case granularity::page:
      break;
  }
  return fmt::format("power: msync of dirty pages (page granularity, no DAX) on {}; survives a power failure", on);
}

bool pool::contains(const void* p, std::size_t n) const {
  const auto first = reinterpret_cast<std::uintptr_t>(p);
  return std::ranges::any_of(impl_->all, [&](const pool_part& part) {
    const auto base = reinterpret_cast<std::uintptr_t>(part.base);
    return first >= base && first - base <= part.size && n <= part.size - (first - base);
  });
}

void pool::keep_control_from_forks() const {
  for (std::size_t i = 0; i < impl_->parts.size(); ++i)
    if (impl_->parts[i].control) impl_->parts[i].control->keep_from_forks(impl_->all[i].size);
}

std::vector<layout::job_entry> pool::jobs() const {
  const std::lock_guard lock(impl_->catalog);
  return impl_->control().jobs();
}

std::optional<layout::job_entry> pool::find_job(std::string_view name) const {
  const std::lock_guard lock(impl_->catalog);
  return impl_->control().find(name);
}

void pool::put_job(const layout::job_entry& job) {
  const std::lock_guard lock(impl_->catalog);
  impl_->check_medium();  // libpmemobj would abort
  impl_->control().put(job);
}

void pool::keep_call(std::uint64_t serial, std::string_view text) {
  const std::lock_guard lock(impl_->catalog);
  impl_->check_medium();
  impl_->control().keep_call(serial, text);
}

bool pool::drop_job(std::string_view name) {
  const std::lock_guard lock(impl_->catalog);
  impl_->check_medium();
  detail::check_nobody_works(medium().files[0].fd, file());
  return impl_->control().drop(name);
}

}  // namespace ppmm
