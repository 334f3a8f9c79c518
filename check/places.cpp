#include <ppmm/check/places.hpp>

#include <cxxabi.h>  // __cxa_demangle
#include <dwarf.h>   // DW_AT_call_line
#include <elfutils/libdw.h>
#include <elfutils/libdwfl.h>
#include <pthread.h>  // pthread_getattr_np
#include <unistd.h>   // getpid

#include <algorithm>
#include <array>
#include <cstdlib>
#include <deque>
#include <mutex>
#include <unordered_map>
#include <utility>
#include <vector>

namespace ppmm::detail {
namespace {

/// The runtime's sources: where this file is, and where its headers are installed.
bool is_runtime(std::string_view file) {
  static const std::string here = [] {
    const std::string_view self = __FILE__;
    return std::string(self.substr(0, self.size() - std::string_view("check/places.cpp").size()));
  }();
  for (const std::string_view module : {"pmem/", "numa/", "alloc/", "check/", "sched/"}) {
    if (file.starts_with(here) && file.substr(here.size()).starts_with(module)) return true;
    if (file.find("/ppmm/" + std::string(module)) != file.npos) return true;
  }
  return false;
}

bool is_standard_library(std::string_view file) {
  return file.starts_with("/usr/include/") || file.starts_with("/usr/lib/") || file.find("/include/c++/") != file.npos;
}

code_of whose(const std::string& file) {
  if (file.empty()) return code_of::nobody;
  if (is_standard_library(file)) return code_of::standard_library;
  return is_runtime(file) ? code_of::runtime : code_of::user;
}

std::string function_name(Dwarf_Die* die) {
  Dwarf_Attribute a;
  for (const unsigned name : {DW_AT_linkage_name, DW_AT_MIPS_linkage_name})
    if (const char* mangled = dwarf_formstring(dwarf_attr_integrate(die, name, &a))) return demangled(mangled);
  const char* plain = dwarf_diename(die);
  return plain == nullptr ? "" : plain;
}

bool is_function(Dwarf_Die* die) {
  const int tag = dwarf_tag(die);
  return tag == DW_TAG_inlined_subroutine || tag == DW_TAG_subprogram;
}

/// The debug information of what is mapped in this process. Not for two threads at once.
class debug_information {
 public:
  debug_information() {
    all_.reset(dwfl_begin(&how));
    if (all_ != nullptr && dwfl_linux_proc_report(all_.get(), ::getpid()) == 0)
      dwfl_report_end(all_.get(), nullptr, nullptr);
    else
      all_.reset();
  }

  /// Where pc is: in the innermost inlined function first, then where that was called, and so on. Empty: nobody knows.
  std::vector<source_place> places(std::uintptr_t pc) {
    std::vector<source_place> found;
    Dwfl_Module* const module = all_ == nullptr ? nullptr : dwfl_addrmodule(all_.get(), pc);
    Dwfl_Line* const line = module == nullptr ? nullptr : dwfl_module_getsrc(module, pc);
    if (line == nullptr) return found;
    source_place& innermost = found.emplace_back();
    if (const char* file = dwfl_lineinfo(line, nullptr, &innermost.line, nullptr, nullptr, nullptr))
      innermost.file = file;

    Dwarf_Addr bias = 0;
    Dwarf_Die* const unit = dwfl_module_addrdie(module, pc, &bias);
    std::vector<Dwarf_Die> scopes = nested_scopes(unit, pc - bias);
    std::erase_if(scopes, [](Dwarf_Die& d) { return !is_function(&d); });
    for (std::size_t i = 0; i < scopes.size(); ++i) {
      if (i > 0) found.push_back(call_of(unit, &scopes[i - 1]));
      found.back().function = function_name(&scopes[i]);
    }
    return found;
  }

 private:
  /// From the innermost to the function that is really there.
  static std::vector<Dwarf_Die> nested_scopes(Dwarf_Die* unit, Dwarf_Addr pc) {
    std::vector<Dwarf_Die> scopes;
    Dwarf_Die* array = nullptr;
    const auto take = [&](int n) {
      scopes.assign(array, array + std::max(n, 0));
      std::free(std::exchange(array, nullptr));
    };
    take(dwarf_getscopes(unit, pc, &array));
    if (scopes.empty()) return scopes;
    // Those are the scopes in which the innermost function was defined; wanted are those that it was inlined into.
    Dwarf_Die innermost = scopes[0];
    take(dwarf_getscopes_die(&innermost, &array));
    return scopes;
  }
  static source_place call_of(Dwarf_Die* unit, Dwarf_Die* inlined) {
    source_place p;
    Dwarf_Attribute a;
    Dwarf_Word value = 0;
    Dwarf_Files* files = nullptr;
    if (dwarf_formudata(dwarf_attr(inlined, DW_AT_call_line, &a), &value) == 0) p.line = static_cast<int>(value);
    if (dwarf_formudata(dwarf_attr(inlined, DW_AT_call_file, &a), &value) == 0 &&
        dwarf_getsrcfiles(unit, &files, nullptr) == 0)
      if (const char* file = dwarf_filesrc(files, value, nullptr, nullptr)) p.file = file;
    return p;
  }
  /// Files of debug information apart from the program are not looked for: it could mean to ask a server.
  static int no_other_file(Dwfl_Module*, void**, const char*, Dwarf_Addr, const char*, const char*, GElf_Word, char**) {
    return -1;
  }
  static constexpr Dwfl_Callbacks how{.find_elf = dwfl_linux_proc_find_elf,
                                      .find_debuginfo = no_other_file,
                                      .section_address = dwfl_offline_section_address,
                                      .debuginfo_path = nullptr};

  std::unique_ptr<Dwfl, decltype([](Dwfl* d) { dwfl_end(d); })> all_;
};

class site_table {
 public:
  const site& at(const void* pc) {
    const std::lock_guard lock(mutex_);
    const auto [found, is_new] = numbers_.try_emplace(pc, static_cast<place_number>(sites_.size() + 1));
    if (!is_new) return sites_[found->second - 1];
    site& s = sites_.emplace_back();
    s.pc = pc;
    s.number = found->second;
    const std::vector<source_place> places = information_.places(reinterpret_cast<std::uintptr_t>(pc));
    for (const source_place& p : places) {
      s.whose = whose(p.file);
      s.where = p;
      if (s.whose != code_of::standard_library) break;
    }
    for (const source_place& p : places) {
      if (whose(p.file) != code_of::user) continue;
      s.user = p;
      break;
    }
    return s;
  }
  const site& numbered(place_number number) {
    const std::lock_guard lock(mutex_);
    return sites_[number - 1];
  }

 private:
  std::mutex mutex_;
  debug_information information_;
  std::deque<site> sites_;  // they stay where they are
  std::unordered_map<const void*, place_number> numbers_;
};

site_table& sites() {
  static site_table all;
  return all;
}

}  // namespace

std::string demangled(const char* name) {
  int status = 0;
  const std::unique_ptr<char, void (*)(void*)> text(abi::__cxa_demangle(name, nullptr, nullptr, &status), std::free);
  return status == 0 ? text.get() : name;
}

const site& site_at(const void* pc) {
  thread_local std::array<const site*, 1024> recent{};
  const site*& seen = recent[reinterpret_cast<std::uintptr_t>(pc) % recent.size()];
  if (seen == nullptr || seen->pc != pc) seen = &sites().at(pc);
  return *seen;
}

namespace {
constexpr place_number of_user = place_number{1} << 31;
}

source_place place_numbered(place_number number) {
  if (number == 0) return {};
  const site& s = sites().numbered(number & ~of_user);
  return (number & of_user) != 0 ? s.user : s.where;
}

stack_walker::stack_walker() {
  pthread_attr_t attributes;
  void* base = nullptr;
  std::size_t size = 0;
  if (pthread_getattr_np(pthread_self(), &attributes) != 0) return;
  pthread_attr_getstack(&attributes, &base, &size);
  pthread_attr_destroy(&attributes);
  end_ = reinterpret_cast<std::uintptr_t>(base) + size;
}

/// Calls f with the address of each call on the stack, the innermost first, until it gives true.
template <class Function>
void stack_walker::walk(Function f) const {
  auto frame = reinterpret_cast<std::uintptr_t>(__builtin_frame_address(0));
  for (int i = 0; i < max_depth; ++i) {
    // There stand the caller's frame and, above it, where to return to.
    const auto* words = reinterpret_cast<const std::uintptr_t*>(frame);
    if (f(reinterpret_cast<const void*>(words[1] - 1))) return;
    if (words[0] <= frame || words[0] % sizeof(void*) != 0 || words[0] + 2 * sizeof(void*) > end_) return;
    frame = words[0];
  }
}

const site& stack_walker::responsible(const void* pc) const {
  const site* found = &site_at(pc);
  if (found->whose != code_of::standard_library) return *found;
  bool above_access = false;
  walk([&](const void* call) {
    if (above_access) {
      const site& s = site_at(call);
      if (s.whose == code_of::standard_library) return false;
      if (s.whose != code_of::nobody) found = &s;
      return true;
    }
    above_access = above_access || call == pc;
    return false;
  });
  return *found;
}

place_number stack_walker::innermost_of_user() const {
  place_number found = 0;
  walk([&](const void* call) {
    if (const site& s = site_at(call); !s.user.file.empty()) found = s.number | of_user;
    return found != 0;
  });
  return found;
}

}  // namespace ppmm::detail
