/// ppmm fib: a Fibonacci number by its recursion, the classic measure of what a fork costs.
#include "command.hpp"
#include "session.hpp"

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <cstdio>
#include <memory>
#include <utility>

namespace ppmm::tools {
namespace {

step<long> fib(context& cx, int n) {
  if (n < 2) return n;
  return cx.fork(task<fib>(n - 1), task<fib>(n - 2)).then([](context&, long a, long b) -> step<long> { return a + b; });
}

/// The same, counting its progress where a subtree is large enough for that to cost nothing. A subtree's answer is the
/// number of ones that its leaves add up, so the answer itself is the measure of work.
step<long> fib_job(context& cx, int n) {
  constexpr int counted = 24;  // about 0.5 ms
  if (n <= counted)
    return cx.call(task<fib>(n)).then([](context& c, long answer) -> step<long> {
      c.advance(static_cast<std::uint64_t>(answer));
      return answer;
    });
  return cx.fork(task<fib_job>(n - 1), task<fib_job>(n - 2)).then([](context&, long a, long b) -> step<long> {
    return a + b;
  });
}

std::uint64_t fib_by_adding(int n) {
  std::uint64_t a = 0, b = 1;
  for (; n > 0; --n) b = std::exchange(a, b) + b;
  return a;
}

struct fib_options {
  job_options job;
  int n = 0;
};

void compute(const fib_options& options) {
  job_session session(
      options.job, {.name = fmt::format("fib {}", options.n), .own_pool = fmt::format("ppmm-fib-{}.ppmm", options.n)});
  const long answer = session.run(task<fib_job>(options.n), fib_by_adding(options.n));
  fmt::print("{}\n", answer);
  std::fflush(stdout);
  if (session.own_pool()) session.delivered();  // in a pool of the user's the result stays, and is given again at once
}

}  // namespace

void add_fib(CLI::App& app) {
  auto options = std::make_shared<fib_options>();
  CLI::App* command = app.add_subcommand("fib", "Compute a Fibonacci number by forking at every call");
  command->footer(
      "Without --pool the job lives in ppmm-fib-N.ppmm in the current directory, which is removed after success.");
  command->add_option("N", options->n, "Which one")->required()->check(CLI::Range(0, 90));
  options->job.add_to(*command);
  command->callback([options] { compute(*options); });
}

}  // namespace ppmm::tools
