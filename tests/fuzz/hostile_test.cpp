/// Records, words and frames that no run leaves, though each is well-formed: recovery says so before any of it is
/// believed. What the fuzzers found or could have found, each by its name.
#include "unfinished_job.hpp"

#include "pool_reader.hpp"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <functional>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

namespace ppmm::fuzz {
namespace {

using detail::exposure;
using detail::record_kind;
using detail::restart;
using detail::side;

class Hostile : public ::testing::Test {
 protected:
  static unfinished_job& all() {
    static unfinished_job one;
    return one;
  }

  Hostile() : img(all().the_pool()) {}

  void begin(unsigned which) { now = all().reset(which); }
  detail::frame* frame(std::size_t i) { return now.frames.at(i); }

  restart newest(unsigned worker) { return detail::newest_record(img.worker(worker), job_serial); }
  void write(unsigned worker, restart r, bool has_list = false) {
    r.sequence = newest(worker).sequence + 1;
    r.job = job_serial;
    r.has_list = has_list;
    std::size_t bytes = 0;
    detail::write_record(img.worker(worker), r, bytes);
  }
  void write(unsigned worker, record_kind kind, std::uint64_t at, std::uint64_t type) {
    restart r;
    r.kind = kind;
    r.at = at;
    r.type = type;
    write(worker, r);
  }

  /// Nothing but corrupt_pool, in words that have `text`, with any number of workers; and soon.
  void expect_refused(const std::string& text) {
    for (const unsigned workers : {1u, 3u}) {
      std::stop_source stop;
      run_options how;
      how.workers = workers;
      how.pin = false;
      how.stop = stop.get_token();
      int looks = 0;
      how.on_progress = [&](std::uint64_t) {
        if (++looks == 20) stop.request_stop();
      };
      try {
        run(all().the_pool(), job_name, root_task(), how);
        ADD_FAILURE() << "it was believed";
      } catch (const corrupt_pool& e) {
        EXPECT_NE(std::string(e.what()).find(text), std::string::npos) << e.what();
      } catch (const error& e) {
        ADD_FAILURE() << e.what();
      }
    }
  }

  scene now;
  detail::image img;
};

/// The same with a hand on the heap's structures.
class HostileHeap : public Hostile {
 protected:
  std::uint32_t chunk(std::uint32_t k) const { return img.chunk_ranges()[0].first + k; }
  detail::chunk_entry& entry(std::uint32_t k) const { return img.chunk_ranges()[0].table[k]; }
  detail::root_version& root() const { return img.heap().control->roots[0].versions[0]; }
  detail::redo_area& area(unsigned worker) { return img.worker(worker).redo[newest(worker).sequence & 1]; }

  void extent(std::uint32_t k, std::uint64_t chunks) const {
    entry(k).serial.store(kept_serial);
    entry(k).chunks.store(chunks);
    entry(k).bits.alloc.store(1);
    entry(k).word.store(detail::chunk_word(1, detail::chunk_kind::extent));
  }
  void sum(detail::redo_area& a) const {
    std::vector<std::uint64_t> words(a.words, a.words + std::min<std::uint64_t>(a.count, detail::redo_words_in_area));
    if (a.next != 0) {
      const auto* more = reinterpret_cast<const std::uint64_t*>(img.chunk(static_cast<std::uint32_t>(a.next - 1))) + 1;
      words.insert(words.end(), more, more + (a.count - words.size()));
    }
    a.checksum = detail::list_checksum(a, words);
  }
  /// The worker's record has a list that goes on in that chunk, where it has a hundred entries. Returns what leads on from there.
  std::uint64_t* long_list(unsigned worker, std::uint32_t k) {
    write(worker, newest(worker), true);
    constexpr std::uint64_t more = 100;
    detail::redo_area& a = area(worker);
    auto* words = reinterpret_cast<std::uint64_t*>(img.chunk(chunk(k)));
    std::fill_n(a.words, detail::redo_words_in_area, detail::redo_word(2, chunk(6), 5, true, false));
    std::fill_n(words + 1, more, a.words[0]);
    a.sequence = newest(worker).sequence;
    a.count = detail::redo_words_in_area + more;
    a.next = std::uint64_t{chunk(k)} + 1;
    sum(a);
    return words;
  }
  /// The log of worker 0 restores eight bytes there.
  void undo(std::uint64_t address) {
    auto* head = reinterpret_cast<detail::undo_head*>(img.chunk(chunk(4)));
    head->address = address;
    const std::uint64_t words[] = {head->sequence, head->address, head->bytes, 0};
    head->checksum = checksum(words, sizeof words) ^ checksum(head + 1, head->bytes);
  }
};

constexpr unsigned joins = 1, arrivals = 2, claimed = 3;

TEST_F(Hostile, TwoRecordsOfOneStrand) {
  begin(joins);
  write(5, newest(0));
  expect_refused("two strands stand on one frame");
}

TEST_F(Hostile, TwoRecordsAtTheRoot) {
  begin(joins);
  restart r = newest(0);
  r.at = 0;
  write(5, r);
  expect_refused("two strands stand on the root");
}

TEST_F(Hostile, TwoThievesOfOneChild) {
  begin(claimed);
  write(5, newest(2));
  expect_refused("two strands run one stolen child");
}

TEST_F(Hostile, AStrandInAnothersChunk) {
  begin(joins);
  // The thief's frame is moved to above the victim's.
  auto* f = ::new (reinterpret_cast<std::byte*>(frame(4)) + 4096) call_plus;
  f->parent = detail::place(frame(0), side::right).word;
  f->link = detail::link_flag::committed;
  f->type = call_plus::registered;
  write(1, record_kind::continuation, detail::place(f, side::right).word, 0);
  expect_refused("a chunk is in two stacklets");
}

TEST_F(Hostile, AChunkThatIsBelowItself) {
  begin(joins);
  auto* f = ::new (reinterpret_cast<std::byte*>(frame(0)) + 4096) call_plus;
  f->parent = detail::place(frame(4), side::left).word;  // the newest, in another chunk
  f->link = detail::link_flag::committed;
  f->type = call_plus::registered;
  restart r = newest(0);
  r.at = detail::place(f, side::left).word;
  write(0, r);
  expect_refused("a chunk is in two stacklets, or in one twice");
}

TEST_F(Hostile, AFrameBelowItsParent) {
  begin(joins);
  frame(2)->parent = detail::place(frame(3), side::left).word;
  frame(3)->parent = detail::place(frame(1), side::left).word;
  restart r = newest(0);
  r.at = detail::place(frame(2), side::left).word;
  write(0, r);
  expect_refused("does not stand above its parent");
}

TEST_F(Hostile, AFrameThatWasNeverCommitted) {
  begin(joins);
  frame(3)->link = 0;
  expect_refused("never committed");
}

TEST_F(Hostile, ARightChildOnTheLeftSide) {
  begin(joins);
  restart r = newest(1);
  r.at &= ~std::uint64_t{1};
  write(1, r);
  expect_refused("on the left side");
}

TEST_F(Hostile, AContinuationBeforeTheThiefIsDone) {
  begin(joins);
  write(0, record_kind::continuation, detail::place(frame(0), side::right).word, 0);
  expect_refused("whose right child is not done");
}

TEST_F(Hostile, TheThiefIsMissing) {
  begin(joins);
  write(1, restart{});
  expect_refused("a stolen child has no strand");
}

TEST_F(Hostile, TheVictimIsMissing) {
  begin(joins);
  write(0, restart{});
  expect_refused("a child was stolen from a strand that is not there");
}

TEST_F(Hostile, AllAreMissing) {
  begin(joins);
  write(0, restart{});
  write(1, restart{});
  expect_refused("no strand leads to the root");
}

TEST_F(Hostile, AStrandThatHasArrivedAlready) {
  begin(joins);
  img.slot(1).join.store(detail::join_word(2, detail::join_state::first, side::left));
  expect_refused("on a side of a join that has arrived");
}

TEST_F(Hostile, AnArrivalThatIsToCome) {
  begin(arrivals);
  write(6, record_kind::arrive, detail::exposure_word({4, 2}), 0);
  expect_refused("a join that never was");
}

TEST_F(Hostile, AnAvailableChildThatRuns) {
  begin(joins);
  detail::exposure_slot& s = img.slot(256);  // the thief's own frame: its right child was taken back
  s.right.store(detail::right_word(3, detail::right_state::available));
  expect_refused("contradict each other");
}

TEST_F(Hostile, AJoinAtWhichSomebodyIsBeforeTheTheft) {
  begin(joins);
  img.slot(2).join.store(detail::join_word(1, detail::join_state::first, side::left));
  expect_refused("contradict each other");
}

TEST_F(Hostile, ATheftInAnothersName) {
  begin(joins);
  write(6, record_kind::steal, detail::exposure_word({2, 1}), detail::identity_word({0, 0}));
  expect_refused("in the name of another worker");
}

TEST_F(Hostile, ARobberyInAnothersName) {
  begin(joins);
  write(6, record_kind::rob, 0, detail::identity_word({7, 0}));
  expect_refused("in the name of another worker");
}

TEST_F(Hostile, AnOwnerWordThatNobodyWrites) {
  begin(joins);
  img.worker(1).owner.store(std::uint64_t{1} << 21);
  expect_refused("owner word");
}

TEST_F(Hostile, AResultThatIsNotTheRoots) {
  begin(0);
  const auto widening = task<widen>(number{1});
  restart r;
  r.kind = record_kind::run;
  r.type = detail::task_node<decltype(task<widen>(number{}))>::node.id;
  r.bytes = sizeof widening;
  std::memcpy(r.arguments, &widening, sizeof widening);
  write(0, r);
  expect_refused("the job's result has the wrong size");
}

TEST_F(Hostile, ASequenceBeforeItsEnd) {
  begin(joins);
  std::size_t bytes = 0;
  restart r = newest(0);
  const std::uint64_t before = r.sequence;
  r.sequence = ~std::uint64_t{0};
  detail::write_record(img.worker(0), r, bytes);
  EXPECT_EQ(newest(0).sequence, before) << "the next record would have sequence 0, which is none";
  r.sequence = ~std::uint64_t{0} - 1;
  detail::write_record(img.worker(0), r, bytes);
  EXPECT_LT(newest(0).sequence, std::uint64_t{1} << 63);
}

TEST_F(Hostile, ASerialBeforeItsEnd) {
  begin(0);
  layout::job_entry entry = *all().the_pool().find_job(job_name);
  all().the_pool().drop_job(job_name);
  entry.state = layout::job_state::finished;
  entry.serial = ~std::uint64_t{0};
  std::strcpy(entry.name, "last");
  all().the_pool().put_job(entry);
  expect_refused("after which there is none");
}

// ---- the heap

TEST_F(HostileHeap, ARootBeyondThePool) {
  begin(joins);
  root().address.store(root().address.load() + (std::uint64_t{1} << 48));
  expect_refused("names memory that is not allocated");
}

TEST_F(HostileHeap, ARootOfMoreThanItsBlock) {
  begin(joins);
  root().count.store(17);
  expect_refused("names memory that is not allocated");
  begin(joins);
  root().count.store((~std::uint64_t{0} >> 3) + 2);  // 8 bytes, were they counted in 64 bits
  expect_refused("names memory that is not allocated");
}

TEST_F(HostileHeap, AnExtentOverAStack) {
  begin(arrivals);  // frames stand in chunk 3
  extent(2, 2);
  root().address.store(reinterpret_cast<std::uint64_t>(img.chunk(chunk(2))));
  expect_refused("names memory that is not allocated");
}

TEST_F(HostileHeap, AnExtentOverASuperblock) {
  begin(joins);
  extent(5, 2);  // one is in chunk 6
  expect_refused("but they say otherwise");
}

TEST_F(HostileHeap, FramesInASuperblock) {
  begin(joins);
  entry(1).word.store(detail::chunk_word(0, detail::chunk_kind::superblock, 3));
  expect_refused("where the heap is");
}

TEST_F(HostileHeap, ASizeClassThatIsNone) {
  begin(joins);
  entry(5).word.store(detail::chunk_word(2, detail::chunk_kind::superblock, 200));
  expect_refused("size class 200");
}

TEST_F(HostileHeap, AListThatGoesRound) {
  begin(joins);
  *long_list(0, 10) = std::uint64_t{chunk(10)} + 1;
  area(0).count = detail::redo_words_in_area + 2 * detail::redo_words_in_chunk;
  expect_refused("where it or another list has been");
}

TEST_F(HostileHeap, AListOfTwoRecords) {
  begin(joins);
  long_list(0, 10);
  long_list(2, 10);
  expect_refused("where it or another list has been");
}

TEST_F(HostileHeap, AListThatEndsTooSoon) {
  begin(joins);
  long_list(0, 10);
  area(0).count = detail::max_redo_words;
  expect_refused("ends after");
}

TEST_F(HostileHeap, AListOfAnotherRecord) {
  begin(joins);
  ++area(0).sequence;
  expect_refused("belongs to another record");
}

TEST_F(HostileHeap, AListWithAWrongChecksum) {
  begin(joins);
  area(0).words[0] ^= 4;
  expect_refused("does not fit its checksum");
}

TEST_F(HostileHeap, AListOfABlockThatIsNot) {
  begin(joins);
  area(0).words[0] = detail::redo_word(2, chunk(6), 4095, true, false);
  sum(area(0));
  expect_refused("names block 4095");
}

TEST_F(HostileHeap, AnUndoLogOfAFrame) {
  begin(joins);
  undo(reinterpret_cast<std::uint64_t>(frame(4)));
  expect_refused("where no data is");
}

TEST_F(HostileHeap, AnUndoLogOfTheRuntimes) {
  for (const void* at : {static_cast<const void*>(&img.worker(3)), static_cast<const void*>(&img.slot(9)), static_cast<const void*>(&entry(2)),
                         static_cast<const void*>(img.heap().control), static_cast<const void*>(img.chunk(chunk(4))),
                         static_cast<const void*>(img.chunk(chunk(6)))}) {  // the last: bits of blocks
    begin(joins);
    undo(reinterpret_cast<std::uint64_t>(at));
    expect_refused("where no data is");
  }
}

// ---- large files in which little is written

/// A pool of so many bytes in memory, of which next to nothing is allocated; gone with this.
class HostileSize : public ::testing::Test {
 protected:
  static constexpr std::uint64_t size = std::uint64_t{64} << 30;
  HostileSize() : pool_(pool::create(file_.path, {.size = size, .max_workers = 4, .sparse = true, .level = durability::process})), img(*pool_) {}

  std::uint64_t allocated() const {
    struct stat st {};
    EXPECT_EQ(::stat(file_.path.c_str(), &st), 0);
    return static_cast<std::uint64_t>(st.st_blocks) * 512;
  }
  detail::heap_report look() {
    pool_.reset();
    return tools::pool_reader(inspect(file_.path)).heap(0);
  }

 private:
  struct named_file {
    ~named_file() { std::filesystem::remove(path); }
    std::filesystem::path path = "/dev/shm/ppmm-hostile-" + std::to_string(::getpid()) + ".pool";
  };
  named_file file_;
  std::optional<pool> pool_;

 protected:
  detail::image img;
};

TEST_F(HostileSize, WhatWasNeverWrittenIsNotRead) {
  const auto& last = img.chunk_ranges().back();
  last.table[last.end - last.first - 1].word.store(77);  // of no kind
  const std::uint64_t before = allocated();
  const detail::heap_report found = look();
  EXPECT_EQ(found.problems.size(), 1u) << "the only entry that was written was not seen";
  EXPECT_LT(allocated(), before + (std::uint64_t{1} << 20)) << "reading the table of chunks has allocated it";
}

TEST_F(HostileSize, AnExtentOfAllThereIs) {
  const auto& first = img.chunk_ranges().front();
  first.table->chunks.store(first.end - first.first);
  first.table->bits.alloc.store(1);
  first.table->word.store(detail::chunk_word(1, detail::chunk_kind::extent));
  const detail::heap_report found = look();
  ASSERT_EQ(found.problems.size(), 1u) << "not a word for each chunk";
  EXPECT_NE(found.problems[0].find("but they say otherwise"), std::string::npos) << found.problems[0];
}

TEST_F(HostileSize, ProblemsThatAreTooMany) {
  const auto& first = img.chunk_ranges().front();
  for (std::uint32_t c = 0; c < 1000; ++c) first.table[c].word.store(77);
  EXPECT_EQ(look().problems.size(), 101u);
}

}  // namespace
}  // namespace ppmm::fuzz
