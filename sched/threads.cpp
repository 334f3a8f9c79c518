/// Workers as threads.

#include <ppmm/pmem/sanitizers.hpp>
#include <ppmm/sched/crew.hpp>
#include <ppmm/sched/signals.hpp>
#include <ppmm/sched/worker.hpp>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <system_error>

namespace ppmm::detail {
namespace {

/// Below this much of the C++ stack a strand is detached and goes on from its frames. The clock is looked at every 512
/// forks at most: so a task may use up to 32 KiB of stack a level of recursion.
constexpr std::size_t stack_margin = std::size_t{16} << 20;

std::uintptr_t low_end_of_this_stack() {
  pthread_attr_t attributes;
  void* base = nullptr;
  std::size_t size = 0;
  if (pthread_getattr_np(pthread_self(), &attributes) != 0) return 0;
  pthread_attr_getstack(&attributes, &base, &size);
  pthread_attr_destroy(&attributes);
#if PPMM_THREAD_SANITIZER
  return reinterpret_cast<std::uintptr_t>(base) + size - (std::size_t{2} << 20);  // ThreadSanitizer follows 65,536 calls at most
#else
  return reinterpret_cast<std::uintptr_t>(base) + std::min(stack_margin, size / 2);
#endif
}

constexpr std::size_t worker_stack_bytes = std::size_t{64} << 20;  // address space; memory only where touched

std::uint64_t progress(const team& t) {
  std::uint64_t units = 0;
  for (unsigned i = 0; i < t.img.workers(); ++i)
    if (!is_robbed(t.img.worker(i).owner.load())) units += t.img.worker(i).live_progress.load();
  return units;
}

}  // namespace

worker_thread::worker_thread(worker& w, const numa::placement& where, std::function<void()> when_over)
    : worker_(w), where_(where), when_over_(std::move(when_over)) {
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, worker_stack_bytes);
  const int failed = pthread_create(
      &thread_, &attributes,
      [](void* self) -> void* {
        static_cast<worker_thread*>(self)->body();
        return nullptr;
      },
      this);
  pthread_attr_destroy(&attributes);
  if (failed != 0) throw std::system_error(failed, std::generic_category(), "starting a worker thread");
}

void worker_thread::body() {
  if (where_.pinned)
    if (const numa::outcome pinned = numa::pin_this_thread(where_); !pinned) worker_.say_not_pinned(pinned.reason);
  const signal_stack stack;
  worker_.live(low_end_of_this_stack());
  when_over_();
}

numa::placement placement_of(const team& t, unsigned seat) {
  numa::placement where = t.plan[t.own(seat)];
  where.pinned = where.pinned && t.options.pin && t.options.machine == nullptr;
  return where;
}

void tell_progress(const team& t) {
  if (t.options.on_progress) t.options.on_progress(progress(t));
}

void run_as_threads(team& t) {
  for (unsigned seat = 0; seat < t.crowd; ++seat) t.workers.push_back(worker::make(t, seat, t.seats[seat].slot, t.near[seat]));
  std::mutex mutex;
  std::condition_variable changed;
  std::size_t living = t.workers.size();
  const auto when_over = [&] {
    const std::lock_guard lock(mutex);
    --living;
    changed.notify_all();
  };
  const std::stop_callback stop(t.options.stop, [&] { t.books->stopping.store(true); });
  if (t.options.runner != nullptr) {
    std::vector<std::function<void(std::uintptr_t)>> bodies;
    for (const auto& w : t.workers) bodies.emplace_back([&w = *w](std::uintptr_t stack_low) { w.live(stack_low); });
    return t.options.runner->run(std::move(bodies));
  }
  std::vector<std::unique_ptr<worker_thread>> threads;
  for (unsigned seat = 0; seat < t.crowd; ++seat) {
    try {
      threads.push_back(std::make_unique<worker_thread>(*t.workers[seat], placement_of(t, seat), when_over));
    } catch (...) {
      t.coordinators.note(std::current_exception());
      t.books->failed = true;
      const std::lock_guard lock(mutex);
      living -= t.crowd - seat;
      break;
    }
  }
  std::unique_lock lock(mutex);
  while (!changed.wait_for(lock, std::chrono::milliseconds(100), [&] { return living == 0; })) {
    lock.unlock();
    tell_progress(t);
    lock.lock();
  }
}

}  // namespace ppmm::detail
