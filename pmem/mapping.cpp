#include <ppmm/pmem/mapping.hpp>

#include <fcntl.h>
#include <libpmem2.h>
#include <sys/mman.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cstdlib>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

namespace ppmm::detail {

namespace {

constexpr std::size_t page = 4096;
constexpr const char* force_variable = "PMEM2_FORCE_GRANULARITY";

/// While it lives, libpmem2 finds the granularity itself (nullptr) or takes the forced one. libpmem2 knows no other way
/// than the environment, which is the process's: hence the lock, and the value that was there comes back.
class forced_granularity {
 public:
  explicit forced_granularity(const char* value) : lock_(mutex()) {
    if (const char* old = std::getenv(force_variable)) before_ = old;
    set(value);
  }
  ~forced_granularity() { set(before_ ? before_->c_str() : nullptr); }
  forced_granularity(const forced_granularity&) = delete;
  forced_granularity& operator=(const forced_granularity&) = delete;

 private:
  static std::mutex& mutex() {
    static std::mutex one;
    return one;
  }
  static void set(const char* value) {
    if (value != nullptr) {
      ::setenv(force_variable, value, 1);
    } else {
      ::unsetenv(force_variable);
    }
  }

  std::lock_guard<std::mutex> lock_;
  std::optional<std::string> before_;
};

/// Nothing is mapped in [address, address + size).
bool is_free(std::uint64_t address, std::size_t size) {
  void* wanted = reinterpret_cast<void*>(address);
  void* got = ::mmap(wanted, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
  if (got == MAP_FAILED) return false;
  ::munmap(got, size);
  return got == wanted;  // a kernel before 4.17 takes the address for a hint
}

using source = std::unique_ptr<pmem2_source, decltype([](pmem2_source* s) { pmem2_source_delete(&s); })>;
using config = std::unique_ptr<pmem2_config, decltype([](pmem2_config* c) { pmem2_config_delete(&c); })>;

void check(int result, const std::filesystem::path& file, const char* what) {
  if (result != 0) fail<pool_error>("{}: {}: {}", file.string(), what, pmem2_errormsg());
}

}  // namespace

void check_level(durability level, const file_system& where, const std::filesystem::path& file) {
  if (level != durability::power) return;
  if (where.memory) {
    fail<durability_refused>(
        "{}: expected a medium that keeps its content without power, found {}, which is memory. "
        "Ask for level `process` or `emulated`, or put the pool on a disk or a DAX file system",
        file.string(), where.name);
  }
  if (!where.unkept.empty()) {
    fail<durability_refused>(
        "{}: expected a medium that keeps what is synced when the power fails, found {}: {}. "
        "Ask for level `process` or `emulated`, or put the pool elsewhere",
        file.string(), where.name, where.unkept);
  }
  // libpmemobj believes them, and would not sync the job catalog, or not flush it.
  for (const char* name : {"PMEM_IS_PMEM_FORCE", "PMEM_NO_FLUSH"}) {
    const char* forced = std::getenv(name);
    if (forced == nullptr || std::string_view(forced) != "1") continue;
    fail<durability_refused>(
        "{}: expected to find out what the medium is, found {}=1, which makes libpmemobj leave out what "
        "this medium needs. Unset it, or ask for level `process`",
        file.string(), name);
  }
}

/// A reservation of libpmem2 1.12 has room to align by 2 MiB or 1 GiB, also where the address is given.
std::size_t footprint(std::size_t size) {
  constexpr std::size_t huge = std::size_t{2} << 20;
  constexpr std::size_t giant = std::size_t{1} << 30;
  const std::size_t alignment = size < 2 * giant ? huge : giant;
  return (size + alignment - 1) / alignment * alignment + alignment;
}

mapping::mapping(const descriptor& fd, const std::filesystem::path& file, std::uint64_t address, std::size_t size,
                 durability level)
    : fd_(::fcntl(fd.get(), F_DUPFD_CLOEXEC, 0)), size_(size) {
  const forced_granularity force(level == durability::emulated ? "CACHE_LINE" : nullptr);  // the lock, as well
  const std::size_t rest = footprint(size) - size;
  const bool rest_was_free = is_free(address + size, rest);
  const int reserved = pmem2_vm_reservation_new(&reservation_, reinterpret_cast<void*>(address), size);
  if (reserved == PMEM2_E_MAPPING_EXISTS) {
    fail<address_taken>(
        "{}: expected {} free bytes at address {:#x}, found something mapped there (another pool, or a "
        "library). Open it in another process, or create a pool with another address",
        file.string(), footprint(size), address);
  }
  check(reserved, file, fmt::format("reserving {} bytes at address {:#x}", size, address).c_str());
  base_ = reinterpret_cast<std::byte*>(address);
  // What is there now and was not before is libpmem2's.
  if (rest_was_free && !is_free(address + size, page) && !is_free(address + size + rest - page, page)) rest_ = rest;
  try {
    pmem2_source* raw_source = nullptr;
    check(pmem2_source_from_fd(&raw_source, fd.get()), file, "libpmem2 and this file");
    const source from(raw_source);
    pmem2_config* raw_config = nullptr;
    check(pmem2_config_new(&raw_config), file, "libpmem2's configuration");
    const config how(raw_config);
    check(pmem2_config_set_required_store_granularity(how.get(), PMEM2_GRANULARITY_PAGE), file, "granularity");
    check(pmem2_config_set_length(how.get(), size), file, "length");  // the file is longer where a growth was cut short
    check(pmem2_config_set_vm_reservation(how.get(), reservation_, 0), file, "placing the mapping");
    check(pmem2_map_new(&map_, how.get(), from.get()), file, "mapping");
  } catch (...) {
    release();
    throw;
  }
}

mapping::~mapping() {
  pmem2_map_delete(&map_);
  release();
}

/// libpmem2 forgets the room that it added: it would stay taken, and the pool could not be opened here again.
void mapping::release() {
  pmem2_vm_reservation_delete(&reservation_);
  if (rest_ != 0) ::munmap(base_ + size_, rest_);
}

synced_file mapping::file() const {
  struct statfs status;
  const bool known = ::fstatfs(fd_.get(), &status) == 0;
  return {.base = reinterpret_cast<std::uintptr_t>(base_),
          .size = size_,
          .fd = fd_.get(),
          .syncs_as_one = known && syncs_as_one(static_cast<std::uint32_t>(status.f_type))};
}

granularity mapping::grain() const {
  switch (pmem2_map_get_store_granularity(map_)) {
    case PMEM2_GRANULARITY_BYTE:
      return granularity::byte;
    case PMEM2_GRANULARITY_CACHE_LINE:
      return granularity::cache_line;
    default:
      return granularity::page;
  }
}

void (*mapping::flush_function() const)(const void*, std::size_t) { return pmem2_get_flush_fn(map_); }

void (*mapping::drain_function() const)() { return pmem2_get_drain_fn(map_); }

void* (*mapping::copy_function() const)(void*, const void*, std::size_t, unsigned) { return pmem2_get_memcpy_fn(map_); }

bool can_be_mapped(std::uint64_t address, std::size_t size) {
  constexpr std::uint64_t end = std::uint64_t{1} << 47;
  return size <= end && address <= end - size && is_free(address, size);
}

std::uint64_t free_address(std::uint64_t from, std::size_t size, std::size_t count, std::uint64_t spacing) {
  constexpr std::uint64_t step = std::uint64_t{1} << 30;
  // ThreadSanitizer knows no application memory between here and the libraries at the top.
  constexpr std::uint64_t end = 0x5680'0000'0000;
  const std::uint64_t room = (count - 1) * spacing + footprint(size);
  const auto all_free = [&](std::uint64_t address) {
    for (std::size_t i = 0; i < count; ++i)
      if (!is_free(address + i * spacing, footprint(size))) return false;
    return true;
  };
  for (std::uint64_t address = from; address < end && room <= end - address; address += step)
    if (all_free(address)) return address;
  return 0;
}

}  // namespace ppmm::detail
