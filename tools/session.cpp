#include "session.hpp"

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <map>
#include <utility>

namespace ppmm::tools {
namespace {

namespace fs = std::filesystem;
using std::chrono::duration;
using std::chrono::duration_cast;
using std::chrono::nanoseconds;

constexpr std::uint64_t mebi = std::uint64_t{1} << 20;

}  // namespace

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

void job_options::add_to(CLI::App& command) {
  command
      .add_option("--pool", pool,
                  "Pool file that the job lives in; created if there is none, kept afterwards. "
                  "Default: a file of the job's own, removed after success")
      ->type_name("FILE");
  command.add_flag("--keep-pool", keep_pool, "Keep the job's own pool file and the finished job in it");
  command.add_flag("--restart", restart, "Forget what an earlier run did and start anew");
  command.add_option("--workers", workers, "Worker threads (default: one a usable core)")
      ->check(CLI::Range(1u, 1024u))
      ->type_name("N");
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
  static const std::map<std::string, progress_mode> modes{{"auto", progress_mode::automatic},
                                                          {"bar", progress_mode::bar},
                                                          {"plain", progress_mode::plain},
                                                          {"none", progress_mode::none}};
  command
      .add_option_function<std::string>(
          "--progress", [this](const std::string& name) { progress = modes.at(name); },
          "How progress is told on stderr: auto (default), bar, plain, none")
      ->check(CLI::IsMember({"auto", "bar", "plain", "none"}))
      ->type_name("HOW");
  command.add_flag("--statistics", statistics, "Tell at the end what the workers did, on stderr");
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
  command.add_option("--fault-seed", fault_seed, "Seed of the injected faults")->type_name("N")->group(faults);
}

std::uint64_t pool_size_for(std::uint64_t region) {
  return std::max<std::uint64_t>(pool::min_size, region + region / 64 + 32 * mebi);
}

job_session::job_session(const job_options& options, job_demand demand)
    : options_(options), demand_(std::move(demand)), file_(options.pool.empty() ? demand_.own_pool : options.pool) {
  if (fs::exists(file_))
    open_pool();
  else
    create_pool();
  check_pool();
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
  if (options_.heartbeat_us)
    how.heartbeat = duration_cast<nanoseconds>(duration<double, std::micro>(*options_.heartbeat_us));
  how.commit_every_task = options_.commit == "every-task" || options_.heartbeat_us == 0.0;
  how.stop = stop_.get_token();
  how.region = demand_.region;
  how.input = demand_.input;
  how.soft_fault_rate = options_.soft_fault_rate;
  how.hard_fault_rate = options_.hard_fault_rate;
  how.fault_seed = options_.fault_seed;
  how.statistics = &statistics_;
  how.on_resume = [this, &meter, total_units](const resume_info& info) {
    meter.resumed_at(info.units_done);
    if (options_.progress == progress_mode::none) return;
    fmt::print(stderr, "ppmm: resumed at {:.1f} %, {:.2f} ms of work lost ({} {})\n",
               progress_meter::percent(info.units_done, total_units), info.lost_ms, info.strands,
               info.strands == 1 ? "worker" : "workers");
  };
  how.on_progress = [this, &meter](std::uint64_t units) {
    meter.update(units);
    if (signal_received() != 0) stop_.request_stop();
  };
  return how;
}

void job_session::explain_failure() const {
  try {
    throw;
  } catch (const job_interrupted&) {
    throw interrupted(
        signal_received(),
        fmt::format("everything done so far is in {}. The same command goes on from there:", file_.string()));
  } catch (const workers_lost&) {
    throw interrupted(
        exit_workers_lost,
        fmt::format("all {} workers were lost to hard faults", statistics_.workers),
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
      "time         {:.3f} s with {} workers, first work after {:.2f} ms\n"
      "commits      {} ({:.2f} µs each), {:.2f} % of the workers' time\n"
      "steals       {}, lost {}; taken back {}\n"
      "joins        {} arrived first, {} second\n"
      "flushed      {}{} lines in {} flushes{}, {} fences ({:.2f} a commit)\n"
      "faults       {} soft, {} hard; {} graves robbed, {} tasks begun again\n",
      pool_->describe_medium(), s.seconds, s.workers, s.to_first_work_ms, s.commits, per(s.commit_ns, s.commits) / 1000,
      s.seconds > 0 ? 100e-9 * static_cast<double>(s.commit_ns) / s.seconds / std::max(1u, s.workers) : 0.0, s.steals,
      s.lost_steals, s.taken_back, s.joins_first, s.joins_second, needs_no_flush ? "nothing (else " : "", s.flushed.lines,
      s.flushed.flushes, needs_no_flush ? ")" : "", s.flushed.fences,
      per(s.flushed.fences, s.commits), s.soft_faults, s.hard_faults, s.robberies, s.restarts_of_tasks);
}

}  // namespace ppmm::tools
