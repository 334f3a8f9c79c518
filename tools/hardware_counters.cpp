#include "hardware_counters.hpp"

#include <fmt/format.h>
#include <linux/perf_event.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <sstream>
#include <string_view>
#include <utility>

namespace ppmm::tools {
namespace {

namespace fs = std::filesystem;

int perf_event_open(perf_event_attr attributes, pid_t process, int cpu) {
  attributes.size = sizeof attributes;
  return static_cast<int>(syscall(SYS_perf_event_open, &attributes, process, cpu, -1, PERF_FLAG_FD_CLOEXEC));
}

perf_event_attr event_of(std::uint32_t type, std::uint64_t config) {
  perf_event_attr a{};
  a.type = type;
  a.config = config;
  a.read_format = PERF_FORMAT_TOTAL_TIME_ENABLED | PERF_FORMAT_TOTAL_TIME_RUNNING;
  return a;
}

std::string text_of(const fs::path& file) {
  std::ifstream in(file);
  std::string text{std::istreambuf_iterator<char>(in), {}};
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.pop_back();
  return text;
}

/// "event=0x4,umask=0x30": on Intel's memory controllers these are the config's lowest two bytes.
std::optional<std::uint64_t> config_of(const std::string& description) {
  std::uint64_t config = 0;
  std::istringstream in(description);
  for (std::string part; std::getline(in, part, ',');) {
    const std::size_t equals = part.find('=');
    const std::uint64_t value = equals == std::string::npos ? 1 : std::strtoull(part.c_str() + equals + 1, nullptr, 0);
    const std::string name = part.substr(0, equals);
    if (name == "event")
      config |= value;
    else if (name == "umask")
      config |= value << 8;
    else
      return std::nullopt;
  }
  return config;
}

}  // namespace

hardware_counters::hardware_counters() {
  constexpr std::pair<const char*, std::uint64_t> of_process[] = {{"cycles", PERF_COUNT_HW_CPU_CYCLES},
                                                                  {"instructions", PERF_COUNT_HW_INSTRUCTIONS},
                                                                  {"cache misses", PERF_COUNT_HW_CACHE_MISSES}};
  for (const auto& [name, config] : of_process) {
    perf_event_attr a = event_of(PERF_TYPE_HARDWARE, config);
    a.inherit = 1;
    a.exclude_kernel = 1;
    a.exclude_hv = 1;
    const int fd = perf_event_open(a, 0, -1);
    if (fd >= 0)
      open_.push_back({name, fd, 1});
    else
      missing_ += fmt::format("{}{}: {}", missing_.empty() ? "" : "; ", name, std::strerror(errno));
  }
  std::string media = "the machine has no counters of memory controllers (uncore_imc)";
  std::error_code none;
  for (const auto& device : fs::directory_iterator("/sys/bus/event_source/devices", none)) {
    const std::string unit = device.path().filename().string();
    if (!unit.starts_with("uncore_imc")) continue;
    const auto type = static_cast<std::uint32_t>(std::strtoul(text_of(device.path() / "type").c_str(), nullptr, 10));
    const int cpu = std::atoi(text_of(device.path() / "cpumask").c_str());
    for (const auto& event : fs::directory_iterator(device.path() / "events", none)) {
      const std::string name = event.path().filename().string();
      if (name.find('.') != std::string::npos) continue;  // its scale and unit
      if (name.find("write") == std::string::npos && name.find("pmm") == std::string::npos) continue;
      const auto config = config_of(text_of(event.path()));
      const int fd = config ? perf_event_open(event_of(type, *config), -1, cpu) : -1;
      if (fd < 0) {
        media = fmt::format("{}: {}", unit, config ? std::strerror(errno) : "an event that is not understood");
        continue;
      }
      const std::string scale = text_of(event.path().string() + ".scale");
      open_.push_back({unit + "/" + name, fd, scale.empty() ? 1 : std::strtod(scale.c_str(), nullptr)});
      media.clear();
    }
  }
  if (!media.empty()) missing_ += (missing_.empty() ? "" : "; ") + media;
}

hardware_counters::~hardware_counters() {
  for (const counter& c : open_) close(c.fd);
}

std::vector<hardware_counters::reading> hardware_counters::read() const {
  std::vector<reading> all;
  for (const counter& c : open_) {
    std::uint64_t words[3] = {};  // value, time enabled, time running
    if (::read(c.fd, words, sizeof words) != sizeof words) continue;
    const double part = words[2] > 0 ? static_cast<double>(words[1]) / static_cast<double>(words[2]) : 0;
    all.push_back({c.name, static_cast<double>(words[0]) * part * c.scale});
  }
  std::ranges::sort(all, {}, &reading::name);
  return all;
}

}  // namespace ppmm::tools
