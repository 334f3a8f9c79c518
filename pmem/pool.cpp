#include <ppmm/pmem/control.hpp>
#include <ppmm/pmem/file.hpp>
#include <ppmm/pmem/mapping.hpp>
#include <ppmm/pmem/new_file.hpp>
#include <ppmm/pmem/opening_lock.hpp>
#include <ppmm/pmem/pool.hpp>
#include <ppmm/pmem/verify.hpp>

#include <atomic>
#include <cerrno>
#include <mutex>
#include <utility>

namespace ppmm {

using detail::fail;

struct pool::impl {
  impl(std::filesystem::path name, detail::file_system file_system, detail::control_plane&& opened,
       std::unique_ptr<detail::mapping> mapped, durability level)
      : file(std::move(name)), where(std::move(file_system)), control(std::move(opened)), data(std::move(mapped)) {
    const layout::control_root& root = control.root();
    max_workers = root.max_workers;
    for (const auto& [offset, size] : detail::segments_of(root)) segments.emplace_back(data->base() + offset, size);
    medium = {.level = level,
              .grain = data->grain(),
              .flush = data->flush_function(),
              .drain = data->drain_function(),
#if !defined(PPMM_INSTRUMENT)  // observers see no store of a library
              .copy = data->copy_function(),
#endif
              .base = reinterpret_cast<std::uintptr_t>(data->base()),
              .size = detail::pool_size(root),
              .failed = &failed};
  }

  std::filesystem::path file;
  detail::file_system where;
  mutable std::mutex catalog;  // libpmemobj's transactions do not exclude each other
  detail::control_plane control;
  // After `control`, so that it is unmapped before the lock on the file is gone.
  std::unique_ptr<detail::mapping> data;
  std::uint32_t max_workers = 0;
  std::vector<std::span<std::byte>> segments;
  std::atomic<bool> failed = false;
  ppmm::medium medium;
};

namespace {

constexpr std::size_t page = 4096;
constexpr std::uint32_t most_workers = 1024;

/// The size that the file will have.
std::size_t checked_size(const std::filesystem::path& file, const pool_options& options) {
  if (options.size < pool::min_size) {
    fail<pool_too_small>("{}: expected a size of at least {} bytes, found {}. Ask for more", file.string(),
                         pool::min_size, options.size);
  }
  if (options.size > pool::max_size) {
    fail<pool_error>("{}: expected a size of at most {} bytes, found {}. Ask for less", file.string(), pool::max_size,
                     options.size);
  }
  if (options.max_workers == 0 || options.max_workers > most_workers) {
    fail<pool_error>("{}: expected 1 to {} workers, found {}", file.string(), most_workers, options.max_workers);
  }
  if (options.level && *options.level > durability::emulated) {
    fail<pool_error>("{}: expected durability level 0, 1 or 2, found {}", file.string(),
                     static_cast<std::uint32_t>(*options.level));
  }
  const std::size_t size = (options.size + page - 1) / page * page;
  constexpr std::uint64_t lowest = std::uint64_t{1} << 16;
  constexpr std::uint64_t end = std::uint64_t{1} << 47;
  if (options.address != 0 &&
      (options.address % page != 0 || options.address < lowest || options.address > end - size)) {
    fail<pool_error>("{}: expected a page address between {:#x} and {:#x}, found {:#x}. Leave it 0 to have one chosen",
                     file.string(), lowest, end - size, options.address);
  }
  return size;
}

}  // namespace

pool pool::create(const std::filesystem::path& file, const pool_options& options) {
  const std::size_t size = checked_size(file, options);
  detail::new_file made(file);
  const detail::file_system where = detail::file_system_of(made.fd().get());
  const durability level = options.level.value_or(where.memory ? durability::process : durability::power);
  detail::check_level(level, where, file);
  made.resize(size, options.sparse);

  const std::uint64_t address = options.address != 0 ? options.address : detail::free_address(default_address, size);
  if (address == 0) {
    fail<address_taken>("{}: expected {} free bytes of addresses from {:#x} on, found none. Give an address",
                        file.string(), size, default_address);
  }
  auto mapped = std::make_unique<detail::mapping>(made.fd(), file, address, size, level);
  const layout::control_root facts{.magic = layout::control_magic,
                                   .version = layout::format_version,
                                   .max_workers = options.max_workers,
                                   .base_address = address,
                                   .file_size = size,
                                   .durability = static_cast<std::uint32_t>(level),
                                   .segment_count = 0,
                                   .segments = {},
                                   .checksum = 0,
                                   .jobs = {},
                                   .extension_count = 0,
                                   .extensions = {}};
  auto control = detail::control_plane::create(made.fd(), file, facts);
  auto whole = std::make_unique<impl>(file, where, std::move(control), std::move(mapped), level);
  made.publish(level == durability::power);
  return pool(std::move(whole));
}

pool pool::open(const std::filesystem::path& file, const pool_options& options) {
  const detail::descriptor fd = detail::open_pool_file(file, detail::access::write);
  const detail::file_system where = detail::file_system_of(fd.get());
  std::unique_ptr<detail::mapping> mapped;
  durability level;
  {
    // Whatever can be wrong is found in here, by looking. libpmemobj writes as soon as it opens.
    const detail::opening_lock lock(fd, file);
    detail::verifier verify(fd, file);
    verify.run_all();
    const layout::control_root& root = verify.root();
    level = options.level.value_or(static_cast<durability>(root.durability));
    detail::check_level(level, where, file);
    mapped = std::make_unique<detail::mapping>(fd, file, root.base_address, detail::pool_size(root), level);
  }
  auto control = detail::control_plane::open(fd, file);
  return pool(std::make_unique<impl>(file, where, std::move(control), std::move(mapped), level));
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

const std::filesystem::path& pool::file() const { return impl_->file; }
std::byte* pool::base() const { return impl_->data->base(); }
std::size_t pool::size() const { return impl_->medium.size; }
std::uint32_t pool::max_workers() const { return impl_->max_workers; }
std::span<const std::span<std::byte>> pool::segments() const { return impl_->segments; }
const medium& pool::medium() const { return impl_->medium; }
void pool::set_medium(const ppmm::medium& m) { impl_->medium = m; }

std::string pool::describe_medium() const {
  const std::string& on = impl_->where.name;
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
  const ppmm::medium& m = impl_->medium;
  return first >= m.base && first - m.base <= m.size && n <= m.size - (first - m.base);
}

std::vector<layout::job_entry> pool::jobs() const {
  const std::lock_guard lock(impl_->catalog);
  return impl_->control.jobs();
}

std::optional<layout::job_entry> pool::find_job(std::string_view name) const {
  const std::lock_guard lock(impl_->catalog);
  return impl_->control.find(name);
}

void pool::put_job(const layout::job_entry& job) {
  const std::lock_guard lock(impl_->catalog);
  impl_->control.put(job);
}

bool pool::drop_job(std::string_view name) {
  const std::lock_guard lock(impl_->catalog);
  return impl_->control.drop(name);
}

}  // namespace ppmm
