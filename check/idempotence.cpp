#include <ppmm/check/idempotence.hpp>

#include <ppmm/pmem/instrument.hpp>

#include <fmt/core.h>  // format

#include <cstdio>
#include <cstdlib>
#include <string_view>

#if defined(PPMM_INSTRUMENT)
#include <ppmm/check/capsule.hpp>

#include <algorithm>
#include <map>
#include <mutex>
#include <optional>
#include <tuple>
#include <utility>
#endif

namespace ppmm::detail {
namespace {

enum class wish : std::uint8_t { none, report, fail };

wish wish_of_environment() {
  const char* set = std::getenv("PPMM_CHECK_IDEMPOTENCE");
  const std::string_view text = set == nullptr ? "" : set;
  if (text.empty() || text == "0") return wish::none;
  if (text != "1" && text != "fail")
    throw no_check(
        fmt::format("PPMM_CHECK_IDEMPOTENCE is \"{}\"; it can be 1 (report what is found) or fail (and end "
                    "the run with an error), or 0",
                    text));
  if (!accesses_are_instrumented())
    throw no_check(
        "PPMM_CHECK_IDEMPOTENCE is set, but this program does not see its loads and stores; build PPMM and the program "
        "with -DPPMM_INSTRUMENT=ON (preset `instrumented`), or unset it");
  return text == "1" ? wish::report : wish::fail;
}

std::vector<finding>& findings_of_last_run() {
  static std::vector<finding> last;
  return last;
}

}  // namespace

const std::vector<finding>& last_findings() { return findings_of_last_run(); }

std::string source_place::text() const {
  if (file.empty()) return function.empty() ? "a place without debug information" : function;
  return function.empty() ? fmt::format("{}:{}", file, line) : fmt::format("{}:{}, in {}", file, line, function);
}

std::string finding::text() const {
  switch (what) {
    case mistake::overwrites_what_it_read:
      return fmt::format(
          "overwrites what it has read: {}\n     is stored at {}\n     after it was loaded at {}\n     in one capsule, "
          "which would load its own output if it were repeated",
          target, at.text(), read_at.text());
    case mistake::bypasses_views:
      return fmt::format("bypasses the views: {}\n     is stored to at {}\n     and is open in no view for writing", target, at.text());
    case mistake::holds_volatile_address:
      return fmt::format(
          "keeps an address of volatile memory: a value of type {}\n     holds at offset {} an address in {}, which "
          "means nothing after a restart\n     {}",
          type, offset, points_to,
          at.file.empty() ? "it came with the root task, or from a record" : "made at " + at.text());
    case mistake::reads_what_it_has_not_written:
      return fmt::format(
          "reads what it has not written: {}\n     is loaded at {}\n     in the capsule that allocated it; what stands there "
          "is another thing if it is repeated",
          target, at.text());
    case mistake::opens_outside_turns:
      return fmt::format(
          "opens a view outside its turns: a task that makes turns at {}\n     opens a view outside them at {}\n     and a "
          "capsule that begins at one of its turns would open it again",
          read_at.text(), at.text());
  }
  return {};
}

#if !defined(PPMM_INSTRUMENT)

struct checked_run {};
idempotence_check::idempotence_check(const subject&) { wish_of_environment(); }
idempotence_check::~idempotence_check() = default;
void idempotence_check::end() {}

#else

/// The checked run of this process: one at a time, as one range can be observed.
struct checked_run final : access_observer, finding_sink {
  checked_run(const idempotence_check::subject& s, wish w) : job(s.job), wanted(w), memory(s.pool, s.region, s.heap) {}

  void about_to_load(const void* p, std::size_t n, const void* pc) override;
  void about_to_store(const void* p, std::size_t n, const void* pc) override;
  void add(const raw_finding& f) override;

  const std::string job;
  const wish wanted;
  const memory_map memory;
  std::vector<finding> all;  // once no worker is left

 private:
  std::mutex mutex_;
  // By what makes two findings the same, its number in `all`: a loop that makes a mistake a million times is told of once.
  using key = std::tuple<mistake, place_number, place_number, const std::type_info*, std::size_t, std::string>;
  std::map<key, std::size_t> numbers_;
};

namespace {

constinit std::mutex one_run;  // guards `checked`
constinit checked_run* checked = nullptr;
thread_local std::optional<capsule> mine;  // of a worker of the checked run

}  // namespace

void checked_run::about_to_load(const void* p, std::size_t n, const void* pc) {
  if (mine) mine->load(reinterpret_cast<std::uintptr_t>(p), n, pc);
}
void checked_run::about_to_store(const void* p, std::size_t n, const void* pc) {
  if (mine) mine->store(reinterpret_cast<std::uintptr_t>(p), n, pc);
}

/// Told at once: a long job may be ended before its end.
void checked_run::add(const raw_finding& raw) {
  const std::lock_guard lock(mutex_);
  const auto [known, is_new] = numbers_.try_emplace({raw.what, raw.at, raw.read_at, raw.type, raw.offset, raw.points_to}, all.size());
  if (!is_new) {
    ++all[known->second].times;
    return;
  }
  finding f{.what = raw.what, .offset = raw.offset, .points_to = raw.points_to, .times = 1};
  f.at = place_numbered(raw.at);
  f.read_at = place_numbered(raw.read_at);
  f.type = raw.type == nullptr ? std::string() : demangled(raw.type->name());
  if (raw.target != 0) f.target = memory.describe(raw.target);
  if (raw.what != mistake::holds_volatile_address)
    if (const memory_piece p = memory.at(raw.target); p.is_the_users()) f.offset = raw.target - p.first;
  // Inlined twice, or compiled for two types: one place in the source all the same.
  const auto same = std::ranges::find_if(all, [&](const finding& g) {
    return std::tie(g.what, g.at, g.read_at, g.type, g.points_to) == std::tie(f.what, f.at, f.read_at, f.type, f.points_to) &&
           (g.what != mistake::holds_volatile_address || g.offset == f.offset);
  });
  if (same != all.end()) {
    known->second = static_cast<std::size_t>(same - all.begin());
    ++same->times;
    return;
  }
  all.push_back(std::move(f));
  std::fputs(fmt::format("job \"{}\", idempotence check, finding {}:\n     {}\n", job, all.size(), all.back().text()).c_str(), stderr);
}

idempotence_check::idempotence_check(const subject& s) {
  const wish w = wish_of_environment();
  if (w == wish::none || !s.commits) return;
  auto r = std::make_unique<checked_run>(s, w);
  {
    const std::lock_guard lock(one_run);
    if (checked != nullptr || accesses_are_observed()) {
      std::fputs(fmt::format("job \"{}\", idempotence check: not made, this process's loads and stores are already "
                             "watched for something else\n",
                             s.job)
                     .c_str(),
                 stderr);
      return;
    }
    checked = r.get();
  }
  run_ = std::move(r);
  observe_accesses(run_->memory.base(), run_->memory.size(), run_.get());
}

idempotence_check::~idempotence_check() {
  try {
    end();
  } catch (const not_idempotent&) {  // another error is on its way
  }
}

void idempotence_check::end() {
  if (run_ == nullptr) return;
  observe_accesses(0, 0, nullptr);
  {
    const std::lock_guard lock(one_run);
    checked = nullptr;
  }
  const std::unique_ptr<checked_run> over = std::move(run_);
  const std::vector<finding>& all = findings_of_last_run() = std::move(over->all);
  const std::string summary = fmt::format("job \"{}\", idempotence check: {}", over->job,
                                          all.empty() ? "nothing found" : fmt::format("{} found", all.size()));
  std::string times, texts;
  for (std::size_t i = 0; i < all.size(); ++i) {
    times += fmt::format("{} finding {}: {}", i == 0 ? "; times seen:" : ",", i + 1, all[i].times);
    texts += fmt::format("\n  {}. {}", i + 1, all[i].text());
  }
  std::fputs((summary + times + '\n').c_str(), stderr);
  if (over->wanted == wish::fail && !all.empty()) throw not_idempotent(summary + texts);
}

namespace watch {
namespace {

/// What the checker itself reads in the pool is nobody's access.
class unobserved {
 public:
  unobserved() : before_(std::exchange(in_observer(), true)) {}
  ~unobserved() { in_observer() = before_; }
  unobserved(const unobserved&) = delete;
  unobserved& operator=(const unobserved&) = delete;

 private:
  bool before_;
};

template <class Function>
void tell(Function f) {
  if (!mine) return;
  const unobserved here;
  f(*mine);
}
std::uintptr_t number(const void* p) { return reinterpret_cast<std::uintptr_t>(p); }

}  // namespace

bool is_on() { return mine.has_value(); }
void look_for_addresses(const void* value, const value_type& type) {
  tell([&](capsule& c) { c.look_for_addresses(value, type); });
}
void opened(view_kind how, const void* p, std::size_t n, const value_type* type) {
  tell([&](capsule& c) { c.opened(how, number(p), n, type); });
}
void uses_cell(const void* cell, std::size_t n) {
  tell([&](capsule& c) { c.uses_cell(number(cell), n); });
}
void allocated(const void* p) {
  tell([&](capsule& c) { c.allocated(number(p)); });
}
void freed(const void* p) {
  tell([&](capsule& c) { c.freed(number(p)); });
}
void task_undone() {
  tell([](capsule& c) { c.task_undone(); });
}
running_body begins(const std::type_info* task) { return mine->begin(task); }
void ends(const running_body& before) { mine->end(before); }
void turn_begins(const std::type_info& here) {
  tell([&](capsule& c) { c.turn(here); });
}
bool pauses(bool paused) { return mine->pause(paused); }
void capsule_over() {
  tell([](capsule& c) { c.over(); });
}
void capsule_lost() {
  tell([](capsule& c) { c.lost(); });
}

worker_thread::worker_thread(const void* slot) {
  const std::lock_guard lock(one_run);
  if (checked != nullptr && checked->memory.has(number(slot))) mine.emplace(checked->memory, *checked);
}
worker_thread::~worker_thread() { mine.reset(); }

}  // namespace watch

#endif

}  // namespace ppmm::detail
