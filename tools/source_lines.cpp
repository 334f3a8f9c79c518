#include "source_lines.hpp"

#include <ppmm/sched/names.hpp>

#include <fcntl.h>
#include <fmt/format.h>
#include <link.h>  // dl_iterate_phdr
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <charconv>
#include <cstdlib>
#include <filesystem>
#include <sstream>

extern char** environ;

namespace ppmm::tools {
namespace {

/// The program's code: from where to where it is mapped, and how far from its addresses in the file.
struct program_code {
  std::uintptr_t base = 0, first = ~std::uintptr_t{0}, last = 0;
};

program_code this_program() {
  program_code p;
  dl_iterate_phdr(
      [](dl_phdr_info* info, std::size_t, void* out) {
        auto& code = *static_cast<program_code*>(out);
        code.base = info->dlpi_addr;
        for (int i = 0; i < info->dlpi_phnum; ++i) {
          const ElfW(Phdr)& h = info->dlpi_phdr[i];
          if (h.p_type != PT_LOAD || (h.p_flags & PF_X) == 0) continue;
          code.first = std::min<std::uintptr_t>(code.first, info->dlpi_addr + h.p_vaddr);
          code.last = std::max<std::uintptr_t>(code.last, info->dlpi_addr + h.p_vaddr + h.p_memsz);
        }
        return 1;  // the first object is the program itself
      },
      &p);
  return p;
}

/// What a program prints; nothing where it cannot be run.
std::string output_of(std::vector<std::string> command) {
  std::vector<char*> arguments;
  for (std::string& a : command) arguments.push_back(a.data());
  arguments.push_back(nullptr);
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return {};
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
  posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  pid_t child = 0;
  const int failed = posix_spawnp(&child, arguments[0], &actions, nullptr, arguments.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  close(ends[1]);
  std::string all;
  if (failed == 0) {
    char buffer[4096];
    for (ssize_t n; (n = read(ends[0], buffer, sizeof buffer)) > 0;) all.append(buffer, static_cast<std::size_t>(n));
    waitpid(child, nullptr, 0);
  }
  close(ends[0]);
  return all;
}

bool is_the_runtimes(const std::string& file) {
  return file.find("/ppmm/sched/") != std::string::npos || file.find("/sched/context.hpp") != std::string::npos ||
         file.find("/sched/frame.hpp") != std::string::npos;
}

/// The last two names of a path are enough to find it by.
std::string short_path(const std::string& path) {
  const std::filesystem::path p(path);
  const std::filesystem::path folder = p.parent_path().filename();
  return folder.empty() || folder == "/" ? p.filename().string() : (folder / p.filename()).string();
}

}  // namespace

std::map<std::uintptr_t, source_place> parse_places(const std::string& printed) {
  std::map<std::uintptr_t, source_place> all;
  std::istringstream in(printed);
  std::string line, function;
  source_place* place = nullptr;
  bool found = false;
  while (std::getline(in, line)) {
    if (line.starts_with("0x")) {
      std::uintptr_t address = 0;
      std::from_chars(line.data() + 2, line.data() + line.size(), address, 16);
      place = &all[address];
      found = false;
      continue;
    }
    function = line;
    if (place == nullptr || !std::getline(in, line)) break;
    if (found) continue;  // what that was inlined into
    std::string file = line.substr(0, line.find(" (discriminator"));
    const bool known =
        !file.starts_with("??") && !file.ends_with(":?") && !file.ends_with(":0");  // else a symbol's file at best
    if (!function.starts_with("??")) place->function = function_of(function);
    place->line = known ? short_path(file) : "";
    found = !is_the_runtimes(file);
  }
  return all;
}

std::map<std::uintptr_t, source_place> places_of(const std::vector<std::uintptr_t>& return_addresses) {
  const program_code program = this_program();
  std::error_code ignored;
  std::vector<std::string> command{
      "addr2line", "-e", std::filesystem::read_symlink("/proc/self/exe", ignored).string(), "-a", "-f", "-i", "-C"};
  std::map<std::uintptr_t, std::uintptr_t> asked;  // by address in the file
  for (const std::uintptr_t a : return_addresses) {
    if (a < program.first || a >= program.last) continue;
    const std::uintptr_t call = a - 1 - program.base;  // the call is before where it returns to
    if (asked.try_emplace(call, a).second) command.push_back(fmt::format("{:#x}", call));
  }
  std::map<std::uintptr_t, source_place> all;
  if (asked.empty()) return all;
  for (auto& [address, place] : parse_places(output_of(std::move(command))))
    if (const auto at = asked.find(address); at != asked.end()) all.emplace(at->second, std::move(place));
  return all;
}

}  // namespace ppmm::tools
