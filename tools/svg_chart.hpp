/// Charts as SVG text: self-contained, legible in print, and not by colour alone (each line has its name at its end).
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace ppmm::tools {

struct chart_point {
  double x = 0, y = 0, low = 0, high = 0;  // low, high: the spread; both 0: none is drawn
};
struct chart_line {
  std::string name;
  std::vector<chart_point> points;
};
struct line_chart {
  std::string title, x_label, y_label;
  std::vector<chart_line> lines;
  bool logarithmic = true;  // both axes; every value is above 0
};

struct chart_bar {
  std::string name;
  std::vector<double> parts;  // one for each part's name
  std::string text;           // behind it
};
struct bar_chart {
  std::string title;
  std::vector<std::string> part_names;
  std::vector<chart_bar> bars;
};

inline constexpr int chart_width = 860;

/// An <svg> element of that chart.
std::string to_svg(const line_chart& chart);
std::string to_svg(const bar_chart& chart);

/// A file of several charts, one below the other.
std::string svg_file(const std::vector<std::string>& charts);

/// Text in XML and HTML.
std::string escaped(std::string_view text);

}  // namespace ppmm::tools
