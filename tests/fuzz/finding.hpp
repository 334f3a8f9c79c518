/// How a target tells that it has found something that is no crash by itself.
#pragma once

#include <cstdio>
#include <cstdlib>

namespace ppmm::fuzz {

/// Ends the process as a crash would: the fuzzer keeps the input.
[[noreturn]] inline void finding(const char* what, const char* more = "") {
  std::fprintf(stderr, "FINDING: %s%s%s\n", what, *more != '\0' ? ": " : "", more);
  std::abort();
}

}  // namespace ppmm::fuzz
