/// Where in the program's sources an address of its code is.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace ppmm::tools {

struct source_place {
  std::string function;  // as function_of() gives it; empty: not known
  std::string line;      // "fib.cpp:12"; empty: the program has no debug information there, or addr2line is missing
};

/// Of return addresses in this program, by addr2line(1) where it is installed. What was inlined there counts, but for
/// the runtime's own headers: a fork's commit is where the program forks. Nothing is known of addresses that are left
/// out.
std::map<std::uintptr_t, source_place> places_of(const std::vector<std::uintptr_t>& return_addresses);

/// What addr2line -a -f -i -C prints, as places by address. For the tests.
std::map<std::uintptr_t, source_place> parse_places(const std::string& printed);

}  // namespace ppmm::tools
