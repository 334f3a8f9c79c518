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
          "overwrites what it has read: byte {} of the job's memory\n     is stored at {}\n     after it was loaded at "
          "{}\n     in one capsule, which would load its own output if it were repeated",
          offset, at.text(), read_at.text());
    case mistake::bypasses_views:
      return fmt::format("bypasses the views: {}\n     is stored to at {}", target, at.text());
    case mistake::holds_volatile_address:
      return fmt::format(
          "keeps an address of volatile memory: a value of type {}\n     holds at offset {} an address in {}, which "
          "means nothing after a restart\n     {}",
          type, offset, points_to,
          at.file.empty() ? "it came with the root task, or from a record" : "made at " + at.text());
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
  checked_run(const idempotence_check::subject& s, wish w)
      : job(s.job),
        wanted(w),
        pool{reinterpret_cast<std::uintptr_t>(s.base), reinterpret_cast<std::uintptr_t>(s.base) + s.size},
        memory{reinterpret_cast<std::uintptr_t>(s.memory.data()),
               reinterpret_cast<std::uintptr_t>(s.memory.data()) + s.memory.size()} {}

  void about_to_load(const void* p, std::size_t n, const void* pc) override;
  void about_to_store(const void* p, std::size_t n, const void* pc) override;
  void add(const raw_finding& f) override;
  std::vector<finding> findings() const;

  const std::string job;
  const wish wanted;
  const capsule::memory pool, memory;

 private:
  mutable std::mutex mutex_;
  // By what makes two findings the same: a loop that makes a mistake a million times is told of once.
  using key = std::tuple<mistake, std::uint32_t, std::uint32_t, const std::type_info*, std::size_t, std::string>;
  std::map<key, std::pair<raw_finding, std::uint64_t>> found_;
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

void checked_run::add(const raw_finding& f) {
  const std::lock_guard lock(mutex_);
  const std::string place = f.at != 0 ? std::string() : f.made_at.text();
  ++found_.try_emplace({f.what, f.at, f.read_at, f.type, f.offset, place}, f, 0).first->second.second;
}

std::vector<finding> checked_run::findings() const {
  std::vector<finding> all;
  for (const auto& [same_for_all, once_and_times] : found_) {
    const raw_finding& raw = once_and_times.first;
    finding f{.what = raw.what, .offset = raw.offset, .points_to = raw.points_to, .times = once_and_times.second};
    f.at = raw.at != 0 ? site_numbered(raw.at).where : raw.made_at;
    if (raw.read_at != 0) f.read_at = site_numbered(raw.read_at).where;
    f.type = raw.type == nullptr ? std::string() : demangled(raw.type->name());
    const auto address = reinterpret_cast<std::uintptr_t>(raw.target);
    if (raw.what != mistake::holds_volatile_address) {
      if (memory.has(address)) f.offset = address - memory.first;
      f.target = memory.has(address) ? fmt::format("byte {} of the job's memory, open in no view for writing", f.offset)
                                     : fmt::format("the runtime's memory at {:#x} (a frame or a slot)", address);
    }
    // Inlined twice, or compiled for two types: one place in the source all the same.
    const auto same = [&](const finding& g) {
      return std::tie(g.what, g.at, g.read_at, g.type, g.points_to) ==
                 std::tie(f.what, f.at, f.read_at, f.type, f.points_to) &&
             (g.what != mistake::holds_volatile_address || g.offset == f.offset);
    };
    if (const auto there = std::ranges::find_if(all, same); there != all.end())
      there->times += f.times;
    else
      all.push_back(std::move(f));
  }
  return all;
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
  observe_accesses(run_->pool.first, run_->pool.last - run_->pool.first, run_.get());
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
  std::vector<finding>& all = findings_of_last_run();
  all = over->findings();
  std::string text = fmt::format("job \"{}\", idempotence check: {}\n", over->job,
                                 all.empty() ? "nothing found" : fmt::format("{} found", all.size()));
  for (std::size_t i = 0; i < all.size(); ++i)
    text += fmt::format("  {}. {}{}\n", i + 1, all[i].text(),
                        all[i].times > 1 ? fmt::format("\n     seen {} times", all[i].times) : "");
  std::fputs(text.c_str(), stderr);
  if (over->wanted == wish::fail && !all.empty()) throw not_idempotent(text);
}

namespace watch {

bool is_on() { return mine.has_value(); }
void look_for_addresses(const void* value, const value_type& type) { mine->look_for_addresses(value, type); }
void opened_to_write(const void* p, std::size_t n, const value_type* type) {
  mine->opened_to_write(reinterpret_cast<std::uintptr_t>(p), n, type);
}
void capsule_over() {
  if (mine) mine->over();
}
void capsule_lost() {
  if (mine) mine->lost();
}

worker_thread::worker_thread(const void* slot) {
  const std::lock_guard lock(one_run);
  if (checked != nullptr && checked->pool.has(reinterpret_cast<std::uintptr_t>(slot)))
    mine.emplace(checked->pool, checked->memory, *checked);
}
worker_thread::~worker_thread() { mine.reset(); }

}  // namespace watch

#endif

}  // namespace ppmm::detail
