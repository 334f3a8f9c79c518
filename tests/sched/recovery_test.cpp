/// Recovery of pools that are not what they should be: an error, never a crash, a hang or a jump.
#include "sched_test.hpp"

#include <ppmm/sched/image.hpp>
#include <ppmm/sched/record.hpp>
#include <ppmm/sched/team.hpp>
#include <ppmm/sched/worker.hpp>

#include <algorithm>
#include <cstring>
#include <vector>

namespace ppmm::test {
namespace {

class Recovery : public Sched {
 protected:
  /// A pool with an unfinished job in it.
  void leave_unfinished(unsigned workers) {
    run_options o = with(workers);
    std::stop_source stop;
    o.stop = stop.get_token();
    o.on_progress = [&](std::uint64_t units) {
      if (units > 0) stop.request_stop();
    };
    EXPECT_THROW(run(the_pool(), "fib", task<fib>(45), o), job_interrupted);
  }
  /// Resumes for a moment only.
  void try_to_resume(unsigned workers = 2) {
    run_options o = with(workers);
    std::stop_source stop;
    o.stop = stop.get_token();
    o.on_resume = [&](const resume_info&) { stop.request_stop(); };
    run(the_pool(), "fib", task<fib>(45), o);
  }
};

TEST_F(Recovery, ARecordThatNamesNoFrame) {
  leave_unfinished(1);
  const detail::image img(the_pool());
  const std::uint64_t serial = the_pool().find_job("fib")->serial;
  const detail::restart good = detail::newest_record(img.worker(0), serial);
  ASSERT_NE(good.kind, detail::record_kind::idle);
  const auto inside = reinterpret_cast<std::uintptr_t>(the_pool().base());
  std::size_t written = 0;
  for (const std::uint64_t at : {std::uint64_t{1}, std::uint64_t{64}, std::uint64_t{inside}, std::uint64_t{inside + the_pool().size() - 64},
                                 ~std::uint64_t{0}, std::uint64_t{0x7fff'ffff'ffc0}, good.at ^ 2, good.at + 8}) {
    detail::restart bad = good;
    bad.kind = detail::record_kind::right;
    bad.at = at;
    bad.sequence = good.sequence + 1;
    detail::write_record(img.worker(0), bad, written);
    EXPECT_THROW(try_to_resume(), corrupt_pool) << std::hex << at;
    bad.kind = detail::record_kind::continuation;
    detail::write_record(img.worker(0), bad, written);
    EXPECT_THROW(try_to_resume(), corrupt_pool) << std::hex << at;
  }
  for (const std::uint64_t at : {std::uint64_t{0}, ~std::uint64_t{0}, std::uint64_t{1} << 40}) {
    detail::restart bad = good;
    bad.at = at;
    bad.sequence = good.sequence + 1;
    for (const auto kind : {detail::record_kind::steal, detail::record_kind::arrive, detail::record_kind::rob}) {
      bad.kind = kind;
      bad.type = 9;
      detail::write_record(img.worker(0), bad, written);
      try {
        try_to_resume();
      } catch (const corrupt_pool&) {
      } catch (const job_interrupted&) {  // it names nothing that is owed to it: idle
      }
    }
  }
  detail::restart bad = good;
  bad.sequence = good.sequence + 1;
  bad.kind = detail::record_kind::run;
  bad.type ^= 1;
  detail::write_record(img.worker(0), bad, written);
  EXPECT_THROW(try_to_resume(), corrupt_pool);
}

TEST_F(Recovery, FramesInACircle) {
  leave_unfinished(1);
  const detail::image img(the_pool());
  const std::uint64_t serial = the_pool().find_job("fib")->serial;
  const detail::restart r = detail::newest_record(img.worker(0), serial);
  detail::frame* newest = r.to().parent();
  ASSERT_NE(newest, nullptr);
  detail::frame* f = newest;
  while (detail::place(f->parent).parent() != nullptr) f = detail::place(f->parent).parent();
  f->parent = reinterpret_cast<std::uintptr_t>(newest);
  EXPECT_THROW(try_to_resume(), corrupt_pool);
}

/// Random damage to everything recovery reads. The answer may be wrong (frames carry no checksum), the process must live.
TEST_F(Recovery, RandomDamage) {
  std::mt19937_64 dice(seed());
  leave_unfinished(3);
  const detail::image img(the_pool());
  std::byte* const first = reinterpret_cast<std::byte*>(&img.worker(0));
  const std::size_t bytes = 4 * sizeof(detail::worker_slot);
  std::byte* const slots = reinterpret_cast<std::byte*>(&img.slot(0));
  const std::size_t slot_bytes = 4 * detail::exposure_slots_per_worker * sizeof(detail::exposure_slot);
  const std::size_t chunk_bytes = 4 * detail::chunk_bytes;
  std::byte* const chunks = img.chunk(img.chunk_ranges()[0].last) - chunk_bytes;  // stacks are taken from the high end
  const auto keep = [](std::byte* at, std::size_t n) { return std::vector<std::byte>(at, at + n); };
  const auto kept_first = keep(first, bytes), kept_slots = keep(slots, slot_bytes), kept_chunks = keep(chunks, chunk_bytes);
  unsigned refused = 0, accepted = 0;
  for (int round = 0; round < 300; ++round) {
    std::copy(kept_first.begin(), kept_first.end(), first);
    std::copy(kept_slots.begin(), kept_slots.end(), slots);
    std::copy(kept_chunks.begin(), kept_chunks.end(), chunks);
    for (int hits = 0; hits < 40; ++hits) {
      std::byte* const where[] = {first + dice() % bytes, slots + dice() % slot_bytes, chunks + chunk_bytes - 1 - dice() % detail::chunk_bytes, chunks + dice() % chunk_bytes};
      *where[dice() % 4] = static_cast<std::byte>(dice());
    }
    const run_options options;
    const auto root = task<fib>(45);
    detail::team t(the_pool(), options, the_pool().find_job("fib")->serial, {detail::ref(root), 8});
    try {
      detail::recover(t, {0, 0});
      ++accepted;
    } catch (const corrupt_pool&) {
      ++refused;
    }
  }
  std::printf("%u refused, %u accepted\n", refused, accepted);
  EXPECT_GT(refused, 0u);
  EXPECT_GT(accepted, 0u);
}

TEST_F(Recovery, ChangesNothingWhenItRefuses) {
  leave_unfinished(2);
  const detail::image img(the_pool());
  const std::uint64_t serial = the_pool().find_job("fib")->serial;
  detail::restart r = detail::newest_record(img.worker(0), serial);
  if (r.kind == detail::record_kind::idle) r = detail::newest_record(img.worker(1), serial);
  std::size_t written = 0;
  r.kind = detail::record_kind::continuation;
  r.at = 64;
  r.sequence += 10;
  detail::write_record(img.worker(0), r, written);
  const auto before = the_pool().find_job("fib");
  EXPECT_THROW(try_to_resume(), corrupt_pool);
  const auto after = the_pool().find_job("fib");
  EXPECT_EQ(before->resumed, after->resumed);
  EXPECT_EQ(after->state, layout::job_state::running);
}

}  // namespace
}  // namespace ppmm::test
