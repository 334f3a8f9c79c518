/// What the tests of the idempotence checker share: a pool, the check switched on, and what it found.
#pragma once

#include <ppmm/check/idempotence.hpp>
#include <ppmm/ppmm.hpp>

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "seed.hpp"

namespace ppmm::test {

class Checked : public ::testing::Test {
 protected:
  static constexpr std::uint64_t region_bytes = std::uint64_t{4} << 20;

  Checked() : pool_(make()) { ::setenv("PPMM_CHECK_IDEMPOTENCE", "1", 1); }
  ~Checked() override {
    ::unsetenv("PPMM_CHECK_IDEMPOTENCE");
    std::filesystem::remove(file());
  }

  pool& the_pool() { return pool_; }
  /// The job's memory, as elements of T.
  template <class T>
  out<T> array(std::size_t count, std::size_t from_byte = 0) {
    return {reinterpret_cast<T*>(region_of(pool_, region_bytes).data() + from_byte), count};
  }

  /// One worker, and no commit but those that have to be: a capsule is as long as can be.
  static run_options long_capsules() {
    run_options how;
    how.workers = 1;
    how.pin = false;
    how.heartbeat = std::chrono::hours(1);
    how.region = region_bytes;
    return how;
  }
  template <class Task>
  auto run(const Task& task, const run_options& how = long_capsules()) {
    return ppmm::run(pool_, "job " + std::to_string(++jobs_), task, how);
  }
  static const std::vector<detail::finding>& found() { return detail::last_findings(); }
  static std::string all_text() {
    std::string text;
    for (const detail::finding& f : found()) text += f.text() + '\n';
    return text;
  }

 private:
  static std::filesystem::path file() {
    const std::filesystem::path where = std::filesystem::exists("/dev/shm") ? "/dev/shm" : ::testing::TempDir();
    return where / ("ppmm-check-" + std::to_string(getpid()) + ".pool");
  }
  static pool make() {
    pool_options how;
    how.size = region_bytes + (std::size_t{32} << 20);
    how.max_workers = 4;
    how.level = durability::process;
    return pool::create(file(), how);
  }

  pool pool_;
  unsigned jobs_ = 0;
};

}  // namespace ppmm::test
