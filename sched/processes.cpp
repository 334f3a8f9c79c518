/// Workers as processes: in the model each processor faults alone.
///
/// The coordinator, which is the process that called `run`, forks a process for each worker. They have the pool's data
/// plane and the books of the run, at the same addresses, and nothing else in common; none needs the coordinator to go on.
///
/// ```
///  coordinator  lock of the slot, tenancy | fork |          pidfd: it is dead | bury | fork another, in another slot
///  worker                                 | its life: steal, run, commit, join ... | killed: its lock goes
///  others                                                          lock is gone: bury | rob its grave: go on from its record
/// ```
///
/// What a dead worker had taken of the books is lost for the run: some chunks, perhaps an exposure slot, the superblocks of
/// its arena. After some deaths, or when there is no room left, the run is stopped at its commits and the books are made
/// anew by recovery, which takes a few milliseconds.
#include <ppmm/sched/coordinator.hpp>
#include <ppmm/sched/describe.hpp>
#include <ppmm/sched/signals.hpp>
#include <ppmm/sched/worker.hpp>

#include <fcntl.h>
#include <fmt/core.h>  // format
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <optional>
#include <random>
#include <span>
#include <string>
#include <thread>

namespace ppmm {
namespace detail {

void run_as_processes(pool& p, team& t, losses& so_far) {
  p.keep_control_from_forks();
  const std::uint64_t died_before = so_far.deaths;
  coordinator(p, t, so_far, coordinator::role::host).run();
  while (t.watch->any_held()) std::this_thread::sleep_for(std::chrono::milliseconds(1));  // those of guests end as well
  const failure* const why = t.why_failed();
  if (why != nullptr && why->what.load() == failure::cause::no_room && so_far.deaths > died_before && !t.books->finished)
    t.books->renewing.store(true);  // it may be what the dead had taken
}

namespace {

/// The worker process in a slot that is held, by its descriptor of the books. None: it has just begun, or ended; or what the
/// pool says is not so: a number that stands there is not believed, for it may be anybody's process, or all of them.
std::optional<std::string> books_of_worker(const worker_slot& s) {
  std::string name = fmt::format("/proc/{}/fd/{}", s.live_pid.load(), s.live_books.load());
  std::error_code none;
  if (!std::filesystem::read_symlink(name, none).string().starts_with("/memfd:ppmm books")) return std::nullopt;
  return name;
}

void ask_to_leave(const worker_slot& s) {
  const auto pid = static_cast<pid_t>(s.live_pid.load());
  if (pid > 0 && books_of_worker(s)) ::kill(pid, SIGTERM);
}

void wait_for_held(const slot_watch& watch, const image& img, const run_options& options) {
  const auto each = [&](const auto& f) {
    for (unsigned i = 0; i < img.workers(); ++i)
      if (watch.is_held(i)) f(img.worker(i));
  };
  unsigned orphans = 0;
  each([&](const worker_slot&) { ++orphans; });
  if (orphans > 0 && options.on_orphans) options.on_orphans(orphans);
  for (unsigned round = 0; watch.any_held(); ++round) {
    if (options.stop.stop_requested())
      each(ask_to_leave);
    if (round % 10 == 0 && options.on_progress) {
      std::uint64_t units = 0;
      each([&](const worker_slot& s) { units += s.live_progress.load(); });
      options.on_progress(units);
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
}
}  // namespace

/// Who starts a worker takes its slot's lock, and looks at the number then (coordinator::start); here the number is written,
/// and the locks are looked at then. So one of the two sees the other.
std::uint64_t wait_for_orphans(const pool& p, const run_options& options) {
  const slot_watch watch(p);
  const image img(p);
  durable_word<std::uint64_t>& newest = img.worker(0).live_number;
  if (watch.any_held()) wait_for_held(watch, img, options);
  if (options.workers_as != worker_kind::processes && newest.load() == 0) return 0;  // nobody ever had any
  std::random_device dice;
  for (;;) {
    const std::uint64_t number = (std::uint64_t{dice()} << 32 | dice()) | 1;
    newest.store(number);
    std::atomic_thread_fence(std::memory_order_seq_cst);
    if (!watch.any_held()) return number;
    wait_for_held(watch, img, options);
  }
}

namespace {

// For books that are made anew: before it is known that there are any, and after.
constexpr auto a_renewal = std::chrono::milliseconds(300), patience = std::chrono::milliseconds(5000);

/// The books of the run, from a worker process that has them. None: nobody is at work.
std::optional<commons> books_of_run(const pool& p) {
  const slot_watch watch(p);
  const image img(p);
  for (unsigned i = 0; i < img.workers(); ++i) {
    if (!watch.is_held(i)) continue;
    const auto name = books_of_worker(img.worker(i));
    if (!name) continue;
    if (descriptor file(::open(name->c_str(), O_RDWR | O_CLOEXEC)); file) return commons::of_file(std::move(file));
  }
  return std::nullopt;
}

/// The run's, and what the caller says of its workers.
run_options options_of(const run_terms& terms, const run_options& asked) {
  run_options o = asked;
  o.region = terms.region;
  o.input = terms.input;
  o.heartbeat = std::chrono::nanoseconds(terms.heartbeat_ns);
  o.commits = terms.commits;
  o.commit_every_task = terms.commit_every_task;
  o.soft_fault_rate = terms.soft_fault_rate;
  o.hard_fault_rate = terms.hard_fault_rate;
  o.fault_seed = terms.fault_seed;
  o.crash_repeats = terms.crash_repeats;
  o.workers_as = worker_kind::processes;
  return o;
}

/// The job that runs there is the one that the caller would run.
void check_terms(const run_terms& terms, const pool& p, std::string_view name, const root_task& root, const run_options& asked) {
  const auto refuse = [&](const std::string& what) {
    throw job_mismatch(fmt::format("job \"{}\" in {} {}; join it with the program and the arguments that run it", terms.job, p.file().string(), what));
  };
  if (const auto mine = build_id(); !std::ranges::equal(terms.build_id, mine))
    refuse(fmt::format("is run by build {} of a program, and this is build {}: its frames may mean something else here", describe_build(terms.build_id), describe_build(mine.data())));
  if (name != terms.job) refuse(fmt::format("is the one that runs there, and not \"{}\"", name));
  if (root.task.type->id != terms.root_type || root.result_bytes != terms.result_bytes || std::memcmp(root.task.bytes, terms.root_arguments, terms.root_bytes) != 0)
    refuse("is run with another task or other arguments");
  if (asked.input != terms.input) refuse("is run on other input: it was changed since");
  if (asked.region != terms.region) refuse("is run with another region of pool memory");
  if (p.medium().level != terms.level) throw bad_option(fmt::format("the job is run at another durability level than that at which {} was attached; attach it at the same", p.file().string()));
}

/// With one set of books. True: the run is over, or the guests have left. False: the books are made anew.
bool help(pool& p, std::string_view name, commons&& shared, const root_task& root, const run_options& asked, losses& so_far, join_report& report) {
  const run_terms terms = shared.front<run_books>().terms;
  check_terms(terms, p, name, root, asked);
  const run_options options = options_of(terms, asked);
  team t(p, options, terms.serial, root, std::move(shared));
  t.share(p, name);
  const wanted want = wanted_workers(asked, t.machine);
  t.crowd = want.workers;
  t.first_seat = t.books->crowd.load();
  do {
    if (t.first_seat + t.crowd > t.img.workers())
      throw bad_option(fmt::format("{} more workers asked for, but of the pool's {} worker slots {} are taken; ask for fewer", t.crowd, t.img.workers(), t.first_seat));
  } while (!t.books->crowd.compare_exchange_weak(t.first_seat, t.first_seat + t.crowd));
  t.plan = t.machine.plan(t.crowd, want.each);
  t.near = near_parts(t);
  for (unsigned i = 0; i < t.crowd; ++i) {
    std::vector<std::vector<std::uint32_t>> groups(1);  // how near the others are is not known
    for (unsigned seat = 0; seat < t.first_seat + t.crowd; ++seat)
      if (seat != t.first_seat + i) groups[0].push_back(seat);
    t.victims.emplace_back(std::move(groups), options.victims, options.fault_seed + t.first_seat + i);
  }
  report.workers = t.crowd;
  const signal_handlers handlers(options.crash_repeats > 0);
  coordinator(p, t, so_far, coordinator::role::guest).run();
  report.job_ended = t.books->finished || t.books->failed;
  return report.job_ended || asked.stop.stop_requested() || !t.books->renewing;
}

}  // namespace

join_report join_job(pool& p, std::string_view name, const root_task& root, const run_options& asked) {
  check_types();
  join_report report;
  losses so_far;
  for (auto since = std::chrono::steady_clock::now();;) {
    if (std::optional<commons> books = books_of_run(p)) {
      if (help(p, name, std::move(*books), root, asked, so_far, report)) break;
      since = std::chrono::steady_clock::now();
      continue;
    }
    if (report.workers == 0 && std::chrono::steady_clock::now() - since > a_renewal)
      throw nothing_to_join(fmt::format("{}: expected a job \"{}\" that runs with processes for workers, found no worker process at work. Run it with --workers-as processes",
                                        p.file().string(), name));
    if (std::chrono::steady_clock::now() - since > patience) break;  // whoever makes the books anew is gone
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  report.deaths = so_far.deaths;
  report.replaced = so_far.replaced;
  return report;
}

}  // namespace detail
}  // namespace ppmm
