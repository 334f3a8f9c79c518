/// What `ppmm check` reads of a job that stopped: the lists of heap changes beside its restart records.
#include "pool_reader.hpp"

#include <ppmm/ppmm.hpp>

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstddef>
#include <filesystem>
#include <fstream>
#include <string>

namespace ppmm::tools {
namespace {

step<int> hoard(context& cx, int n) {
  for (int i = 0; i < 30; ++i) static_cast<void>(cx.alloc<std::byte>(4000));
  return cx.tail(task<hoard>(n + 1));
}

class PoolReader : public testing::Test {
 protected:
  PoolReader() {
    std::filesystem::remove(file);
    pool p = pool::create(file, {.size = pool::min_size, .max_workers = 2});
    run_options o;
    o.workers = 1;
    o.commit_every_task = true;
    EXPECT_THROW(run(p, "hoard", task<hoard>(0), o), out_of_pool_memory);
    serial = p.find_job("hoard")->serial;
  }
  ~PoolReader() override { std::filesystem::remove(file); }

  const std::string file = "/dev/shm/ppmm-reader-" + std::to_string(getpid()) + ".pool";
  std::uint64_t serial = 0;
};

TEST_F(PoolReader, ChecksTheListsOfRecords) {
  const pool_report report = inspect(file);
  ASSERT_TRUE(report.ok());
  const pool_reader reader(report);
  std::size_t lists = 0;
  EXPECT_TRUE(reader.list_problems(serial, lists).empty());
  ASSERT_EQ(lists, 1u);
  EXPECT_GT(reader.heap(serial).blocks, 1000u);
  EXPECT_EQ(reader.heap(0).blocks, 0u) << "not kept: gone when the job is dropped";

  unsigned slot = 0;
  while (!reader.workers()[slot].record) ++slot;
  const std::uint64_t word = report.facts->parts[0].segments[0].offset + slot * sizeof(detail::worker_slot) + offsetof(detail::worker_slot, redo) +
                             (reader.workers()[slot].record->sequence & 1) * sizeof(detail::redo_area) + offsetof(detail::redo_area, words) + 8;
  std::fstream(file, std::ios::in | std::ios::out | std::ios::binary).seekp(static_cast<std::streamoff>(word)).put('\x7f');
  lists = 0;
  const auto problems = reader.list_problems(serial, lists);
  ASSERT_EQ(problems.size(), 1u);
  EXPECT_NE(problems[0].find("checksum"), std::string::npos) << problems[0];
  lists = 0;
  EXPECT_TRUE(reader.list_problems(serial + 1, lists).empty()) << "another job's records name nothing";
  EXPECT_EQ(lists, 0u);
}

}  // namespace
}  // namespace ppmm::tools
