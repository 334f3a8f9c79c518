/// Names of task and frame types as the program's author knows them: its functions, without what the runtime wraps around
/// them.
#pragma once

#include <string>
#include <string_view>

namespace ppmm {

/// The function of the program that a task's or frame's type, or a symbol, is of: "fib" for the type of the closure
/// that fib goes on with.
std::string function_of(std::string_view type_or_symbol);

/// The function that a fork's right child runs, by the type of the fork's frame.
std::string right_child_of(std::string_view fork);

}  // namespace ppmm
