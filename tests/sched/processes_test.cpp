/// Workers as processes: what is killed is robbed and replaced, and what kills ends the job.
#include "sched_test.hpp"

#include <ppmm/alloc/inspect.hpp>
#include <ppmm/pmem/sanitizers.hpp>
#include <ppmm/pmem/slot_lock.hpp>
#include <ppmm/sched/image.hpp>
#include <ppmm/sched/record.hpp>

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <fstream>
#include <thread>

namespace ppmm::test {
namespace {

/// What all processes of a test see.
struct common {
  std::atomic<std::uint64_t> tries, here, pid;
  std::atomic<bool> go;
};
common* shared = nullptr;

class Processes : public Sched {
 protected:
  Processes() {
    shared = static_cast<common*>(::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  }
  ~Processes() override { ::munmap(shared, 4096); }

  static run_options processes(unsigned workers, run_statistics* s = nullptr) {
    run_options o = with(workers);
    o.workers_as = worker_kind::processes;
    o.statistics = s;
    return o;
  }
  /// So many worker processes are at work in a pool that somebody else has open.
  static void wait_for_workers(const std::string& name, unsigned n) {
    const pool p = pool::attach(name);
    const detail::slot_watch watch(p);
    const auto held = [&] {
      unsigned found = 0;
      for (unsigned i = 0; i < p.max_workers(); ++i) found += watch.is_held(i) ? 1u : 0u;
      return found;
    };
    while (held() < n) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  static bool is_held(const pool& p) { return detail::slot_watch(p).any_held(); }
  /// What the error says.
  template <class Error, class F>
  static std::string what(const F& f) {
    try {
      f();
    } catch (const Error& e) {
      return e.what();
    }
    ADD_FAILURE() << "nothing was thrown";
    return {};
  }
};

#define EXPECT_SAYS(text, part) EXPECT_NE((text).find(part), std::string::npos) << (text)

TEST_F(Processes, ComputeWhatThreadsDo) {
  for (const unsigned workers : {1u, 2u, 3u, 8u}) {
    run_statistics s;
    const std::string name = "fib with " + std::to_string(workers);
    EXPECT_EQ(run(the_pool(), name, task<fib>(27), processes(workers, &s)), serial_fib(27));
    EXPECT_EQ(s.units, fib_units(27));
    EXPECT_EQ(s.workers, workers);
    EXPECT_EQ(s.deaths, 0u);
    std::uint64_t nodes = 0;
    EXPECT_EQ(run(the_pool(), "tree" + name, task<subtree>(node{mix(workers), 0}), processes(workers)), serial_subtree({mix(workers), 0}, nodes));
    EXPECT_EQ(run(the_pool(), "forest" + name, task<forest>(workers, 9u, workers > 1), processes(workers)), serial_forest(workers, 9));
    EXPECT_EQ(heap_blocks(the_pool()), 1u);
    the_pool().drop_job("forest" + name);
  }
  EXPECT_FALSE(is_held(the_pool()));
}

TEST_F(Processes, LeaveAlonewhatTheyCannotDo) {
  run_profile profile;
  run_options o = processes(2);
  o.profile = &profile;
  EXPECT_SAYS(what<bad_option>([&] { run(the_pool(), "fib", task<fib>(10), o); }), "a profile");
  EXPECT_TRUE(the_pool().jobs().empty());
}

/// Ends its process by that signal, the first so many times.
step<std::uint64_t> deadly(context& cx, int signal, std::uint64_t times) {
  if (shared->tries.fetch_add(1) < times) ::raise(signal);
  return cx.fork(task<fib>(12), task<fib>(13)).then([](context&, long a, long b) -> step<std::uint64_t> { return static_cast<std::uint64_t>(a + b); });
}
step<std::uint64_t> deadly_among_others(context& cx, int signal, std::uint64_t times) {
  return cx.fork(task<fib>(22), task<deadly>(signal, times)).then([](context&, long a, std::uint64_t b) -> step<std::uint64_t> {
    return static_cast<std::uint64_t>(a) + b;
  });
}
const auto among_others = static_cast<std::uint64_t>(serial_fib(22) + serial_fib(12) + serial_fib(13));

TEST_F(Processes, AreReplacedWhenTheyAreKilled) {
  for (const unsigned workers : {1u, 2u, 4u}) {
    shared->tries = 0;
    run_statistics s;
    EXPECT_EQ(run(the_pool(), std::to_string(workers), task<deadly_among_others>(SIGKILL, std::uint64_t{5}), processes(workers, &s)), among_others);
    EXPECT_EQ(s.deaths, 5u) << workers;
    EXPECT_EQ(s.replaced, 5u) << workers;
    // One alone has nobody who robs it: its strand goes on in the next set of books.
    EXPECT_GE(s.robberies, workers > 1 ? 1u : 0u) << workers;
  }
}

TEST_F(Processes, LiveInFewSlots) {
  for (const std::uint32_t slots : {1u, 2u}) {
    make({.max_workers = slots});
    shared->tries = 0;
    EXPECT_EQ(run(the_pool(), "few", task<deadly_among_others>(SIGKILL, std::uint64_t{7}), processes(slots)), among_others);
  }
}

TEST_F(Processes, ThatATaskAlwaysEndsEndTheJob) {
  for (const int signal : {SIGABRT, SIGSEGV}) {
    shared->tries = 0;
    const auto start = [&] { run(the_pool(), "deadly", task<deadly_among_others>(signal, ~std::uint64_t{0}), processes(2)); };
    const std::string said = what<job_failed>(start);
    EXPECT_SAYS(said, "deadly");
    EXPECT_SAYS(said, "3 times in a row");
#if !PPMM_ADDRESS_SANITIZER  // which makes SIGABRT of it
    EXPECT_SAYS(said, std::to_string(signal));
#endif
    EXPECT_GE(shared->tries, 3u);  // the record before may have led to it, too
    EXPECT_LE(shared->tries, 8u);
    EXPECT_EQ(what<job_failed>(start).find("3 times in a row") != std::string::npos, true);  // it stays failed
    the_pool().drop_job("deadly");
    EXPECT_EQ(run(the_pool(), "another", task<fib>(20), processes(2)), serial_fib(20));
    the_pool().drop_job("another");
  }
}

TEST_F(Processes, ThatAreNotReplacedAreLost) {
  run_options o = processes(3);
  o.respawn = 2;
  run_statistics s;
  o.statistics = &s;
  shared->tries = 0;
  EXPECT_THROW(run(the_pool(), "lost", task<deadly_among_others>(SIGKILL, std::uint64_t{5}), o), workers_lost);
  EXPECT_EQ(s.deaths, 5u);
  EXPECT_EQ(s.replaced, 2u);
  EXPECT_EQ(run(the_pool(), "lost", task<deadly_among_others>(SIGKILL, std::uint64_t{5}), processes(2)), among_others);
}

/// Calls in calls: where forks were is something else now.
step<std::uint64_t> nested_calls(context& cx, std::uint64_t depth) {
  if (depth == 0) return 0u;
  return cx.call(task<nested_calls>(depth - 1)).then([](context&, std::uint64_t n) -> step<std::uint64_t> { return n + 1; });
}
/// Forks and nested calls in turns, until the test has seen enough. 0: as it should be.
step<std::uint64_t> forks_and_calls(context& cx, std::uint64_t wrong) {
  if (shared->go) return wrong;
  return cx.call(task<fib>(14)).then([wrong](context& c, long n) -> step<std::uint64_t> {
    return c.call(task<nested_calls>(std::uint64_t{200})).then([wrong = wrong + (n != serial_fib(14))](context& d, std::uint64_t depth) -> step<std::uint64_t> {
      return d.tail(task<forks_and_calls>(wrong + (depth != 200)));
    });
  });
}

// A thief that has lost keeps its STEAL record, and when it is killed the frame that this names may be another long since.
TEST_F(Processes, ThatHaveLostAStealAreRobbed) {
  run_statistics s;
  std::jthread kills([children = "/proc/self/task/" + std::to_string(::gettid()) + "/children"](const std::stop_token& over) {
    for (unsigned killed = 0; killed < 100 && !over.stop_requested();) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
      std::vector<pid_t> pids;
      std::ifstream in(children);
      for (pid_t pid = 0; in >> pid;) pids.push_back(pid);
      if (!pids.empty() && ::kill(pids[mix(killed) % pids.size()], SIGKILL) == 0) ++killed;
    }
    shared->go = true;
  });
  EXPECT_EQ(run(the_pool(), "forks and calls", task<forks_and_calls>(std::uint64_t{0}), processes(4, &s)), 0u);
  EXPECT_GT(s.deaths, 0u);
}

TEST_F(Processes, HardFaultsAreReal) {
  run_options o = processes(3);
  o.hard_fault_rate = 0.00002;
  run_statistics s;
  o.statistics = &s;
  EXPECT_EQ(run(the_pool(), "hard", task<fib>(27), o), serial_fib(27));
  EXPECT_EQ(s.units, fib_units(27));
  EXPECT_GT(s.deaths, 0u);
}

/// Waits for the test, and says which process it is in.
step<std::uint64_t> waits(context& cx, std::uint64_t n) {
  shared->pid = static_cast<std::uint64_t>(::getpid());
  shared->here.fetch_add(1);
  while (!shared->go) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  if (n == 0) return 1u;
  return cx.fork(task<fib>(18), task<fib>(19)).then([](context&, long a, long b) -> step<std::uint64_t> { return static_cast<std::uint64_t>(a + b); });
}
void wait_until(const std::function<bool()>& f) {
  while (!f()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
}

TEST_F(Processes, GoOnWithoutTheirCoordinator) {
  ::prctl(PR_SET_CHILD_SUBREAPER, 1);  // orphans are ours to reap
  const auto waiting = [&](const run_options& o) { return run(the_pool(), "waits", task<waits>(std::uint64_t{1}), o); };
  const std::string name = file();
  close();
  const pid_t coordinator = ::fork();
  if (coordinator == 0) {
    pool p = pool::open(name);
    run(p, "waits", task<waits>(std::uint64_t{1}), processes(2));
    ::_exit(0);
  }
  wait_until([] { return shared->here > 0; });
  ::kill(coordinator, SIGKILL);
  ::waitpid(coordinator, nullptr, 0);

  reopen();  // the lock on the pool was the coordinator's alone
  EXPECT_TRUE(is_held(the_pool()));
  EXPECT_SAYS(what<pool_in_use>([&] { the_pool().drop_job("waits"); }), "at work");
  unsigned told = 0;
  run_statistics s;
  run_options o = with(2);
  o.statistics = &s;
  unsigned orphans = 0;
  o.on_orphans = [&](unsigned n) { orphans = n; };
  o.on_progress = [&](std::uint64_t) {
    if (++told == 2) shared->go = true;
  };
  EXPECT_EQ(waiting(o), static_cast<std::uint64_t>(serial_fib(18) + serial_fib(19)));
  EXPECT_GE(orphans, 1u);
  EXPECT_GE(told, 2u);       // while it waited for them
  EXPECT_EQ(s.commits, 0u);  // they had ended the job
  EXPECT_FALSE(is_held(the_pool()));
  while (::waitpid(-1, nullptr, 0) > 0) {}
}

TEST_F(Processes, OfADeadCoordinatorRobEachOther) {
  ::prctl(PR_SET_CHILD_SUBREAPER, 1);
  const std::string name = file();
  close();
  const pid_t coordinator = ::fork();
  if (coordinator == 0) {
    pool p = pool::open(name);
    run(p, "waits", task<waits>(std::uint64_t{1}), processes(3));
    ::_exit(0);
  }
  wait_until([] { return shared->here > 0; });
  wait_for_workers(name, 3);
  ::kill(coordinator, SIGKILL);
  ::waitpid(coordinator, nullptr, 0);
  ::kill(static_cast<pid_t>(shared->pid.load()), SIGKILL);  // the only one with a strand; the others find out by its lock
  wait_until([] { return shared->here > 1; });
  shared->go = true;
  while (::waitpid(-1, nullptr, 0) > 0) {}
  reopen();
  EXPECT_FALSE(is_held(the_pool()));
  run_statistics s;
  run_options o = with(2);
  o.statistics = &s;
  EXPECT_EQ(run(the_pool(), "waits", task<waits>(std::uint64_t{1}), o), static_cast<std::uint64_t>(serial_fib(18) + serial_fib(19)));
  EXPECT_EQ(s.commits, 0u);
}

TEST_F(Processes, OnlyTheyAreAskedToLeaveWhateverThePoolSays) {
  const pid_t bystander = ::fork();
  if (bystander == 0) {
    for (;;) ::pause();
  }
  const detail::image img(the_pool());
  img.worker(5).live_pid.store(static_cast<std::uint64_t>(bystander));
  std::optional<detail::descriptor> lock = detail::lock_slot(the_pool(), 5);  // as if somebody were at work there
  std::stop_source stop;
  stop.request_stop();
  unsigned told = 0;
  run_options o = with(1);
  o.stop = stop.get_token();
  o.on_progress = [&](std::uint64_t) {
    if (++told == 2) lock.reset();
  };
  EXPECT_THROW(run(the_pool(), "fib", task<fib>(20), o), job_interrupted);
  EXPECT_GE(told, 2u);
  int status = 0;
  EXPECT_EQ(::waitpid(bystander, &status, WNOHANG), 0) << "it was told to leave";
  ::kill(bystander, SIGKILL);
  ::waitpid(bystander, nullptr, 0);
}

TEST_F(Processes, LeaveWhenTheyAreAsked) {
  run_statistics s;
  std::jthread asks([] {
    wait_until([] { return shared->here > 0; });
    ::kill(static_cast<pid_t>(shared->pid.load()), SIGTERM);
    shared->go = true;
  });
  EXPECT_EQ(run(the_pool(), "waits", task<waits>(std::uint64_t{1}), processes(3, &s)), static_cast<std::uint64_t>(serial_fib(18) + serial_fib(19)));
  EXPECT_EQ(s.deaths, 0u);
  EXPECT_EQ(s.replaced, 0u);
}

// ---- joining

/// Waits in many short tasks.
step<std::uint64_t> waits_politely(context& cx, std::uint64_t n, bool counted) {
  if (!counted) {
    shared->pid = static_cast<std::uint64_t>(::getpid());
    shared->here.fetch_add(1);
  }
  if (shared->go) return cx.tail(task<waits>(n));
  std::this_thread::sleep_for(std::chrono::milliseconds(1));
  return cx.tail(task<waits_politely>(n, true));
}
/// Two tasks that wait, one of them for somebody to take it.
step<std::uint64_t> waits_twice(context& cx, std::uint64_t n) {
  return cx.fork(task<waits_politely>(n, false), task<waits_politely>(n, false)).then([](context&, std::uint64_t a, std::uint64_t b) -> step<std::uint64_t> { return a + b; });
}

class Joined : public Processes {
 protected:
  Joined() : name_(file()) {
    close();
    host_ = ::fork();
    if (host_ != 0) return;
    pool p = pool::open(name_);
    run_options o = processes(1);
    o.commit_every_task = true;  // the right child is there to be taken
    const auto sum = run(p, "waits", task<waits_twice>(std::uint64_t{1}), o);
    ::_exit(sum == 2 * static_cast<std::uint64_t>(serial_fib(18) + serial_fib(19)) ? 0 : 1);
  }
  ~Joined() override {
    if (host_ > 0) ::kill(host_, SIGKILL);
    if (host_ > 0) ::waitpid(host_, nullptr, 0);
  }
  int host_status() {
    int status = 0;
    ::waitpid(std::exchange(host_, 0), &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }
  const std::string name_;
  pid_t host_;
};

TEST_F(Joined, WorkersShareTheWork) {
  wait_until([] { return shared->here > 0; });
  pool p = pool::attach(name_);
  EXPECT_SAYS(what<pool_in_use>([&] { p.jobs(); }), "job catalog");
  std::jthread opens([] {
    wait_until([] { return shared->here > 1; });  // the host has one worker: the other was a guest
    shared->go = true;
  });
  const join_report r = join(p, "waits", task<waits_twice>(std::uint64_t{1}), with(2));
  EXPECT_TRUE(r.job_ended);
  EXPECT_EQ(r.workers, 2u);
  EXPECT_EQ(r.deaths, 0u);
  EXPECT_EQ(host_status(), 0);
}

TEST_F(Joined, WorkersThatAreKilledAreRobbedAndReplaced) {
  wait_until([] { return shared->here > 0; });
  pool p = pool::attach(name_);
  std::jthread kills([] {
    wait_until([] { return shared->here > 1; });
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    ::kill(static_cast<pid_t>(shared->pid.load()), SIGKILL);  // the last who began to wait: a guest
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    shared->go = true;
  });
  const join_report r = join(p, "waits", task<waits_twice>(std::uint64_t{1}), with(2));
  EXPECT_TRUE(r.job_ended);
  EXPECT_LE(r.deaths, 1u);  // 0: it was over when the death was seen
  EXPECT_EQ(r.replaced, r.deaths);
  EXPECT_EQ(host_status(), 0);
}

TEST_F(Joined, WorkersLeaveAndTheJobGoesOn) {
  wait_until([] { return shared->here > 0; });
  pool p = pool::attach(name_);
  std::stop_source stop;
  run_options o = with(2);
  o.stop = stop.get_token();
  std::jthread asks([&] {
    wait_until([] { return shared->here > 1; });
    stop.request_stop();
    shared->go = true;
  });
  join(p, "waits", task<waits_twice>(std::uint64_t{1}), o);
  EXPECT_EQ(host_status(), 0);
}

TEST_F(Joined, OnlyTheSameJobCanBe) {
  wait_until([] { return shared->here > 0; });
  {
    pool p = pool::attach(name_);
    EXPECT_SAYS(what<job_mismatch>([&] { join(p, "another", task<waits_twice>(std::uint64_t{1}), with(2)); }), "another");
  }
  {
    pool p = pool::attach(name_);
    EXPECT_SAYS(what<job_mismatch>([&] { join(p, "waits", task<waits_twice>(std::uint64_t{2}), with(2)); }), "other arguments");
    EXPECT_SAYS(what<job_mismatch>([&] { join(p, "waits", task<waits>(std::uint64_t{1}), with(2)); }), "another task");
  }
  {
    pool p = pool::attach(name_, durability::process);
    EXPECT_SAYS(what<bad_option>([&] { join(p, "waits", task<waits_twice>(std::uint64_t{1}), with(2)); }), "level");
    EXPECT_SAYS(what<bad_option>([&] { join(p, "waits", task<waits_twice>(std::uint64_t{1}), with(2)); }), "level");
  }
  shared->go = true;
  EXPECT_EQ(host_status(), 0);
}

TEST_F(Joined, ThereMustBeAJobToJoin) {
  shared->go = true;
  EXPECT_EQ(host_status(), 0);
  pool p = pool::attach(name_);
  EXPECT_SAYS(what<nothing_to_join>([&] { join(p, "waits", task<waits_twice>(std::uint64_t{1}), with(2)); }), "--workers-as processes");
}

TEST_F(Joined, WorkersGoOnWithoutTheHost) {
  ::prctl(PR_SET_CHILD_SUBREAPER, 1);
  wait_until([] { return shared->here > 0; });
  std::jthread kills([&] {
    wait_until([] { return shared->here > 1; });
    ::kill(host_, SIGKILL);
    shared->go = true;
  });
  {
    pool p = pool::attach(name_);
    EXPECT_TRUE(join(p, "waits", task<waits_twice>(std::uint64_t{1}), with(2)).job_ended);
  }
  EXPECT_EQ(host_status(), -1);
  while (::waitpid(-1, nullptr, 0) > 0) {}
  reopen();
  run_statistics s;
  run_options o = with(1);
  o.statistics = &s;
  o.commit_every_task = true;
  EXPECT_EQ(run(the_pool(), "waits", task<waits_twice>(std::uint64_t{1}), o), 2 * static_cast<std::uint64_t>(serial_fib(18) + serial_fib(19)));
  EXPECT_EQ(s.commits, 0u);  // it was done
}

/// All have died but the one who joined, which was asleep; it has the books, and nobody else.
TEST_F(Joined, WhoHasEarlierBooksStartsNobody) {
  ::prctl(PR_SET_CHILD_SUBREAPER, 1);
  wait_until([] { return shared->here > 0; });
  const pid_t guest = ::fork();
  if (guest == 0) {
    pool p = pool::attach(name_);
    ::_exit(join(p, "waits", task<waits_twice>(std::uint64_t{1}), with(1)).job_ended ? 1 : 0);
  }
  wait_until([] { return shared->here > 1; });
  ::kill(guest, SIGSTOP);
  ::kill(host_, SIGKILL);
  EXPECT_EQ(host_status(), -1);
  {
    const pool p = pool::attach(name_);
    const detail::image img(p);
    const detail::slot_watch watch(p);
    for (unsigned i = 0; i < img.workers(); ++i)
      if (watch.is_held(i)) ::kill(static_cast<pid_t>(img.worker(i).live_pid.load()), SIGKILL);
    wait_until([&] { return !watch.any_held(); });
  }
  reopen();
  std::atomic<bool> at_work = false;
  std::jthread wakes([&] {
    wait_until([&] { return at_work.load(); });
    ::kill(guest, SIGCONT);
    int status = 0;
    ::waitpid(guest, &status, 0);  // while the others are at work
    EXPECT_EQ(status, 0);
    shared->go = true;
  });
  run_options o = processes(2);
  o.commit_every_task = true;
  o.on_progress = [&](std::uint64_t) { at_work = true; };
  EXPECT_EQ(run(the_pool(), "waits", task<waits_twice>(std::uint64_t{1}), o), 2 * static_cast<std::uint64_t>(serial_fib(18) + serial_fib(19)));
  wakes.join();
  while (::waitpid(-1, nullptr, 0) > 0) {}
}

// ---- signals as soft faults

std::string cut_file() { return "/dev/shm/ppmm-cut-file-" + std::to_string(::getppid() == 0 ? 0 : ::getpgrp()); }

/// Reads behind the end of a file, the first so many times.
step<std::uint64_t> reads_what_is_cut(context& cx, std::uint64_t times) {
  static const char* mapped = [] {
    const int fd = ::open(cut_file().c_str(), O_RDONLY);
    return static_cast<const char*>(::mmap(nullptr, 8192, PROT_READ, MAP_SHARED, fd, 0));
  }();
  const std::size_t at = shared->tries.fetch_add(1) < times ? 4096 : 0;
  const auto read = static_cast<std::uint64_t>(*static_cast<const volatile char*>(mapped + at));
  return cx.fork(task<fib>(12), task<fib>(13)).then([read](context&, long a, long b) -> step<std::uint64_t> { return static_cast<std::uint64_t>(a + b) + read; });
}

TEST_F(Processes, RepeatATaskThatMeetsABusError) {
  std::ofstream(cut_file()) << "a file of less than a page";
  for (const worker_kind kind : {worker_kind::threads, worker_kind::processes}) {
    shared->tries = 0;
    run_statistics s;
    run_options o = processes(2, &s);
    o.workers_as = kind;
    EXPECT_EQ(run(the_pool(), "cut", task<reads_what_is_cut>(std::uint64_t{3}), o), static_cast<std::uint64_t>(serial_fib(12) + serial_fib(13) + 'a'));
    EXPECT_EQ(s.soft_faults, 3u);
    EXPECT_EQ(s.deaths, 0u);
    the_pool().drop_job("cut");
    const std::string said = what<job_failed>([&] { run(the_pool(), "cut", task<reads_what_is_cut>(~std::uint64_t{0}), o); });
    EXPECT_SAYS(said, "reads_what_is_cut");
    EXPECT_SAYS(said, "signal 7");
    EXPECT_SAYS(said, "ff");  // of its argument
    the_pool().drop_job("cut");
  }
  std::filesystem::remove(cut_file());
}

/// 0: loads from address 16; 1: divides by zero.
step<std::uint64_t> crashes(context& cx, std::uint64_t how, std::uint64_t times) {
  if (shared->tries.fetch_add(1) < times) {
    volatile std::uintptr_t address = 16;
    volatile int zero = 0;
    if (how == 0) return static_cast<std::uint64_t>(*reinterpret_cast<volatile int*>(address));
    return static_cast<std::uint64_t>(7 / zero);
  }
  return cx.fork(task<fib>(12), task<fib>(13)).then([](context&, long a, long b) -> step<std::uint64_t> { return static_cast<std::uint64_t>(a + b); });
}

#if !PPMM_ADDRESS_SANITIZER  // it would tell of the crashes first
TEST_F(Processes, RepeatATaskThatCrashesWhereThatIsAskedFor) {
  for (const std::uint64_t how : {0u, 1u})
    for (const worker_kind kind : {worker_kind::threads, worker_kind::processes}) {
      shared->tries = 0;
      run_options o = processes(2);
      o.workers_as = kind;
      o.crash_repeats = 2;
      EXPECT_EQ(run(the_pool(), "crash", task<crashes>(how, std::uint64_t{2}), o), static_cast<std::uint64_t>(serial_fib(12) + serial_fib(13)));
      the_pool().drop_job("crash");
      const std::string said = what<job_failed>([&] { run(the_pool(), "crash", task<crashes>(how, ~std::uint64_t{0}), o); });
      EXPECT_SAYS(said, "crashes");
      EXPECT_SAYS(said, how == 0 ? "signal 11" : "signal 8");
      EXPECT_SAYS(said, how == 0 ? "address 0x10 " : "address 0x");
      EXPECT_SAYS(said, "3 times in a row");
      the_pool().drop_job("crash");
    }
}

/// Runs far from any record: the heartbeat is longer than the job.
step<std::uint64_t> crashes_late(context& cx) {
  return cx.fork(task<fib>(16), task<crashes>(std::uint64_t{0}, ~std::uint64_t{0})).then([](context&, long, std::uint64_t b) -> step<std::uint64_t> { return b; });
}

TEST_F(Processes, NameTheTaskThatCrashesThoughTheRecordIsFarFromIt) {
  for (const worker_kind kind : {worker_kind::threads, worker_kind::processes}) {
    shared->tries = 0;
    run_options o = processes(1);
    o.workers_as = kind;
    o.heartbeat = std::chrono::seconds(100);
    o.crash_repeats = 2;
    const std::string said = what<job_failed>([&] { run(the_pool(), "crash", task<crashes_late>(), o); });
    EXPECT_SAYS(said, "task ppmm::test::crashes, the right child of a fork in ppmm::test::crashes_late,");
    EXPECT_SAYS(said, "3 times in a row");
    EXPECT_GE(shared->tries, 4u) << "the first time it was far from the record";
    the_pool().drop_job("crash");
  }
}

TEST_F(Processes, TellATraceOfTasksThatCrash) {
  run_options o = processes(2);
  o.workers_as = worker_kind::threads;
  o.crash_repeats = 2;
  run_trace trace;
  run_profile profile;
  o.trace = &trace;
  o.profile = &profile;
  EXPECT_EQ(run(the_pool(), "crash", task<crashes>(std::uint64_t{0}, std::uint64_t{2}), o), static_cast<std::uint64_t>(serial_fib(12) + serial_fib(13)));
  the_pool().drop_job("crash");
  EXPECT_EQ(profile.faults, 2u);
  std::size_t faults = 0, cut = 0;
  for (const trace_track& t : trace.tracks) {
    faults += t.faults.size();
    cut += static_cast<std::size_t>(std::ranges::count_if(t.events, [](const trace_event& e) { return e.cut && e.what == activity::capsule; }));
  }
  EXPECT_EQ(faults, 2u);
  EXPECT_EQ(cut, 2u) << "the capsules that ended with them";
}

[[gnu::noinline]] std::uint64_t without_end(volatile std::uint64_t* n) {
  volatile std::uint64_t here[512];
  here[*n % 512] = *n;
  *n = *n + 1;
  if (*n == 0) return 0;
  return without_end(n) + here[*n % 512];
}
step<std::uint64_t> overflows(context&, std::uint64_t n) {
  volatile std::uint64_t count = n;
  return without_end(&count);
}

TEST_F(Processes, TellOfATaskThatUsesUpItsStack) {
  run_options o = processes(2);
  o.crash_repeats = 1;
  for (const worker_kind kind : {worker_kind::threads, worker_kind::processes}) {
    o.workers_as = kind;
    const std::string said = what<job_failed>([&] { run(the_pool(), "overflow", task<overflows>(std::uint64_t{1}), o); });
    EXPECT_SAYS(said, "overflows");
    EXPECT_SAYS(said, "signal 11");
    the_pool().drop_job("overflow");
  }
}
#endif

// ---- isolation

const pool* scribbled_on = nullptr;

/// Overwrites something of its own worker's, and dies of it.
step<std::uint64_t> scribbles(context& cx, std::uint64_t what) {
  const detail::image img(*scribbled_on);
  detail::worker_slot& mine = img.worker(cx.hard_id());
  detail::restart r, older;
  for (const detail::record& buffer : mine.records)
    if (detail::read_record(buffer, older) && older.sequence > r.sequence) r = older;
  switch (what) {
    case 0:  // the newest record
      std::memset(&mine.records[r.sequence & 1], 0xdb, sizeof(detail::record));
      break;
    case 1:  // both
      std::memset(&mine.records, 0xdb, sizeof mine.records);
      break;
    case 2:  // the type of the frame that it stands on
      r.to().parent()->type ^= 0xff00;
      break;
    default:  // where that frame says its parent is
      r.to().parent()->parent ^= std::uintptr_t{1} << 40;
      break;
  }
  ::kill(::getpid(), SIGKILL);
  return 0u;
}
step<std::uint64_t> scribbles_below(context& cx, std::uint64_t what) {
  return cx.fork(task<fib>(15), task<scribbles>(what)).then([](context&, long a, std::uint64_t b) -> step<std::uint64_t> { return static_cast<std::uint64_t>(a) + b; });
}
/// Beside a task that allocates.
step<std::uint64_t> scribbles_beside(context& cx, std::uint64_t what) {
  return cx.fork(task<forest>(std::uint64_t{1}, 8u, false), task<scribbles_below>(what)).then([](context&, std::uint64_t a, std::uint64_t b) -> step<std::uint64_t> { return a + b; });
}

TEST_F(Processes, ThatOverwroteTheirOwnAreNotAdopted) {
  for (const std::uint64_t scribbled : {0u, 1u, 2u, 3u}) {
    scribbled_on = &the_pool();
    run_options o = processes(2);
    o.commit_every_task = true;
    const std::string said = what<corrupt_pool>([&] { run(the_pool(), "scribbles", task<scribbles_beside>(scribbled), o); });
    EXPECT_SAYS(said, scribbled < 2 ? "its newest restart record is gone" : "damaged");
    EXPECT_FALSE(is_held(the_pool()));
    the_pool().drop_job("scribbles");
    const auto report = detail::inspect_heap(detail::chunk_space(detail::image(the_pool()).heap(), the_pool().medium(), 0));
    EXPECT_TRUE(report.problems.empty()) << report.problems.front();
    EXPECT_EQ(run(the_pool(), "another", task<fib>(20), processes(2)), serial_fib(20));
    the_pool().drop_job("another");
  }
}

}  // namespace
}  // namespace ppmm::test
