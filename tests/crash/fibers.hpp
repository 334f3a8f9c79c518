/// Workers as fibers of one thread, that take turns as a seed says: a run that can be repeated step by step.
#pragma once

#include <ppmm/pmem/instrument.hpp>
#include <ppmm/sched/job.hpp>

#include <sys/mman.h>
#include <ucontext.h>

#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <random>
#include <stdexcept>
#include <vector>

namespace ppmm::test {

class fiber_runner final : public ppmm::detail::runner {
 public:
  /// How the workers take turns. Few but long delays find what needs one worker to be far behind (Burckhardt, Kothari,
  /// Musuvathi, Nagarakatte, ASPLOS 2010); frequent changes find the rest.
  struct turns {
    unsigned change_every = 0;  ///< chances until another worker goes on, on average; 0: only when one pauses
    unsigned stall_every = 0;   ///< … until the running one is held until the others have paused often; 0: never
  };
  void begin(std::uint64_t seed, turns how) {
    dice_.seed(seed);
    turns_ = how;
  }
  /// Called when all workers have found nothing to do for long: the job is stuck.
  void on_stuck(std::function<void()> f) { on_stuck_ = std::move(f); }

  void run(std::vector<std::function<void(std::uintptr_t)>> bodies) override {
    bodies_ = std::move(bodies);
    alive_.clear();
    held_ = nobody;
    pauses_ = 0;
    while (fibers_.size() < bodies_.size()) fibers_.push_back(std::make_unique<fiber>());
    for (std::size_t i = 0; i < bodies_.size(); ++i) {
      fiber& f = *fibers_[i];
      getcontext(&f.context);
      f.context.uc_stack.ss_sp = f.stack;
      f.context.uc_stack.ss_size = fiber::stack_bytes;
      f.context.uc_link = nullptr;
      f.exceptions = {};
      f.in_observer = false;
      const auto self = reinterpret_cast<std::uintptr_t>(this);
      makecontext(&f.context, reinterpret_cast<void (*)()>(&fiber_runner::enter), 3, static_cast<unsigned>(self >> 32), static_cast<unsigned>(self),
                  static_cast<unsigned>(i));
      alive_.push_back(i);
    }
    if (alive_.empty()) return;
    running_ = alive_[dice_() % alive_.size()];
    in_run_ = true;
    swapcontext(&main_, &fibers_[running_]->context);
    in_run_ = false;
    bodies_.clear();
  }

  void pause(unsigned /*rounds*/ = 0) override {
    if (held_ != nobody && ++pauses_while_held_ > 30 * alive_.size()) held_ = nobody;
    if (++pauses_ > 20'000 && on_stuck_) {
      pauses_ = 0;
      on_stuck_();
    }
    change();
  }

  void recorded(unsigned slot, detail::record_kind kind, const flush_counters& cost) override {
    if (on_record_) on_record_(slot, kind, cost);
  }
  void on_record(std::function<void(unsigned slot, detail::record_kind, const flush_counters&)> f) { on_record_ = std::move(f); }

  /// A chance for another worker: to be called at every access.
  void chance() {
    pauses_ = 0;
    if (!in_run_ || alive_.size() < 2 || detail::locks_held() > 0) return;
    if (turns_.stall_every != 0 && held_ == nobody && dice_() % turns_.stall_every == 0) {
      held_ = running_;
      pauses_while_held_ = 0;
      change();
    } else if (turns_.change_every != 0 && dice_() % turns_.change_every == 0) {
      change();
    }
  }
  bool in_run() const { return in_run_; }
  std::size_t running() const { return running_; }

 private:
  struct eh_globals {  // __cxa_eh_globals of the Itanium C++ ABI: each fiber has its own exceptions under way
    void* caught = nullptr;
    unsigned uncaught = 0;
  };
  struct fiber {
    bool in_observer = false;
    static constexpr std::size_t stack_bytes = std::size_t{1} << 20;
    fiber() : stack(mmap(nullptr, stack_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)) {
      if (stack == MAP_FAILED) throw std::bad_alloc();
    }
    ~fiber() { munmap(stack, stack_bytes); }
    fiber(const fiber&) = delete;
    fiber& operator=(const fiber&) = delete;
    ucontext_t context{};
    eh_globals exceptions;
    void* stack;
  };

  static void enter(unsigned high, unsigned low, unsigned number) {
    auto* self = reinterpret_cast<fiber_runner*>(std::uintptr_t{high} << 32 | low);
    self->bodies_[number](reinterpret_cast<std::uintptr_t>(self->fibers_[number]->stack) + fiber::stack_bytes / 4);
    std::erase(self->alive_, number);
    if (self->alive_.empty()) setcontext(&self->main_);
    self->running_ = self->next();
    switch_exceptions(nullptr, self->fibers_[self->running_]->exceptions);
    detail::in_observer() = self->fibers_[self->running_]->in_observer;
    setcontext(&self->fibers_[self->running_]->context);
  }

  void change() {
    const std::size_t from = running_, to = next();
    if (from == to) return;
    running_ = to;
    switch_exceptions(&fibers_[from]->exceptions, fibers_[to]->exceptions);
    fibers_[from]->in_observer = std::exchange(detail::in_observer(), fibers_[to]->in_observer);
    swapcontext(&fibers_[from]->context, &fibers_[to]->context);
  }

  std::size_t next() {
    if (alive_.size() == 1 && alive_[0] == held_) held_ = nobody;
    for (;;)
      if (const std::size_t n = alive_[dice_() % alive_.size()]; n != held_) return n;
  }

  static constexpr std::size_t nobody = ~std::size_t{0};
  static void switch_exceptions(eh_globals* save, const eh_globals& load);

  std::mt19937_64 dice_;
  turns turns_;
  std::size_t held_ = nobody;
  std::size_t pauses_while_held_ = 0;
  std::vector<std::function<void(std::uintptr_t)>> bodies_;
  std::vector<std::unique_ptr<fiber>> fibers_;
  std::vector<std::size_t> alive_;
  std::size_t running_ = 0;
  bool in_run_ = false;
  ucontext_t main_{};
  unsigned pauses_ = 0;
  std::function<void()> on_stuck_;
  std::function<void(unsigned, detail::record_kind, const flush_counters&)> on_record_;
};

}  // namespace ppmm::test
