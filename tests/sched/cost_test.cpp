/// What each operation of the protocol costs in flushes, lines and fences, pinned in cost.golden: so that a change of
/// cost is seen in review. The workers are fibers that change only where a job here says so.
#include "sched_test.hpp"

#include <ppmm/pmem/sanitizers.hpp>

#include "crash/fibers.hpp"

#include <fmt/core.h>

#include <fstream>
#include <map>

namespace ppmm::test {
namespace {

using detail::record_kind;

fiber_runner* the_runner = nullptr;
/// What the fibers tell each other.
struct {
  bool stolen, right_done, thief_is_coming;
} happened;

void wait_for(const bool& what) {
  for (int i = 0; i < 1000 && !what; ++i) the_runner->pause();
  EXPECT_TRUE(what);
}
void let_others_go_on() {
  for (int i = 0; i < 200; ++i) the_runner->pause();
}

step<int> leaf(context&) { return 1; }
/// Pushes frames of one line each, then commits once.
step<int> commit_below(context& cx, int frames) {
  if (frames == 0) {
    cx.commit_next();
    return cx.tail(task<leaf>());
  }
  return cx.call(task<commit_below>(frames - 1)).then([](context&, int n) -> step<int> { return n + 1; });
}

step<int> left_first_left(context&) {
  wait_for(happened.stolen);
  return 1;
}
step<int> left_first_right(context&) {
  happened.stolen = true;
  let_others_go_on();  // the left side arrives
  return 2;
}
step<int> right_first_left(context&) {
  wait_for(happened.right_done);
  let_others_go_on();  // the right side arrives
  return 1;
}
step<int> right_first_right(context&) {
  happened.right_done = happened.stolen = true;
  return 2;
}
step<int> lost_left(context&) {
  wait_for(happened.thief_is_coming);
  return 1;
}
step<int> add(context&, int a, int b) { return a + b; }

step<int> left_first(context& cx) {
  cx.commit_next();
  return cx.fork(task<left_first_left>(), task<left_first_right>()).then(task<add>());
}
step<int> right_first(context& cx) {
  cx.commit_next();
  return cx.fork(task<right_first_left>(), task<right_first_right>()).then(task<add>());
}
step<int> lost(context& cx) {
  cx.commit_next();
  return cx.fork(task<lost_left>(), task<leaf>()).then([](context&, int a, int b) -> step<int> {
    let_others_go_on();  // the thief finds out
    return a + b;
  });
}
step<int> taken_back(context& cx) {
  cx.commit_next();
  return cx.fork(task<leaf>(), task<leaf>()).then(task<add>());
}

/// Commits, does something to the heap, commits.
step<int> free_it(context& cx, ptr<long> p) {
  cx.free(p);
  cx.commit_next();
  return cx.tail(task<leaf>());
}
step<int> allocate_it(context& cx) {
  const ptr<long> p = cx.alloc<long>();
  cx.commit_next();
  return cx.tail(task<free_it>(p));
}
step<int> allocate_and_free(context& cx) {
  cx.free(cx.alloc<long>());
  cx.commit_next();
  return cx.tail(task<allocate_it>());
}
step<int> change(context& cx, ptr<long> p) {
  cx.update(p)[0] = 2;
  cx.commit_next();
  return cx.tail(task<leaf>());
}
step<int> allocate_to_update(context& cx) {
  const ptr<long> p = cx.alloc<long>();
  cx.write(p)[0] = 1;
  cx.commit_next();
  return cx.tail(task<change>(p));
}

class Cost : public Sched {
 protected:
  ~Cost() override { the_runner = nullptr; }

  /// Runs a job and lists what each worker wrote records for, and their cost since its record before.
  template <class Task>
  std::string bill(const std::string& what, const Task& job, unsigned workers, const std::function<void(unsigned, record_kind)>& at_record = nullptr) {
    happened = {};
    fiber_runner runner;
    the_runner = &runner;
    runner.begin(1, {});
    struct entry {
      unsigned slot;
      record_kind kind;
      flush_counters cost;
    };
    std::vector<entry> entries;
    std::map<unsigned, flush_counters> before;
    std::optional<unsigned> victim;
    runner.on_record([&](unsigned slot, record_kind kind, const flush_counters& now) {
      if (!victim) victim = slot;
      flush_counters& last = before[slot];
      entries.push_back({slot, kind, {.flushes = now.flushes - last.flushes, .lines = now.lines - last.lines, .fences = now.fences - last.fences}});
      last = now;
      if (at_record) at_record(slot, kind);
    });
    run_options o = with(workers);
    o.heartbeat = std::chrono::hours(1);
    o.runner = &runner;
    run_statistics s;
    o.statistics = &s;
    run(the_pool(), what, job, o);
    constexpr const char* kinds[] = {"idle", "run", "right", "continuation", "steal", "arrive", "rob", "done"};
    std::string text;
    std::map<unsigned, std::string> names;
    flush_counters rest = s.flushed;
    for (const entry& e : entries) {
      if (!names.contains(e.slot)) names[e.slot] = e.slot == *victim ? "victim" : fmt::format("thief {}", names.size() - names.contains(*victim) + 1);
      text += fmt::format("{:<28} | {:<8} | {:<12} | {:>2} | {:>2} | {:>2}\n", what, names[e.slot], kinds[static_cast<unsigned>(e.kind)], e.cost.flushes, e.cost.lines, e.cost.fences);
      rest.flushes -= e.cost.flushes;
      rest.lines -= e.cost.lines;
      rest.fences -= e.cost.fences;
    }
    text += fmt::format("{:<28} | {:<8} | {:<12} | {:>2} | {:>2} | {:>2}\n", what, "all", "after that", rest.flushes, rest.lines, rest.fences);
    return text;
  }
};

TEST_F(Cost, IsAsPinned) {
#if PPMM_ADDRESS_SANITIZER || PPMM_THREAD_SANITIZER
  GTEST_SKIP() << "the sanitizers do not follow fibers; the costs are the same in the other builds";
#endif
  std::string found;
  for (const int frames : {0, 1, 8}) found += bill(fmt::format("commit, {} new frames", frames), task<commit_below>(frames), 1);
  found += bill("nothing, allocation, free", task<allocate_and_free>(), 1);
  found += bill("allocation, update", task<allocate_to_update>(), 1);
  found += bill("child taken back", task<taken_back>(), 2);
  found += bill("steal, join left first", task<left_first>(), 2);
  found += bill("steal, join right first", task<right_first>(), 2);
  // The thief has its record, then the victim takes the child back.
  found += bill("steal lost", task<lost>(), 2, [&](unsigned, record_kind kind) {
    if (kind != record_kind::steal) return;
    happened.thief_is_coming = true;
    for (int i = 0; i < 4; ++i) the_runner->pause();
  });

  std::ifstream file(PPMM_COST_GOLDEN);
  ASSERT_TRUE(file) << PPMM_COST_GOLDEN;
  std::string pinned;
  for (std::string line; std::getline(file, line);)
    if (!line.starts_with('#')) pinned += line + '\n';
  EXPECT_EQ(found, pinned) << "if the change of cost is meant, put this into tests/sched/cost.golden:\n" << found;
}

}  // namespace
}  // namespace ppmm::test
