/// Which calls make pages durable: recorded, in place of the system's.
#include <ppmm/pmem/page_sync.hpp>
#include <ppmm/pmem/persist.hpp>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace {

struct call {
  std::string name;
  std::uintptr_t first;  // address, or offset in the file
  std::size_t size;
  unsigned how = 0;
  int fd = -1;
};
std::vector<call> calls;
std::function<int(const call&)> answer;  // errno; 0: success

int record(const call& c) {
  calls.push_back(c);
  errno = answer ? answer(c) : 0;
  return errno == 0 ? 0 : -1;
}

}  // namespace

extern "C" {
int __wrap_msync(void* address, std::size_t size, int flags) {
  EXPECT_EQ(flags, MS_SYNC);
  return record({"msync", reinterpret_cast<std::uintptr_t>(address), size});
}
int __wrap_sync_file_range(int fd, off64_t offset, off64_t size, unsigned how) {
  return record({"range", static_cast<std::uintptr_t>(offset), static_cast<std::size_t>(size), how, fd});
}
}

namespace ppmm::test {
namespace {

using detail::address_range;

constexpr std::uintptr_t base = 0x5500'0000'0000, mebi = 1 << 20, page = 4096;
address_range pages(std::uintptr_t offset, std::size_t n) { return {base + offset, base + offset + n * page}; }

class PageSync : public testing::Test {
 protected:
  void SetUp() override {
    calls.clear();
    answer = nullptr;
  }
  int sync(std::vector<address_range> ranges) const { return detail::sync_ranges(ranges, files); }
  static std::vector<std::string> names() {
    std::vector<std::string> all;
    for (const call& c : calls) all.push_back(c.name);
    return all;
  }
  std::vector<synced_file> files = {{base, 1024 * mebi, 7, true}};
};

TEST_F(PageSync, OfNothingCallsNothing) {
  EXPECT_EQ(sync({}), 0);
  EXPECT_TRUE(calls.empty());
}

TEST_F(PageSync, OfOneRangeIsOneMsyncOfIt) {
  EXPECT_EQ(sync({pages(mebi, 3)}), 0);
  ASSERT_EQ(calls.size(), 1u);
  EXPECT_EQ(calls[0].name, "msync");
  EXPECT_EQ(calls[0].first, base + mebi);
  EXPECT_EQ(calls[0].size, 3 * page);
}

TEST_F(PageSync, FlushesTheDiskOnceForManyRanges) {
  EXPECT_EQ(sync({pages(900 * mebi, 1), pages(0, 2), pages(5 * mebi, 1)}), 0);
  EXPECT_EQ(names(), (std::vector<std::string>{"range", "range", "range", "range", "range", "msync"}));
  EXPECT_EQ(calls.back().first, base + 900 * mebi) << "the last range, and no page between";
  EXPECT_EQ(calls.back().size, page);
  for (const call& c : calls) EXPECT_TRUE(c.name != "range" || c.fd == 7);
  for (std::size_t i : {3u, 4u}) {  // those that msync does not wait for
    EXPECT_EQ(calls[i].first, i == 3 ? 0 : 5 * mebi);
    EXPECT_EQ(calls[i].size, (i == 3 ? 2 : 1) * page);
    EXPECT_EQ(calls[i].how, 7u) << "a page under way must be written again, and all be waited for";
  }
}

TEST_F(PageSync, ElsewhereJoinsRangesThatAreNear) {
  files[0].syncs_as_one = false;
  EXPECT_EQ(sync({pages(15 * mebi, 1), pages(0, 1), pages(100 * mebi, 1)}), 0);
  EXPECT_EQ(names(), (std::vector<std::string>{"msync", "msync"}));
  EXPECT_EQ(calls[0].size, 15 * mebi + page);
  EXPECT_EQ(calls[1].first, base + 100 * mebi);
}

TEST_F(PageSync, OfPartsSyncsEach) {
  files = {{base, mebi, 7, true}, {base + 4 * mebi, mebi, 7, true}};
  EXPECT_EQ(sync({pages(4 * mebi, 1), pages(5 * mebi - page, 1), pages(0, 1), pages(mebi - page, 1), pages(mebi, 1)}), 0);
  std::vector<std::uintptr_t> synced;
  for (const call& c : calls)
    if (c.name == "msync") synced.push_back(c.first - base);
  EXPECT_EQ(synced, (std::vector<std::uintptr_t>{mebi - page, mebi, 5 * mebi - page})) << "what no file has is synced too";
  for (const call& c : calls)
    EXPECT_TRUE(c.name != "range" || c.first < mebi) << "offsets are in the file, not in the pool";
}

TEST_F(PageSync, ReportsWhateverFails) {
  for (std::size_t bad = 0; bad < 6; ++bad) {
    calls.clear();
    answer = [bad](const call&) { return calls.size() == bad + 1 ? EIO : 0; };
    EXPECT_EQ(sync({pages(0, 1), pages(5 * mebi, 1), pages(900 * mebi, 1)}), EIO);
    EXPECT_EQ(calls.size(), bad + 1) << "nothing is tried after it";
  }
}

TEST_F(PageSync, OfAHoleBetweenRangesSyncsTheRanges) {
  files.clear();
  answer = [](const call& c) { return c.size > page ? ENOMEM : 0; };
  EXPECT_EQ(sync({pages(0, 1), pages(mebi, 1)}), 0);
  EXPECT_EQ(calls.size(), 3u);
  answer = [](const call& c) { return c.size > page || c.first == base + mebi ? ENOMEM : 0; };
  EXPECT_EQ(sync({pages(0, 1), pages(mebi, 1)}), ENOMEM) << "a range that is not mapped itself";
  answer = [](const call&) { return EIO; };
  calls.clear();
  EXPECT_EQ(sync({pages(0, 1), pages(mebi, 1)}), EIO);
  EXPECT_EQ(calls.size(), 1u) << "a page that was lost is not asked for again: the second answer would be good";
}

/// The kernel tells each open file once that a page was lost. Another worker may have been told by the one that is mapped.
TEST_F(PageSync, HearsOfWhatAnotherWorkerWasTold) {
  const int mapped = ::memfd_create("pool", MFD_CLOEXEC);
  ASSERT_GE(mapped, 0);
  files = {{base, mebi, mapped, true}};
  const medium m{.level = durability::power, .grain = granularity::page, .base = base, .size = mebi, .files = files};
  persister first(m), second(m);
  EXPECT_NO_THROW(first.persist(reinterpret_cast<void*>(base), 1));
  ASSERT_EQ(names(), (std::vector<std::string>{"msync", "range"}));
  const int own = calls.back().fd;
  EXPECT_EQ(calls.back().how, unsigned{SYNC_FILE_RANGE_WAIT_BEFORE});
  EXPECT_NO_THROW(second.persist(reinterpret_cast<void*>(base), 1));
  EXPECT_TRUE(own != mapped && calls.back().fd != mapped && calls.back().fd != own) << "each has an open file of its own";

  answer = [own](const call& c) { return c.fd == own ? EIO : 0; };
  EXPECT_THROW(first.persist(reinterpret_cast<void*>(base), 1), medium_error) << "its msync succeeded";
  EXPECT_NO_THROW(second.persist(reinterpret_cast<void*>(base), 1));
  ::close(mapped);
}

TEST_F(PageSync, TrustsOnlyFileSystemsThatAreKnown) {
  EXPECT_TRUE(detail::syncs_as_one(EXT4_SUPER_MAGIC));
  EXPECT_TRUE(detail::syncs_as_one(XFS_SUPER_MAGIC));
  EXPECT_FALSE(detail::syncs_as_one(BTRFS_SUPER_MAGIC));
  EXPECT_FALSE(detail::syncs_as_one(NFS_SUPER_MAGIC));
}

}  // namespace
}  // namespace ppmm::test
