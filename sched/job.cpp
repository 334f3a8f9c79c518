#include <ppmm/sched/job.hpp>

#include <ppmm/check/idempotence.hpp>
#include <ppmm/sched/clock.hpp>
#include <ppmm/sched/worker.hpp>

#include <fmt/core.h>   // format
#include <elf.h>        // NT_GNU_BUILD_ID
#include <link.h>       // dl_iterate_phdr
#include <pthread.h>

#include <algorithm>
#include <array>
#include <condition_variable>
#include <cstring>
#include <system_error>

namespace ppmm::detail {
namespace {

using build_id = std::array<std::uint8_t, layout::build_id_bytes>;

/// The linker's build id of the running program; zeros if it has none.
build_id this_build() {
  build_id id{};
  dl_iterate_phdr(
      [](dl_phdr_info* info, std::size_t, void* out) {
        for (int i = 0; i < info->dlpi_phnum; ++i) {
          const ElfW(Phdr)& h = info->dlpi_phdr[i];
          if (h.p_type != PT_NOTE) continue;
          const auto* at = reinterpret_cast<const char*>(info->dlpi_addr + h.p_vaddr);
          const char* end = at + h.p_memsz;
          while (at + sizeof(ElfW(Nhdr)) <= end) {
            ElfW(Nhdr) note;
            std::memcpy(&note, at, sizeof note);
            const char* name = at + sizeof note;
            const char* desc = name + (note.n_namesz + 3u) / 4 * 4;
            if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == 4 && std::memcmp(name, "GNU", 4) == 0) {
              std::memcpy(out, desc, std::min<std::size_t>(note.n_descsz, layout::build_id_bytes));
              return 1;
            }
            at = desc + (note.n_descsz + 3u) / 4 * 4;
          }
        }
        return 1;  // the first object is the program itself
      },
      id.data());
  return id;
}

std::string hex(const std::uint8_t* bytes, std::size_t n) {
  std::string s;
  for (std::size_t i = 0; i < n; ++i) s += fmt::format("{:02x}", bytes[i]);
  return s;
}

std::uint64_t hash(const void* bytes, std::size_t n) {  // FNV-1a
  std::uint64_t h = 14695981039346656037u;
  for (std::size_t i = 0; i < n; ++i) h = (h ^ static_cast<const std::uint8_t*>(bytes)[i]) * 1099511628211u;
  return h;
}

std::uint64_t wall_clock_ns() {
  return static_cast<std::uint64_t>(
      std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::system_clock::now().time_since_epoch()).count());
}

template <std::size_t N>
void copy_text(char (&to)[N], std::string_view from) {
  const std::size_t n = std::min(from.size(), N - 1);
  std::memcpy(to, from.data(), n);
  std::memset(to + n, 0, N - n);
}

/// The entry this run would write, were the job new.
layout::job_entry entry_of(std::string_view name, const root_task& root, const run_options& options) {
  layout::job_entry e{};
  e.state = layout::job_state::running;
  copy_text(e.name, name);
  copy_text(e.task, root.task.type->readable_name());
  e.task_id = root.task.type->id;
  e.arguments = hash(root.task.bytes, root.task.type->bytes);
  const build_id id = this_build();
  std::memcpy(e.build_id, id.data(), id.size());
  e.started_ns = wall_clock_ns();
  e.region = options.region;
  e.input = options.input;
  e.result_size = root.result_bytes;
  return e;
}

/// Refuses to go on with a job that is not the one asked for.
void require_same(const layout::job_entry& there, const layout::job_entry& asked) {
  const auto refuse = [&](const std::string& what) {
    throw job_mismatch(fmt::format("job \"{}\" was begun {}; drop it to start anew, or use another name", there.name, what));
  };
  if (there.task_id != asked.task_id) refuse(fmt::format("with task {}, now it is {}", there.task, asked.task));
  if (there.arguments != asked.arguments) refuse("with other arguments");
  if (there.region != asked.region) refuse(fmt::format("with {} bytes of pool memory, now it asks for {}", there.region, asked.region));
  if (there.input != asked.input) refuse("on other input: it was changed since");
  if (there.result_size != asked.result_size) refuse(fmt::format("with a result of {} bytes, now it has {}", there.result_size, asked.result_size));
  if (there.state == layout::job_state::running && std::memcmp(there.build_id, asked.build_id, layout::build_id_bytes) != 0)
    refuse(fmt::format("by another build of the program ({}, this is {}), which may not understand its frames", hex(there.build_id, 4),
                       hex(asked.build_id, 4)));
}

void check_fault_rates(const run_options& o) {
  const auto check = [](const char* what, double p) {  // false for what is no number
    if (!(p >= 0 && p < 1)) throw bad_option(fmt::format("{} is {}; expected a probability: at least 0 and below 1", what, p));
  };
  check("soft_fault_rate", o.soft_fault_rate);
  check("hard_fault_rate", o.hard_fault_rate);
  check("the sum of soft_fault_rate and hard_fault_rate", o.soft_fault_rate + o.hard_fault_rate);
}

/// A serial that no record in the pool carries: the records of earlier jobs then count as idle, all at once.
std::uint64_t new_serial(const pool& p, const image& img) {
  std::uint64_t serial = 0;
  for (const layout::job_entry& j : p.jobs()) serial = std::max(serial, j.serial);
  for (unsigned i = 0; i < img.workers(); ++i)
    for (const record& buffer : img.worker(i).records)
      if (restart r; read_record(buffer, r)) serial = std::max(serial, r.job);
  serial = std::max(serial, img.heap().control->newest.load());
  if (serial + 1 == 0)
    throw corrupt_pool(fmt::format("{}: a job or restart record has the serial {:#x}, after which there is none; create another pool", p.file().string(), serial));
  return serial + 1;
}

double default_heartbeat_ns(const medium& m) {
  if (m.level == durability::process) return 20e3;
  if (m.level == durability::power && m.grain == granularity::page) return 50e6;
  if (m.level == durability::power && m.grain == granularity::byte) return 20e3;
  return 50e3;
}

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
#if defined(__SANITIZE_THREAD__)
  return reinterpret_cast<std::uintptr_t>(base) + size - (std::size_t{2} << 20);  // ThreadSanitizer follows 65,536 calls at most
#else
  return reinterpret_cast<std::uintptr_t>(base) + std::min(stack_margin, size / 2);
#endif
}

constexpr std::size_t worker_stack_bytes = std::size_t{64} << 20;  // address space; memory only where touched

/// A worker's thread, with a C++ stack of known size.
class worker_thread {
 public:
  worker_thread(worker& w, const numa::placement& where, std::function<void()> when_over)
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
  ~worker_thread() { pthread_join(thread_, nullptr); }
  worker_thread(const worker_thread&) = delete;
  worker_thread& operator=(const worker_thread&) = delete;

 private:
  void body() {
    if (where_.pinned) static_cast<void>(numa::pin_this_thread(where_));
    worker_.live(low_end_of_this_stack());
    when_over_();
  }

  worker& worker_;
  numa::placement where_;
  std::function<void()> when_over_;
  pthread_t thread_{};
};

void fill_statistics(const team& t, std::uint64_t started, run_statistics* s) {
  if (s == nullptr) return;
  *s = {};
  s->workers = static_cast<unsigned>(t.workers.size());
  s->seconds = static_cast<double>(ticks() - started) / ticks_per_ns() / 1e9;
  if (const std::uint64_t first = t.first_work.load(); first != 0) s->to_first_work_ms = static_cast<double>(first - started) / ticks_per_ns() / 1e6;
  for (const auto& w : t.workers) w->count(*s);
  s->units = committed_units(t.img, t.serial);
}

std::uint64_t progress(const team& t) {
  std::uint64_t units = 0;
  for (unsigned i = 0; i < t.img.workers(); ++i)
    if (!is_robbed(t.img.worker(i).owner.load())) units += t.img.worker(i).live_progress.load();
  return units;
}

/// Starts the workers and waits for the job's end, in whatever way it comes.
void run_workers(team& t, const numa::worker_plan& plan) {
  std::mutex mutex;
  std::condition_variable changed;
  t.living = static_cast<unsigned>(t.workers.size());
  const auto when_over = [&] {
    const std::lock_guard lock(mutex);
    t.living.fetch_sub(1);
    changed.notify_all();
  };
  const std::stop_callback stop(t.options.stop, [&] { t.stopping.store(true); });
  if (t.options.runner != nullptr) {
    std::vector<std::function<void(std::uintptr_t)>> bodies;
    for (const auto& w : t.workers) bodies.emplace_back([&w = *w](std::uintptr_t stack_low) { w.live(stack_low); });
    return t.options.runner->run(std::move(bodies));
  }
  std::vector<std::unique_ptr<worker_thread>> threads;
  for (std::size_t i = 0; i < t.workers.size(); ++i) {
    numa::placement where = plan[i];
    where.pinned = where.pinned && t.options.pin;
    try {
      threads.push_back(std::make_unique<worker_thread>(*t.workers[i], where, when_over));
    } catch (...) {
      t.fail(std::current_exception());
      t.living.fetch_sub(static_cast<unsigned>(t.workers.size() - i));
      break;
    }
  }
  std::unique_lock lock(mutex);
  while (!changed.wait_for(lock, std::chrono::milliseconds(100), [&] { return t.living.load() == 0; }))
    if (t.options.on_progress) {
      lock.unlock();
      t.options.on_progress(progress(t));
      lock.lock();
    }
}

/// When the entry says that the job is over, its records' lists do not count any more: their bits are durable before (H2).
void make_heap_durable(team& t, persister& p) {
  for (unsigned i = 0; i < t.img.workers(); ++i)
    if (const restart r = newest_record(t.img.worker(i), t.serial); r.has_list && !is_robbed(t.img.worker(i).owner.load()))
      t.objects.replay(t.img.worker(i).redo[r.sequence & 1], r.sequence, p);
  p.fence();
}

}  // namespace

team::team(pool& p, const run_options& run, std::uint64_t job_serial, const root_task& root_)
    : storage(p.medium()),
      options(run),
      serial(job_serial),
      root(root_),
      img(p, run.region),
      heartbeat_ticks((run.heartbeat.count() < 0 ? default_heartbeat_ns(p.medium()) : static_cast<double>(run.heartbeat.count())) * ticks_per_ns()),
      objects(img.heap(), p.medium(), job_serial),
      chunks(objects.chunks()),
      shelves(std::make_unique<slot_shelf[]>(img.workers())),
      graves(std::make_unique<std::atomic<bool>[]>(img.workers())),
      parked(std::make_unique<std::optional<std::vector<frame*>>[]>(img.slots())) {}

team::~team() = default;

worker* team::living_in(unsigned slot) const {
  for (const auto& w : workers)
    if (w->slot() == slot) return w.get();
  return nullptr;
}

/// A failed medium is no fault of the job's: it can be resumed. So it can where the pool was too small, once it was grown.
/// Anything else would come again, so the job fails.
void team::fail(std::exception_ptr cause) noexcept {
  const std::lock_guard lock(failure_mutex);
  if (failed.load()) return;
  try {
    std::rethrow_exception(cause);
  } catch (const medium_error&) {
    medium_failure = cause;
  } catch (const corrupt_pool&) {
    medium_failure = cause;
  } catch (const std::system_error&) {
    medium_failure = cause;
  } catch (const out_of_pool_memory& e) {
    if (e.asked < pool::max_size)
      no_room = e;
    else
      failure = fmt::format("{}; no pool can be so large", e.what());
  } catch (const std::exception& e) {
    failure = e.what();
  } catch (...) {
    failure = "a task threw something that is no std::exception";
  }
  failed.store(true, std::memory_order_release);
}

root_value find_root(const pool& p, std::string_view name, const char* type, std::uint64_t bytes) {
  const image img(p);
  const chunk_space chunks(img.heap(), p.medium(), 0);
  return typed_root(chunks, name, type, bytes);
}

void run_job(pool& p, std::string_view name, const root_task& root, const run_options& options, void* result) {
  const std::uint64_t started = ticks();
  check_fault_rates(options);
  check_types();
  layout::job_entry entry = entry_of(name, root, options);
  bool resuming = false;
  for (const layout::job_entry& there : p.jobs()) {
    if (name == there.name) {
      if (there.state != layout::job_state::failed) require_same(there, entry);
      if (there.state == layout::job_state::finished) {
        std::memcpy(result, there.result, root.result_bytes);
        return;
      }
      if (there.state == layout::job_state::failed)
        throw job_failed(fmt::format("job \"{}\" failed: {} (drop it to start anew)", there.name, there.text));
      entry = there;
      resuming = true;
    } else if (there.state == layout::job_state::running) {
      throw job_unfinished(fmt::format("the pool {} holds the unfinished job \"{}\"; resume it, or drop it with `ppmm jobs {} --drop \"{}\"`",
                                       p.file().string(), there.name, p.file().string(), there.name));
    }
  }
  const unsigned asked = options.workers == 0 ? numa::topology::this_machine().cores() : options.workers;
  if (asked > p.max_workers())
    throw pool_error(fmt::format("{} workers asked for, but the pool has {} worker slots; create it with more", asked, p.max_workers()));

  if (!resuming) entry.serial = new_serial(p, image(p, options.region));
  team t(p, options, entry.serial, root);
  persister settling(p.medium());
  if (!resuming) t.objects.begin_job(settling);
  if (resuming) t.run_number = static_cast<std::uint32_t>(entry.resumed + 1);
  // Invariants after crash: the entry says running before the first record carries its serial, and finished only after
  // a DONE record is durable, so a job is never finished twice with different results, nor lost.
  const resume_info found = recover(t, asked);
  idempotence_check check({name, {p.base(), p.size()}, t.img.region(), t.img.heap(), options.commits});
  const auto n = static_cast<unsigned>(t.workers.size());
  const numa::worker_plan plan = numa::topology::this_machine().plan(n);
  for (unsigned i = 0; i < n; ++i) t.victims.push_back(numa::topology::this_machine().victims(plan, i));
  entry.workers = std::max(entry.workers, asked);
  if (resuming) ++entry.resumed;
  copy_text(entry.text, "");
  p.put_job(entry);
  if (resuming && options.on_resume) options.on_resume(found);

  for (unsigned i = 0; i < t.img.workers() && !t.finished; ++i) {  // it ended, but its entry does not say so yet
    const restart r = newest_record(t.img.worker(i), t.serial);
    if (r.kind != record_kind::done || is_robbed(t.img.worker(i).owner.load())) continue;
    t.result.assign(r.arguments, r.arguments + r.bytes);
    t.finished = true;
  }
  if (!t.finished) run_workers(t, plan);
  fill_statistics(t, started, options.statistics);
  if (t.finished || t.failed) make_heap_durable(t, settling);

  if (t.finished) {
    t.objects.finish_job(settling);  // durable before the entry says so (H9)
    entry.state = layout::job_state::finished;
    entry.ended_ns = wall_clock_ns();
    std::copy(t.result.begin(), t.result.end(), reinterpret_cast<std::byte*>(entry.result));
    p.put_job(entry);
    std::copy(t.result.begin(), t.result.end(), static_cast<std::byte*>(result));
    check.end();
    return;
  }
  if (t.medium_failure) std::rethrow_exception(t.medium_failure);
  if (const auto& e = t.no_room) {
    copy_text(entry.text, e->what());
    p.put_job(entry);
    throw out_of_pool_memory(fmt::format("job \"{}\" is out of memory: {}. All its commits stand: make the pool larger (`ppmm grow {} SIZE`, pool::grow) and run "
                                         "it again to go on, or drop it",
                                         entry.name, e->what(), p.file().string()),
                             e->asked, e->used, e->free);
  }
  if (t.failed) {
    entry.state = layout::job_state::failed;
    entry.ended_ns = wall_clock_ns();
    copy_text(entry.text, t.failure);
    p.put_job(entry);
    throw job_failed(fmt::format("job \"{}\" failed: {}", entry.name, t.failure));
  }
  if (t.stopping) throw job_interrupted(fmt::format("job \"{}\" was interrupted; all its work is committed: run it again to go on", entry.name));
  throw workers_lost(fmt::format("job \"{}\" has lost all its workers; run it again to go on", entry.name));
}

}  // namespace ppmm::detail
