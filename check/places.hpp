/// Where code is in the source: from the program's debug information, by libdw.
#pragma once

#include <ppmm/check/idempotence.hpp>

#include <cstdint>

namespace ppmm::detail {

enum class code_of : std::uint8_t { nobody, standard_library, runtime, user };

/// Names a place, without text: a site's number from 1 on, with a bit for the user's place there. 0: unknown.
using place_number = std::uint32_t;

/// An address in the code, looked up once.
struct site {
  const void* pc = nullptr;
  place_number number = 0;
  code_of whose = code_of::nobody;  // whose the innermost function is, inlined ones of the standard library aside
  source_place where;
  source_place user;  // the innermost place in the user's code, inlined into or not; or empty
};

const site& site_at(const void* pc);
source_place place_numbered(place_number number);

/// C++ names as they are written.
std::string demangled(const char* name);

/// The stack of the thread that makes it, for walks along frame pointers: cheap, and safe where there are none.
class stack_walker {
 public:
  stack_walker();
  /// The site at pc; if that is in the standard library, of who called it. pc called, however indirectly, our caller.
  const site& responsible(const void* pc) const;
  /// The innermost place on the stack that is the user's; 0 if there is none.
  place_number innermost_of_user() const;

 private:
  static constexpr int max_depth = 256;
  template <class Function>
  void walk(Function f) const;

  std::uintptr_t end_ = 0;
};

}  // namespace ppmm::detail
