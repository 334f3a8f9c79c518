#include "svg_chart.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>

namespace ppmm::tools {
namespace {

/// Okabe and Ito's colours, told apart also by who sees fewer (https://jfly.uni-koeln.de/color/).
constexpr std::array colours{"#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9",
                             "#8a7500", "#000000", "#7a5195", "#777777"};
constexpr std::array dashes{"", "6 3", "2 2", "8 3 2 3"};

constexpr double left = 76, right = 150, top = 40, bottom = 52, height = 380;

/// One axis: values to pixels.
class axis {
 public:
  axis(double low, double high, double from, double to, bool logarithmic) : log_(logarithmic), from_(from), to_(to) {
    low_ = at_value(low);
    high_ = at_value(high);
    if (high_ <= low_) high_ = low_ + 1;
  }
  double operator()(double value) const { return from_ + (at_value(value) - low_) / (high_ - low_) * (to_ - from_); }
  std::vector<double> ticks() const {
    std::vector<double> all;
    if (log_) {
      for (double e = std::floor(low_); e <= high_ + 1e-9; ++e)
        if (e >= low_ - 1e-9) all.push_back(std::pow(10.0, e));
      if (all.size() < 2) return {std::pow(10.0, low_), std::pow(10.0, high_)};
      return all;
    }
    const double rough = (high_ - low_) / 5, power = std::pow(10.0, std::floor(std::log10(rough)));
    const double step = rough / power > 5   ? 10 * power
                        : rough / power > 2 ? 5 * power
                        : rough / power > 1 ? 2 * power
                                            : power;
    for (double t = std::ceil(low_ / step) * step; t <= high_ + 1e-9 * step; t += step) all.push_back(t);
    return all;
  }

 private:
  double at_value(double v) const { return log_ ? std::log10(std::max(v, 1e-12)) : v; }
  bool log_;
  double from_, to_, low_ = 0, high_ = 1;
};

std::string number(double v) {
  constexpr std::array units{"", " k", " M", " G", " T"};
  std::size_t unit = 0;
  for (; v >= 1000 && unit + 1 < units.size(); ++unit) v /= 1000;
  return fmt::format("{:.3g}{}", v, units[unit]);
}

std::string label(double x, double y, const char* anchor, std::string_view text, std::string_view more = "") {
  return fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"{}\" {}>{}</text>\n", x, y, anchor, more,
                     escaped(text));
}

std::string opening(double h, std::string_view title) {
  return fmt::format(
             "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {0} {1:.0f}\" width=\"{0}\" height=\"{1:.0f}\" "
             "role=\"img\" "
             "font-family=\"sans-serif\" font-size=\"12\">\n<title>{2}</title>\n<rect width=\"{0}\" height=\"{1:.0f}\" "
             "fill=\"#ffffff\"/>\n",
             chart_width, h, escaped(title)) +
         label(left, 22, "start", title, "font-size=\"15\" font-weight=\"bold\"");
}

/// Names at the ends of lines, moved apart where they would lie on each other.
std::vector<double> apart(std::vector<double> at) {
  constexpr double between = 14;
  std::vector<std::size_t> order(at.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::ranges::sort(order, {}, [&](std::size_t i) { return at[i]; });
  for (std::size_t i = 1; i < order.size(); ++i) at[order[i]] = std::max(at[order[i]], at[order[i - 1]] + between);
  const double over = order.empty() ? 0 : at[order.back()] - (height - bottom);
  if (over > 0)
    for (std::size_t i = order.size(); i-- > 0;) {
      const double most = i + 1 == order.size() ? height - bottom : at[order[i + 1]] - between;
      at[order[i]] = std::min(at[order[i]], most);
    }
  return at;
}

}  // namespace

std::string escaped(std::string_view text) {
  std::string out;
  for (const char c : text) switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      default:
        out += c;
    }
  return out;
}

std::string to_svg(const line_chart& chart) {
  double x0 = INFINITY, x1 = -INFINITY, y0 = INFINITY, y1 = -INFINITY;
  for (const chart_line& l : chart.lines)
    for (const chart_point& p : l.points) {
      x0 = std::min(x0, p.x), x1 = std::max(x1, p.x);
      y0 = std::min({y0, p.y, p.low > 0 ? p.low : p.y}), y1 = std::max({y1, p.y, p.high});
    }
  std::string out = opening(height, chart.title);
  if (x0 > x1) return out + label(left, height / 2, "start", "nothing was measured") + "</svg>\n";
  if (!chart.logarithmic) y0 = std::min(y0, 0.0);
  const axis x(x0, x1, left, chart_width - right, chart.logarithmic),
      y(y0, y1, height - bottom, top, chart.logarithmic);
  for (const double t : y.ticks()) {
    out += fmt::format("<path d=\"M{:.1f} {:.1f}H{:.1f}\" stroke=\"#dddddd\"/>\n", left, y(t), chart_width - right);
    out += label(left - 6, y(t) + 4, "end", number(t));
  }
  for (const double t : x.ticks()) out += label(x(t), height - bottom + 18, "middle", number(t));
  out += fmt::format("<path d=\"M{0:.1f} {1:.1f}V{2:.1f}H{3:.1f}\" stroke=\"#333333\" fill=\"none\"/>\n", left, top,
                     height - bottom, chart_width - right);
  out += label((left + chart_width - right) / 2, height - 12, "middle", chart.x_label);
  out += label(16, (top + height - bottom) / 2, "middle", chart.y_label,
               fmt::format("transform=\"rotate(-90 16 {:.1f})\"", (top + height - bottom) / 2));
  std::vector<double> ends;
  for (const chart_line& l : chart.lines) ends.push_back(l.points.empty() ? 0 : y(l.points.back().y) + 4);
  ends = apart(ends);
  for (std::size_t i = 0; i < chart.lines.size(); ++i) {
    const chart_line& l = chart.lines[i];
    if (l.points.empty()) continue;
    const char* colour = colours[i % colours.size()];
    std::string path;
    for (const chart_point& p : l.points) {
      path += fmt::format("{}{:.1f} {:.1f}", path.empty() ? "M" : "L", x(p.x), y(p.y));
      if (p.high > 0)
        out += fmt::format("<path d=\"M{0:.1f} {1:.1f}V{2:.1f}\" stroke=\"{3}\" stroke-opacity=\".4\"/>\n", x(p.x),
                           y(p.low), y(p.high), colour);
    }
    out += fmt::format("<path d=\"{}\" stroke=\"{}\" stroke-width=\"2\" stroke-dasharray=\"{}\" fill=\"none\"/>\n",
                       path, colour, dashes[i / 3 % dashes.size()]);
    for (const chart_point& p : l.points)
      out += fmt::format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"2.5\" fill=\"{}\"/>\n", x(p.x), y(p.y), colour);
    out += label(chart_width - right + 8, ends[i], "start", l.name, fmt::format("fill=\"{}\"", colour));
  }
  return out + "</svg>\n";
}

std::string to_svg(const bar_chart& chart) {
  constexpr double name_width = 300, row = 22, text_width = 150;
  const double legend = chart.part_names.size() > 1 ? 26 : 0,
               h = top + legend + row * static_cast<double>(chart.bars.size()) + 10;
  double most = 0;
  for (const chart_bar& b : chart.bars) {
    double sum = 0;
    for (const double p : b.parts) sum += p;
    most = std::max(most, sum);
  }
  std::string out = opening(h, chart.title);
  double at = left;
  if (legend > 0)
    for (std::size_t i = 0; i < chart.part_names.size(); ++i) {
      out += fmt::format("<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"12\" height=\"12\" fill=\"{}\"/>\n", at, top,
                         colours[i % colours.size()]);
      out += label(at + 16, top + 11, "start", chart.part_names[i]);
      at += 30 + 7.2 * static_cast<double>(chart.part_names[i].size());
    }
  double y = top + legend;
  for (const chart_bar& b : chart.bars) {
    constexpr std::size_t longest = 44;
    const std::string name = b.name.size() > longest ? b.name.substr(0, longest - 3) + "..." : b.name;
    out += label(name_width - 6, y + 14, "end", name);
    double x = name_width;
    for (std::size_t i = 0; i < b.parts.size(); ++i) {
      const double w = most > 0 ? b.parts[i] / most * (chart_width - name_width - text_width) : 0;
      if (w > 0)
        out += fmt::format("<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\" fill=\"{}\"/>\n", x,
                           y + 2, w, row - 5, colours[i % colours.size()]);
      x += w;
    }
    out += label(x + 6, y + 14, "start", b.text);
    y += row;
  }
  return out + "</svg>\n";
}

std::string svg_file(const std::vector<std::string>& charts) {
  double at = 0;
  std::string all;
  for (const std::string& c : charts) {
    all += fmt::format("<g transform=\"translate(0 {:.0f})\">\n{}</g>\n", at, c);
    const std::size_t h = c.find("height=\"");
    at += (h == std::string::npos ? height : std::stod(c.substr(h + 8))) + 12;
  }
  return fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {0} {1:.0f}\" width=\"{0}\" "
      "height=\"{1:.0f}\">\n{2}</svg>\n",
      chart_width, at, all);
}

}  // namespace ppmm::tools
