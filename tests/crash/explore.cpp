/// Explores what failures leave of small jobs, or walks at random through larger ones.
///
///   explore [--scenario NAME]… [--depth N] [--schedules N] [--runs N] [--seed S]   all images within the bounds
///   explore --minutes M [--scenario NAME]…                                         random walks for so long
///   explore --scenario NAME --replay PATH                                          repeats a failing case
///
/// Status 0: nothing wrong was found. 1: something was; the command that repeats it is printed, and the pool as it was
/// when the failing run began is kept. 2: bad options.
#include <CLI/CLI.hpp>  // App
#include <fmt/core.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>

#include "explorer.hpp"

namespace ppmm::test {
namespace {

struct options {
  std::vector<std::string> names;
  bounds limits;
  double minutes = 0;
  std::string path, keep = ".";
  bool list = false, expect_wrong = false, outcomes_only = false, flushes = false, some = false;
};

explorer* the_explorer = nullptr;  // for the signal handler
std::string the_scenario;
int when_wrong = 1;

unsigned parts_of_pool = 1;

std::string again(const std::string& name, const std::vector<run_step>& path) {
  return fmt::format("explore {}--scenario {} --replay '{}'", parts_of_pool > 1 ? fmt::format("--parts {} ", parts_of_pool) : std::string(), name, to_text(path));
}

/// The process dies in the runtime: say in which case, then die.
void dying(int number) {
  if (the_explorer != nullptr) {
    const std::string text = fmt::format("\nWRONG {}: killed by signal {}\n  repeat it: {}\n", the_scenario, number, again(the_scenario, the_explorer->under_way()));
    static_cast<void>(!write(2, text.data(), text.size()));
  }
  _exit(when_wrong);
}

int report(const scenario& s, const wrong& w, const options& o, explorer& e) {
  fmt::print("\nWRONG {}: {}\n  repeat it: {}\n", s.name, w.what(), again(s.name, w.path));
  if (o.expect_wrong) return 0;
  const std::string kept = fmt::format("{}/explore-{}.pool", o.keep, s.name);
  try {
    e.keep(kept);
    fmt::print("  the pool as the failing run left it: {}\n", kept);
  } catch (const std::exception& x) {
    fmt::print("  the pool could not be kept: {}\n", x.what());
  }
  return when_wrong;
}

std::string seen(const coverage& c) {
  std::string text;
  const auto add = [&](const char* what, std::uint64_t n) {
    if (n > 0) text += fmt::format(" {} {}", n, what);
  };
  add("steals", c.steals);
  add("lost", c.lost_steals);
  add("taken back", c.taken_back);
  add("joins", c.joins_second);
  add("left claims", c.left_claims);
  add("right claims", c.right_claims);
  add("robberies", c.robberies);
  add("soft faults", c.soft_faults);
  add("hard faults", c.hard_faults);
  add("tasks run again", c.restarts);
  return text;
}

int explore_all(const std::vector<const scenario*>& chosen, const options& o, explorer& e) {
  int status = 0;
  exploration total;
  fmt::print("{:<17} {:>9} {:>9} {:>10} {:>5} {:>4}  images by depth; what happened\n", "scenario", "images", "runs", "failures", "open", "s");
  for (const scenario* s : chosen) {
    the_scenario = s->name;
    const auto started = std::chrono::steady_clock::now();
    try {
      const exploration x = e.explore(*s, o.limits);
      std::string depths;
      for (const std::uint64_t n : x.images_by_depth) depths += fmt::format("{}{}", depths.empty() ? "" : "+", n);
      fmt::print("{:<17} {:>9} {:>9} {:>10} {:>5} {:>4.0f}  {};{}{}\n", s->name, x.images, x.runs, x.failures, x.most_open_lines,
                 std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count(), depths, seen(x.covered),
                 x.cut > 0 ? fmt::format("; {} cut by --runs", x.cut) : "");
      if (!o.some && s->covered && !s->covered(x.covered)) {
        fmt::print("WRONG {}: it did not make happen what it is for; more --schedules?\n", s->name);
        status = 1;
      }
      total.images += x.images;
      total.runs += x.runs;
      total.failures += x.failures;
    } catch (const wrong& w) {
      status = report(*s, w, o, e);
      if (o.expect_wrong) return 0;
    }
    std::fflush(stdout);
  }
  fmt::print("{:<17} {:>9} {:>9} {:>10}\n", "all", total.images, total.runs, total.failures);
  if (o.flushes)
    for (const auto& [what, lines] : e.looked_for.unneeded_flushes) fmt::print("{:>9} lines flushed without need: {}\n", lines, what);
  if (o.expect_wrong) {
    fmt::print("nothing wrong was found, although there is a planted fault\n");
    return 1;
  }
  return status;
}

int walk_for(const std::vector<const scenario*>& chosen, const options& o, explorer& e) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double, std::ratio<60>>(o.minutes);
  auto tell = std::chrono::steady_clock::now();
  exploration sum;
  std::uint64_t seed = o.limits.seed * 1'000'000'007, walks = 0;
  std::mt19937_64 dice(o.limits.seed);
  while (std::chrono::steady_clock::now() < end) {
    const scenario& s = *chosen[dice() % chosen.size()];
    the_scenario = s.name;
    try {
      e.walk(s, ++seed, 1 + static_cast<unsigned>(dice() % 5), sum);
      ++walks;
    } catch (const wrong& w) {
      return report(s, w, o, e);
    }
    if (std::chrono::steady_clock::now() - tell > std::chrono::seconds(10)) {
      tell = std::chrono::steady_clock::now();
      fmt::print(stderr, "\r{} walks, {} failures ", walks, sum.failures);
    }
  }
  fmt::print("{} walks, {} runs, {} failures, at most {} open lines: nothing wrong\n", walks, sum.runs, sum.failures, sum.most_open_lines);
  return 0;
}

int main(const options& o) {
  if (o.list) {
    for (const scenario& s : scenarios()) fmt::print("{:<17} {} worker{}: {}\n", s.name, s.workers, s.workers == 1 ? "" : "s", s.about);
    return 0;
  }
  std::vector<const scenario*> chosen;
  for (const scenario& s : scenarios())
    if (o.names.empty() ? s.large == (o.minutes > 0) : std::ranges::count(o.names, s.name) > 0) chosen.push_back(&s);
  for (const std::string& name : o.names)
    if (std::ranges::none_of(chosen, [&](const scenario* s) { return s->name == name; })) {
      fmt::print(stderr, "explore: there is no scenario \"{}\"; --list tells what there is\n", name);
      return 2;
    }
  explorer e(fmt::format("/dev/shm/explore-{}.pool", getpid()), parts_of_pool);
  the_explorer = &e;
  e.looked_for.missing_flushes = !o.outcomes_only;
  for (const int n : {SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL}) std::signal(n, dying);
  if (!o.path.empty()) {
    if (chosen.size() != 1) {
      fmt::print(stderr, "explore: --replay needs one --scenario\n");
      return 2;
    }
    the_scenario = chosen.front()->name;
    e.tell = [](const std::string& line) { fmt::print("{}\n", line); };
    try {
      e.replay(*chosen.front(), parse_path(o.path));
    } catch (const wrong& w) {
      return report(*chosen.front(), w, o, e);
    }
    fmt::print("{}: nothing wrong\n", chosen.front()->name);
    return 0;
  }
  return o.minutes > 0 ? walk_for(chosen, o, e) : explore_all(chosen, o, e);
}

}  // namespace
}  // namespace ppmm::test

int main(int argc, char** argv) {
  ppmm::test::options o;
  CLI::App app("Explores what failures leave of small jobs on the simulated medium.");
  app.add_option("--scenario", o.names, "only these; see --list");
  app.add_option("--depth", o.limits.depth, "failures one after another")->check(CLI::Range(0, 10))->capture_default_str();
  app.add_option("--schedules", o.limits.schedules, "interleavings from the beginning")->capture_default_str();
  app.add_option("--schedules-after", o.limits.schedules_after, "interleavings from each image")->capture_default_str();
  app.add_option("--runs", o.limits.runs, "at most so many runs a scenario");
  app.add_option("--seed", o.limits.seed)->capture_default_str();
  app.add_option("--minutes", o.minutes, "random walks through larger jobs, for so long");
  app.add_option("--replay", o.path, "repeat this case");
  app.add_option("--parts", ppmm::test::parts_of_pool, "files of the pool: workers and their memory are in all of them")->check(CLI::Range(1, 16));
  app.add_option("--keep", o.keep, "folder for the pool of a failing case")->check(CLI::ExistingDirectory)->capture_default_str();
  app.add_flag("--expect-wrong", o.expect_wrong, "there is a planted fault: status 0 if it is found");
  app.add_flag("--outcomes-only", o.outcomes_only, "do not look for flushes that are missing: what they lead to must show");
  app.add_flag("--some", o.some, "do not insist that the scenario made happen what it is for");
  app.add_flag("--flushes", o.flushes, "tell which flushed lines held nothing new");
  app.add_flag("--list", o.list, "the scenarios");
  CLI11_PARSE(app, argc, argv);
  try {
    if (o.expect_wrong) ppmm::test::when_wrong = 0;
    return ppmm::test::main(o);
  } catch (const std::exception& e) {
    fmt::print(stderr, "explore: {}\n", e.what());
    return 2;
  }
}
