#include <ppmm/sched/names.hpp>

#include <cstddef>
#include <vector>

namespace ppmm {
namespace {

/// The arguments of a template, split at the commas that are not in brackets. `text` is what follows the first `<`.
std::vector<std::string_view> arguments_of(std::string_view text) {
  std::vector<std::string_view> all;
  std::size_t begin = 0;
  int depth = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '<' || c == '(' || c == '{') ++depth;
    if (const bool closes = c == '>' || c == ')' || c == '}'; closes && depth-- == 0) {
      all.push_back(text.substr(begin, i - begin));
      return all;
    }
    if (c == ',' && depth == 0) {
      all.push_back(text.substr(begin, i - begin));
      begin = i + 1;
      while (begin < text.size() && text[begin] == ' ') ++begin;
    }
  }
  all.push_back(text.substr(begin));
  return all;
}

}  // namespace

std::string function_of(std::string_view name) {
  // What the runtime wraps around the program's own type, and which of its arguments that is: of a fork or call the
  // continuation.
  struct wrapper {
    std::string_view begin;
    std::size_t argument;
  };
  constexpr wrapper wrappers[] = {{"ppmm::detail::task_node<", 0},  {"ppmm::detail::fork_frame<", 1},
                                  {"ppmm::detail::call_frame<", 0}, {"ppmm::detail::bound<", 0},
                                  {"ppmm::detail::spread<", 0},     {"ppmm::detail::body_with<", 0}};
  for (bool again = true; again;) {
    again = false;
    for (const wrapper& w : wrappers)
      if (name.starts_with(w.begin)) {
        const auto arguments = arguments_of(name.substr(w.begin.size()));
        if (w.argument >= arguments.size()) return std::string(name);
        name = arguments[w.argument];
        again = true;
        break;
      }
  }
  while (name.ends_with(' ')) name.remove_suffix(1);
  while (!name.empty() && (name.front() == '&' || (name.front() == '(' && !name.starts_with("(anonymous namespace)"))))
    name.remove_prefix(1);
  std::string text(name);
  for (std::size_t at; (at = text.find("(anonymous namespace)::")) != std::string::npos;) text.erase(at, 23);
  // A symbol of a template begins with what it returns; then a blank stands before the name, in no bracket.
  std::size_t end = 0, begin = 0;
  int depth = 0;
  for (; end < text.size(); ++end) {
    const char c = text[end];
    if (depth == 0 && (c == '(' || c == '{')) break;
    if (c == '<') ++depth;
    if (c == '>') --depth;
    if (c == ' ' && depth == 0) begin = end + 1;
  }
  text = text.substr(begin, end - begin);
  if (const std::size_t open = text.find('<'); open != std::string::npos && open > 0)
    text.resize(open);  // which instance does not matter
  while (text.ends_with(':') || text.ends_with(')')) text.pop_back();
  return text.empty() ? std::string(name) : text;
}

std::string right_child_of(std::string_view fork) {
  constexpr std::string_view begin = "ppmm::detail::fork_frame<";
  if (!fork.starts_with(begin)) return std::string(fork);
  return function_of(arguments_of(fork.substr(begin.size())).front());
}

}  // namespace ppmm
