/// What the job catalog promises: an entry is the old one or the new one, and a damaged one is named, not returned.
#include "pmem_test.hpp"

#include <ppmm/pmem/inspect.hpp>

#include <libpmemobj.h>

#include <thread>
#include <vector>

namespace ppmm::test {

class Catalog : public testing::Test {
 protected:
  scratch_folder folder{memory()};
  fs::path file = folder / "a.pool";
  std::optional<pool> p = pool::create(file, small);

  void reopen() {
    p.reset();
    p = pool::open(file);
  }
  std::uint64_t offset_of(std::size_t index) const {
    return forgery(file).root_at + offsetof(layout::control_root, jobs) + index * sizeof(layout::job_entry);
  }
};

TEST_F(Catalog, KeepsEveryFieldOfAJob) {
  layout::job_entry j = job("sort 10M");
  j.state = layout::job_state::finished;
  j.result_size = 8;
  std::memset(j.result, 0xab, 8);
  std::strcpy(j.task, "ppmm::task<sort>");
  std::strcpy(j.text, "why");
  j.task_id = 1;
  j.arguments = 2;
  j.build_id[19] = 3;
  j.workers = 4;
  j.started_ns = 5;
  j.ended_ns = 6;
  j.resumed = 7;
  j.region = 8;
  j.input = 9;
  p->put_job(j);
  reopen();
  const auto found = p->find_job("sort 10M");
  ASSERT_TRUE(found);
  j.checksum = found->checksum;  // put_job fills it in
  EXPECT_EQ(std::memcmp(&*found, &j, sizeof(j)), 0);
  EXPECT_EQ(found->checksum, detail::checksum_of(*found));
  EXPECT_EQ(p->jobs().size(), 1u);
  EXPECT_FALSE(p->find_job("sort"));
}

TEST_F(Catalog, KeepsHowTheNewestJobWasCalled) {
  EXPECT_FALSE(inspect(file).call);
  layout::job_entry j = job("a");
  j.serial = 7;
  const std::string longest(layout::max_call, 'x');
  for (const std::string& call : {std::string("one"), longest, std::string("t\0wo", 5), std::string("t\0wo", 5)}) {
    p->keep_call(j.serial, call);
    p->put_job(j);
    reopen();
    const pool_report report = inspect(file);
    EXPECT_TRUE(report.ok());
    ASSERT_TRUE(report.call);
    EXPECT_EQ(*report.call, call);
  }
  p->keep_call(j.serial, longest + 'x');  // too long: none, not a part
  EXPECT_FALSE(inspect(file).call);
}

TEST_F(Catalog, TellsNoCallOfAnotherJob) {
  layout::job_entry a = job("a"), b = job("b");
  a.serial = 7;
  b.serial = 8;
  p->keep_call(a.serial, "call of a");
  p->put_job(a);
  p->put_job(b);
  EXPECT_FALSE(inspect(file).call);  // b's, and that has none
  p->keep_call(b.serial, "call of b");
  EXPECT_EQ(inspect(file).call, "call of b");
  p->keep_call(9, "call of a job that never began");
  EXPECT_FALSE(inspect(file).call);
  EXPECT_TRUE(inspect(file).ok());
}

TEST_F(Catalog, TellsADamagedCallAndOpensThePool) {
  layout::job_entry a = job("a");
  a.serial = 7;
  p->keep_call(a.serial, "call of a");
  p->put_job(a);
  p.reset();
  const std::uint64_t at = forgery(file).root_at + offsetof(layout::control_root, call);
  const auto damage = [&](std::size_t where, std::uint64_t what, std::size_t size) {
    std::string before = content(file);
    overwrite(file, at + where, &what, size);
    const pool_report report = inspect(file);
    EXPECT_FALSE(report.ok());
    EXPECT_FALSE(report.call);
    EXPECT_TRUE(pool::open(file).find_job("a"));
    overwrite(file, 0, before.data(), before.size());
  };
  damage(offsetof(layout::call_record, text), 'x', 1);
  damage(offsetof(layout::call_record, bytes), 8, 8);
  damage(offsetof(layout::call_record, bytes), ~std::uint64_t{0}, 8);
  damage(offsetof(layout::call_record, checksum), 1, 8);
  EXPECT_EQ(inspect(file).call, "call of a");
}

TEST_F(Catalog, ReplacesTheEntryOfTheSameName) {
  p->put_job(job("a"));
  p->put_job(job("b"));
  p->put_job(job("a", layout::job_state::failed));
  EXPECT_EQ(p->jobs().size(), 2u);
  EXPECT_EQ(p->find_job("a")->state, layout::job_state::failed);
  EXPECT_EQ(p->find_job("b")->state, layout::job_state::running);
}

TEST_F(Catalog, DropsAndReusesEntries) {
  p->put_job(job("a"));
  EXPECT_TRUE(p->drop_job("a"));
  EXPECT_FALSE(p->drop_job("a"));
  EXPECT_FALSE(p->drop_job("never there"));
  reopen();
  EXPECT_TRUE(p->jobs().empty());
}

TEST_F(Catalog, SaysWhenItIsFull) {
  for (std::size_t i = 0; i < layout::max_jobs; ++i) p->put_job(job("job " + std::to_string(i)));
  expect_error<pool_error>(file, "Drop finished jobs", [&] { p->put_job(job("one more")); });
  EXPECT_NO_THROW(p->put_job(job("job 63", layout::job_state::finished))) << "an old name needs no new entry";
  EXPECT_TRUE(p->drop_job("job 17"));
  p->put_job(job("one more"));
  reopen();
  EXPECT_EQ(p->jobs().size(), layout::max_jobs);
}

TEST_F(Catalog, TakesOnlyNamesThatCanBePrinted) {
  const auto refused = [&](std::string_view name) {
    layout::job_entry j = job("x");
    std::memset(j.name, 0, sizeof(j.name));
    name.copy(j.name, sizeof(j.name));
    expect_error<pool_error>(file, "job name", [&] { p->put_job(j); });
  };
  refused("");
  refused("a\nb");
  refused("\x7f");
  refused(std::string(layout::max_job_name, 'a'));  // no room for the end
  EXPECT_TRUE(p->jobs().empty());
  p->put_job(job(std::string(layout::max_job_name - 1, 'a')));
  p->put_job(job("fünf"));
  EXPECT_TRUE(p->find_job("fünf"));
}

TEST_F(Catalog, TakesNoEntryThatItCouldNotRead) {
  expect_error<pool_error>(file, "state", [&] { p->put_job(job("a", layout::job_state::free)); });
  expect_error<pool_error>(file, "state", [&] { p->put_job(job("a", layout::job_state(4))); });
  layout::job_entry j = job("a");
  j.result_size = layout::max_job_result + 1;
  expect_error<pool_error>(file, "bytes of result", [&] { p->put_job(j); });
  j.result_size = 0;
  std::memset(j.text, 'x', sizeof(j.text));
  std::memset(j.task, 'x', sizeof(j.task));
  p->put_job(j);
  EXPECT_EQ(std::strlen(p->find_job("a")->text), sizeof(j.text) - 1);
  EXPECT_EQ(std::strlen(p->find_job("a")->task), sizeof(j.task) - 1);
}

TEST_F(Catalog, NamesADamagedEntry) {
  for (int i = 0; i < 5; ++i) p->put_job(job("job " + std::to_string(i)));
  p.reset();
  const auto whole = structure_at<layout::job_entry>(file, offset_of(3));
  const auto damaged_after = [&](const auto& change) {
    layout::job_entry j = whole;
    change(j);
    overwrite(file, offset_of(3), &j, sizeof(j));
    pool open = pool::open(file);  // the pool itself is whole
    expect_error<corrupt_pool>(file, "entry 3", [&] { open.jobs(); });
    expect_error<corrupt_pool>(file, "entry 3", [&] { open.find_job("job 4"); });
    expect_error<corrupt_pool>(file, "entry 3", [&] { open.put_job(job("new")); });
    expect_error<corrupt_pool>(file, "entry 3", [&] { open.drop_job("job 0"); });
  };
  damaged_after([](layout::job_entry& j) { j.serial ^= 1; });
  damaged_after([](layout::job_entry& j) { j.state = layout::job_state::free; });  // does not make it disappear
  damaged_after([](layout::job_entry& j) { j.checksum ^= 1; });
  damaged_after([](layout::job_entry& j) {  // torn: half of it is another entry's
    std::memset(reinterpret_cast<char*>(&j) + sizeof(j) / 2, 0, sizeof(j) / 2);
  });
  // Forged, with a checksum that fits.
  const auto forged_after = [&](const auto& change) {
    damaged_after([&](layout::job_entry& j) {
      change(j);
      j.checksum = detail::checksum_of(j);
    });
  };
  forged_after([](layout::job_entry& j) { j.state = layout::job_state(17); });
  forged_after([](layout::job_entry& j) { j.result_size = 1u << 31; });
  forged_after([](layout::job_entry& j) { std::memset(j.name, 'x', sizeof(j.name)); });
  forged_after([](layout::job_entry& j) { std::memset(j.task, 'x', sizeof(j.task)); });
  forged_after([](layout::job_entry& j) { std::memset(j.text, 'x', sizeof(j.text)); });
  forged_after([](layout::job_entry& j) { j.name[0] = '\0'; });
  overwrite(file, offset_of(3), &whole, sizeof(whole));
  EXPECT_EQ(pool::open(file).jobs().size(), 5u);
}

TEST_F(Catalog, LogsTheOldContentBeforeAChange) {
  p->put_job(job("a"));
  const layout::job_entry old = *p->find_job("a");
  p->put_job(job("a", layout::job_state::finished));
  p.reset();
  // The log stays where it was when its transaction is over; only its generation goes on.
  constexpr std::uint64_t undo_in_lane =
      2 * sizeof(format::log_header) + format::internal_redo_bytes + format::external_redo_bytes;
  int found = 0;
  for (std::uint64_t lane = 0; lane < format::lane_count; ++lane) {
    const std::uint64_t at =
        format::lanes_offset + lane * format::lane_bytes + undo_in_lane + sizeof(format::log_header);
    const auto entry = structure_at<format::undo_entry>(file, at);
    if (entry.offset != (offset_of(0) | format::operation_copy << format::operation_shift)) continue;
    const auto logged = structure_at<layout::job_entry>(file, at + sizeof(entry));
    if (entry.size == sizeof(old) && std::memcmp(&logged, &old, sizeof(old)) == 0) ++found;
  }
  EXPECT_EQ(found, 1);
}

TEST_F(Catalog, UndoesAChangeThatACrashCutShort) {
  p->put_job(job("a"));
  p.reset();
  // What put_job does, stopped before the commit: the old content is logged, the new one half written.
  child writer([&] {
    PMEMobjpool* raw = pmemobj_open(file.c_str(), layout::pool_layout_name);
    if (raw == nullptr) return 1;
    auto* root = static_cast<layout::control_root*>(pmemobj_direct(pmemobj_root(raw, layout::root_object_bytes)));
    if (pmemobj_tx_begin(raw, nullptr, TX_PARAM_NONE) != 0) return 2;
    if (pmemobj_tx_add_range_direct(&root->jobs[0], sizeof(root->jobs[0])) != 0) return 3;
    std::memset(&root->jobs[0], 0xee, sizeof(root->jobs[0]) / 2);
    ::_exit(42);
    return 0;
  });
  ASSERT_EQ(writer.wait(), 42);
  EXPECT_NE(structure_at<layout::job_entry>(file, offset_of(0)).name[0], 'a') << "nothing was cut short";
  p = pool::open(file);
  EXPECT_EQ(p->jobs().size(), 1u);
  EXPECT_TRUE(p->find_job("a"));
}

TEST_F(Catalog, KilledAnywhereIsTheOldOrTheNew) {
  layout::job_entry j = job("count");
  p->put_job(j);
  p.reset();
  std::mt19937_64 random(seed());
  std::uint64_t last = 0;
  for (int round = 0; round < 20; ++round) {
    const signal_pipe ready;
    const std::uint64_t changes = random() % 50;
    child writer([&] {
      pool mine = pool::open(file);
      layout::job_entry next = *mine.find_job("count");
      for (std::uint64_t i = 0;; ++i) {
        if (i == changes) ready.send();  // and on: the kill falls anywhere
        ++next.resumed;
        std::memset(next.result, static_cast<int>(next.resumed & 0xff), sizeof(next.result));
        mine.put_job(next);
      }
      return 0;
    });
    ready.await();
    writer.kill();
    p = pool::open(file);
    const auto found = p->find_job("count");
    ASSERT_TRUE(found);
    EXPECT_GE(found->resumed, last + changes);
    last = found->resumed;
    for (const std::uint8_t byte : found->result) EXPECT_EQ(byte, last & 0xff);
    EXPECT_EQ(p->jobs().size(), 1u);
    p.reset();
  }
}

TEST_F(Catalog, MayBeUsedByManyThreads) {
  std::vector<std::thread> threads;
  threads.reserve(4);
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([this, t] {
      const std::string name = "thread " + std::to_string(t);
      for (int i = 0; i < 20; ++i) {
        p->put_job(job(name));
        EXPECT_TRUE(p->find_job(name));
        EXPECT_GE(p->jobs().size(), 1u);
        if (i % 3 == 0) {
          EXPECT_TRUE(p->drop_job(name));
        }
      }
    });
  }
  for (std::thread& t : threads) t.join();
  EXPECT_EQ(p->jobs().size(), 4u);
}

}  // namespace ppmm::test
