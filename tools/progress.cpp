#include "progress.hpp"

#include <fmt/format.h>
#include <sys/ioctl.h>  // TIOCGWINSZ
#include <unistd.h>     // isatty

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>  // getenv
#include <string_view>
#include <utility>

namespace ppmm::tools {
namespace {

using std::chrono::duration;

constexpr auto between_bars = std::chrono::milliseconds(90);
constexpr auto between_lines = std::chrono::seconds(1);
constexpr double percent_between_lines = 10;

bool terminal_can_draw() {
  const char* term = std::getenv("TERM");
  return isatty(STDERR_FILENO) != 0 && term != nullptr && std::string_view(term) != "dumb";
}

std::size_t terminal_width() {
  winsize size{};
  return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

}  // namespace

progress_meter::progress_meter(progress_mode mode, std::string label, std::uint64_t total, std::uint64_t amount_bytes)
    : mode_(mode), label_(std::move(label)), total_(total), amount_(amount_bytes) {
  if (mode_ == progress_mode::automatic) mode_ = terminal_can_draw() ? progress_mode::bar : progress_mode::plain;
}

progress_meter::~progress_meter() {
  if (drawn_) std::fputc('\n', stderr);
}

double progress_meter::percent(std::uint64_t units, std::uint64_t total) {
  if (total == 0) return 100;
  return std::min(100.0, 100.0 * static_cast<double>(units) / static_cast<double>(total));
}

double progress_meter::percent() const { return percent(done_, total_); }

void progress_meter::resumed_at(std::uint64_t units) {
  done_ = done_before_ = units;
  resumed_percent_ = told_percent_ = percent();
  started_ = told_ = clock::now();
}

void progress_meter::update(std::uint64_t units) {
  done_ = std::max(done_, units);  // work that a fault threw away does not make the bar go back
  const auto now = clock::now();
  if (mode_ == progress_mode::bar && now - told_ >= between_bars) {
    told_ = now;
    draw_bar();
  } else if (mode_ == progress_mode::plain && now - told_ >= between_lines &&
             (percent() - told_percent_ >= percent_between_lines || now - told_ >= 5 * between_lines)) {
    told_ = now;
    told_percent_ = percent();
    print_line();
  }
}

void progress_meter::finish() {
  done_ = total_;
  if (mode_ == progress_mode::bar && drawn_) draw_bar();
}

std::string progress_meter::rate_and_time_left() const {
  const double seconds = duration<double>(clock::now() - started_).count();
  const double fraction = percent(done_ - done_before_, total_) / 100;
  if (seconds < 0.05 || fraction <= 0) return "";
  const double rate = fraction / seconds;
  std::string text = amount_ > 0 ? fmt::format(", {}/s", readable_bytes(rate * static_cast<double>(amount_)))
                                 : fmt::format(", {:.1f} %/s", 100 * rate);
  if (done_ < total_) text += fmt::format(", {} left", readable_time((1 - percent() / 100) / rate));
  return text;
}

void progress_meter::draw_bar() {
  std::string tail = rate_and_time_left();
  if (resumed_percent_) tail += fmt::format(", resumed at {:.1f} %", *resumed_percent_);
  const std::string head = fmt::format("{} {:5.1f} % ", label_, percent());
  const std::size_t width = terminal_width() - 1;
  std::string bar;
  if (head.size() + tail.size() + 12 <= width) {
    const std::size_t cells = std::min<std::size_t>(width - head.size() - tail.size() - 2, 40);
    const auto full = static_cast<std::size_t>(percent() / 100 * static_cast<double>(cells));
    bar = fmt::format("[{}{}]", std::string(full, '#'), std::string(cells - full, '.'));
  }
  const std::string line = (head + bar + tail).substr(0, width);
  fmt::print(stderr, "\r{}\033[K", line);
  std::fflush(stderr);
  drawn_ = true;
}

void progress_meter::print_line() {
  fmt::print(stderr, "ppmm: {}: {:.1f} % done{}\n", label_, percent(), rate_and_time_left());
}

std::string readable_bytes(double bytes) {
  constexpr const char* units[] = {"B", "kB", "MB", "GB", "TB", "PB"};
  std::size_t unit = 0;
  for (; bytes >= 999.5 && unit + 1 < std::size(units); ++unit) bytes /= 1000;
  return unit == 0 || bytes >= 99.95 ? fmt::format("{:.0f} {}", bytes, units[unit])
                                     : fmt::format("{:.3g} {}", bytes, units[unit]);
}

std::string readable_time(double seconds) {
  const auto s = static_cast<std::uint64_t>(std::ceil(std::max(seconds, 0.0)));
  return s < 3600 ? fmt::format("{}:{:02}", s / 60, s % 60)
                  : fmt::format("{}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60);
}

}  // namespace ppmm::tools
