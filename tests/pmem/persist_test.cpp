/// What a persister promises: which lines and pages it flushes, when, and that a medium that fails is not hidden.
#include "pmem_test.hpp"

#include <fcntl.h>
#include <libpmem2.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

namespace ppmm::test {

namespace {

struct flushed {
  std::uintptr_t first;
  std::size_t size;
  bool operator==(const flushed&) const = default;
};
thread_local std::vector<flushed> flushes;
thread_local int drains = 0;

medium fake(durability level, granularity grain) {
  flushes.clear();
  drains = 0;
  return {.level = level,
          .grain = grain,
          .flush =
              [](const void* p, std::size_t n) {
                flushes.push_back({reinterpret_cast<std::uintptr_t>(p), n});
              },
          .drain = [] { ++drains; },
          .base = 0,
          .size = 0};
}

const void* at(std::uintptr_t address) { return reinterpret_cast<const void*>(address); }

/// Pages of a file: some mapped, some not, so that an msync of a page that is not there fails with ENOMEM.
class pages {
 public:
  explicit pages(const std::vector<bool>& mapped) : size_(mapped.size() * 4096) {
    const int fd = ::open(memory().c_str(), O_TMPFILE | O_RDWR, 0600);
    EXPECT_EQ(::ftruncate(fd, static_cast<off_t>(size_)), 0);
    // Far from where the system maps by itself: the holes must stay holes.
    void* const place = reinterpret_cast<void*>(std::uintptr_t{0x5520'0000'0000});
    base_ = static_cast<std::byte*>(::mmap(place, size_, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED_NOREPLACE, fd, 0));
    ::close(fd);
    for (std::size_t i = 0; i < mapped.size(); ++i) {
      if (!mapped[i]) ::munmap(base_ + i * 4096, 4096);
    }
  }
  ~pages() { ::munmap(base_, size_); }
  pages(const pages&) = delete;
  pages& operator=(const pages&) = delete;
  std::byte* operator+(std::size_t offset) const { return base_ + offset; }

 private:
  std::size_t size_;
  std::byte* base_;
};

}  // namespace

TEST(Persister, CopiesAsItFlushes) {
  static unsigned past_caches;
  past_caches = 0;
  std::vector<std::byte> from(256, std::byte{7}), to(320);
  for (const bool own_copy : {false, true}) {
    medium m = fake(durability::emulated, granularity::cache_line);
    if (own_copy)
      m.copy = [](void* a, const void* b, std::size_t n, unsigned flags) {
        EXPECT_EQ(flags, unsigned{PMEM2_F_MEM_NODRAIN | PMEM2_F_MEM_NONTEMPORAL});
        ++past_caches;
        return std::memcpy(a, b, n);
      };
    persister w(m);
    EXPECT_TRUE(w.copies_past_caches());
    std::ranges::fill(to, std::byte{0});
    w.copy(to.data() + 1, from.data(), from.size());
    EXPECT_EQ(to.front(), std::byte{0});
    EXPECT_TRUE(std::equal(from.begin(), from.end(), to.begin() + 1));
    EXPECT_EQ(to[257], std::byte{0});
    EXPECT_EQ(drains, 0) << "the fence is the caller's";
    w.fence();
    EXPECT_EQ(flushes.size(), own_copy ? 0u : 1u) << "what goes past the caches needs no flush";
    EXPECT_EQ(drains, 1);
    EXPECT_EQ(w.counters().bytes, 256u);
    EXPECT_GE(w.counters().lines, 4u);
  }
  EXPECT_EQ(past_caches, 1u);
  for (const auto& [level, grain] : {std::pair(durability::process, granularity::cache_line), std::pair(durability::power, granularity::byte),
                                     std::pair(durability::power, granularity::page)}) {
    const medium m = fake(level, grain);
    EXPECT_FALSE(persister(m).copies_past_caches()) << "there a flush is free, or of pages";
  }
}

TEST(Persister, StoresPastCachesWhereThatIsBetter) {
  using enum durability;
  using enum granularity;
  for (const auto& [level, grain, small_too] : {std::tuple(emulated, cache_line, true), std::tuple(power, cache_line, true), std::tuple(power, byte, false),
                                                std::tuple(power, granularity::page, false), std::tuple(process, cache_line, false)}) {
    const medium m = fake(level, grain);
    EXPECT_EQ(persister(m).stores_past_caches(false), small_too);
    EXPECT_TRUE(persister(m).stores_past_caches(true));
  }
}

TEST(Persister, FencesWhatWasStoredPastCaches) {
  struct pair {
    std::uint64_t a, b;
  };
  alignas(64) pair to[8] = {};
  for (const medium& m : {fake(durability::emulated, granularity::cache_line), fake(durability::process, granularity::page)}) {
    flushes.clear();
    drains = 0;
    persister w(m);
    for (std::uint64_t i = 0; i < 8; ++i) store_past_caches(to + i, pair{i, ~i});
    w.stored_past_caches(to, sizeof to);
    w.fence();
    for (std::uint64_t i = 0; i < 8; ++i) EXPECT_TRUE(to[i].a == i && to[i].b == ~i);
    EXPECT_TRUE(flushes.empty()) << "they need none";
    EXPECT_EQ(drains, m.level == durability::emulated ? 1 : 0);
    EXPECT_EQ(w.counters().lines, 2u);
    EXPECT_EQ(w.counters().bytes, sizeof to);
  }
}

TEST(Persister, CountsEveryLineThatARangeTouches) {
  const medium m = fake(durability::process, granularity::page);
  persister w(m);
  w.flush(at(0x1000), 64);
  EXPECT_EQ(w.counters().lines, 1u);
  w.flush(at(0x103f), 2);
  EXPECT_EQ(w.counters().lines, 3u);
  w.flush(at(0x1001), 64);
  EXPECT_EQ(w.counters().lines, 5u);
  w.flush(at(0x1001), 0);
  EXPECT_EQ(w.counters().lines, 5u);
  w.flush(at(0x1040), 4096);
  EXPECT_EQ(w.counters().lines, 69u);
  EXPECT_EQ(w.counters().flushes, 5u);
  EXPECT_EQ(w.counters().bytes, 64u + 2 + 64 + 4096);
  w.fence();
  w.persist(at(0x1000), 8);
  EXPECT_EQ(w.counters().fences, 2u);
  EXPECT_EQ(w.counters().flushes, 6u);
}

TEST(Persister, OfLevelProcessFlushesNothing) {
  for (const granularity grain : {granularity::page, granularity::cache_line, granularity::byte}) {
    const medium m = fake(durability::process, grain);
    persister w(m);
    w.persist(at(0x1000), 100);
    EXPECT_TRUE(flushes.empty());
    EXPECT_EQ(drains, 0);
    EXPECT_EQ(w.counters().nanoseconds, 0u);
  }
}

TEST(Persister, ByLineFlushesAndDrainsAtTheFence) {
  for (const medium& m :
       {fake(durability::emulated, granularity::cache_line), fake(durability::power, granularity::cache_line),
        fake(durability::power, granularity::byte)}) {
    flushes.clear();
    drains = 0;
    persister w(m);
    w.flush(at(0x1003), 100);
    w.flush(at(0x2000), 0);
    w.flush(at(0x3000), 1);
    EXPECT_TRUE(flushes.empty()) << "a line that is on its way cannot be read nor written to";
    EXPECT_EQ(drains, 0);
    w.fence();
    EXPECT_EQ(flushes, (std::vector<flushed>{{0x1000, 128}, {0x3000, 64}}));
    EXPECT_EQ(drains, 1);
    EXPECT_GT(w.counters().nanoseconds, 0u);
    w.fence();
    EXPECT_EQ(flushes.size(), 2u) << "once is enough";
    EXPECT_EQ(drains, 2) << "a fence also orders what others have flushed";
  }
}

TEST(Persister, ByLineFlushesNeighboursAsOne) {
  const medium m = fake(durability::power, granularity::cache_line);
  flushes.clear();
  persister w(m);
  w.flush(at(0x1090), 48);  // frames of a stack, from the newest down: they share lines
  w.flush(at(0x1060), 48);
  w.flush(at(0x1030), 48);
  w.flush(at(0x1030), 8);
  w.flush(at(0x0fc0), 64);  // touches them
  w.flush(at(0x0f00), 64);  // does not
  w.fence();
  EXPECT_EQ(flushes, (std::vector<flushed>{{0x0fc0, 0x100}, {0x0f00, 64}}));
}

TEST(Persister, ForgetsLines) {
  const medium m = fake(durability::power, granularity::cache_line);
  flushes.clear();
  persister w(m);
  w.flush(at(0x1000), 64);
  w.forget();
  w.persist(at(0x2000), 64);
  EXPECT_EQ(flushes, (std::vector<flushed>{{0x2000, 64}}));
}

class PageWise : public testing::Test {
 protected:
  medium m = fake(durability::power, granularity::page);
  persister w{m};
};

TEST_F(PageWise, SyncsNothingBeforeTheFence) {
  const pages p({true, false});
  w.flush(p + 4096, 1);  // not mapped: a sync would fail
  EXPECT_TRUE(flushes.empty()) << "libpmem2's flush aborts when msync fails";
  EXPECT_THROW(w.fence(), medium_error);
  EXPECT_EQ(drains, 0);
}

TEST_F(PageWise, SyncsJustThePagesTouched) {
  const pages p({false, true, true, false});
  w.persist(p + 4096, 8192);
  w.persist(p + 4096 + 5, 8192 - 5);
  w.persist(p + 12288 - 1, 1);
  w.flush(p + 4096 + 5, 1);
  w.flush(p + 12288 - 64, 64);
  w.fence();
  w.fence();
  EXPECT_EQ(w.counters().fences, 5u);
  EXPECT_GT(w.counters().nanoseconds, 0u);
  w.flush(p + 12288 - 1, 2);  // one byte of the next page
  EXPECT_THROW(w.fence(), medium_error);
}

TEST_F(PageWise, SyncsWhatWasStoredPastCaches) {
  const pages p({true, false});
  w.stored_past_caches(p + 8, 100);
  w.fence();
  w.stored_past_caches(p + 4096, 8);
  EXPECT_THROW(w.fence(), medium_error);
}

TEST_F(PageWise, SyncsThePageBeforeAsWell) {
  const pages p({false, true});
  w.flush(p + 4096 - 1, 2);
  EXPECT_THROW(w.fence(), medium_error);
}

TEST_F(PageWise, SyncsEveryRangeOfAFence) {
  // Far apart, in any order: the one that fails is found wherever it stands.
  constexpr std::size_t count = 2048;
  for (const std::size_t bad : {std::size_t{0}, std::size_t{1024}, count - 1}) {
    std::vector<bool> mapped(count, true);
    mapped[bad] = false;
    const pages p(mapped);
    persister mine(m);
    for (const std::size_t page : {std::size_t{1500}, std::size_t{3}, std::size_t{700}}) mine.flush(p + page * 4096, 9);
    mine.fence();
    for (const std::size_t page : {std::size_t{1500}, std::size_t{0}, std::size_t{1024}, count - 1}) {
      mine.flush(p + page * 4096, 9);
    }
    EXPECT_THROW(mine.fence(), medium_error) << bad;
  }
}

TEST_F(PageWise, OnceFailedFailsForEver) {
  // The kernel forgets a page that it could not write: the next msync may well succeed.
  const pages p({true, false});
  w.flush(p + 4096, 1);
  EXPECT_THROW(w.fence(), medium_error);
  EXPECT_THROW(w.persist(p + 0, 1), medium_error);
  EXPECT_THROW(w.fence(), medium_error);
  persister other(m);
  EXPECT_NO_THROW(other.persist(p + 0, 1)) << "nothing tells the two that they share a medium";
}

TEST_F(PageWise, OnceFailedFailsForEveryWorkerOfTheMedium) {
  std::atomic<int> failed = 0;
  m.failed = &failed;
  const pages p({true, false});
  persister a(m);
  persister b(m);
  b.persist(p + 0, 1);
  a.flush(p + 4096, 1);
  EXPECT_THROW(a.fence(), medium_error);
  EXPECT_EQ(failed, ENOMEM);
  EXPECT_THROW(b.persist(p + 0, 1), medium_error);
}

TEST_F(PageWise, FailsInOneThreadAndIsSeenInAll) {
  std::atomic<int> failed = 0;
  m.failed = &failed;
  const pages p({true, true, true, true});
  // In the kernel's half of the address space. A hole of our own would be filled by what the new threads map.
  auto* const never_mapped = reinterpret_cast<std::byte*>(std::uintptr_t{0xffff'8000'0000'0000});
  std::vector<std::thread> threads;
  std::vector<persister> workers;
  for (int i = 0; i < 4; ++i) workers.emplace_back(m);
  for (std::size_t t = 0; t < workers.size(); ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 50; ++i) {
        try {
          workers[t].persist(p + t * 4096, 100);
        } catch (const medium_error&) {
          EXPECT_NE(failed.load(), 0);
        }
        if (t == 3 && i == 25) {
          workers[t].flush(never_mapped, 1);
          EXPECT_THROW(workers[t].fence(), medium_error);
        }
      }
    });
  }
  for (std::thread& t : threads) t.join();
  for (std::size_t t = 0; t < workers.size(); ++t) EXPECT_THROW(workers[t].persist(p + t * 4096, 100), medium_error);
}

TEST_F(PageWise, ForgetsPagesThatWereSynced) {
  const pages p({true, true});
  w.persist(p + 0, 8192);
  ::munmap(p + 0, 8192);  // a second sync would fail
  EXPECT_NO_THROW(w.fence());
}

TEST(Persister, SaysWhatFailedAndWhatIsWhole) {
  medium m = fake(durability::power, granularity::page);
  m.base = 0x10000;  // nothing is mapped there
  m.size = 4096;
  persister w(m);
  w.flush(at(0x10000), 4096);
  try {
    w.fence();
    FAIL() << "nothing was thrown";
  } catch (const medium_error& e) {
    EXPECT_NE(std::string(e.what()).find("Cannot allocate memory"), std::string::npos) << e.what();  // ENOMEM
    EXPECT_NE(std::string(e.what()).find("committed before is whole"), std::string::npos) << e.what();
  }
}

TEST(Persister, ServesAPoolOnEachMedium) {
  std::vector<std::pair<fs::path, durability>> media = {{memory(), durability::process},
                                                        {memory(), durability::emulated}};
  if (!on_memory(disk())) media.insert(media.end(), {{disk(), durability::power}, {disk(), durability::emulated}});
  for (const auto& [where, level] : media) {
    const scratch_folder folder(where);
    const fs::path file = folder / "a.pool";
    {
      const pool p = pool::create(file, {.size = pool::min_size, .level = level});
      std::vector<std::thread> threads;
      for (std::size_t t = 0; t < 4; ++t) {
        threads.emplace_back([&p, t] {
          persister w(p.medium());
          for (std::size_t i = 0; i < 8; ++i) {
            std::byte* line = p.segments()[0].data() + (t * 100 + i) * 1000;
            *line = std::byte(t + 1);
            w.persist(line, 1);
          }
          EXPECT_EQ(w.counters().fences, 8u);
          EXPECT_EQ(w.counters().lines, 8u);
        });
      }
      for (std::thread& t : threads) t.join();
    }
    const pool p = pool::open(file);
    for (std::size_t t = 0; t < 4; ++t) {
      for (std::size_t i = 0; i < 8; ++i) EXPECT_EQ(p.segments()[0][(t * 100 + i) * 1000], std::byte(t + 1));
    }
  }
}

}  // namespace ppmm::test
