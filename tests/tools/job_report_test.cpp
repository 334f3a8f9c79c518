/// The report of a job: sites brought together, advice, where code is in the sources. From made-up profiles.
#include "job_report.hpp"

#include <ppmm/pmem/errors.hpp>

#include <gtest/gtest.h>

#include <cstdlib>
#include <string>
#include <utility>

namespace ppmm::tools {
namespace {

/// One second of two workers, of which `commit_share` went into commits at heartbeats.
job_report made_up(double commit_share, double idle_share) {
  job_report r;
  r.job = "a <job>";
  r.profile.seconds = 1;
  r.profile.workers = 2;
  r.profile.nanoseconds[static_cast<std::size_t>(activity::commit)] = static_cast<std::uint64_t>(2e9 * commit_share);
  r.profile.causes[static_cast<std::size_t>(commit_cause::heartbeat)] = {
      .commits = 50, .nanoseconds = static_cast<std::uint64_t>(2e9 * commit_share)};
  r.profile.nanoseconds[static_cast<std::size_t>(activity::idle)] = static_cast<std::uint64_t>(2e9 * idle_share);
  return r;
}
profile_site view(std::uintptr_t code, const durability_cost& cost) {
  return {profile_site::kind::view, code, "", cost, {}};
}

std::string advice_on(const std::string& topic, job_report r,
                      const std::map<std::uintptr_t, source_place>& places = {}) {
  add_rows(r, places);
  std::string all;
  for (const advice& a : advise(r)) {
    EXPECT_FALSE(a.why.empty());
    if (a.topic == topic) all += a.what + " because " + a.why + "\n";
  }
  return all;
}

TEST(JobReport, BringsSitesTogetherByFunctionAndByLine) {
  job_report r = made_up(0.01, 0);
  durability_cost commit, frame;
  commit.commits = 3, commit.nanoseconds = 100;
  frame.frames = 5, frame.lines = 7;
  r.profile.sites = {
      {profile_site::kind::commit, 0x10, "", commit, {3}},
      {profile_site::kind::commit, 0x20, "ppmm::detail::task_node<ppmm::detail::bound<&other, int> >", commit, {0, 3}},
      {profile_site::kind::frame,
       0,
       "ppmm::detail::call_frame<fib(ppmm::context&, int)::{lambda(ppmm::context&)#1}, long>",
       frame,
       {}}};
  add_rows(r, {{0x10, {"fib", "fib.cpp:12"}}});
  ASSERT_EQ(r.functions.size(), 2u);
  EXPECT_EQ(r.functions[0].function, "fib") << "as much time, and more lines";
  EXPECT_EQ(r.functions[0].line, "fib.cpp:12");
  EXPECT_EQ(r.functions[0].cost.commits, 3u);
  EXPECT_EQ(r.functions[0].cost.frames, 5u) << "frames of the same function";
  EXPECT_EQ(r.functions[1].function, "other") << "no place is known: what was to run";
  ASSERT_EQ(r.lines.size(), 1u);
  EXPECT_EQ(r.lines[0].line, "fib.cpp:12");
}

TEST(JobReport, AdvisesByWhatWasMeasured) {
  EXPECT_NE(advice_on("nothing", made_up(0.01, 0.05)), "");
  EXPECT_EQ(advice_on("nothing", made_up(0.1, 0)), "");
  EXPECT_NE(advice_on("heartbeat", made_up(0.1, 0)).find("5.0 times as long"), std::string::npos)
      << advice_on("heartbeat", made_up(0.1, 0));
  EXPECT_NE(advice_on("parallelism", made_up(0, 0.4)).find("40 %"), std::string::npos);
  job_report alone = made_up(0, 0.4);
  alone.profile.workers = 1;
  EXPECT_EQ(advice_on("parallelism", alone), "") << "there is nobody to steal from";
}

TEST(JobReport, AdvisesOnWhatIsFlushedForNothing) {
  durability_cost c;
  c.lines = 100'000;
  c.bytes = c.lines * 64;
  job_report r = made_up(0, 0);
  const std::map<std::uintptr_t, source_place> places{{7, {"scatter", "x.cpp:3"}}};
  r.profile.sites = {view(7, c)};
  EXPECT_NE(advice_on("nothing", r, places), "");
  r.profile.sites[0].cost.unchanged = 50'000;
  EXPECT_NE(advice_on("unchanged", r, places).find("scatter (x.cpp:3)"), std::string::npos);
  EXPECT_NE(advice_on("unchanged", r, places).find("50 %"), std::string::npos);
  r.profile.sites[0].cost.again = 30'000;
  EXPECT_NE(advice_on("again", r, places).find("30 %"), std::string::npos);
  r.profile.sites[0].cost.bytes = c.lines * 8;
  EXPECT_NE(advice_on("amplification", r, places).find("8.0 times"), std::string::npos)
      << advice_on("amplification", r, places);
  r.profile.sites[0].cost.lines = 100;
  EXPECT_EQ(advice_on("again", r, places), "") << "too few to be worth a word";
}

TEST(JobReport, AdvisesOnConflicts) {
  job_report r = made_up(0, 0);
  profile_site s{profile_site::kind::commit, 7, "", {}, {}};
  s.cost.nanoseconds = 1;
  s.causes[static_cast<std::size_t>(commit_cause::conflict)] = 50;
  durability_cost& conflicts = r.profile.causes[static_cast<std::size_t>(commit_cause::conflict)];
  conflicts.commits = 50;
  r.profile.sites = {s};
  EXPECT_EQ(advice_on("conflicts", r, {{7, {"update", "x.cpp:3"}}}), "") << "they take no time";
  conflicts.nanoseconds = 1'000'000'000;
  EXPECT_NE(advice_on("conflicts", r, {{7, {"update", "x.cpp:3"}}}).find("let update (x.cpp:3)"), std::string::npos);
}

TEST(JobReport, AmplificationIsBytesFlushedForEachWritten) {
  durability_cost c;
  EXPECT_EQ(amplification_64(c), 0);
  c.bytes = 128, c.lines = 4, c.blocks_256 = 3;
  EXPECT_DOUBLE_EQ(amplification_64(c), 2);
  EXPECT_DOUBLE_EQ(amplification_256(c), 6);
}

TEST(JobReport, PagesHaveNoMarkupOfTheJobs) {
  job_report r = made_up(0.1, 0.2);
  r.profile.sites = {{profile_site::kind::frame, 0, "<script>alert(1)</script>", {}, {}}};
  add_rows(r, {});
  const std::string page = to_html(r);
  EXPECT_EQ(page.find("<script"), std::string::npos);
  EXPECT_NE(page.find("a &lt;job&gt;"), std::string::npos);
  EXPECT_THROW(medium_to_html("{}"), error);
  EXPECT_THROW(medium_to_html("no JSON"), error);
}

// ---- source lines --------------------------------------------------------------------------------------------------

TEST(SourceLines, TakesTheInnermostPlaceThatIsNotTheRuntimes) {
  const auto places = parse_places(
      "0x0000000000001234\n"
      "ppmm::context::fork<int>(int)\n/home/x/sched/context.hpp:12 (discriminator 3)\n"
      "a::(anonymous namespace)::fib(ppmm::context&, int)\n/home/x/examples/fib.cpp:8\n"
      "main\n/home/x/examples/fib.cpp:20\n"
      "0x0000000000005678\n"
      "stripped(int)\n??:?\n"
      "0x0000000000009abc\n"
      "??\n??:0\n");
  ASSERT_EQ(places.size(), 3u);
  EXPECT_EQ(places.at(0x1234).function, "a::fib");
  EXPECT_EQ(places.at(0x1234).line, "examples/fib.cpp:8");
  EXPECT_EQ(places.at(0x5678).function, "stripped");
  EXPECT_EQ(places.at(0x5678).line, "");
  EXPECT_EQ(places.at(0x9abc).function, "");
  EXPECT_TRUE(parse_places("garbage\n").empty());
}

[[gnu::noinline]] std::uintptr_t return_address() {
  return reinterpret_cast<std::uintptr_t>(__builtin_return_address(0));
}

TEST(SourceLines, FindsThisLine) {
  if (std::system("command -v addr2line > /dev/null") != 0) GTEST_SKIP() << "no addr2line";
  const auto [here, line] = std::pair(return_address(), __LINE__);
  const auto places = places_of({here, 0, 1});
  ASSERT_EQ(places.size(), 1u);
  EXPECT_EQ(places.at(here).line, "tools/job_report_test.cpp:" + std::to_string(line));
}

}  // namespace
}  // namespace ppmm::tools
