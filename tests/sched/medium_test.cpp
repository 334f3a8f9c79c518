/// A medium that fails: whichever sync it is, the job stops with medium_error, and run again it gives the right answer.
///
/// The library's own syncs fail as the test says; those of libpmemobj are the system's.
#include "jobs.hpp"

#include <ppmm/sched/image.hpp>

#include <gtest/gtest.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <filesystem>
#include <optional>
#include <span>
#include <string>

namespace {

std::atomic<int> syncs{0};
std::atomic<int> bad_one{-1};  // which fails, counted from 0; the kernel tells of a lost page once, so later ones succeed

bool fails() { return syncs++ == bad_one.load(); }

}  // namespace

extern "C" {
int __real_msync(void*, std::size_t, int);
int __real_sync_file_range(int, off64_t, off64_t, unsigned);
int __wrap_msync(void* address, std::size_t size, int flags) {
  if (!fails()) return __real_msync(address, size, flags);
  errno = EIO;
  return -1;
}
int __wrap_sync_file_range(int fd, off64_t offset, off64_t size, unsigned how) {
  if (!fails()) return __real_sync_file_range(fd, offset, size, how);
  errno = ENOSPC;
  return -1;
}
}

namespace ppmm::test {
namespace {

namespace fs = std::filesystem;

class Medium : public testing::Test {
 protected:
  void SetUp() override {
    struct statfs on;
    ASSERT_EQ(::statfs(testing::TempDir().c_str(), &on), 0);
    if (on.f_type == TMPFS_MAGIC) GTEST_SKIP() << testing::TempDir() << " is memory; set TEST_TMPDIR to a folder on a disk";
    bad_one = -1;
    fs::remove(file());
    p_.emplace(pool::create(file(), {.size = pool::min_size, .level = durability::power}));
    if (p_->medium().grain != granularity::page) GTEST_SKIP() << "a file on DAX is not synced";
  }
  void TearDown() override {
    bad_one = -1;
    p_.reset();
    fs::remove(file());
  }
  static fs::path file() { return fs::path(testing::TempDir()) / ("ppmm-medium-" + std::to_string(getpid()) + ".pool"); }
  long fib_8() {
    run_options o;
    o.workers = 2;
    o.pin = false;
    o.commit_every_task = true;  // by the clock their number would depend on how fast the disk is
    return run(*p_, "fib", task<fib>(8), o);
  }
  /// How many syncs the job takes from here to its end; it is dropped.
  int syncs_of_the_job() {
    syncs = 0;
    EXPECT_EQ(fib_8(), 21);
    const int all = syncs;
    EXPECT_TRUE(p_->drop_job("fib"));
    return all;
  }
  void reopen() {
    p_.reset();
    p_.emplace(pool::open(file()));
  }

  std::optional<pool> p_;
};

TEST_F(Medium, ThatFailsStopsTheJobWhichGoesOnWhenRunAgain) {
  const int all = syncs_of_the_job();
  ASSERT_GT(all, 3);
  int failures = 0;
  for (int bad = 0; bad < all; bad += 1 + all / 12) {
    syncs = 0;
    bad_one = bad;
    try {
      EXPECT_EQ(fib_8(), 21);  // another schedule may need fewer syncs
    } catch (const medium_error& e) {
      ++failures;
      EXPECT_NE(std::string(e.what()).find("committed before"), std::string::npos) << e.what();
      // Neither the catalog nor the job is touched any more: libpmemobj would end the process.
      EXPECT_THROW(p_->put_job({}), medium_error);
      EXPECT_THROW(p_->drop_job("fib"), medium_error);
      EXPECT_THROW(fib_8(), medium_error);
    }
    bad_one = -1;
    reopen();
    EXPECT_EQ(fib_8(), 21) << "after sync " << bad << " of " << all;
    EXPECT_TRUE(p_->drop_job("fib"));
  }
  EXPECT_GT(failures, 2);
}

TEST_F(Medium, ThatFailsAgainWhenResumedStillLosesNothing) {
  const int all = syncs_of_the_job();
  for (int bad : {all / 2, all / 3, all / 4}) {
    syncs = 0;
    bad_one = bad;
    try {
      fib_8();
    } catch (const medium_error&) {
    }
    bad_one = -1;
    reopen();
  }
  EXPECT_EQ(fib_8(), 21);
}

TEST_F(Medium, CannotBeReadWhereRecordsAre) {
  const detail::image img(*p_);
  const auto bytes = [](const void* at, std::size_t n) {
    return std::span(static_cast<std::byte*>(const_cast<void*>(at)), n);
  };
  const std::span<std::byte> in_data = p_->segments()[0].last(4096);
  EXPECT_NO_THROW(img.check_readable({}));
  EXPECT_NO_THROW(img.check_readable(std::array{in_data}));
  for (const auto bad : {bytes(&img.worker(3), 512), bytes(&img.slot(img.slots() - 1), 64), bytes(img.heap().control, 8),
                         bytes(img.heap().ranges[0].table, 8)}) {
    EXPECT_THROW(img.check_readable(std::array{in_data, bad}), medium_error);
  }
  EXPECT_THROW(img.check_readable(std::array{bytes(&img.worker(0), 1).first(1)}), medium_error);
}

}  // namespace
}  // namespace ppmm::test
