#include <ppmm/sched/job.hpp>

#include <ppmm/check/idempotence.hpp>
#include <ppmm/pmem/instrument.hpp>
#include <ppmm/sched/clock.hpp>
#include <ppmm/sched/crew.hpp>
#include <ppmm/sched/describe.hpp>
#include <ppmm/sched/signals.hpp>
#include <ppmm/sched/worker.hpp>

#include <fmt/core.h>   // format
#include <elf.h>        // NT_GNU_BUILD_ID
#include <link.h>       // dl_iterate_phdr

#include <algorithm>
#include <array>
#include <cstring>
#include <future>
#include <map>

namespace ppmm {

std::array<std::uint8_t, layout::build_id_bytes> build_id() {
  std::array<std::uint8_t, layout::build_id_bytes> id{};
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

}  // namespace ppmm

namespace ppmm::detail {
namespace {

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
  const auto id = build_id();
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
    refuse(fmt::format("by another build of the program ({}, this is {}), which may not understand its frames", describe_build(there.build_id),
                       describe_build(asked.build_id)));
}

/// Processes have no common memory for what these need.
void check_kind(const run_options& o) {
  if (o.workers_as != worker_kind::processes) return;
  if (accesses_are_instrumented()) throw bad_option("workers_as is processes, and this build tells observers of each access, which are in one process; use another build, or threads");
  for (const auto& [given, what] : {std::pair(o.profile != nullptr, "a profile"), std::pair(o.trace != nullptr, "a trace"), std::pair(o.runner != nullptr, "a runner"),
                                    std::pair(o.machine != nullptr, "a machine")})
    if (given) throw bad_option(fmt::format("workers_as is processes, and {} was asked for, which only worker threads can give; leave one of them out", what));
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

bool syncs_pages(const medium& m) { return m.level == durability::power && m.grain == granularity::page; }

double default_heartbeat_ns(const medium& m) {
  if (m.level == durability::process) return 20e3;
  if (syncs_pages(m)) return 50e6;
  if (m.level == durability::power && m.grain == granularity::byte) return 20e3;
  return 50e3;
}

/// Of a run that begins. Adapts by page, unless the user has said what it shall be: from 10 ms, below which nobody asks for
/// it, to 10 s, which is what a crash may cost.
pace pace_of(const medium& m, std::chrono::nanoseconds asked) {
  const double per_ns = ticks_per_ns();
  if (asked.count() >= 0) return {static_cast<double>(asked.count()) * per_ns, {}};
  return {default_heartbeat_ns(m) * per_ns, syncs_pages(m) ? pace::bounds{10e6 * per_ns, 10e9 * per_ns} : pace::bounds{}};
}

/// To what is there: of one set of books.
void add_books(const team& t, run_statistics& s) {
  for (unsigned i = 0; i < t.img.workers(); ++i)
    if (t.desks[i].lived_in.load()) add_counts(t.desks[i].counts, s);
}

void fill_statistics(const team& t, std::uint64_t started, run_statistics before, run_statistics* s) {
  if (s == nullptr) return;
  *s = std::move(before);
  add_books(t, *s);
  s->workers = t.crowd;
  s->seconds = static_cast<double>(ticks() - started) / ticks_per_ns() / 1e9;
  if (const std::uint64_t first = t.books->first_work.load(); first != 0) s->to_first_work_ms = static_cast<double>(first - started) / ticks_per_ns() / 1e6;
  std::string not_pinned;
  for (unsigned i = 0; i < t.img.workers(); ++i)
    if (t.desks[i].lived_in.load() && t.desks[i].not_pinned[0] != 0) not_pinned = t.desks[i].not_pinned;
  s->units = committed_units(t.img, t.serial);
  s->placement = !t.options.pin || t.options.machine != nullptr ? "no worker is pinned, as asked" : !t.plan.note.empty() ? t.plan.note : not_pinned;
}

void add_profile(const team& t, std::uint64_t started, std::string medium, run_profile& p) {
  run_statistics s;
  fill_statistics(t, started, {}, &s);
  p.medium = std::move(medium);
  p.needs_flushes = t.storage.level != durability::process && !(t.storage.level == durability::power && t.storage.grain == granularity::byte);
  p.seconds += s.seconds;
  p.workers = s.workers;
  p.steals += s.steals;
  p.lost_steals += s.lost_steals;
  p.adoptions += s.robberies;
  p.flushed.flushes += s.flushed.flushes;
  p.flushed.lines += s.flushed.lines;
  p.flushed.bytes += s.flushed.bytes;
  p.flushed.fences += s.flushed.fences;
  p.flushed.nanoseconds += s.flushed.nanoseconds;
  for (const auto& o : t.observers) o->add_to(p);
}

void add_trace(const team& t, std::uint64_t started, std::string_view job, run_trace& trace) {
  trace.job = job;
  for (const auto& o : t.observers) trace.tracks.push_back(o->track(started));
}

/// The pages of parts in memory come from the nodes that they are said to be on, where there are such.
void place_parts(const pool& p, const numa::topology& machine) {
  for (const pool_part& part : p.parts())
    if (part.in_memory && part.node && machine.nodes() > 1) static_cast<void>(machine.place(part.base, part.size, *part.node));
}

/// The record that has the job's result.
std::optional<restart> find_done(const team& t) {
  for (unsigned i = 0; i < t.img.workers(); ++i) {
    const restart r = newest_record(t.img.worker(i), t.serial);
    if (r.kind == record_kind::done && !is_robbed(t.img.worker(i).owner.load())) return r;
  }
  return std::nullopt;
}

/// When the entry says that the job is over, its records' lists do not count any more: their bits are durable before (H2).
void make_heap_durable(team& t, persister& p) {
  for (unsigned i = 0; i < t.img.workers(); ++i)
    if (const restart r = newest_record(t.img.worker(i), t.serial); r.has_list && !is_robbed(t.img.worker(i).owner.load()))
      t.objects.replay(t.img.worker(i).redo[r.sequence & 1], r.sequence, p);
  p.fence();
}

}  // namespace

team::team(pool& p, const run_options& run, std::uint64_t job_serial, const root_task& root_, commons common)
    : storage(p.medium()),
      options(run),
      serial(job_serial),
      root(root_),
      img(p, run.region),
      first_pace(pace_of(p.medium(), run.heartbeat)),
      machine(run.machine != nullptr ? *run.machine : numa::topology::this_machine()),
      shared(std::move(common)),
      books(shared.make<run_books>()),
      objects(img.heap(), p.medium(), job_serial, shared),
      chunks(objects.chunks(), shared),
      shelves(shared.zeros<slot_shelf>(img.workers())),
      desks(shared.zeros<desk>(img.workers())),
      arenas(shared.zeros<arena_books>(img.workers())),
      seats(shared.zeros<chair>(img.workers())),
      parked(std::make_unique<std::optional<std::vector<frame*>>[]>(img.slots())) {
  for (const pool_part& part : p.parts()) part_nodes.push_back(part.node);
}

team::~team() = default;

void team::share(const pool& p, std::string_view job) {
  watch.emplace(p);
  parked.reset();
  if (shared.is_joined()) return;
  run_terms& terms = books->terms;
  terms.serial = serial;
  terms.region = options.region;
  terms.input = options.input;
  terms.fault_seed = options.fault_seed;
  terms.heartbeat_ns = options.heartbeat.count();
  terms.soft_fault_rate = options.soft_fault_rate;
  terms.hard_fault_rate = options.hard_fault_rate;
  terms.root_type = root.task.type->id;
  terms.root_bytes = static_cast<std::uint32_t>(root.task.type->bytes);
  terms.result_bytes = root.result_bytes;
  terms.crash_repeats = options.crash_repeats;
  terms.level = storage.level;
  terms.commits = options.commits;
  terms.commit_every_task = options.commit_every_task;
  std::ranges::copy(build_id(), terms.build_id);
  copy_text(terms.job, job);
  std::memcpy(terms.root_arguments, root.task.bytes, root.task.type->bytes);
}

observer* team::observe(unsigned index, unsigned slot) {
  if (options.profile == nullptr && options.trace == nullptr) return nullptr;
  return observers.emplace_back(std::make_unique<observer>(index, slot, options.profile != nullptr, options.trace != nullptr)).get();
}

wanted wanted_workers(const run_options& o, const numa::topology& machine) {
  if (o.smt_siblings) return {o.workers != 0 ? o.workers : machine.pus(), numa::unit::smt_sibling};
  return {o.workers != 0 ? o.workers : machine.cores(), numa::unit::core};
}

/// By worker: the part of the pool whose memory is nearest. Where nodes are not known, or several parts are on one, the
/// workers go round them.
std::vector<unsigned> near_parts(const team& t) {
  std::map<std::uint32_t, std::vector<unsigned>> nearest;  // by node
  std::map<std::uint32_t, std::size_t> so_far;             // workers of a node
  std::vector<unsigned> parts;
  for (const numa::placement& w : t.plan.workers) {
    std::vector<unsigned>& near = nearest[w.node];
    if (near.empty()) {
      for (const std::uint32_t node : t.machine.by_distance(w.node)) {
        for (unsigned i = 0; i < t.part_nodes.size(); ++i)
          if (t.part_nodes[i] == node) near.push_back(i);
        if (!near.empty()) break;
      }
      if (near.empty())
        for (unsigned i = 0; i < t.part_nodes.size(); ++i) near.push_back(i);
    }
    parts.push_back(near[so_far[w.node]++ % near.size()]);
  }
  return parts;
}

const failure* team::why_failed() const {
  if (coordinators.what.load() != failure::cause::none) return &coordinators;
  for (unsigned i = 0; i < img.workers(); ++i)
    if (desks[i].lived_in.load() && desks[i].why.what.load() != failure::cause::none) return &desks[i].why;
  return nullptr;
}

root_value find_root(const pool& p, std::string_view name, const char* type, std::uint64_t bytes) {
  const image img(p);
  const chunk_space chunks(img.heap(), p.medium(), 0);
  return typed_root(chunks, name, type, bytes);
}

void run_job(pool& p, std::string_view name, const root_task& root, const run_options& options, void* result) {
  const std::uint64_t started = ticks();
  check_fault_rates(options);
  check_kind(options);
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
  const numa::topology& machine = options.machine != nullptr ? *options.machine : numa::topology::this_machine();
  const wanted want = wanted_workers(options, machine);
  const unsigned asked = want.workers;
  if (asked > p.max_workers())
    throw pool_error(fmt::format("{} workers asked for, but the pool has {} worker slots; create it with more", asked, p.max_workers()));

  const image before(p, options.region);
  before.check_readable(p.unreadable());
  if (options.machine == nullptr) place_parts(p, machine);
  if (!resuming) entry.serial = new_serial(p, before);
  persister settling(p.medium());
  const auto make_books = [&] {
    const std::uint64_t number = wait_for_orphans(p, options);
    // Below the pool, where nothing is in ordinary processes, for others to have them at the same place.
    commons shared = options.workers_as == worker_kind::processes ? commons::in_file(reinterpret_cast<std::uintptr_t>(p.base()) - commons::most) : commons();
    auto made = std::make_unique<team>(p, options, entry.serial, root, std::move(shared));
    made->books->number = number;
    return made;
  };
  std::unique_ptr<team> books = make_books();
  if (!resuming) books->objects.begin_job(settling);
  // Invariants after crash: the entry says running before the first record carries its serial, and finished only after
  // a DONE record is durable, so a job is never finished twice with different results, nor lost.
  const auto prepare = [&] {
    team& t = *books;
    t.run_number = static_cast<std::uint32_t>(entry.resumed);
    t.plan = machine.plan(asked, want.each);
    if (options.workers_as == worker_kind::processes) t.share(p, name);
    const resume_info found = recover(t, near_parts(t));
    if (t.crowd < asked) t.plan = machine.plan(t.crowd, want.each);
    for (unsigned i = 0; i < t.crowd; ++i) t.victims.emplace_back(machine.victims(t.plan, i), options.victims, options.fault_seed + i);
    return found;
  };
  if (resuming) ++entry.resumed;
  const resume_info found = prepare();
  idempotence_check check({name, {p.base(), p.span()}, books->img.region(), books->img.heap(), options.commits});
  entry.workers = std::max(entry.workers, asked);
  copy_text(entry.text, "");
  // A job that goes on need not wait for it: changing the catalog takes longer than all else until the first task. But not beside
  // syncs that may fail, of which libpmemobj dies.
  const bool beside = resuming && options.workers_as == worker_kind::threads && options.runner == nullptr && !syncs_pages(p.medium());
  std::future<void> in_catalog = std::async(beside ? std::launch::async : std::launch::deferred, [&] {
    if (!resuming || !options.call.empty()) p.keep_call(entry.serial, options.call);
    p.put_job(entry);
  });
  if (!beside) in_catalog.get();
  if (resuming && options.on_resume) options.on_resume(found);

  const signal_handlers handlers(options.crash_repeats > 0);
  std::optional<restart> done = find_done(*books);  // it ended, but its entry does not say so yet
  run_statistics earlier;
  losses lost;
  while (!done) {
    if (options.workers_as == worker_kind::processes)
      run_as_processes(p, *books, lost);
    else
      run_as_threads(*books);
    done = find_done(*books);
    // Finished, and the result nowhere: who has ended the job was robbed by somebody who died of it. Recovery finds it.
    if (done || !(books->books->renewing || books->books->finished) || options.stop.stop_requested()) break;
    add_books(*books, earlier);
    books.reset();
    books = make_books();
    static_cast<void>(prepare());
    ++lost.renewals;
  }
  if (beside) in_catalog.get();
  team& t = *books;
  earlier.deaths = lost.deaths;
  earlier.replaced = lost.replaced;
  earlier.renewals = lost.renewals;
  fill_statistics(t, started, earlier, options.statistics);
  if (options.profile != nullptr) add_profile(t, started, p.describe_medium(), *options.profile);
  if (options.trace != nullptr) add_trace(t, started, name, *options.trace);
  // The job is not over: it stands at its last commits.
  const failure* const why = done ? nullptr : t.why_failed();
  const failure::cause cause = why != nullptr ? why->what.load() : failure::cause::none;
  if (why != nullptr && cause != failure::cause::task && cause != failure::cause::no_room) why->raise();
  if (done || why != nullptr) make_heap_durable(t, settling);

  if (done) {
    t.objects.finish_job(settling);  // durable before the entry says so (H9)
    entry.state = layout::job_state::finished;
    entry.ended_ns = wall_clock_ns();
    std::copy_n(done->arguments, done->bytes, reinterpret_cast<std::byte*>(entry.result));
    p.put_job(entry);
    std::copy_n(done->arguments, done->bytes, static_cast<std::byte*>(result));
    check.end();
    return;
  }
  if (cause == failure::cause::no_room) {
    copy_text(entry.text, why->text);
    p.put_job(entry);
    throw out_of_pool_memory(fmt::format("job \"{}\" is out of memory: {}. All its commits stand: make the pool larger (`ppmm grow {} SIZE`, pool::grow) and run "
                                         "it again to go on, or drop it",
                                         entry.name, why->text, p.file().string()),
                             why->asked, why->used, why->free);
  }
  if (why != nullptr) {
    entry.state = layout::job_state::failed;
    entry.ended_ns = wall_clock_ns();
    copy_text(entry.text, why->text);
    p.put_job(entry);
    throw job_failed(fmt::format("job \"{}\" failed: {}", entry.name, why->text));
  }
  if (options.stop.stop_requested()) throw job_interrupted(fmt::format("job \"{}\" was interrupted; all its work is committed: run it again to go on", entry.name));
  throw workers_lost(fmt::format("job \"{}\" has lost all its workers; run it again to go on", entry.name));
}

}  // namespace ppmm::detail
