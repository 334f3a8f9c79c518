#include "session.hpp"

#include "call.hpp"
#include "command.hpp"
#include "job_report.hpp"
#include "output_file.hpp"

#include <fmt/format.h>
#include <sys/stat.h>
#include <CLI/CLI.hpp>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <map>
#include <utility>

namespace ppmm::tools {
namespace {

namespace fs = std::filesystem;
using std::chrono::duration;
using std::chrono::duration_cast;
using std::chrono::nanoseconds;

constexpr std::uint64_t mebi = std::uint64_t{1} << 20;

std::optional<resumption> resuming;
std::optional<joining> joined;

}  // namespace

void resume_only(resumption r) { resuming = std::move(r); }
void join_only(joining j) { joined = std::move(j); }

void add_durability_option(CLI::App& command, std::optional<durability>& level) {
  static const std::map<std::string, durability> levels{
      {"power", durability::power}, {"process", durability::process}, {"emulated", durability::emulated}};
  command
      .add_option_function<std::string>(
          "--durability", [&level](const std::string& name) { level = levels.at(name); },
          "What a commit survives: power (power loss; needs a medium that keeps it), process (a killed process), "
          "emulated (as process, at the cost of persistent memory)")
      ->check(CLI::IsMember({"power", "process", "emulated"}))
      ->type_name("LEVEL");
}

void add_progress_option(CLI::App& command, const std::function<void(progress_mode)>& use) {
  static const std::map<std::string, progress_mode> modes{{"auto", progress_mode::automatic},
                                                          {"bar", progress_mode::bar},
                                                          {"plain", progress_mode::plain},
                                                          {"none", progress_mode::none}};
  command
      .add_option_function<std::string>(
          "--progress", [use](const std::string& name) { use(modes.at(name)); },
          "How progress is told on stderr: auto (default), bar, plain, none")
      ->check(CLI::IsMember({"auto", "bar", "plain", "none"}))
      ->type_name("HOW");
}

void job_options::add_to(CLI::App& command) {
  command
      .add_option("--pool", pool,
                  "Pool file that the job lives in; created if there is none, kept afterwards. "
                  "Default: a file of the job's own, removed after success")
      ->type_name("FILE");
  command.add_flag("--keep-pool", keep_pool, "Keep the job's own pool file and the finished job in it");
  command.add_flag("--restart", restart, "Forget what an earlier run did and start anew");
  command.add_option("--workers", workers, "Workers (default: one a usable core)")
      ->check(CLI::Range(1u, pool::most_workers))
      ->type_name("N");
  CLI::Option* const as = command
      .add_option_function<std::string>(
          "--workers-as", [this](const std::string& what) { workers_as = what == "processes" ? worker_kind::processes : worker_kind::threads; },
          "What a worker is: threads (default), or processes, of which any may be killed while the job goes on")
      ->check(CLI::IsMember({"threads", "processes"}))
      ->type_name("WHAT");
  command.add_option("--respawn", respawn, "Replace so many worker processes that die, and no more (default: all)")->needs(as)->type_name("N");
  command.add_flag("--smt", smt, "One worker for each hardware thread of a core, instead of one a core");
  command.add_flag("--no-pin", no_pin, "Do not pin workers to cores: where other programs compute on the same ones");
  add_durability_option(command, durability);
  command
      .add_option("--heartbeat", heartbeat_us,
                  "Microseconds between two commits of a worker; 0 commits at every task "
                  "(default: by durability)")
      ->check(CLI::Range(0.0, 1e9))
      ->type_name("US");
  command
      .add_option("--commit", commit,
                  "When a worker commits: heartbeat (default), or every-task, the model of the paper")
      ->check(CLI::IsMember({"heartbeat", "every-task"}))
      ->type_name("WHEN");
  add_progress_option(command, [this](progress_mode mode) { progress = mode; });
  command.add_flag("--statistics", statistics, "Tell at the end what the workers did, on stderr");
  const std::string costs = "Where the durability goes";
  command.add_flag("--profile", profile, "Tell at the end where the time and the flushes went, on stderr")->group(costs);
  command.add_option("--profile-json", profile_json, "Write that there, as JSON")->type_name("FILE")->group(costs);
  command.add_option("--profile-html", profile_html, "Write that there, as a page with charts")->type_name("FILE")->group(costs);
  command.add_option("--medium-costs", medium_costs, "Figures that `ppmm profile medium --json` wrote, for that page")->check(CLI::ExistingFile)->type_name("FILE")->group(costs);
  command.add_option("--trace", trace, "Write what each worker did when, for Perfetto (ui.perfetto.dev) and catapult's trace viewer")->type_name("FILE")->group(costs);
  const std::string faults = "Fault injection";
  const CLI::Validator probability(
      [](const std::string& word) {
        double p = -1;
        const auto [end, problem] = std::from_chars(word.data(), word.data() + word.size(), p);
        const bool good = problem == std::errc() && end == word.data() + word.size() && p >= 0 && p < 1;
        return good ? std::string() : fmt::format("expected a probability, at least 0 and below 1; found {}", word);
      },
      "");
  command
      .add_option("--soft-fault-rate", soft_fault_rate,
                  "Probability at each persistent access that a worker loses its ephemeral state")
      ->check(probability)
      ->type_name("P")
      ->group(faults);
  command
      .add_option("--hard-fault-rate", hard_fault_rate,
                  "Probability at each persistent access that a worker never comes back")
      ->check(probability)
      ->type_name("P")
      ->group(faults);
  command
      .add_option("--crash-repeats", crash_repeats,
                  "Repeat a task that raises SIGSEGV, SIGFPE or SIGILL so often, then let the job fail and tell where (default: 0, the process dies)")
      ->type_name("N")
      ->group(faults);
  command.add_option("--fault-seed", fault_seed, "Seed of the injected faults")->type_name("N")->group(faults);
  command.parse_complete_callback([this] {
    if (joined) {
      restart = profile = false;
      profile_json.clear(), profile_html.clear(), trace.clear();
      workers = joined->workers;
      no_pin = no_pin || joined->no_pin;
      respawn = joined->respawn;
      progress = joined->progress.value_or(progress);
    }
    if (workers_as == worker_kind::processes && (profile || !profile_json.empty() || !profile_html.empty() || !trace.empty()))
      throw CLI::ValidationError("--workers-as processes", "what --profile and --trace tell, only threads can give. Leave one of them out");
    if (!resuming) return;
    restart = false;  // was done when the job began
    if (resuming->workers > 0) workers = resuming->workers;
    progress = resuming->progress.value_or(progress);
    statistics = statistics || resuming->statistics;
  });
}

std::uint64_t pool_size_for(std::uint64_t region) {
  return std::max<std::uint64_t>(pool::min_size, region + region / 64 + 32 * mebi);
}

/// What is seen of a job, and where it is told.
struct cost_watch {
  explicit cost_watch(const job_options& o) : asked(o) {
    const auto open = [](const fs::path& file) { return file.empty() ? nullptr : std::make_unique<output_file>(file); };
    json = open(o.profile_json), html = open(o.profile_html), trace = open(o.trace);
    if (o.medium_costs.empty()) return;
    std::ifstream in(o.medium_costs);
    report.medium_html = medium_to_html({std::istreambuf_iterator<char>(in), {}});
  }
  bool costs() const { return asked.profile || json || html; }
  bool events() const { return trace || html; }

  const job_options& asked;
  std::unique_ptr<output_file> json, html, trace;  // opened at once: a name that cannot be written to is told before any work
  hardware_counters counters;
  job_report report;
};

job_session::~job_session() = default;

job_session::job_session(const job_options& options, job_demand demand)
    : options_(options), demand_(std::move(demand)), file_(options.pool.empty() ? demand_.own_pool : options.pool) {
  // First: what it cannot write to, or read, is told before anything is made.
  if (options_.profile || !options_.profile_json.empty() || !options_.profile_html.empty() || !options_.trace.empty()) watch_ = std::make_unique<cost_watch>(options_);
  if (joined) {
    attach_pool();
    return;
  }
  if (resuming)
    open_pool_to_resume();
  else if (fs::exists(file_))
    open_pool();
  else
    create_pool();
  check_pool();
  tell_medium();
}

/// What the job's commits are worth: one line, and one more for each device on which something is wrong.
void job_session::tell_medium() const {
  if (options_.progress == progress_mode::none) return;
  std::string devices, warnings;
  for (const device_facts& d : pool_->devices()) {
    if (d.device) devices += fmt::format("; {}", d.in_words());
    if (const std::string w = d.warning(); !w.empty()) warnings += fmt::format("ppmm: {}\n", w);
  }
  fmt::print(stderr, "ppmm: {}{}\n{}", pool_->describe_medium(), devices, warnings);
}

void job_session::watch_costs(run_options& how) {
  if (!watch_) return;
  if (watch_->costs()) how.profile = &watch_->report.profile;
  if (watch_->events()) how.trace = &watch_->report.trace;
}

void job_session::tell_costs() {
  if (!watch_) return;
  const auto write = [](output_file* to, const std::string& text) {
    if (to == nullptr) return;
    to->append(text);
    to->publish();
  };
  job_report& r = watch_->report;
  r.job = demand_.name;
  r.counters = watch_->counters.read();
  r.counters_missing = watch_->counters.missing();
  if (watch_->trace) {
    write_chrome_trace(r.trace, [&](std::string_view text) { watch_->trace->append(text); });
    watch_->trace->publish();
  }
  if (watch_->costs()) {
    std::vector<std::uintptr_t> addresses;
    for (const profile_site& s : r.profile.sites) addresses.push_back(s.code);
    add_rows(r, places_of(addresses));
    if (options_.profile) fmt::print(stderr, "{}", r.profile.workers == 0 ? fmt::format("profile of \"{}\": it was finished before, nothing has run\n", r.job) : to_text(r));
    write(watch_->json.get(), to_json(r));
    if (watch_->html) write(watch_->html.get(), to_html(r));
  }
  watch_.reset();
}

void job_session::create_pool() {
  pool_options how;
  how.size = pool_size_for(demand_.region + demand_.heap);
  how.max_workers = std::max(64u, options_.workers);
  how.level = options_.durability;
  pool_.emplace(ppmm::pool::create(file_, how));
}

void job_session::open_pool() {
  pool_options how;
  how.level = options_.durability;
  pool_.emplace(ppmm::pool::open(file_, how));
  if (options_.restart) pool_->drop_job(demand_.name);
  // A pool of the job's own in which nothing was begun is made anew: its size was for something else.
  if (own_pool() && pool_->jobs().empty()) {
    pool_.reset();
    fs::remove(file_);
    create_pool();
  }
}

namespace {
/// std::filesystem::equivalent, but for devices too.
bool are_the_same(const fs::path& a, const fs::path& b) {
  struct stat of_a {}, of_b {};
  return stat(a.c_str(), &of_a) == 0 && stat(b.c_str(), &of_b) == 0 && of_a.st_dev == of_b.st_dev && of_a.st_ino == of_b.st_ino;
}
}  // namespace

void job_session::check_is_pool(const fs::path& expected) const {
  if (!are_the_same(file_, expected))
    throw error(fmt::format(
        "the job in {} was begun by a command whose pool is {}, which is another file or none: was it moved? Give the "
        "command by hand, with --pool",
        expected.string(), fs::absolute(file_).string()));
}

bool job_session::is_joining() { return joined.has_value(); }

fs::path output_to_open(const fs::path& output) { return joined ? fs::path() : output; }

/// Of its pool the process that runs the job has all but the data plane.
void job_session::attach_pool() {
  check_is_pool(joined->pool);
  pool_.emplace(ppmm::pool::attach(file_, options_.durability));
}

void job_session::leave_joined(const join_report& r, progress_meter& meter) const {
  if (r.job_ended) meter.finish();
  fmt::print(stderr, "ppmm: {} worker{} of \"{}\" {}{}\n", r.workers, r.workers == 1 ? "" : "s", demand_.name, r.job_ended      ? "worked to its end"
                   : r.workers == 1 ? "has left, and it goes on without it"
                                    : "have left, and it goes on without them",
             r.deaths > 0 ? fmt::format("; {} died, {} were replaced", r.deaths, r.replaced) : "");
  throw exit_status{r.job_ended || signal_received() != 0 ? 0 : exit_workers_lost};
}

void job_session::open_pool_to_resume() {
  check_is_pool(resuming->pool);
  pool_options how;
  how.level = options_.durability;
  pool_.emplace(ppmm::pool::open(file_, how));
  if (!pool_->find_job(demand_.name))
    throw error(fmt::format("{} holds no job \"{}\", and `resume` begins none", file_.string(), demand_.name));
}

void job_session::check_pool() {
  if (const auto job = pool_->find_job(demand_.name); job && job->input != demand_.input)
    throw error(fmt::format(
        "the input has changed: {} holds the job \"{}\" for other files or other content. Bring the input back, or "
        "start anew with --restart",
        file_.string(), demand_.name));
  if (demand_.region > 0 && max_region(*pool_) < demand_.region)
    throw pool_too_small(
        fmt::format("{} is too small: {} of pool memory are needed in one piece, it has {}. Create a larger one: "
                    "`ppmm create FILE --size {}M`, or make this one larger by as much: `ppmm grow {} SIZE`",
                    file_.string(), readable_bytes(static_cast<double>(demand_.region)),
                    readable_bytes(static_cast<double>(max_region(*pool_))), pool_size_for(demand_.region) / mebi + 1, file_.string()));
}

/// The job stands at its last commits, and finds the new room when it is run again. Killed in between: the same.
void job_session::grow_pool(std::uint64_t asked) {
  pool_options how;
  how.level = options_.durability;
  const std::size_t size = pool_->size();
  pool_.reset();
  ppmm::pool::grow(file_, std::max<std::uint64_t>(size + size / 2, size + pool_size_for(asked)));
  pool_.emplace(ppmm::pool::open(file_, how));
}

run_options job_session::how_to_run(progress_meter& meter, std::uint64_t total_units) {
  run_options how;
  how.workers = options_.workers;
  how.workers_as = options_.workers_as;
  how.crash_repeats = options_.crash_repeats;
  how.respawn = options_.respawn.value_or(how.respawn);
  how.smt_siblings = options_.smt;
  how.pin = !options_.no_pin;
  if (options_.heartbeat_us)
    how.heartbeat = duration_cast<nanoseconds>(duration<double, std::micro>(*options_.heartbeat_us));
  how.commit_every_task = options_.commit == "every-task" || options_.heartbeat_us == 0.0;
  how.stop = stop_.get_token();
  how.region = demand_.region;
  how.input = demand_.input;
  if (!resuming) call_ = encode(this_call(demand_.to_file && !options_.keep_pool));
  how.call = call_;
  how.soft_fault_rate = options_.soft_fault_rate;
  how.hard_fault_rate = options_.hard_fault_rate;
  how.fault_seed = options_.fault_seed;
  how.statistics = &statistics_;
  watch_costs(how);
  how.on_resume = [this, &meter, total_units](const resume_info& info) {
    meter.resumed_at(info.units_done);
    if (options_.progress == progress_mode::none) return;
    fmt::print(stderr, "ppmm: resumed at {:.1f} %, {:.2f} ms of work lost ({} {})\n",
               progress_meter::percent(info.units_done, total_units), info.lost_ms, info.strands,
               info.strands == 1 ? "worker" : "workers");
  };
  how.on_orphans = [this](unsigned workers) {
    if (options_.progress == progress_mode::none) return;
    fmt::print(stderr, "ppmm: {} worker process{} of an earlier run {} at work without a coordinator; waiting for {}\n", workers, workers == 1 ? "" : "es",
               workers == 1 ? "is" : "are", workers == 1 ? "it" : "them");
  };
  how.on_progress = [this, &meter](std::uint64_t units) {
    meter.update(units);
    if (signal_received() != 0) stop_.request_stop();
  };
  return how;
}

void job_session::leave_answer() const {
  if (!resuming || demand_.to_file) return;
  fmt::print(stderr, "ppmm: \"{}\" is finished; its answer is in {}. The same command tells it:\n  {}\n", demand_.name,
             file_.string(), command_line());
  throw exit_status{0};
}

void job_session::explain_failure() {
  try {
    throw;
  } catch (const job_interrupted&) {
    tell_costs();
    throw interrupted(
        signal_received(),
        fmt::format("everything done so far is in {}. The same command goes on from there:", file_.string()));
  } catch (const workers_lost&) {
    tell_costs();
    throw interrupted(
        exit_workers_lost,
        fmt::format("all {} workers were lost{}", statistics_.workers, options_.workers_as == worker_kind::processes ? "" : " to hard faults"),
        fmt::format("everything committed is in {}. The same command goes on from there:", file_.string()));
  } catch (const job_failed& e) {
    throw error(fmt::format("{}\nppmm: start anew with --restart", e.what()));
  } catch (const job_mismatch& e) {
    throw error(fmt::format("{}\nppmm: start anew with --restart", e.what()));
  }
}

void job_session::delivered() {
  if (options_.keep_pool) return;
  if (!own_pool()) {
    pool_->drop_job(demand_.name);
    return;
  }
  pool_.reset();
  fs::remove(file_);
}

void job_session::print_statistics() const {
  const run_statistics& s = statistics_;
  const medium& m = pool_->medium();
  // There the counters tell what would have been flushed, had the medium needed it.
  const bool needs_no_flush = m.level == durability::process || (m.level == durability::power && m.grain == granularity::byte);
  const auto per = [](std::uint64_t part, std::uint64_t whole) {
    return whole == 0 ? 0.0 : static_cast<double>(part) / static_cast<double>(whole);
  };
  fmt::print(
      stderr,
      "medium       {}\n"
      "time         {:.3f} s with {} workers{}, first work after {:.2f} ms\n"
      "commits      {} ({:.2f} µs each), {:.2f} % of the workers' time; a heartbeat {} {}\n"
      "steals       {}, lost {}; taken back {}\n"
      "joins        {} arrived first, {} second\n"
      "flushed      {}{} lines in {} flushes{}, {} fences ({:.2f} a commit)\n"
      "faults       {} soft, {} hard; {} graves robbed, {} tasks begun again\n",
      pool_->describe_medium(), s.seconds, s.workers, s.placement.empty() ? ", each pinned" : fmt::format(" ({})", s.placement), s.to_first_work_ms, s.commits, per(s.commit_ns, s.commits) / 1000,
      s.seconds > 0 ? 100e-9 * static_cast<double>(s.commit_ns) / s.seconds / std::max(1u, s.workers) : 0.0,
      options_.heartbeat_us ? "of" : "came to", s.heartbeat_ns == 0 ? std::string("–") : fmt::format("{:.3g} ms", static_cast<double>(s.heartbeat_ns) / 1e6), s.steals,
      s.lost_steals, s.taken_back, s.joins_first, s.joins_second, needs_no_flush ? "nothing (else " : "", s.flushed.lines,
      s.flushed.flushes, needs_no_flush ? ")" : "", s.flushed.fences,
      per(s.flushed.fences, s.commits), s.soft_faults, s.hard_faults, s.robberies, s.restarts_of_tasks);
  if (options_.workers_as == worker_kind::processes)
    fmt::print(stderr, "processes    {} died, {} were replaced; the books were made anew {} times\n", s.deaths, s.replaced, s.renewals);
}

}  // namespace ppmm::tools
