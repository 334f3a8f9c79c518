#include "protocol_runs.hpp"

#include "kernels.hpp"
#include "measure.hpp"

#include <ppmm/ppmm.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <stop_token>
#include <thread>
#include <vector>

namespace bench {
namespace {

using ppmm::context;
using ppmm::step;
using ppmm::task;

// No heartbeat comes while these run: a commit is where a task asks for one.
constexpr std::chrono::hours never{1};

ppmm::run_options quiet(unsigned n) {
  ppmm::run_options o = workers(n);
  o.heartbeat = never;
  return o;
}

// ---- commits
// ---------------------------------------------------------------------------------------------------------

/// A loop whose turns do nothing but commit.
struct commit_turns {
  unsigned left;
  step<void> operator()(context& cx) const {
    for (commit_turns rest = *this; rest.left > 0; --rest.left) {
      cx.commit_next();
      if (!cx.turn(rest, [] {})) return step<void>::detached();
    }
    return {};
  }
};

/// Pushes the frames, then commits.
step<void> dig(context& cx, unsigned frames) {
  if (frames == 0) {
    cx.commit_next();
    return cx.tail(commit_turns{0});
  }
  return cx.call(task<dig>(frames - 1)).then([](context&) -> step<void> { return {}; });
}

step<void> dig_again(context& cx, unsigned frames, unsigned times) {
  if (times == 0) return {};
  return cx.call(task<dig>(frames - 1)).then([frames, times](context& c) -> step<void> {
    return c.tail(task<dig_again>(frames, times - 1));
  });
}

// ---- steals and joins
// ------------------------------------------------------------------------------------------------

double now_ns() { return clock_ns(CLOCK_MONOTONIC); }

void pause_for(std::chrono::microseconds t) {
  const double until = now_ns() + std::chrono::duration<double, std::nano>(t).count();
  while (now_ns() < until) __builtin_ia32_pause();
}

template <class Condition>
void wait_until(Condition holds) {
  for (unsigned i = 0; !holds(); ++i) i < 20'000 ? __builtin_ia32_pause() : std::this_thread::yield();
}

/// Where the run is stopped.
enum class stage : std::uint32_t { entered, stolen, first_arrived, joined };

// What the tasks of a run tell each other outside the pool: such tasks could not be repeated. They are not: nothing
// crashes here.
std::atomic<bool> child_started;
std::stop_source* stop_source = nullptr;

/// Turns until the run stops.
struct until_stopped {
  step<void> operator()(context& cx) const {
    while (cx.turn(*this, [] {})) __builtin_ia32_pause();
    return step<void>::detached();
  }
};

step<void> stop_here(context& cx) {
  stop_source->request_stop();
  return cx.tail(until_stopped{});
}

step<void> staged_right(context& cx, stage last) {
  child_started = true;
  return last == stage::stolen ? stop_here(cx) : step<void>();
}

step<void> staged_left(context& cx, stage last) {
  wait_until([] { return child_started.load(); });
  if (last == stage::stolen) return cx.tail(until_stopped{});
  pause_for(std::chrono::milliseconds(3));  // the right side has arrived
  return last == stage::first_arrived ? stop_here(cx) : step<void>();
}

step<void> staged(context& cx, stage last) {
  if (last == stage::entered) return stop_here(cx);
  child_started = false;
  cx.commit_next();
  return cx.fork(task<staged_left>(last), task<staged_right>(last)).then([](context&) -> step<void> { return {}; });
}

/// One steal and join before: then both workers have surely entered their slots.
step<void> staged_after_another(context& cx, stage last) {
  cx.commit_next();
  return cx.fork(task<staged_left>(stage::joined), task<staged_right>(stage::joined))
      .then([last](context& c) -> step<void> { return c.tail(task<staged>(last)); });
}

struct round_times {
  double begin = 0, child_begin = 0, last_end = 0, continuation = 0;
};
std::vector<round_times> rounds;  // reserved before the run
round_times current;

step<void> steal_left(context&, bool thief_is_last) {
  wait_until([] { return child_started.load(); });
  if (!thief_is_last) {
    pause_for(std::chrono::microseconds(10));  // the thief has arrived
    current.last_end = now_ns();
  }
  return {};
}

step<void> steal_right(context&, bool thief_is_last) {
  current.child_begin = now_ns();
  child_started = true;
  if (thief_is_last) {
    pause_for(std::chrono::microseconds(10));  // the victim has arrived
    current.last_end = now_ns();
  }
  return {};
}

step<void> steal_again(context& cx, unsigned times) {
  if (times == 0) return {};
  pause_for(std::chrono::microseconds(5));  // the other worker looks for work
  child_started = false;
  const bool thief_is_last = times % 2 == 0;
  current.begin = now_ns();
  cx.commit_next();
  return cx.fork(task<steal_left>(thief_is_last), task<steal_right>(thief_is_last))
      .then([times](context& c) -> step<void> {
        current.continuation = now_ns();
        rounds.push_back(current);
        return c.tail(task<steal_again>(times - 1));
      });
}

double fences_beside_commits(const ppmm::run_statistics& s) {
  return static_cast<double>(s.flushed.fences) - 2 * static_cast<double>(s.commits);
}

}  // namespace

commit_cost measure_commits(workbench& w, unsigned frames, unsigned commits) {
  const auto run = [&](unsigned n) {
    return frames == 0 ? w.compute(commit_turns{n}, quiet(1)).statistics
                       : w.compute(task<dig_again>(frames, n), quiet(1)).statistics;
  };
  // What a run does beside its commits is in both.
  const ppmm::run_statistics few = run(1), many = run(commits);
  const auto n = static_cast<double>(many.commits - few.commits);
  return {static_cast<double>(many.commit_ns - few.commit_ns) / n,
          static_cast<double>(many.flushed.fences - few.flushed.fences) / n,
          static_cast<double>(many.flushed.lines - few.flushed.lines) / n};
}

heartbeat_cost measure_heartbeats(workbench& w, unsigned runs) {
  constexpr int n = 28;  // 2.5 ms, 50 commits
  std::vector<double> commit_ns, lines, between;
  for (unsigned i = 0; i < runs; ++i) {
    const measured m = w.compute(task<fib>(n), workers(1));
    const auto commits = static_cast<double>(m.statistics.commits);
    commit_ns.push_back(static_cast<double>(m.statistics.commit_ns) / commits);
    lines.push_back(static_cast<double>(m.statistics.flushed.lines) / commits);
    between.push_back(m.ns / commits / 1e3);
  }
  const double ns = median(commit_ns), us = median(between);
  return {ns, median(lines), us, ns / us / 10};
}

fence_counts count_fences(workbench& w) {
  // A run up to the stage. Others on the machine may disturb it so that it does not get exactly there: once more, then.
  const auto run = [&](stage last) {
    for (;;) {
      std::stop_source stop;
      stop_source = &stop;
      child_started = false;
      ppmm::run_statistics s;
      ppmm::run_options options = quiet(2);
      options.stop = stop.get_token();
      options.statistics = &s;
      try {
        ppmm::run(w.pool(), "staged", task<staged_after_another>(last), options);
      } catch (const ppmm::job_interrupted&) {
      }
      w.pool().drop_job("staged");
      const bool there = s.steals == (last >= stage::stolen ? 2 : 1) && s.lost_steals == 0 &&
                         s.joins_first == (last >= stage::first_arrived ? 2 : 1) &&
                         s.joins_second == (last == stage::joined ? 2 : 1);
      if (there) return fences_beside_commits(s);
    }
  };
  const double entered = run(stage::entered), stolen = run(stage::stolen), first = run(stage::first_arrived),
               joined = run(stage::joined);
  // The last run comes to the job's end, the others do not.
  const double end =
      fences_beside_commits(w.compute(commit_turns{1}, quiet(1)).statistics) - fences_beside_commits([&] {
        std::stop_source stop;
        stop_source = &stop;
        ppmm::run_statistics s;
        ppmm::run_options options = quiet(1);
        options.stop = stop.get_token();
        options.statistics = &s;
        try {
          ppmm::run(w.pool(), "staged", task<staged>(stage::entered), options);
        } catch (const ppmm::job_interrupted&) {
        }
        w.pool().drop_job("staged");
        return s;
      }());
  return {stolen - entered, first - stolen, joined - first - end};
}

steal_latencies measure_steals(workbench& w, unsigned times) {
  rounds.clear();
  rounds.reserve(times);
  steal_latencies l;
  l.statistics = w.compute(task<steal_again>(times), quiet(2)).statistics;
  std::vector<double> thief, right, left;
  for (std::size_t i = 0; i < rounds.size(); ++i) {
    thief.push_back(rounds[i].child_begin - rounds[i].begin);
    const bool thief_was_last = (times - i) % 2 == 0;
    (thief_was_last ? right : left).push_back(rounds[i].continuation - rounds[i].last_end);
  }
  l.to_thief_ns = median(thief);
  l.join_right_ns = median(right);
  l.join_left_ns = median(left);
  l.fences_a_round = static_cast<double>(l.statistics.flushed.fences) / static_cast<double>(times);
  return l;
}

double persist_line_ns(workbench& w, bool same_line) {
  constexpr std::size_t lines = 4096;
  const auto region = ppmm::region_of(w.pool(), lines * ppmm::line_size);
  ppmm::persister persister(w.pool().medium());
  const auto pass = [&] {
    for (std::size_t i = 0; i < lines; ++i) {
      auto* line = reinterpret_cast<std::uint64_t*>(region.data() + (same_line ? 0 : i * ppmm::line_size));
      *line = i;
      persister.persist(line, ppmm::line_size);
    }
  };
  pass();
  return time_ns(1, pass) / lines;
}

}  // namespace bench
