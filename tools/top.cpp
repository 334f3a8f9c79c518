/// ppmm top: a running job, live, from outside: by reading the pool, without its lock.
#include "command.hpp"
#include "interrupt.hpp"
#include "top_view.hpp"

#include <fmt/format.h>
#include <sys/ioctl.h>  // TIOCGWINSZ
#include <unistd.h>
#include <CLI/CLI.hpp>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>  // getenv
#include <filesystem>
#include <memory>
#include <string_view>
#include <thread>

namespace ppmm::tools {
namespace {

struct top_options {
  std::filesystem::path file;
  double interval = 1;
  bool once = false, batch = false;
  unsigned count = 0;  // looks; 0: no limit
};

/// Sleeps, but for a signal.
bool wait(double seconds) {
  using clock = std::chrono::steady_clock;
  const auto until = clock::now() + std::chrono::duration_cast<clock::duration>(std::chrono::duration<double>(seconds));
  while (clock::now() < until && signal_received() == 0)
    std::this_thread::sleep_until(std::min(until, clock::now() + std::chrono::milliseconds(20)));
  return signal_received() == 0;
}

bool can_draw() {
  const char* term = std::getenv("TERM");
  return isatty(STDOUT_FILENO) != 0 && term != nullptr && std::string_view(term) != "dumb";
}

/// The terminal's other screen, and the cursor away, while it lives.
class screen {
 public:
  screen() { put("\033[?1049h\033[?25l"); }
  ~screen() { put("\033[?25h\033[?1049l"); }
  screen(const screen&) = delete;
  screen& operator=(const screen&) = delete;

  void draw(const std::vector<std::string>& lines) const {
    winsize size{};
    const bool known = ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row > 1;
    const std::size_t rows = known ? size.ws_row - 1u : 24;
    std::string all = "\033[H";
    for (std::size_t i = 0; i < std::min(rows, lines.size()); ++i) all += lines[i] + "\033[K\r\n";
    put((all + "\033[J").c_str());
  }
  static std::size_t width() {
    winsize size{};
    return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
  }

 private:
  static void put(const char* text) {
    std::fputs(text, stdout);
    std::fflush(stdout);
  }
};

void top(const top_options& options) {
  const bool plain = options.once || options.batch || !can_draw();
  std::unique_ptr<screen> on;
  pool_look before = look_at(options.file);
  if (!plain) on = std::make_unique<screen>();
  for (unsigned looks = 1;; ++looks) {
    if (!wait(options.interval)) return;  // no error: it is how one leaves
    pool_look now = look_at(options.file);
    const std::vector<std::string> lines = show(now, between(before, now), plain ? 200 : screen::width());
    if (plain) {
      for (const std::string& l : lines) fmt::print("{}\n", l);
      if (std::fflush(stdout) != 0) return;  // nobody reads it any more
    } else {
      on->draw(lines);
    }
    if (options.once || looks == options.count) return;
    if (plain && !now.job) return;
    if (plain) fmt::print("\n");
    before = std::move(now);
  }
}

}  // namespace

void add_top(CLI::App& app) {
  auto options = std::make_shared<top_options>();
  CLI::App* command = app.add_subcommand("top", "Show a running job, live: what each worker does, and how fast");
  command->footer("Reads the pool from outside: the job is neither stopped nor slowed. Ctrl-C leaves.");
  command->add_option("POOL", options->file, "Pool file")->required()->type_name("POOL");
  command->add_option("--interval", options->interval, "Seconds between two looks (default: 1)")
      ->check(CLI::Range(0.01, 3600.0))
      ->type_name("S");
  command->add_flag("--once", options->once, "Two looks, an interval apart; tell what happened between them, and end");
  command->add_flag(
      "--batch", options->batch,
      "One after the other, as plain text; so it is wherever the output is no terminal. Ends with the job");
  command->add_option("--count", options->count, "End after so many")
      ->check(CLI::Range(1u, 1000000000u))
      ->type_name("N");
  command->callback([options] { top(*options); });
}

}  // namespace ppmm::tools
