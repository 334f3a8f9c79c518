#include <ppmm/sched/signals.hpp>

#include <ppmm/sched/worker.hpp>

#include <sys/mman.h>

#include <iterator>
#include <mutex>
#include <new>

namespace ppmm::detail {
namespace {

struct caught {
  int signal;
  bool is_crash;
  unsigned users = 0;
  struct sigaction before {};
};
std::mutex mutex;
caught signals[] = {{SIGBUS, false}, {SIGSEGV, true}, {SIGFPE, true}, {SIGILL, true}};

constexpr std::size_t stack_bytes = std::size_t{64} << 10;

/// Without frames of AddressSanitizer: see worker::abandon_stack.
[[gnu::no_sanitize_address]] void handle(int signal, siginfo_t* info, void* context) {
  // The kernel tells that a page has gone bad, which nobody has touched yet: whoever does will be told again.
  if (signal == SIGBUS && info->si_code == BUS_MCEERR_AO) return;
  // One that a process sent says nothing of what the worker was doing.
  if (info->si_code > 0 && worker::current != nullptr) worker::current->met_signal(signal, info->si_addr);
  for (const caught& c : signals) {
    if (c.signal != signal) continue;
    if ((c.before.sa_flags & SA_SIGINFO) != 0) return c.before.sa_sigaction(signal, info, context);
    if (c.before.sa_handler != SIG_DFL && c.before.sa_handler != SIG_IGN) return c.before.sa_handler(signal);
  }
  ::signal(signal, SIG_DFL);  // it comes again at once
  if (info->si_code <= 0) ::raise(signal);
}

}  // namespace

signal_handlers::signal_handlers(bool crashes) : crashes_(crashes) {
  const std::lock_guard lock(mutex);
  for (caught& c : signals) {
    if ((c.is_crash && !crashes_) || c.users++ > 0) continue;
    struct sigaction ours {};
    ours.sa_sigaction = handle;
    ours.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;  // it is left by longjmp, with nothing blocked
    ::sigaction(c.signal, &ours, &c.before);
  }
}

signal_handlers::~signal_handlers() {
  const std::lock_guard lock(mutex);
  for (caught& c : signals)
    if ((!c.is_crash || crashes_) && --c.users == 0) ::sigaction(c.signal, &c.before, nullptr);
}

signal_stack::signal_stack() : memory_(::mmap(nullptr, stack_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)) {
  if (memory_ == MAP_FAILED) throw std::bad_alloc();
  const stack_t s{memory_, 0, stack_bytes};
  ::sigaltstack(&s, nullptr);
}

signal_stack::~signal_stack() {
  stack_t none{};
  none.ss_flags = SS_DISABLE;
  ::sigaltstack(&none, nullptr);
  ::munmap(memory_, stack_bytes);
}

}  // namespace ppmm::detail
