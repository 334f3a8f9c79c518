/// The arguments of those programs of bench/ that have a main of their own.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <initializer_list>
#include <string>
#include <string_view>

namespace bench {

/// An option with a value, and where that goes.
struct option {
  std::string_view name;
  std::string* value;
};

/// Takes `--quick` and these options. False for anything else: then the usage stands on standard error.
inline bool read_arguments(int argc, char** argv, const char* usage, bool& quick, std::initializer_list<option> options) {
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    const auto* const o = std::ranges::find(options, argument, &option::name);
    if (argument == "--quick") {
      quick = true;
    } else if (o != options.end() && i + 1 < argc) {
      *o->value = argv[++i];
    } else {
      fmt::print(stderr, "usage: {}\n", usage);
      return false;
    }
  }
  return true;
}

}  // namespace bench
