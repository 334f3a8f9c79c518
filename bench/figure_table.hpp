/// Figures with what is to hold for them: a table for people, and JSON.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace bench {

class figure_table {
 public:
  void add(std::string what, std::string measured, std::string to_hold = "", std::optional<bool> held = {}) {
    figures_.push_back({std::move(what), std::move(measured), std::move(to_hold), held});
  }

  bool all_held() const {
    return std::ranges::none_of(figures_, [](const figure& f) { return f.held && !*f.held; });
  }

  /// In Markdown, on standard output.
  void print() const {
    fmt::print("| figure | measured | to hold | |\n| --- | --- | --- | --- |\n");
    for (const figure& f : figures_)
      fmt::print("| {} | {} | {} | {} |\n", f.what, f.measured, f.to_hold,
                 !f.held   ? ""
                 : *f.held ? "held"
                           : "**not held**");
  }

  /// Throws std::runtime_error.
  void write_json(const std::string& file) const {
    std::ofstream out(file);
    out << "[\n";
    for (const figure& f : figures_)
      out << fmt::format("  {{\"figure\": \"{}\", \"measured\": \"{}\", \"to_hold\": \"{}\", \"held\": {}}}{}\n",
                         f.what, f.measured, f.to_hold,
                         !f.held   ? "null"
                         : *f.held ? "true"
                                   : "false",
                         &f == &figures_.back() ? "" : ",");
    out << "]\n";
    if (!out.flush()) throw std::runtime_error("cannot write " + file);
  }

 private:
  struct figure {
    std::string what, measured, to_hold;
    std::optional<bool> held;
  };
  std::vector<figure> figures_;
};

}  // namespace bench
