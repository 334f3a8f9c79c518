#include <ppmm/pmem/new_device.hpp>
#include <ppmm/pmem/slot_lock.hpp>

#include <libpmem2.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <memory>
#include <utility>

namespace ppmm::detail {

namespace {

constexpr std::size_t first_page = 4096;  // libpmemobj's header

using source = std::unique_ptr<pmem2_source, decltype([](pmem2_source* s) { pmem2_source_delete(&s); })>;
using config = std::unique_ptr<pmem2_config, decltype([](pmem2_config* c) { pmem2_config_delete(&c); })>;
using map = std::unique_ptr<pmem2_map, decltype([](pmem2_map* m) { pmem2_map_delete(&m); })>;

/// The first `size` bytes, mapped for writing; all of them if it is 0.
map mapped(const descriptor& fd, const std::filesystem::path& file, std::size_t size) {
  const auto check = [&file](int result) {
    if (result != 0) fail<pool_error>("{}: the device cannot be mapped: {}", file.string(), pmem2_errormsg());
  };
  pmem2_source* raw_source = nullptr;
  check(pmem2_source_from_fd(&raw_source, fd.get()));
  const source from(raw_source);
  pmem2_config* raw_config = nullptr;
  check(pmem2_config_new(&raw_config));
  const config how(raw_config);
  check(pmem2_config_set_required_store_granularity(how.get(), PMEM2_GRANULARITY_PAGE));
  check(pmem2_config_set_length(how.get(), size));
  pmem2_map* made = nullptr;
  check(pmem2_map_new(&made, how.get(), from.get()));
  return map(made);
}

/// Durable on return.
void zero(const map& at, std::size_t size) {
  pmem2_get_memset_fn(at.get())(pmem2_map_get_address(at.get()), 0, size, PMEM2_F_MEM_NONTEMPORAL);
}

}  // namespace

new_device::new_device(std::filesystem::path file, bool wipe) : file_(std::move(file)) {
  fd_ = open_pool_file(file_, access::write);
  if (!fd_.device()) fail<not_a_pool>("{}: expected a DAX device, found a file", file_.string());
  lock_ = std::make_unique<opening_lock>(fd_, file_);
  check_nobody_works(fd_.get(), file_);
  std::array<std::byte, first_page> there;
  read_at(fd_, file_, 0, there.data(), there.size());
  if (wipe || std::ranges::all_of(there, [](std::byte b) { return b == std::byte{}; })) return;
  fail<pool_exists>(
      "{}: expected a DAX device that begins with {} zeros, found something on it: a pool, one whose creation was cut "
      "short, or "
      "another program's data. Open it (`ppmm info {}` tells what it is); or lose it and create the pool with `--wipe`",
      file_.string(), first_page, file_.string());
}

/// Invariants after crash: the first page is zero before any other byte changes, and until all of them are zero: there
/// is no pool, and the next creation begins anew. Then libpmemobj writes its header, and control_plane::create the
/// control root, last of all. Between these two the device is no pool that can be opened, and not empty: creation says
/// so, and wants to be told to wipe it.
void new_device::resize(std::uint64_t size, bool) {
  {
    const map start = mapped(fd_, file_, fd_.alignment());
    zero(start, first_page);
  }
  const map all = mapped(fd_, file_, size);
  zero(all, size);
  begun_ = true;
  lock_.reset();  // libpmemobj takes its own
}

void new_device::publish(bool) { begun_ = false; }

/// Invariants after crash: the header is as it was, or it is none; a torn one has a wrong checksum.
void new_device::withdraw() noexcept {
  try {
    const opening_lock mine(fd_, file_);
    zero(mapped(fd_, file_, fd_.alignment()), first_page);
  } catch (const error&) {
    // It stays as it is: the next creation tells that there is something on it.
  }
}

new_device::~new_device() {
  if (begun_) withdraw();
}

}  // namespace ppmm::detail
