/// What the tests of sched share: a pool file that goes away.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include "jobs.hpp"

#include <algorithm>
#include <filesystem>
#include <optional>
#include <string>

namespace ppmm::test {

/// A pool on memory for one test.
class Sched : public ::testing::Test {
 protected:
  Sched() { make({}); }
  ~Sched() override { std::filesystem::remove(file()); }

  static std::string file() {
    const auto* test = ::testing::UnitTest::GetInstance()->current_test_info();
    std::string name = std::string(test->test_suite_name()) + test->name() + std::to_string(getpid()) + ".pool";
    std::ranges::replace(name, '/', '-');  // in names of tests with parameters
    return "/dev/shm/ppmm-" + name;
  }
  void make(const pool_options& how) {
    pool_.reset();
    std::filesystem::remove(file());
    pool_options o = how;
    if (!o.level) o.level = durability::emulated;
    pool_.emplace(pool::create(file(), o));
  }
  /// As after the end of the process: what is not in the file is gone.
  void reopen() {
    pool_.reset();
    pool_.emplace(pool::open(file()));
  }
  void close() { pool_.reset(); }
  void grow(std::size_t more) {
    const std::size_t size = pool_->size() + more;
    pool_.reset();
    EXPECT_EQ(pool::grow(file(), size), size);
    pool_.emplace(pool::open(file()));
  }
  pool& the_pool() { return *pool_; }

  static run_options with(unsigned workers) {
    run_options o;
    o.workers = workers;
    o.pin = false;
    o.heartbeat = std::chrono::microseconds(5);  // many commits in a short test
    return o;
  }

 private:
  std::optional<pool> pool_;
};

}  // namespace ppmm::test
