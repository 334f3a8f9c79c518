/// What inspect() promises: it tells what is in a pool and what is wrong with it, and disturbs nobody.
#include "pmem_test.hpp"

#include <ppmm/pmem/inspect.hpp>
#include <ppmm/pmem/slot_lock.hpp>

#include <optional>

namespace ppmm::test {

class Inspect : public testing::Test {
 protected:
  Inspect() {
    pool p = pool::create(file, {.size = pool::min_size, .max_workers = 9, .level = durability::emulated});
    for (int i = 0; i < 3; ++i) p.put_job(job("job " + std::to_string(i)));
  }
  pool_report look() {
    const std::string before = content(file);
    pool_report r = inspect(file);
    EXPECT_TRUE(content(file) == before);
    return r;
  }

  scratch_folder folder{memory()};
  fs::path file = folder / "a.pool";
};

TEST_F(Inspect, TellsWhatIsInAWholePool) {
  const pool_report r = look();
  EXPECT_TRUE(r.ok());
  EXPECT_EQ(r.file, file);
  EXPECT_EQ(r.file_size, pool::min_size);
  EXPECT_EQ(r.file_system, "tmpfs");
  EXPECT_TRUE(r.in_memory);
  EXPECT_FALSE(r.holder);
  ASSERT_TRUE(r.facts);
  EXPECT_EQ(r.facts->format_version, layout::format_version);
  EXPECT_EQ(r.facts->max_workers, 9u);
  EXPECT_EQ(r.facts->base_address(), pool::default_address);
  EXPECT_EQ(r.facts->size(), pool::min_size);
  EXPECT_EQ(r.facts->level, durability::emulated);
  EXPECT_EQ(r.facts->segments(), 1u);
  ASSERT_EQ(r.jobs.size(), 3u);
  EXPECT_STREQ(r.jobs[2].name, "job 2");
}

TEST_F(Inspect, WorksWhileThePoolIsOpen) {
  pool p = pool::open(file);
  const pool_report r = look();
  EXPECT_TRUE(r.ok()) << r.failed[0].message;
  ASSERT_TRUE(r.holder);
  EXPECT_EQ(*r.holder, ::getpid());
  p.put_job(job("job 3"));
  EXPECT_EQ(look().jobs.size(), 4u);
}

TEST_F(Inspect, SeesWorkerProcessesThatNobodyCoordinates) {
  std::optional<detail::descriptor> worker;
  {
    pool p = pool::open(file);
    worker = detail::lock_slot(p, 3);
    ASSERT_TRUE(*worker);
    EXPECT_FALSE(detail::lock_slot(p, 3)) << "it has it";
    const pool_report r = look();
    EXPECT_TRUE(r.holder);
    EXPECT_EQ(r.worked_in, std::vector<std::uint32_t>{3});
  }
  pool_report r = look();
  EXPECT_FALSE(r.holder);
  EXPECT_EQ(r.worked_in, std::vector<std::uint32_t>{3});
  EXPECT_TRUE(r.in_use());
  EXPECT_THROW(pool::grow(file, 2 * pool::min_size), pool_in_use);
  EXPECT_THROW(pool::open(file).drop_job("job 1"), pool_in_use);
  worker.reset();
  r = look();
  EXPECT_TRUE(r.worked_in.empty());
  EXPECT_FALSE(r.in_use());
  EXPECT_TRUE(pool::open(file).drop_job("job 1"));
}

TEST_F(Inspect, SeesAChangingCatalogWhole) {
  const signal_pipe ready;
  child writer([&] {
    pool p = pool::open(file);
    ready.send();
    for (std::uint64_t i = 0;; ++i) {
      layout::job_entry j = job("job 1");
      j.resumed = i;
      std::memset(j.result, static_cast<int>(i & 0xff), sizeof(j.result));
      p.put_job(j);
    }
    return 0;
  });
  ready.await();
  for (int i = 0; i < 10; ++i) {
    const pool_report r = inspect(file);
    EXPECT_EQ(r.failed.size() + r.jobs.size(), 3u);  // at worst the changing one is caught torn, each of three times
    ASSERT_TRUE(r.facts);
  }
}

TEST_F(Inspect, ReportsAllThatIsWrong) {
  forgery f(file);
  f.heap.reserved[0] = 1;
  f.root->jobs[1].serial ^= 1;
  f.store_as_is();
  const std::uint64_t flags = 1;
  overwrite(file, format::lanes_offset + offsetof(format::log_header, flags), &flags, sizeof(flags));
  const pool_report r = look();
  ASSERT_EQ(r.failed.size(), 3u);
  EXPECT_EQ(r.failed[0].check, "libpmemobj heap");
  EXPECT_EQ(r.failed[1].check, "libpmemobj logs");
  EXPECT_EQ(r.failed[2].check, "job catalog");
  EXPECT_NE(r.failed[2].message.find("entry 1"), std::string::npos);
  EXPECT_EQ(r.jobs.size(), 2u);
  EXPECT_TRUE(r.facts);
}

TEST_F(Inspect, StopsWhereNothingCanBeBelieved) {
  forgery f(file);
  f.root->max_workers = 3;
  f.store_as_is();
  const pool_report r = look();
  ASSERT_EQ(r.failed.size(), 1u);
  EXPECT_EQ(r.failed[0].check, "control root");
  EXPECT_FALSE(r.facts);
  EXPECT_TRUE(r.jobs.empty());
}

TEST_F(Inspect, SegmentsOutOfRangeAreNoFacts) {
  for (const std::uint32_t count : {0u, 2u, 65u}) {  // the second is all zeros
    forgery f(file);
    f.root->segment_count = count;
    f.store();
    const pool_report r = look();
    ASSERT_EQ(r.failed.size(), 1u);
    EXPECT_EQ(r.failed[0].check, "segment table");
    EXPECT_FALSE(r.facts);
  }
}

TEST_F(Inspect, ReportsFilesOfAnyKind) {
  std::ofstream(file) << "text, just text";
  EXPECT_EQ(look().failed.at(0).check, "libpmemobj header");
  fs::resize_file(file, 0);
  EXPECT_FALSE(look().ok());
  fs::remove(file);
  expect_error<no_such_pool>(file, "", [&] { inspect(file); });
  expect_error<not_a_pool>(folder.path(), "", [&] { inspect(folder.path()); });
}

}  // namespace ppmm::test
