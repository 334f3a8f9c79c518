#include <ppmm/check/addresses.hpp>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <sstream>

namespace ppmm::detail {
namespace {

std::uint64_t now_ns() {
  return static_cast<std::uint64_t>(
      std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch())
          .count());
}

constexpr std::uint64_t max_age_ns = 1'000'000;  // reading takes some 50 µs

}  // namespace

volatile_memory::volatile_memory(std::uintptr_t base, std::size_t size) : base_(base), size_(size) { read(); }

/// What is not found may have been mapped since: then the system is asked again, but not for every integer.
const char* volatile_memory::look_up(std::uint64_t word) {
  if (const char* name = in_last_read(word)) return name;
  if (now_ns() - read_ns_ < max_age_ns) return nullptr;
  read();
  return in_last_read(word);
}

const char* volatile_memory::in_last_read(std::uint64_t word) const {
  const auto next = std::ranges::upper_bound(all_, word, {}, &mapped::first);
  if (next == all_.begin()) return nullptr;
  const mapped& m = *std::prev(next);
  return word < m.last ? m.name.c_str() : nullptr;
}

void volatile_memory::read() {
  all_.clear();
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    std::istringstream fields(line);
    mapped m{};
    std::string rights, offset, device, inode;
    char dash = 0;
    fields >> std::hex >> m.first >> dash >> m.last >> rights >> offset >> device >> inode;
    if (rights.empty() || (rights[0] != 'r' && rights[1] != 'w')) continue;  // address space only
    if (m.first >= base_ && m.last <= base_ + size_) continue;
    std::getline(fields >> std::ws, m.name);
    if (m.name.empty()) m.name = "memory (of malloc, or a thread's stack)";
    all_.push_back(std::move(m));
  }
  read_ns_ = now_ns();
}

}  // namespace ppmm::detail
