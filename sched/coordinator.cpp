#include <ppmm/sched/coordinator.hpp>

#include <ppmm/sched/clock.hpp>
#include <ppmm/sched/describe.hpp>
#include <ppmm/sched/worker.hpp>

#include <fmt/core.h>  // format
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string>
#include <system_error>
#include <utility>

namespace ppmm::detail {
namespace {

constexpr std::uint64_t deaths_until_renewal = 32;
/// A task that ends its worker is tried so often; where somebody else may have killed it, much longer.
constexpr unsigned most_crashes = 3, most_kills = 20;
constexpr double most_kills_ns = 10e9;

// ---- a worker's process

void ask_to_leave(int) { asked_to_leave.store(true); }

/// Never returns: what the coordinator has on its stack is not the worker's to tidy up.
[[noreturn]] void be_worker(team& t, unsigned seat, unsigned slot) noexcept {
  // The terminal's Ctrl-C is for the coordinator, which stops the run.
  ::signal(SIGINT, SIG_IGN);
  struct sigaction leave {};
  leave.sa_handler = ask_to_leave;
  leave.sa_flags = SA_RESTART;
  ::sigaction(SIGTERM, &leave, nullptr);
  sigset_t term;
  sigemptyset(&term);
  sigaddset(&term, SIGTERM);
  ::sigprocmask(SIG_UNBLOCK, &term, nullptr);
  ::prctl(PR_SET_NAME, fmt::format("ppmm worker {}", seat).c_str());
  t.img.worker(slot).live_books.store(static_cast<std::uint64_t>(t.shared.file()));
  t.img.worker(slot).live_pid.store(static_cast<std::uint64_t>(::getpid()));
  try {
    const worker_owner w = worker::make(t, seat, slot, t.near[t.own(seat)]);
    const worker_thread thread(*w, placement_of(t, seat), [] {});
  } catch (...) {
    t.desks[slot].why.note(std::current_exception());
    t.books->failed.store(true);
  }
  ::_exit(0);
}

// ---- the coordinator

/// What the strand of a dead worker was at: of one that was robbing, what the robbed one was at.
restart last_words(const team& t, unsigned slot) {
  restart r = newest_record(t.img.worker(slot), t.serial);
  for (unsigned depth = 0; r.kind == record_kind::rob && depth < t.img.workers(); ++depth) {
    const auto robbed = static_cast<unsigned>(r.at >> 32);
    if (robbed >= t.img.workers()) break;
    r = newest_record(t.img.worker(robbed), t.serial);
  }
  return r;
}

std::string describe_end(const siginfo_t& how) {
  if (how.si_code == CLD_EXITED) return fmt::format("it exited with status {}", how.si_status);
  const char* words = ::sigdescr_np(how.si_status);
  return fmt::format("signal {}, {}", how.si_status, words != nullptr ? words : "unknown");
}

std::string what_it_was_at(const team& t, const restart& r) {
  try {
    return describe_position(t.img, r);
  } catch (const corrupt_pool&) {  // it has overwritten its frames
    return "a task";
  }
}

/// Nobody who may still look for it says that it robs the slot: a new life may begin there [M]. One buffer is being written
/// while the other holds what is durable, so both count.
bool may_be_entered(const team& t, unsigned slot) {
  const std::uint64_t owner = t.img.worker(slot).owner.load();
  if (t.desks[slot].tenant.load() != 0 || t.books->is_grave(slot)) return false;
  if (!is_robbed(owner)) return newest_record(t.img.worker(slot), t.serial).kind == record_kind::idle;
  if (owner_life(owner) >= max_life) return false;
  for (unsigned i = 0; i < t.img.workers(); ++i)
    for (const record& buffer : t.img.worker(i).records)
      if (restart r; read_record(buffer, r) && r.job == t.serial && r.kind == record_kind::rob && r.at >> 32 == slot) return false;
  return true;
}

}  // namespace

coordinator::coordinator(pool& p, team& t, losses& l, role r)
    : pool_(p), team_(t), losses_(l), role_(r), stop_(t.options.stop, [this] { (role_ == role::host ? team_.books->stopping : leaving_).store(true); }) {}

coordinator::~coordinator() {
  for (const child& c : children_) ::kill(c.pid, SIGKILL);
  for (const child& c : children_) ::waitpid(c.pid, nullptr, 0);
}

void coordinator::run() {
  for (unsigned seat = team_.first_seat; seat < team_.first_seat + team_.crowd; ++seat) {
    if (role_ == role::guest)
      empty_seats_.push_back(seat);
    else
      for (unsigned tries = 0; !start(seat, team_.seats[seat].slot, slot_is::chosen); ++tries) {
        if (tries == 1000)
          fail<pool_in_use>("{}: a worker process of somebody else is at work in worker slot {}", pool_.file().string(), team_.seats[seat].slot.load());
        ::usleep(1000);  // somebody with earlier books may just be finding out that they do not count
      }
  }
  std::uint64_t told = ticks();
  bool asked = false;
  if (role_ == role::guest) fill_seats();
  while (!children_.empty() || (!empty_seats_.empty() && !is_over())) {
    wait();
    if (!is_over()) fill_seats();
    if (leaving_ && !std::exchange(asked, true))
      for (const child& c : children_) ::kill(c.pid, SIGTERM);
    if (const std::uint64_t now = ticks(); static_cast<double>(now - told) > 100e6 * ticks_per_ns()) {
      told = now;
      tell_progress(team_);
    }
  }
}

/// False: somebody has the slot's lock.
bool coordinator::start(unsigned seat, unsigned slot, slot_is which) {
  const descriptor lock = lock_slot(pool_, slot);  // held by the child from its first instruction on; closed here below
  if (lock && team_.img.worker(0).live_number.load() != team_.books->number) {
    leaving_.store(true);  // there are newer books
    return false;
  }
  if (!lock || (which == slot_is::to_be_looked_at && !may_be_entered(team_, slot))) return false;  // somebody was faster
  const std::uint64_t tenant = team_.books->tenants.fetch_add(1) + 1;
  team_.desks[slot].tenant.store(tenant);
  team_.seats[seat].slot.store(slot);
  // One that is told to leave before it has said what it does then leaves when it has.
  sigset_t term, before;
  sigemptyset(&term);
  sigaddset(&term, SIGTERM);
  ::pthread_sigmask(SIG_BLOCK, &term, &before);
  const pid_t pid = ::fork();
  if (pid == 0) be_worker(team_, seat, slot);
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (pid < 0) {
    team_.desks[slot].tenant.store(0);
    throw std::system_error(errno, std::generic_category(), "starting a worker process");
  }
  descriptor life(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  children_.push_back({pid, std::move(life), seat, slot, tenant});
  if (!children_.back().life) throw std::system_error(errno, std::generic_category(), "watching a worker process (pidfd_open(2), Linux 5.3)");
  return true;
}

/// Until a worker ends, or there is something else to do.
void coordinator::wait() {
  std::vector<pollfd> ends;
  for (const child& c : children_) ends.push_back({c.life.get(), POLLIN, 0});
  if (::poll(ends.data(), ends.size(), empty_seats_.empty() ? 100 : 1) <= 0) return;
  for (std::size_t i = children_.size(); i-- > 0;) {
    if (ends[i].revents == 0) continue;
    siginfo_t how{};
    if (::waitid(P_PID, static_cast<id_t>(children_[i].pid), &how, WEXITED) != 0) how.si_code = CLD_KILLED, how.si_status = SIGKILL;
    const child gone = std::move(children_[i]);
    children_.erase(children_.begin() + static_cast<std::ptrdiff_t>(i));
    if (!team_.over()) lose(gone, how);
  }
}

void coordinator::lose(const child& gone, const siginfo_t& how) {
  const bool left = how.si_code == CLD_EXITED && how.si_status == 0;  // as it was asked to
  if (!left) blame(last_words(team_, gone.slot), how);
  bury(team_, gone.slot, gone.tenant);
  if (left || team_.over()) return;
  ++losses_.deaths;
  if (losses_.replaced < team_.options.respawn) {
    ++losses_.replaced;
    empty_seats_.push_back(gone.seat);
  }
  if (++deaths_ >= deaths_until_renewal) renew();
}

/// A task that always ends its worker ends the job.
void coordinator::blame(const restart& task, const siginfo_t& how) {
  if (!is_position(task.kind)) return;
  if (!is_same_step(task, losses_.last)) {
    losses_.last = task;
    losses_.in_a_row = 0;
    losses_.since = ticks();
  }
  ++losses_.in_a_row;
  const bool killed = how.si_code != CLD_EXITED && how.si_status == SIGKILL;
  if (!killed) team_.books->be_careful();
  const bool too_long = static_cast<double>(ticks() - losses_.since) > most_kills_ns * ticks_per_ns();
  if (killed ? losses_.in_a_row < most_kills || !too_long : losses_.in_a_row < most_crashes) return;
  team_.coordinators.note(std::make_exception_ptr(error(
      fmt::format("{} has ended its worker process {} times in a row; the last time: {}", what_it_was_at(team_, task), losses_.in_a_row, describe_end(how)))));
  team_.books->failed.store(true);
}

void coordinator::renew() {
  if (role_ == role::guest) return;  // the host may be dead; then all would end
  team_.books->renewing.store(true);
  team_.books->stopping.store(true);
}

void coordinator::fill_seats() {
  std::erase_if(empty_seats_, [&](unsigned seat) {
    const auto slot = slot_for(seat);
    return slot && start(seat, *slot, slot_is::to_be_looked_at);
  });
}

/// One that nobody lives in, near by if there is one. If all are graves and nobody is left to rob them, their strands go
/// on where they are: by recovery.
std::optional<unsigned> coordinator::slot_for(unsigned seat) {
  std::optional<unsigned> found;
  for (unsigned i = 0; i < team_.img.workers(); ++i) {
    if (!may_be_entered(team_, i)) continue;
    if (team_.img.part_of(i) == team_.near[team_.own(seat)]) return i;
    if (!found) found = i;
  }
  if (!found && children_.empty()) {
    renew();
    if (role_ == role::guest && !team_.watch->any_held()) leaving_.store(true);  // nobody is left who would make room
  }
  return found;
}

}  // namespace ppmm::detail
