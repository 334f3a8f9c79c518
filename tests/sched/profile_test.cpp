/// What an observed run tells of itself: costs by cause and place, and a trace.
#include "sched_test.hpp"

#include <ppmm/sched/names.hpp>

#include <algorithm>
#include <numeric>
#include <string>
#include <vector>

namespace ppmm::test {
namespace {

class Profile : public Sched {
 public:
  using Sched::with;
  static constexpr std::uint64_t bytes = 4 << 20;

 protected:
  run_options observed(unsigned workers) {
    run_options o = with(workers);
    o.region = bytes;
    o.profile = &profile;
    o.trace = &trace;
    o.statistics = &statistics;
    return o;
  }
  std::uint64_t* memory() { return reinterpret_cast<std::uint64_t*>(region_of(the_pool(), bytes).data()); }
  const durability_cost& of(commit_cause c) const { return profile.causes[static_cast<std::size_t>(c)]; }
  durability_cost of(profile_site::kind what) const {
    durability_cost sum;
    for (const profile_site& s : profile.sites)
      if (s.what == what) sum += s.cost;
    return sum;
  }

  run_profile profile;
  run_trace trace;
  run_statistics statistics;
};

TEST_F(Profile, TellsAllThatTheStatisticsTell) {
  run_options o = observed(2);
  o.heartbeat = std::chrono::microseconds(20);
  EXPECT_EQ(run(the_pool(), "fib", task<fib>(24), o), serial_fib(24));
  std::uint64_t commits = 0;
  for (std::size_t i = 0; i < commit_causes; ++i) {
    const auto c = static_cast<commit_cause>(i);
    if (c != commit_cause::steal && c != commit_cause::join && c != commit_cause::adoption && c != commit_cause::end)
      commits += profile.causes[i].commits;
  }
  EXPECT_EQ(commits, statistics.commits);
  EXPECT_EQ(of(profile_site::kind::commit).commits, statistics.commits);
  EXPECT_EQ(of(commit_cause::steal).commits, statistics.steals);
  EXPECT_EQ(of(commit_cause::end).commits, 1u);
  EXPECT_EQ(profile.steals, statistics.steals);
  EXPECT_EQ(profile.flushed.lines, statistics.flushed.lines);
  EXPECT_EQ(profile.flushed.fences, statistics.flushed.fences);
  EXPECT_LE(of(profile_site::kind::frame).lines, statistics.flushed.lines);
  EXPECT_GT(of(profile_site::kind::frame).frames, 0u);
  EXPECT_GT(profile.nanoseconds[static_cast<std::size_t>(activity::capsule)], 0u);
  std::uint64_t told = profile.untold_ns();
  for (const std::uint64_t n : profile.nanoseconds) told += n;
  EXPECT_NEAR(static_cast<double>(told), profile.seconds * 1e9 * profile.workers, 0.01 * static_cast<double>(told))
      << "each moment is told once";
  for (const profile_site& s : profile.sites)
    if (s.what == profile_site::kind::frame) {
      EXPECT_EQ(function_of(s.type), "ppmm::test::fib") << s.type;
    }
}

TEST_F(Profile, AddsToWhatIsThere) {
  run_options o = observed(1);
  run(the_pool(), "one", task<fib>(15), o);
  const double seconds = profile.seconds;
  const std::uint64_t lines = profile.flushed.lines;
  run(the_pool(), "two", task<fib>(15), o);
  EXPECT_GT(profile.seconds, seconds);
  EXPECT_GT(profile.flushed.lines, lines);
  EXPECT_EQ(of(commit_cause::end).commits, 2u);
  EXPECT_EQ(trace.tracks.size(), 2u);
}

// ---- causes --------------------------------------------------------------------------------------------------------

step<int> read_then_write(context& cx, out<std::uint64_t> v, std::size_t i) {
  if (i == v.size()) return 0;
  const out<std::uint64_t> word = v.sub(i, 1);
  return cx
      .call([word](context& c) -> step<int> {
        return static_cast<int>(c.read(in<std::uint64_t>(word.address(), 1))[0] & 1);
      })
      .then([word, v, i](context& c, int) {
        return c.call([word](context& w) -> step<int> { return static_cast<int>((w.write(word)[0] = 8) & 1); })
            .then([v, i](context& t, int) { return t.tail(task<read_then_write>(v, i + 1)); });
      });
}
step<int> ask_for_commits(context& cx, int rounds) {
  if (rounds == 0) return 0;
  cx.commit_next();
  return cx.tail(task<ask_for_commits>(rounds - 1));
}
step<int> much_scratch(context& cx, int rounds) {
  if (rounds == 0) return 0;
  static_cast<void>(cx.scratch<std::byte>(1 << 20));
  return cx.tail(task<much_scratch>(rounds - 1));
}

TEST_F(Profile, TellsCausesApart) {
  run_options o = observed(1);
  o.heartbeat = std::chrono::hours(1);
  run(the_pool(), "conflicts", task<read_then_write>(out<std::uint64_t>(memory(), 10), std::size_t{0}), o);
  EXPECT_EQ(of(commit_cause::conflict).commits, 10u);
  EXPECT_EQ(of(commit_cause::user).commits + of(commit_cause::heartbeat).commits + of(commit_cause::memory).commits,
            0u);
  run(the_pool(), "asked", task<ask_for_commits>(7), o);
  EXPECT_EQ(of(commit_cause::user).commits, 7u);
  run(the_pool(), "scratch", task<much_scratch>(50), o);
  EXPECT_GT(of(commit_cause::memory).commits, 5u);
  EXPECT_EQ(of(commit_cause::user).commits, 7u);
  o.commit_every_task = true;
  run(the_pool(), "every", task<fib>(5), o);
  EXPECT_GT(of(commit_cause::every_task).commits, 5u);
  EXPECT_EQ(of(commit_cause::start).commits, 4u);
  EXPECT_EQ(of(commit_cause::heartbeat).commits, 0u);
}

// ---- lines ---------------------------------------------------------------------------------------------------------

/// Writes 64 lines, as `how` says, and commits; so often.
enum class writing { same, other, twice };
step<int> write_lines(context& cx, out<std::uint64_t> v, writing how, int rounds) {
  if (rounds == 0) return 0;
  const auto words = cx.write(v);
  std::iota(words.begin(), words.end(), how == writing::same ? 5u : static_cast<std::uint64_t>(rounds) * 1000);
  if (how == writing::twice) cx.write(v)[0] = 1;
  cx.commit_next();
  return cx.tail(task<write_lines>(v, how, rounds - 1));
}

TEST_F(Profile, SeesLinesThatWereFlushedForNothing) {
  constexpr int rounds = 20;
  constexpr std::uint64_t lines = 64;
  for (const writing how : {writing::same, writing::other, writing::twice}) {
    profile = {};
    run_options o = observed(1);
    o.heartbeat = std::chrono::hours(1);
    run(the_pool(), "lines", task<write_lines>(out<std::uint64_t>(memory(), lines * 8), how, rounds), o);
    the_pool().drop_job("lines");
    const durability_cost views = of(profile_site::kind::view);
    const std::uint64_t times = how == writing::twice ? 2 : 1;
    EXPECT_EQ(views.bytes, times * rounds * lines * 64);
    EXPECT_EQ(views.lines, times * rounds * lines);
    EXPECT_EQ(views.unchanged, how == writing::same ? (rounds - 1) * lines : 0) << static_cast<int>(how);
    EXPECT_EQ(views.again, how == writing::twice ? rounds * lines : 0) << static_cast<int>(how);
  }
}

step<int> write_words(context& cx, out<std::uint64_t> v, std::size_t stride) {
  for (std::size_t i = 0; i < v.size(); i += stride) cx.write(v.sub(i, 1))[0] = i;
  return 0;
}

TEST_F(Profile, TellsHowMuchIsFlushedForAByte) {
  run_options o = observed(1);
  o.heartbeat = std::chrono::hours(1);
  for (const auto& [stride, blocks] : {std::pair<std::size_t, std::uint64_t>{8, 25}, {32, 100}}) {
    profile = {};
    run(the_pool(), "words", task<write_words>(out<std::uint64_t>(memory(), 100 * stride), stride), o);
    the_pool().drop_job("words");
    const durability_cost views = of(profile_site::kind::view);
    EXPECT_EQ(views.bytes, 800u);
    EXPECT_EQ(views.lines, 100u);
    EXPECT_EQ(views.blocks_256, blocks) << "stride " << stride;
    const auto is_view = [](const profile_site& s) { return s.what == profile_site::kind::view; };
    EXPECT_EQ(std::ranges::count_if(profile.sites, is_view), 1) << "one call, one place";
    EXPECT_NE(std::ranges::find_if(profile.sites, is_view)->code, 0u);
  }
}

// ---- traces --------------------------------------------------------------------------------------------------------

/// Events of one worker lie beside each other or inside each other.
void expect_nested(const trace_track& t) {
  std::vector<trace_event> events = t.events;
  std::ranges::stable_sort(events, [](const trace_event& a, const trace_event& b) {
    return a.begin_ns != b.begin_ns ? a.begin_ns < b.begin_ns : a.end_ns > b.end_ns;
  });
  std::vector<std::uint64_t> ends;
  for (const trace_event& e : events) {
    EXPECT_LE(e.begin_ns, e.end_ns);
    while (!ends.empty() && ends.back() <= e.begin_ns) ends.pop_back();
    if (!ends.empty()) {
      EXPECT_LE(e.end_ns, ends.back()) << name_of(e.what);
    }
    ends.push_back(e.end_ns);
  }
}

TEST_F(Profile, TracesNestWhateverFaultsCome) {
  for (const double rate : {0.0, 0.002}) {
    trace = {};
    run_options o = observed(3);
    o.heartbeat = std::chrono::microseconds(20);
    o.soft_fault_rate = rate;
    o.hard_fault_rate = rate / 20;
    o.fault_seed = seed();
    for (;;) try {
        EXPECT_EQ(run(the_pool(), "fib", task<fib>(20), o), serial_fib(20));
        break;
      } catch (const workers_lost&) {
      }
    the_pool().drop_job("fib");
    std::size_t commits = 0, faults = 0, cut = 0;
    for (const trace_track& t : trace.tracks) {
      expect_nested(t);
      commits += static_cast<std::size_t>(std::ranges::count(t.events, activity::commit, &trace_event::what));
      faults += t.faults.size();
      cut += static_cast<std::size_t>(std::ranges::count(t.events, true, &trace_event::cut));
    }
    EXPECT_GT(commits, 0u);
    EXPECT_EQ(faults > 0, rate > 0);
    EXPECT_EQ(cut > 0, rate > 0) << "what a fault ended is marked";
    std::string json;
    write_chrome_trace(trace, [&](std::string_view part) { json += part; });
    EXPECT_EQ(std::ranges::count(json, '{'), std::ranges::count(json, '}'));
  }
}

/// Of each arrow that is written the name, and the thread (1 is worker 0's) and time of both ends.
std::vector<std::string> arrows_in(const run_trace& trace) {
  std::string json;
  write_chrome_trace(trace, [&](std::string_view part) { json += part; });
  std::vector<std::string> all;
  for (std::size_t at = 0; (at = json.find("\n{\"ph\":\"s\"", at)) != std::string::npos; ++at) {
    const auto field = [&](const char* name, std::size_t from) {
      const std::size_t begin = json.find(name, from) + std::string_view(name).size();
      return json.substr(begin, json.find_first_of(",}", begin) - begin);
    };
    const std::size_t end = json.find("\"ph\":\"f\"", at);
    all.push_back(field("\"name\":", at) + " " + field("\"tid\":", at) + "@" + field("\"ts\":", at) + " " +
                  field("\"tid\":", end) + "@" + field("\"ts\":", end));
  }
  return all;
}

trace_event event_of(activity what, std::uint64_t begin_ns, std::uint64_t end_ns, std::uint64_t exposure = 0) {
  trace_event e;
  e.what = what, e.begin_ns = begin_ns, e.end_ns = end_ns, e.exposure = exposure;
  return e;
}

TEST(Trace, ArrowsLeadFromVictimsToThievesAndFromTheDeadToWhoAdopts) {
  run_trace trace;
  trace.tracks.resize(2);
  trace_track &victim = trace.tracks[0], &thief = trace.tracks[1];
  victim.worker = 3, victim.slot = 5;
  thief.worker = 4, thief.slot = 6;
  victim.events = {event_of(activity::commit, 1000, 2000), event_of(activity::join, 5000, 6000, 77),
                   event_of(activity::strand, 0, 9000)};
  victim.events.back().cut = true;
  victim.exposures = {{77, 1500}};
  victim.faults = {{true, 9000}};
  thief.events = {event_of(activity::steal, 1600, 3000, 77), event_of(activity::join, 6500, 7000, 77),
                  event_of(activity::adoption, 9500, 9900)};
  thief.events.back().grave = victim.slot + 1;
  const std::vector<std::string> expected = {R"("steal" 4@1.500 5@2.999)", R"("join" 4@5.999 5@6.999)",
                                             R"("adoption" 4@8.999 5@9.899)"};
  EXPECT_EQ(arrows_in(trace), expected);
}

TEST(Trace, NoArrowBeginsWhereEventsAreLeftOut) {
  run_trace trace;
  trace.tracks.resize(2);
  trace_track &victim = trace.tracks[0], &thief = trace.tracks[1];
  thief.worker = 1, thief.slot = 1;
  victim.events = {event_of(activity::commit, 1000, 2000), event_of(activity::strand, 500, 2500),
                   event_of(activity::commit, 4000, 5000)};
  victim.left_out = 9;
  victim.exposures = {{1, 1500}, {2, 2400}, {3, 3000}, {4, 5000}, {5, 6000}};
  for (const auto& e : victim.exposures)
    thief.events.push_back(event_of(activity::steal, 10000 * e.exposure, 10000 * e.exposure + 500, e.exposure));
  const std::vector<std::string> expected = {R"("steal" 1@1.500 2@10.499)", R"("steal" 1@2.400 2@20.499)"};
  EXPECT_EQ(arrows_in(trace), expected);
  std::string json;
  write_chrome_trace(trace, [&](std::string_view part) { json += part; });
  EXPECT_NE(json.find("worker 0, slot 0 (9 events left out)"), std::string::npos);
}

TEST(Trace, SlicesAreCalledByTheLastPartOfAFunctionsName) {
  run_trace trace;
  trace.tracks.resize(1);
  for (const char* type : {"ppmm::detail::task_node<ppmm::detail::bound<&a::b::fib, int> >",
                           "ppmm::detail::task_node<ppmm::detail::bound<&a::less::operator(), int> >"}) {
    trace.tracks[0].events.push_back(event_of(activity::capsule, 0, 10));
    trace.tracks[0].events.back().type = type;
  }
  std::string json;
  write_chrome_trace(trace, [&](std::string_view part) { json += part; });
  EXPECT_NE(json.find(R"("name":"fib")"), std::string::npos) << json;
  EXPECT_NE(json.find(R"("name":"a::less::operator")"), std::string::npos) << json;
}

// ---- names ---------------------------------------------------------------------------------------------------------

TEST(FunctionOf, FindsTheProgramsOwnName) {
  const std::pair<const char*, const char*> names[] = {
      {"ppmm::detail::task_node<ppmm::detail::bound<&fib, int> >", "fib"},
      {"ppmm::detail::task_node<ppmm::detail::bound<&(fib(ppmm::context&, int)), int> >", "fib"},
      {"ppmm::detail::task_node<ppmm::detail::bound<&a::(anonymous namespace)::fib, int> >", "a::fib"},
      {"ppmm::detail::fork_frame<ppmm::detail::bound<&fib, int>, fib(ppmm::context&, int)::{lambda(ppmm::context&, "
       "long, long)#1}, long, long>",
       "fib"},
      {"ppmm::detail::call_frame<a::(anonymous namespace)::go(ppmm::context&)::{lambda(ppmm::context&)#1}, ppmm::unit>",
       "a::go"},
      {"ppmm::detail::task_node<ppmm::detail::for_each_range<x<int, long>, y> >", "ppmm::detail::for_each_range"},
      {"fib(ppmm::context&, int)", "fib"},
      {"a::(anonymous namespace)::fib(ppmm::context&, int)::{lambda(ppmm::context&, long, "
       "long)#1}::operator()(ppmm::context&, long, long) const",
       "a::fib"},
      {"ppmm::step<int> a::sum<int>(ppmm::context&, int)", "a::sum"},
      {"", ""},
      {"ppmm::detail::fork_frame<", "ppmm::detail::fork_frame<"},
      {"<<<>>(", "<<<>>("},
  };
  for (const auto& [type, function] : names) EXPECT_EQ(function_of(type), function) << type;
}

TEST(RightChildOf, IsTheTaskOfAForksFrame) {
  EXPECT_EQ(right_child_of("ppmm::detail::fork_frame<ppmm::detail::bound<&a::g, std::pair<int, long> >, a::f(ppmm::context&)::{lambda(ppmm::context&, long, long)#1}, long, long>"), "a::g");
  EXPECT_EQ(right_child_of("ppmm::detail::fork_frame<"), "");
  EXPECT_EQ(right_child_of("ppmm::detail::call_frame<x, y>"), "ppmm::detail::call_frame<x, y>");
}

}  // namespace
}  // namespace ppmm::test
