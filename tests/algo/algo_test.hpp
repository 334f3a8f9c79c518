/// What the tests of algo share: a pool, the ways to run a job, a seed.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>
#include <ppmm/ppmm.hpp>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <ostream>
#include <random>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "jobs.hpp"
#include "seed.hpp"

namespace ppmm::test {

/// How a job is run: every promise holds in all of these ways.
struct way {
  const char* name;
  unsigned workers;
  bool every_task;
  double soft_fault_rate;
  durability level = durability::emulated;
};
inline void PrintTo(const way& w, std::ostream* to) { *to << w.name; }
inline constexpr way ways[] = {
    {"OneWorker", 1, false, 0, durability::process},
    {"TwoWorkers", 2, false, 0},
    {"FourWorkers", 4, false, 0, durability::process},
    {"EveryTask", 2, true, 0},
    {"SoftFaults", 2, false, 0.01},
    {"OneWorkerWithSoftFaults", 1, false, 0.01},
    {"EveryTaskAndSoftFaults", 4, true, 0.001},
};

class Algorithm : public ::testing::TestWithParam<way> {
 protected:
  static constexpr std::uint64_t region_bytes = std::uint64_t{48} << 20;

  Algorithm() : pool_(make(file())) {}
  ~Algorithm() override { std::filesystem::remove(file()); }

  /// Pool memory for `count` elements, one call after the other.
  template <class T>
  out<T> array(std::size_t count) {
    const std::span<std::byte> bytes = region_of(pool_, region_bytes).subspan(used_, count * sizeof(T));
    used_ += (bytes.size() + 63) / 64 * 64;
    return {reinterpret_cast<T*>(bytes.data()), count};
  }

  template <class Task>
  auto run(const Task& task) {
    run_options how;
    how.workers = GetParam().workers;
    how.pin = false;  // the tests run side by side
    how.commit_every_task = GetParam().every_task;
    how.soft_fault_rate = GetParam().soft_fault_rate * fault_scale_;
    how.fault_seed = seed();
    how.heartbeat = std::chrono::microseconds(20);
    how.region = region_bytes;
    how.on_progress = [this](std::uint64_t units) { units_ = units; };
    how.statistics = &statistics_;
    return ppmm::run(pool_, "job " + std::to_string(++jobs_ % 8), task, how);
  }
  /// The same, and nothing may be left in the heap. (A job that sets no root would lose its blocks anyway.)
  template <class Task>
  auto run_clean(const Task& task) {
    forget_jobs();
    const auto marked = [task, again = std::exchange(marked_, true)](context& cx) {
      return cx.call(task).then([again](context& c, const auto&... result) -> step<task_result<Task>> {
        if (again) c.free(c.find_root<std::uint64_t>("marker"));
        c.set_root("marker", c.alloc<std::uint64_t>());
        return {result...};
      });
    };
    if constexpr (std::is_void_v<task_result<Task>>) {
      run(marked);
      EXPECT_EQ(heap_blocks(pool_), 1u) << "blocks are left";
    } else {
      const auto result = run(marked);
      EXPECT_EQ(heap_blocks(pool_), 1u) << "blocks are left";
      return result;
    }
  }
  /// Before the same name comes round again.
  void forget_jobs() {
    for (const auto& job : pool_.jobs()) pool_.drop_job(job.name);
  }

  template <class T>
  static std::span<T> elements(const out<T>& a) {
    return {a.address(), a.size()};
  }

  run_statistics statistics_;
  /// Of the soft faults' rate: a capsule of C accesses is begun e^(fC) times on average, for C much above 1/f for ever.
  double fault_scale_ = 1;

 private:
  static std::filesystem::path file() {
    const std::filesystem::path where = std::filesystem::exists("/dev/shm") ? "/dev/shm" : ::testing::TempDir();
    return where / ("ppmm-algo-" + std::to_string(getpid()) + ".pool");
  }
  static pool make(const std::filesystem::path& at) {
    pool_options how;
    how.size = region_bytes + (std::size_t{32} << 20);
    how.sparse = true;
    how.max_workers = 8;
    how.level = GetParam().level;
    std::filesystem::remove(at);  // of a test that crashed with the same process id
    return pool::create(at, how);
  }

  pool pool_;
  std::uint64_t used_ = 0, units_ = 0;
  unsigned jobs_ = 0;
  bool marked_ = false;
};

/// What is sorted: `place` tells where it stood.
struct entry {
  std::uint32_t key, place;
  friend bool operator==(const entry&, const entry&) = default;
};
struct by_key {
  bool operator()(const entry& a, const entry& b) const { return a.key < b.key; }
};

/// Keys of all kinds that an algorithm may stumble over.
using key_maker = std::uint32_t (*)(std::size_t i, std::size_t n, std::mt19937_64& random);
struct input {
  const char* name;
  key_maker key;
};
inline constexpr input inputs[] = {
    {"random", [](std::size_t, std::size_t, std::mt19937_64& r) { return static_cast<std::uint32_t>(r()); }},
    {"few keys", [](std::size_t, std::size_t, std::mt19937_64& r) { return static_cast<std::uint32_t>(r() % 5); }},
    {"all equal", [](std::size_t, std::size_t, std::mt19937_64&) { return 7u; }},
    {"in order", [](std::size_t i, std::size_t, std::mt19937_64&) { return static_cast<std::uint32_t>(i); }},
    {"reverse", [](std::size_t i, std::size_t n, std::mt19937_64&) { return static_cast<std::uint32_t>(n - i); }},
    {"halves change places",
     [](std::size_t i, std::size_t n, std::mt19937_64&) { return static_cast<std::uint32_t>((i + n / 2) % (n + 1)); }},
    {"organ pipe",
     [](std::size_t i, std::size_t n, std::mt19937_64&) { return static_cast<std::uint32_t>(std::min(i, n - i)); }},
    {"left all less", [](std::size_t i, std::size_t n,
                         std::mt19937_64& r) { return static_cast<std::uint32_t>(r() % 9 + (i < n / 2 ? 0 : 9)); }},
};

inline std::string name_of(const ::testing::TestParamInfo<way>& info) { return info.param.name; }

}  // namespace ppmm::test
