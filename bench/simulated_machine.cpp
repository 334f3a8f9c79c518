#include "simulated_machine.hpp"

#include <ppmm/sched/layout.hpp>

#include <cxxabi.h>  // __cxa_get_globals
#include <hwloc.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <new>
#include <stdexcept>
#include <utility>

namespace bench {
namespace {

constexpr std::size_t stack_bytes = std::size_t{1} << 20, stack_low = stack_bytes / 2;
constexpr std::uint64_t look_ahead = 1'000'000;  // of idle workers, in picoseconds

struct under_way {  // __cxa_eh_globals of the Itanium C++ ABI: each fiber has its own exceptions
  void* caught = nullptr;
  unsigned uncaught = 0;
};

void* fresh(std::size_t bytes) {
  void* p = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p == MAP_FAILED) throw std::bad_alloc();
  return p;
}

}  // namespace

struct simulated_machine::fiber {
  fiber() : stack(fresh(stack_bytes)) {}
  ~fiber() { munmap(stack, stack_bytes); }
  fiber(const fiber&) = delete;
  fiber& operator=(const fiber&) = delete;

  void* stack;
  jmp_buf context;
  bool begun = false;
  bool flushed = false;  // something that no fence has waited for
  std::uint64_t clock = 0;
  under_way exceptions;
};

simulated_machine::simulated_machine(const std::string& description, const costs& c)
    : costs_(c), topology_(ppmm::numa::topology::from_synthetic(description)) {
  for (std::size_t d = 0; d < distances; ++d) transfer_[d] = ps(costs_.transfer[d]);
  hwloc_topology_t t = nullptr;
  if (hwloc_topology_init(&t) != 0) throw std::runtime_error("hwloc cannot be initialised");
  const std::unique_ptr<hwloc_topology, decltype(&hwloc_topology_destroy)> owned(t, &hwloc_topology_destroy);
  hwloc_topology_set_synthetic(t, description.c_str());
  hwloc_topology_load(t);
  for (const ppmm::numa::placement& p : topology_.plan(topology_.cores()).workers) {
    const hwloc_obj_t pu = hwloc_get_pu_obj_by_os_index(t, p.pu);
    home h{pu->logical_index, p.node, 0};
    for (hwloc_obj_t o = pu; o != nullptr; o = o->parent) {
      if (hwloc_obj_type_is_cache(o->type)) h.cache = o->logical_index + (o->type == HWLOC_OBJ_L3CACHE ? 1u << 31 : 0);
      if (o->type == HWLOC_OBJ_PACKAGE) h.package = o->logical_index;
    }
    homes_.push_back(h);
  }
  the_machine = this;
  ppmm::detail::virtual_time::machine = this;
}

simulated_machine::~simulated_machine() {
  ppmm::detail::virtual_time::machine = nullptr;
  the_machine = nullptr;
  if (owners_ != nullptr) munmap(owners_, owners_bytes_);
}

distance simulated_machine::between(unsigned a, unsigned b) const {
  if (a == b) return distance::self;
  const home &x = homes_[a], &y = homes_[b];
  if (x.cache == y.cache) return distance::cache;
  if (x.node == y.node) return distance::node;
  return x.package == y.package ? distance::package : distance::machine;
}

void simulated_machine::take(ppmm::pool& p, std::size_t shared_bytes) {
  ppmm::medium m = p.medium();
  m.level = ppmm::durability::emulated;
  m.grain = ppmm::granularity::cache_line;
  m.flush = [](const void* at, std::size_t n) { the_machine->flush(at, n); };
  m.drain = [] { the_machine->fence(); };
  m.copy = nullptr;
  give_medium(p, m);
  if (owners_ != nullptr) munmap(owners_, owners_bytes_);
  shared_first_ = m.base;
  shared_last_ = m.base + std::min(shared_bytes, m.size);
  owners_bytes_ = ((shared_last_ - shared_first_) / ppmm::line_size + 1) * sizeof *owners_;
  owners_ = static_cast<std::uint16_t*>(fresh(owners_bytes_));
}

// ---- turns ---------------------------------------------------------------------------------------------------------

void simulated_machine::run(std::vector<std::function<void(std::uintptr_t)>> bodies) {
  bodies_ = std::move(bodies);
  const auto n = static_cast<unsigned>(bodies_.size());
  if (n > homes_.size()) throw std::invalid_argument("the simulated machine has fewer cores than there are workers");
  while (fibers_.size() < n) fibers_.push_back(std::make_unique<fiber>());
  const time began = overall_;
  waiting_.clear();
  result_ = {};
  spent_ = {};
  for (unsigned i = 0; i < n; ++i) {
    fiber& f = *fibers_[i];
    f.begun = f.flushed = false;
    f.clock = began;
    f.exceptions = {};
    if (i > 0) waiting_.push_back({began, i});
  }
  deques_.assign(n, {0, 0, std::vector<std::uint64_t>(n / 64 + 1)});
  for (unsigned i = 0; i < n; ++i) deques_[i].last = i;
  running_ = 0;
  clock_ = began;
  next_turn_ = waiting_.empty() ? ~time{0} : began;
  ended_ = 0;
  in_run_ = true;
  fibers_[0]->begun = true;
  ucontext_t first;
  prepare(first, 0);
  swapcontext(&main_, &first);
  in_run_ = false;
  bodies_.clear();
  if (ended_ == 0) ended_ = overall_;  // all were lost
  for (unsigned i = 0; i < n; ++i) {
    const fiber& f = *fibers_[i];
    result_.alive_ns += static_cast<double>(std::min(f.clock, ended_) - began) / 1e3;
  }
  for (std::size_t u = 0; u < uses; ++u) result_.spent_ns[u] = static_cast<double>(spent_[u]) / 1e3;
  result_.ns = static_cast<double>(ended_ - began) / 1e3;
  overall_ = ended_;
}

void simulated_machine::sift_down() {
  const turn moved = waiting_.front();
  std::size_t at = 0;
  const std::size_t n = waiting_.size();
  for (;;) {
    std::size_t child = 2 * at + 1;
    if (child >= n) break;
    if (child + 1 < n && waiting_[child + 1] < waiting_[child]) ++child;
    if (!(waiting_[child] < moved)) break;
    waiting_[at] = waiting_[child];
    at = child;
  }
  waiting_[at] = moved;
}

/// The worker that is furthest behind goes on; this one when it is the furthest behind.
void simulated_machine::change() {
  if (!in_run_ || locked_ > 0) return;
  fiber& from = *fibers_[running_];
  from.clock = clock_;
  void* const now = abi::__cxa_get_globals();
  std::memcpy(static_cast<void*>(&from.exceptions), now, sizeof from.exceptions);
  const unsigned next = waiting_.front().who;
  waiting_.front() = {clock_, running_};
  sift_down();
  if (_setjmp(from.context) == 0) enter(next);
}

void simulated_machine::enter(unsigned who) {
  running_ = who;
  fiber& f = *fibers_[who];
  clock_ = last_turn_ = f.clock;
  next_turn_ = waiting_.empty() ? ~time{0} : waiting_.front().when;
  std::memcpy(abi::__cxa_get_globals(), static_cast<const void*>(&f.exceptions), sizeof f.exceptions);
  if (std::exchange(f.begun, true)) _longjmp(f.context, 1);
  ucontext_t beginning;
  prepare(beginning, who);
  setcontext(&beginning);
  __builtin_unreachable();
}

void simulated_machine::prepare(ucontext_t& beginning, unsigned who) {
  getcontext(&beginning);
  beginning.uc_stack.ss_sp = fibers_[who]->stack;
  beginning.uc_stack.ss_size = stack_bytes;
  beginning.uc_link = nullptr;
  const auto self = reinterpret_cast<std::uintptr_t>(this);
  makecontext(&beginning, reinterpret_cast<void (*)()>(&simulated_machine::begin), 3, static_cast<unsigned>(self >> 32),
              static_cast<unsigned>(self), who);
}

void simulated_machine::begin(unsigned high, unsigned low, unsigned number) {
  auto* self = reinterpret_cast<simulated_machine*>(std::uintptr_t{high} << 32 | low);
  self->bodies_[number](reinterpret_cast<std::uintptr_t>(self->fibers_[number]->stack) + stack_low);
  self->leave();
}

/// The running worker's body is over: the job is, or it has died.
void simulated_machine::leave() {
  fiber& f = *fibers_[running_];
  f.clock = clock_;
  overall_ = std::max(overall_, clock_);
  if (waiting_.empty()) setcontext(&main_);
  const unsigned next = waiting_.front().who;
  waiting_.front() = waiting_.back();
  waiting_.pop_back();
  if (!waiting_.empty()) sift_down();
  enter(next);
}

std::uint64_t simulated_machine::now() {
  if (!in_run_) return overall_;
  spend(use::records, ps(costs_.clock));
  let_others();
  return clock_;
}

void simulated_machine::pause(unsigned rounds) {
  spend(use::pauses, ps(rounds < 64 ? costs_.pause : rounds < 4096 ? costs_.yield : costs_.nap));
  let_others();
}

void simulated_machine::recorded(unsigned, ppmm::detail::record_kind kind, const ppmm::flush_counters&) {
  spend(use::records, ps(costs_.record));
  if (kind == ppmm::detail::record_kind::done && ended_ == 0) ended_ = clock_;
}

// ---- lines ---------------------------------------------------------------------------------------------------------

std::uint16_t* simulated_machine::owner_of(const void* p) {
  const auto at = reinterpret_cast<std::uintptr_t>(p);
  return in_run_ && at >= shared_first_ && at < shared_last_ ? &owners_[(at - shared_first_) / ppmm::line_size]
                                                             : nullptr;
}

void simulated_machine::reads(const void* p, std::size_t n) {
  const auto* const first = static_cast<const std::byte*>(p);
  for (std::size_t i = 0; i < n; i += ppmm::line_size) {
    std::uint16_t* const owner = owner_of(first + i);
    if (owner == nullptr) return;
    if (*owner == running_ + 1) continue;
    if (*owner != 0) spend(use::lines, transfer(*owner - 1u));
    *owner = static_cast<std::uint16_t>(running_ + 1);
  }
}

void simulated_machine::stores(const void* p) { reads(p, 1); }

void simulated_machine::changes(const void* p) {
  if (!in_run_) return;
  reads(p, 1);
  spend(use::lines, ps(costs_.locked));
  let_others();
  if (std::uint16_t* const owner = owner_of(p)) *owner = static_cast<std::uint16_t>(running_ + 1);
}

void simulated_machine::flush(const void* p, std::size_t n) {
  if (!in_run_) return;
  const auto first = reinterpret_cast<std::uintptr_t>(p) / ppmm::line_size * ppmm::line_size;
  const std::size_t bytes = reinterpret_cast<std::uintptr_t>(p) + n - first;
  spend(use::flushes, ps(costs_.flush_line * static_cast<double>((bytes + ppmm::line_size - 1) / ppmm::line_size)));
  reads(reinterpret_cast<const void*>(first), bytes);
  fibers_[running_]->flushed = true;
}

void simulated_machine::fence() {
  if (!in_run_) return;
  spend(use::fences, ps(std::exchange(fibers_[running_]->flushed, false) ? costs_.fence : costs_.empty_fence));
}

// ---- deques, and words that all share
// --------------------------------------------------------------------------------

void simulated_machine::looks_at(unsigned victim, bool is_empty) {
  if (!in_run_) return;
  deque_line& l = deques_[victim];
  std::uint64_t& word = l.copies[running_ / 64];
  const std::uint64_t bit = std::uint64_t{1} << running_ % 64;
  if ((word & bit) != 0) {
    spend(use::deques, transfer_[0]);
  } else {
    const time begins = std::max(clock_, l.free_at);
    wait_until(use::deques, begins + transfer(l.last));
    l.free_at = begins + ps(costs_.hot_line);
    word |= bit;
  }
  if (!is_empty || clock_ - last_turn_ > look_ahead) let_others();
}

/// By a locked instruction, when those before have had the line.
void simulated_machine::change_line(deque_line& l) {
  wait_until(use::deques, std::max(clock_, l.free_at) + ps(costs_.locked) + transfer(l.last));
  l.free_at = clock_;
  l.last = running_;
  std::ranges::fill(l.copies, 0);
  l.copies[running_ / 64] |= std::uint64_t{1} << running_ % 64;
}

void simulated_machine::takes_from(unsigned victim) {
  if (!in_run_) return;
  change_line(deques_[victim]);
  ++result_.thefts[static_cast<std::size_t>(between(victim, running_))];
}

void simulated_machine::asks(unsigned victim) {
  if (in_run_) change_line(deques_[victim]);
}

/// By an ordinary store, for which nobody waits.
void simulated_machine::pushes(unsigned owner) {
  if (!in_run_) return;
  deque_line& l = deques_[owner];
  l.last = owner;
  std::ranges::fill(l.copies, 0);
  l.copies[owner / 64] |= std::uint64_t{1} << owner % 64;
}

void simulated_machine::locks(ppmm::detail::virtual_lock& l) {
  if (in_run_) {
    let_others();
    wait_until(use::locks,
               std::max(clock_, l.free_at) + ps(costs_.locked) + (l.last < homes_.size() ? transfer(l.last) : 0));
  }
  ++locked_;
}

void simulated_machine::unlocks(ppmm::detail::virtual_lock& l) {
  --locked_;
  if (!in_run_) return;
  l.free_at = clock_;
  l.last = running_;
}

}  // namespace bench
