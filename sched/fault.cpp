/// Faults, injected: a worker loses its C++ stack and everything ephemeral that it knows of its strand.
///
/// The model's fault strikes between two persistent accesses (Blelloch et al. 2018, section 2). Nothing runs that would
/// tidy up: no destructor, no handler. The stack is left as it is, by longjmp; then what was on it, and `strand_state`,
/// is overwritten, so that whoever still builds on it is found out.
#include <ppmm/check/watch.hpp>
#include <ppmm/sched/describe.hpp>
#include <ppmm/sched/worker.hpp>

#include <cxxabi.h>    // __cxa_get_globals
#include <fmt/core.h>  // format
#include <signal.h>
#include <string.h>    // sigdescr_np
#include <unistd.h>

#include <memory>
#include <new>
#include <string>
#include <utility>

namespace ppmm::detail {
namespace {

/// An address with this in all bytes is none; as a number it is huge, as a bool no value.
constexpr int poison = 0xdb;

/// By an instruction of its own: sanitizers keep watch on the stack's bytes, and the compiler leaves out stores that
/// nobody reads.
void scribble([[maybe_unused]] std::uintptr_t first, [[maybe_unused]] std::size_t n) {
#if defined(__x86_64__)
  asm volatile("rep stosb" : "+D"(first), "+c"(n) : "a"(poison) : "memory");
#endif
}
template <class T>
void scribble(T& object) {
  scribble(reinterpret_cast<std::uintptr_t>(&object), sizeof object);
}

/// The exceptions that a thread is about to handle (`__cxa_eh_globals`, Itanium C++ ABI, section 2.2.2).
struct exceptions_under_way {
  void* caught = nullptr;
  unsigned uncaught = 0;
};

}  // namespace

void worker::access() {
  counts_.accesses.add();
  ++accesses_since_record_;
  if (!injecting_) [[likely]]
    return;
  const double roll = std::uniform_real_distribution<>()(dice_);
  if (roll < team_.options.hard_fault_rate) fault(fault_kind::hard);
  if (roll < team_.options.hard_fault_rate + team_.options.soft_fault_rate) fault(fault_kind::soft);
}

/// Leaves the C++ stack for `live`. What tasks have on the ordinary heap is lost with it: it leaks, as their
/// destructors do not run. Jumping over destructors is undefined in the C++ standard ([csetjmp.syn]); here longjmp
/// restores registers, and no frame between has anything that the runtime would miss.
void worker::fault(fault_kind kind) {
  (kind == fault_kind::hard ? counts_.hard_faults : counts_.soft_faults).add();
  lost_ = kind == fault_kind::hard;
  if (lost_ && team_.watch) ::kill(::getpid(), SIGKILL);
  durable_.live_faults.store(counts_.soft_faults.get() + counts_.hard_faults.get());
  if (seen_ != nullptr) seen_->faulted(kind == fault_kind::hard, ticks());
#if defined(__x86_64__)
  // From the caller's frame (above this one's saved frame pointer and return address) to the one of `work`.
  const std::uintptr_t top = reinterpret_cast<std::uintptr_t>(__builtin_frame_address(0)) + 2 * sizeof(void*);
  scribble(top, stack_end_ - top);
#endif
  abandon_stack(kind);
}

/// Called by a signal's handler too, so on another stack than the worker's. AddressSanitizer keeps locals in frames of its
/// own, and gives back those whose real stack it takes to be left: one asked for there, after a call that does not return,
/// lets it take the worker's whole stack for left. So here and in what leads here (met_signal, handle) it has none.
[[gnu::no_sanitize_address]] void worker::abandon_stack(fault_kind kind) {
  *reinterpret_cast<exceptions_under_way*>(abi::__cxa_get_globals()) = {};
  std::longjmp(begin_anew_, static_cast<int>(kind));
}

/// What was on the stack is as lost as after an injected fault; it is not overwritten, for nobody knows where it ends.
[[gnu::no_sanitize_address]] void worker::met_signal(int number, const void* address) {
  if (!in_task_ || locks_held() != 0) return;
  in_task_ = false;
  counts_.soft_faults.add();
  durable_.live_faults.store(counts_.soft_faults.get() + counts_.hard_faults.get());
  signal_.number = number;
  signal_.address = address;
  abandon_stack(fault_kind::soft);
}

/// A bad block may have been mended, and memory that was not there given: so the capsule is repeated. Whether it is the same
/// one is told by what the record says.
void worker::judge_signal() {
  constexpr unsigned bus_repeats = 3;
  const int number = std::exchange(signal_.number, 0);
  const restart now = newest_record(durable_, team_.serial);
  if (!is_same_step(now, signal_.at)) signal_.in_a_row = 0;
  signal_.at = now;
  team_.books->be_careful();
  if (++signal_.in_a_row <= (number == SIGBUS ? bus_repeats : team_.options.crash_repeats)) return;
  const char* words = ::sigdescr_np(number);
  const std::string what = fmt::format("{} or what it led to has raised signal {} ({}) at address {} {} times in a row", describe_position(team_.img, now), number,
                                       words != nullptr ? words : "unknown", signal_.address, signal_.in_a_row);
  const std::uintptr_t at = reinterpret_cast<std::uintptr_t>(signal_.address) - team_.storage.base;
  if (number == SIGBUS && at < team_.storage.size)  // no fault of the job's: it can go on when there is memory again
    desk_.why.note(std::make_exception_ptr(medium_error(
        fmt::format("the pool's memory cannot be had: {}. Its file system is full, or the medium has a bad block there. All commits stand: mend that, and run the job again", what))));
  else
    desk_.why.note(std::make_exception_ptr(error(what)));
  team_.books->failed.store(true, std::memory_order_release);
}

/// What is left: the pool; the team's books, also those kept here (chunks, hints, slots of claimed joins).
void worker::forget() {
  watch::capsule_lost();
  for (const exposure e : fresh_) team_.shelves[image::home_of(e.slot)].give_back(e.slot);
  fresh_.clear();
  persister_.forget();
  undo_.forget();
  scratch_.lose();

  cx_.~context();
  ::new (&cx_) context(*this, arena_);
  scribble(cx_.cur_);
  stack_.forget();
  scribble(cx_.room_);

  strand_state& lost = *this;
  std::destroy_at(&lost);
  scribble(lost);
  ::new (&lost) strand_state;
}

}  // namespace ppmm::detail
