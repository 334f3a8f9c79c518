#include <ppmm/pmem/errors.hpp>
#include <ppmm/pmem/file.hpp>
#include <ppmm/pmem/persist.hpp>
#include <ppmm/pmem/simulated.hpp>

#include <libpmem2.h>

#include <algorithm>
#include <chrono>
#include <cstring>

namespace ppmm {

namespace {

constexpr std::uintptr_t page = 4096;

std::uint64_t nanoseconds() {
  return static_cast<std::uint64_t>(
      std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch())
          .count());
}

#if defined(__x86_64__)
// A fence takes 125 ns: two looks at the system's clock (25 ns each) would be a third of what they measure.
std::uint64_t ticks() { return __builtin_ia32_rdtsc(); }

double measure_ns_per_tick() {
  const std::uint64_t ns = nanoseconds();
  const std::uint64_t start = ticks();
  std::uint64_t passed = 0;
  while (passed < 200'000) passed = nanoseconds() - ns;
  return static_cast<double>(passed) / static_cast<double>(ticks() - start);
}
#else
std::uint64_t ticks() { return nanoseconds(); }
double measure_ns_per_tick() { return 1; }
#endif

double ns_per_tick() {
  static const double measured = measure_ns_per_tick();
  return measured;
}

}  // namespace

persister::persister(const medium& m) : medium_(&m) {
  if (m.level == durability::process) {
    way_ = way::nothing;
  } else if (m.level == durability::simulated) {
    way_ = way::simulated;
  } else {
    way_ = m.level == durability::power && m.grain == granularity::page ? way::pages : way::lines;
    ns_per_tick_ = ns_per_tick();
    if (way_ == way::pages) of_others_ = detail::write_back_errors(m.files);
  }
}

void persister::write_back(std::uintptr_t first, std::size_t n) {
  if (way_ == way::simulated) {
    medium_->simulated->flush(this, first, n);
    return;
  }
  if (started_ == 0) started_ = ticks();
  const std::uintptr_t unit = way_ == way::lines ? line_size : page;
  const detail::address_range whole{first / unit * unit, (first + n + unit - 1) / unit * unit};
  // A commit flushes neighbours, mostly: one range grows instead of many being noted.
  if (!noted_.empty() && whole.first <= noted_.back().last && noted_.back().first <= whole.last) {
    noted_.back() = {std::min(whole.first, noted_.back().first), std::max(whole.last, noted_.back().last)};
  } else {
    noted_.push_back(whole);
  }
}

void persister::copy(void* to, const void* from, std::size_t n) {
  if (way_ == way::lines && medium_->copy != nullptr) {
    stored_past_caches(to, n);
    medium_->copy(to, from, n, PMEM2_F_MEM_NODRAIN | PMEM2_F_MEM_NONTEMPORAL);
  } else {
    std::memcpy(to, from, n);
    flush(to, n);
  }
}

bool persister::stores_past_caches([[maybe_unused]] bool is_large) const {
#if defined(__x86_64__)
  return is_large || way_ == way::simulated || (way_ == way::lines && medium_->grain == granularity::cache_line);
#else
  return false;
#endif
}

void persister::stored_past_caches(const void* p, std::size_t n) {
  past_caches_ = true;
  if (way_ == way::pages || way_ == way::simulated) return flush(p, n);
  count(reinterpret_cast<std::uintptr_t>(p), n);
  if (way_ == way::lines && started_ == 0) started_ = ticks();
}

void persister::order_stores() {
#if defined(__x86_64__)
  if (past_caches_) _mm_sfence();
#endif
  past_caches_ = false;
}

void persister::drain() {
  order_stores();
  if (way_ == way::nothing) return;
  if (way_ == way::simulated) {
    medium_->simulated->fence(this);
  } else if (way_ == way::lines) {
    for (const detail::address_range& r : noted_) medium_->flush(reinterpret_cast<const void*>(r.first), r.last - r.first);
    noted_.clear();
    medium_->drain();
  } else {
    sync_pages();
  }
  if (started_ != 0) {
    counters_.nanoseconds += static_cast<std::uint64_t>(static_cast<double>(ticks() - started_) * ns_per_tick_);
    started_ = 0;
  }
}

void persister::forget() {
  noted_.clear();
  started_ = 0;
  if (way_ == way::simulated) medium_->simulated->forget(this);
}

/// Invariants after crash: of the pages noted, any subset may be on the medium before this returns, each of them whole or
/// torn by sectors. So nothing may depend on an order within one fence; records carry checksums.
///
/// Not libpmem2's persist: by page that is an msync a range, and abort() when one fails (PMDK 1.12,
/// src/libpmem2/persist.c:pmem2_persist_pages).
void persister::sync_pages() {
  if (!noted_.empty()) {
    int error = detail::sync_ranges(noted_, medium_->files);
    if (error == 0) error = of_others_.heard();
    noted_.clear();
    if (failed_ == 0) failed_ = error;
  }
  if (std::atomic<int>* shared = medium_->failed; shared != nullptr) {
    int first = 0;
    if (failed_ == 0) failed_ = shared->load();
    else shared->compare_exchange_strong(first, failed_);
  }
  if (failed_ == 0) return;
  started_ = 0;
  detail::fail<medium_error>(
      "expected to make the pool's pages durable, found: {}. What was committed before is whole; check the disk, then start again",
      detail::os_message(failed_));
}

}  // namespace ppmm
