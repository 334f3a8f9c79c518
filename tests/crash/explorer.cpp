#include "explorer.hpp"

#include <ppmm/alloc/inspect.hpp>
#include <ppmm/sched/clock.hpp>
#include <ppmm/sched/describe.hpp>
#include <ppmm/sched/image.hpp>

#include <fmt/core.h>

#include <algorithm>
#include <charconv>
#include <cstring>

namespace ppmm::test {
namespace {

constexpr unsigned most_workers = 4;

/// How the workers take turns, by seed.
fiber_runner::turns turns_of(std::uint64_t schedule) {
  constexpr fiber_runner::turns ways[] = {{0, 0}, {3, 0}, {12, 150}, {50, 50}, {0, 60}, {0, 200}};
  return ways[schedule % std::size(ways)];
}

}  // namespace

std::string to_text(const std::vector<run_step>& path) {
  std::string text;
  for (const run_step& s : path) {
    if (!text.empty()) text += '/';
    text += fmt::format("{}.{}:", s.schedule, s.workers);
    for (std::size_t i = 0; i < s.choices.size(); ++i) text += fmt::format("{}{}", i == 0 ? "" : ".", s.choices[i]);
    text += fmt::format("@{}{}", s.failure, s.killed ? "k" : "");
  }
  return text;
}

std::vector<run_step> parse_path(const std::string& text) {
  const char* at = text.data();
  const char* const end = at + text.size();
  const auto number = [&](auto& n) {
    const auto [next, error] = std::from_chars(at, end, n);
    if (error != std::errc()) throw std::invalid_argument(fmt::format("expected a number in the path at \"{}\"", at));
    at = next;
  };
  const auto sign = [&](char c) {
    if (at == end || *at != c) throw std::invalid_argument(fmt::format("expected '{}' in the path at \"{}\"", c, at));
    ++at;
  };
  std::vector<run_step> path;
  while (at != end) {
    if (!path.empty()) sign('/');
    run_step s;
    number(s.schedule);
    sign('.');
    number(s.workers);
    sign(':');
    while (at != end && *at != '@') {
      if (!s.choices.empty()) sign('.');
      number(s.choices.emplace_back());
    }
    sign('@');
    number(s.failure);
    if (at != end && *at == 'k') s.killed = (++at, true);
    path.push_back(std::move(s));
  }
  return path;
}

explorer::explorer(std::filesystem::path file, unsigned parts) : file_(std::move(file)), parts_(parts) {
  make_pool();
  static_cast<void>(detail::ticks_per_ns());  // while the clock goes
  detail::stopped_clock = &clock_;
}

explorer::~explorer() {
  medium_.reset();
  pool_.reset();
  detail::stopped_clock = nullptr;
  std::error_code ignored;
  for (unsigned i = 0; i < parts_; ++i) std::filesystem::remove(part(file_, i), ignored);
}

void explorer::make_pool() {
  pool_.reset();
  pool_options how{.size = pool::min_size, .max_workers = most_workers, .sparse = true, .level = durability::process};
  how.spacing = parts_ > 1 ? pool::min_size + (std::uint64_t{2} << 20) : 0;  // the model has a table by address
  for (unsigned i = 0; i < parts_; ++i) {
    std::filesystem::remove(part(file_, i));
    if (i > 0) how.further_parts.push_back({part(file_, i)});
  }
  pool_.emplace(pool::create(file_, how));
}

void explorer::keep(const std::filesystem::path& to) const {
  for (unsigned i = 0; i < parts_; ++i) std::filesystem::copy_file(part(file_, i), part(to, i), std::filesystem::copy_options::overwrite_existing);
}

/// Of an address, without its number: what the books of flushes are kept by.
std::string explorer::kind_of(std::uintptr_t line) const {
  const bool before = std::exchange(detail::in_observer(), true);
  std::string what = detail::describe(detail::image(*pool_, region_), reinterpret_cast<const void*>(line));
  detail::in_observer() = before;
  if (const auto colon = what.find(": "); colon != std::string::npos) return what.substr(0, what.find(' ')) + what.substr(colon);
  return what.substr(0, what.find(','));
}

/// A pool in which the job was never run.
explorer::node explorer::begin(const scenario& s) {
  if (medium_) medium_->restart_from({}, nullptr);  // as it was made
  medium_.reset();
  std::ranges::fill(std::exchange(prepared_, {}), std::byte{0});
  if (s.earlier || earlier_left_something_) make_pool();
  if (s.earlier) s.earlier(*pool_);
  earlier_left_something_ = static_cast<bool>(s.earlier);
  if (s.region != 0 && s.prepare) s.prepare(prepared_ = region_of(*pool_, s.region));
  medium_.emplace(*pool_);
  region_ = s.region;
  const detail::image img(*pool_, s.region);
  for (unsigned i = 0; i < img.workers(); ++i) {
    medium_->ignore(&img.worker(i).live_when, line_size);
    medium_->mark_shared(&img.worker(i).owner, sizeof img.worker(i).owner);
  }
  for (std::uint32_t i = 0; i < img.slots(); ++i) medium_->mark_shared(&img.slot(i), sizeof(detail::exposure_slot));
  for (const detail::heap_place::range& r : img.chunk_ranges()) medium_->mark_shared(r.table, (r.end - r.first) * sizeof(detail::chunk_entry));
  medium_->on_unneeded_flush([this](std::uintptr_t line) {
    if (fibers_.in_run()) ++looked_for.unneeded_flushes[kind_of(line)];
  });
  fibers_.on_record([this](unsigned slot, detail::record_kind, const flush_counters&) {
    if (!looked_for.missing_flushes) return;
    const bool before = std::exchange(detail::in_observer(), true);  // looking is no part of the run
    const detail::image now(*pool_, region_);
    const auto job = pool_->find_job(job_name);
    const auto missing = detail::reached_but_not_durable(now, slot, job->serial, [this](const void* p, std::size_t n) { return medium_->is_durable(p, n); });
    detail::in_observer() = before;
    if (!missing.empty() && missing_.empty()) missing_ = fmt::format("the record of worker slot {} reaches what was stored and is not durable: {}", slot, missing.front());
  });
  seen_.clear();
  covered_ = {};
  return {};
}

bool explorer::run_from(const scenario& s, const node& from, run_step& how, std::mt19937_64* dice, const std::function<void(std::uint64_t)>& at) {
  path_ = from.path;
  path_.push_back(how);
  medium_->on_event(nullptr);
  std::size_t asked = 0;
  widths_.clear();
  medium_->restart_from(from.left, [&](unsigned n) {
    if (asked == how.choices.size()) {
      how.choices.push_back(dice != nullptr ? static_cast<unsigned>((*dice)() % n) : 0);
      path_.back().choices = how.choices;
    }
    widths_.push_back(n);
    return std::min(how.choices[asked++], n - 1);
  });
  const auto there = pool_->find_job(job_name);
  if (there && !from.entry) pool_->drop_job(job_name);
  if (from.entry && (!there || std::memcmp(&*there, &*from.entry, sizeof *there) != 0)) pool_->put_job(*from.entry);

  std::uint64_t events = 0;
  medium_->on_event([&](simulated_medium::event e) {
    if (e != simulated_medium::event::access) at(++events);
    fibers_.chance();
  });
  fibers_.begin(how.schedule, turns_of(how.schedule));
  std::stop_source stop;
  bool stuck = false;
  fibers_.on_stuck([&] {
    stuck = true;
    stop.request_stop();
  });

  run_statistics counted;
  run_options o;
  o.workers = how.workers;
  o.pin = false;
  o.commit_every_task = s.every_task;
  o.heartbeat = std::chrono::hours(1);  // the clock stands: commits are made where the job asks for them
  o.soft_fault_rate = s.soft;
  o.hard_fault_rate = s.hard;
  o.fault_seed = how.schedule;
  o.region = s.region;
  o.stop = stop.get_token();
  o.statistics = &counted;
  o.runner = &fibers_;
  const auto fail = [&](const std::string& what) {
    medium_->on_event(nullptr);
    throw wrong(what, path_);
  };
  answer got;
  bool finished = true;
  try {
    got.value = s.run(*pool_, o);
    got.units = counted.units;
  } catch (const workers_lost&) {
    finished = false;
  } catch (const job_interrupted&) {
    fail(stuck ? "the workers wait for ever" : "the job was interrupted");
  } catch (const std::exception& e) {
    fail(e.what());
  }
  medium_->on_event(nullptr);
  if (!missing_.empty()) fail(std::exchange(missing_, {}));
  covered_.steals += counted.steals;
  covered_.lost_steals += counted.lost_steals;
  covered_.taken_back += counted.taken_back;
  covered_.joins_first += counted.joins_first;
  covered_.joins_second += counted.joins_second;
  covered_.robberies += counted.robberies;
  covered_.soft_faults += counted.soft_faults;
  covered_.hard_faults += counted.hard_faults;
  covered_.restarts += counted.restarts_of_tasks;
  if (!finished) return false;
  const bool before = from.entry && from.entry->state == layout::job_state::finished;
  if (got.value != s.expected.value) fail(fmt::format("the value is {} instead of {}", got.value, s.expected.value));
  if (!before && got.units != s.expected.units) fail(fmt::format("{} units were counted instead of {}", got.units, s.expected.units));
  if (s.region != 0) {
    const auto region = region_of(*pool_, s.region);
    if (!medium_->is_durable(region.data(), region.size())) fail("the job is finished, and what it wrote is not durable");
    std::vector<std::byte> copy(region.size());
    detail::copy_unobserved(copy.data(), region.data(), region.size());
    if (s.right && !s.right(copy)) fail("the job is finished, and its memory is wrong");
  }
  if (const std::string problem = look_at_heap(s); !problem.empty()) fail("the job is finished, and " + problem);
  return true;
}

/// As `ppmm check` does; and no block is lost, nor given back that was to stay.
std::string explorer::look_at_heap(const scenario& s) {
  const detail::image img(*pool_, s.region);
  const auto inspect = [&]() -> std::string {
    const bool before = std::exchange(detail::in_observer(), true);  // as it is now: nothing is left to choose
    const detail::heap_report found = detail::inspect_heap(detail::chunk_space(img.heap(), pool_->medium(), 0));
    detail::in_observer() = before;
    if (!found.problems.empty()) return "the heap is damaged: " + found.problems.front();
    if (found.blocks != s.blocks) return fmt::format("{} blocks of the heap are allocated instead of {}", found.blocks, s.blocks);
    return {};
  };
  if (const std::string problem = inspect(); !problem.empty()) return problem;
  const simulated_medium::image left = medium_->power_failure();
  if (left.open_lines() == 0) return {};
  for (const bool last : {false, true}) {
    medium_->restart_from(left, [&](unsigned n) { return last ? n - 1 : 0; });
    for (const auto& line : left.lines) medium_->about_to_load(reinterpret_cast<const void*>(line.first), line_size, nullptr);
    if (const std::string problem = inspect(); !problem.empty()) return "when the power fails after that, " + problem;
  }
  return {};
}

/// What the run under way would leave, were it cut short here.
explorer::node explorer::cut_short(std::uint64_t event, bool killed) {
  node n{killed ? medium_->process_death() : medium_->power_failure(), pool_->find_job(job_name), path_};
  n.path.back().failure = event;
  n.path.back().killed = killed;
  return n;
}

/// Which side claimed a join.
void explorer::look_at_slots(exploration&) {
  const detail::image img(*pool_, region_);
  for (std::uint32_t i = 0; i < img.slots(); ++i) {
    std::uint64_t words[3];
    detail::copy_unobserved(words, &img.slot(i), sizeof words);
    if (words[0] == 0) continue;
    const auto state = static_cast<detail::join_state>(words[2] & 3);
    if (state == detail::join_state::claimed) ++((words[2] >> 2 & 1) == 0 ? covered_.left_claims : covered_.right_claims);
  }
}

/// The next combination of choices, as an odometer; false if there is none.
bool explorer::next_choices(run_step& how) const {
  how.choices.resize(std::min(how.choices.size(), widths_.size()));
  while (!how.choices.empty()) {
    const std::size_t last = how.choices.size() - 1;
    if (++how.choices[last] < widths_[last]) return true;
    how.choices.pop_back();
  }
  return false;
}

void explorer::go(const scenario& s, const bounds& b, const node& from, unsigned schedules, exploration& sum) {
  const unsigned depth = static_cast<unsigned>(from.path.size());
  std::vector<node> found;
  for (unsigned i = 0; i < schedules; ++i) {
    run_step how;
    how.schedule = b.seed * 1'000'003 + (depth == 0 ? i : from.left.hash() % 1'000'000 + i);
    how.workers = depth == 0 ? s.workers : 1 + static_cast<unsigned>(how.schedule / 4 % s.workers);
    do {
      if (sum.runs >= b.runs) {
        ++sum.cut;
        return;
      }
      ++sum.runs;
      const auto take = [&](std::uint64_t event, bool killed) {
        ++sum.failures;
        const simulated_medium::image left = killed ? medium_->process_death() : medium_->power_failure();
        if (!seen_.insert(left.hash() + killed).second) return;
        sum.most_open_lines = std::max<std::uint64_t>(sum.most_open_lines, left.open_lines());
        found.push_back(cut_short(event, killed));
      };
      const bool finished = run_from(s, from, how, nullptr, [&](std::uint64_t event) {
        if (depth >= b.depth) return;
        take(event, false);
        take(event, true);
      });
      look_at_slots(sum);
      if (!finished) take(~std::uint64_t{0}, true);  // all workers died
    } while (next_choices(how));
    // The images of one interleaving, before the next one is tried: memory goes with the depth.
    sum.images += found.size();
    sum.images_by_depth.resize(std::max<std::size_t>(sum.images_by_depth.size(), depth + 1));
    sum.images_by_depth[depth] += found.size();
    for (const node& n : found) go(s, b, n, b.schedules_after, sum);
    found.clear();
  }
}

exploration explorer::explore(const scenario& s, const bounds& b) {
  exploration sum;
  const node start = begin(s);
  go(s, b, start, b.schedules, sum);
  sum.covered = covered_;
  sum.medium = medium_->counted();
  return sum;
}

void explorer::walk(const scenario& s, std::uint64_t seed, unsigned failures, exploration& sum) {
  std::mt19937_64 dice(seed);
  node at = begin(s);
  std::uint64_t length = 400;
  for (unsigned depth = 0;; ++depth) {
    run_step how;
    how.schedule = dice() % 1'000'000'000;
    how.workers = 1 + static_cast<unsigned>(dice() % s.workers);
    const std::uint64_t when = depth < failures ? 1 + dice() % length : ~std::uint64_t{0};
    const bool killed = dice() % 3 == 0;
    std::optional<node> next;
    std::uint64_t events = 0;
    ++sum.runs;
    const bool finished = run_from(s, at, how, &dice, [&](std::uint64_t event) {
      events = event;
      if (event == when) next = cut_short(event, killed);
    });
    look_at_slots(sum);
    length = std::max<std::uint64_t>(events, 10);
    if (!next && !finished) next = cut_short(~std::uint64_t{0}, true);
    if (!next) break;
    ++sum.failures;
    sum.most_open_lines = std::max<std::uint64_t>(sum.most_open_lines, next->left.open_lines());
    at = std::move(*next);
  }
  sum.covered = covered_;
}

void explorer::tell_records(const std::string& when) {
  if (!tell) return;
  tell(when);
  const bool before = std::exchange(detail::in_observer(), true);
  const detail::image img(*pool_, region_);
  if (const auto job = pool_->find_job(job_name))
    for (unsigned i = 0; i < img.workers(); ++i) tell("  " + detail::describe_record(img, i, job->serial));
  detail::in_observer() = before;
}

void explorer::replay(const scenario& s, const std::vector<run_step>& path) {
  node at = begin(s);
  for (const run_step& step : path) {
    run_step how = step;
    how.failure = 0;
    std::optional<node> next;
    const auto at_event = [&](std::uint64_t event) {
      if (event != step.failure) return;
      tell_records(fmt::format("{}, at event {}:", step.killed ? "the process dies" : "the power fails", event));
      next = cut_short(event, step.killed);
    };
    if (tell) tell("run " + to_text({step}));
    bool finished = true;
    try {
      finished = run_from(s, at, how, nullptr, at_event);
    } catch (const wrong&) {
      tell_records("at the end, which is wrong:");
      throw;
    }
    if (!next && !finished) {
      tell_records("all workers have died:");
      next = cut_short(step.failure, true);
    }
    if (!next) return;
    at = std::move(*next);
  }
}

}  // namespace ppmm::test
