/// The report of a job as an HTML page: one file, charts as SVG inside it, no network, no scripts.
#include "job_report.hpp"
#include "progress.hpp"
#include "svg_chart.hpp"

#include <ppmm/pmem/errors.hpp>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <iterator>
#include <string_view>
#include <utility>

namespace ppmm::tools {
namespace {

constexpr std::string_view style = R"(
body { font-family: sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #1a1a1a; background: #ffffff; line-height: 1.45; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2.2rem; border-bottom: 1px solid #cccccc; }
table { border-collapse: collapse; font-size: .85rem; font-variant-numeric: tabular-nums; }
th, td { padding: .2rem .6rem; text-align: right; border-bottom: 1px solid #e3e3e3; }
th:first-child, td:first-child { text-align: left; overflow-wrap: anywhere; }
td.causes { text-align: left; color: #555555; font-size: .8rem; }
svg { max-width: 100%; height: auto; } .wide { overflow-x: auto; }
dt { font-weight: bold; margin-top: .6rem; } .small { color: #555555; font-size: .85rem; }
)";

std::string percent(double x) { return fmt::format("{:.2f} %", 100 * x); }
std::string ns(std::uint64_t n) { return readable_ns(static_cast<double>(n)); }
std::string bytes(std::uint64_t n) { return readable_bytes(static_cast<double>(n)); }
std::string times(double x) { return x > 0 ? fmt::format("{:.2f}", x) : "-"; }

std::string row(std::initializer_list<std::string> cells, const char* tag = "td") {
  std::string out = "<tr>";
  for (const std::string& c : cells) out += fmt::format("<{0}>{1}</{0}>", tag, escaped(c));
  return out + "</tr>\n";
}

bar_chart time_chart(const job_report& r) {
  bar_chart chart{"What the workers' time went into", {}, {}};
  for (std::size_t i = 0; i <= activities; ++i) {
    const bool rest = i == activities;
    const std::uint64_t n = rest ? r.profile.untold_ns() : r.profile.nanoseconds[i];
    if (n == 0) continue;
    chart.bars.push_back({rest ? "the rest" : name_of(static_cast<activity>(i)),
                          {static_cast<double>(n)},
                          fmt::format("{} ({})", percent(share(r, n)), ns(n))});
  }
  return chart;
}

bar_chart cause_chart(const job_report& r) {
  bar_chart chart{"Records by cause: how many, and the time in them", {}, {}};
  for (std::size_t i = 0; i < commit_causes; ++i)
    if (const durability_cost& c = r.profile.causes[i]; c.commits != 0)
      chart.bars.push_back({name_of(static_cast<commit_cause>(i)),
                            {static_cast<double>(c.nanoseconds)},
                            fmt::format("{} of {}", c.commits, ns(c.nanoseconds / c.commits))});
  return chart;
}

bar_chart line_chart_of(const job_report& r) {
  bar_chart chart{"Lines flushed, by function: useful, the same as before, again in one capsule",
                  {"useful", "the same", "again"},
                  {}};
  for (const cost_row& f : r.functions) {
    if (f.cost.lines == 0 || chart.bars.size() >= 15) continue;
    const auto lines = static_cast<double>(f.cost.lines), again = std::min(lines, static_cast<double>(f.cost.again));
    const double same = std::min(lines - again, static_cast<double>(f.cost.unchanged));
    chart.bars.push_back({f.function, {lines - again - same, same, again}, fmt::format("{}", f.cost.lines)});
  }
  return chart;
}

/// Workers as rows, time from left to right in slices; each has the colour of what takes most of it.
std::string timeline(const job_report& r) {
  constexpr std::size_t slices = 430;
  constexpr double name = 90, row_height = 24, width = 860 - name;
  // Groups that can be told apart at a glance.
  constexpr std::pair<std::string_view, std::string_view> groups[] = {{"computing", "#56b4e9"},
                                                                      {"commits", "#d55e00"},
                                                                      {"thefts and joins", "#009e73"},
                                                                      {"idle", "#dddddd"},
                                                                      {"faults, adoption", "#cc79a7"}};
  const auto group_of = [](activity a) -> std::size_t {
    using enum activity;
    return a == capsule || a == strand                  ? 0
           : a == commit || a == finish                 ? 1
           : a == steal || a == lost_steal || a == join ? 2
           : a == idle                                  ? 3
                                                        : 4;
  };
  std::uint64_t end = 1;
  for (const trace_track& t : r.trace.tracks)
    for (const trace_event& e : t.events) end = std::max(end, e.end_ns);
  const double slice = static_cast<double>(end) / slices;
  const double height = 66 + row_height * static_cast<double>(r.trace.tracks.size());
  std::string out = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 860 {0:.0f}\" width=\"860\" height=\"{0:.0f}\" "
      "role=\"img\" font-family=\"sans-serif\" font-size=\"12\">\n"
      "<title>What each worker did, over time</title>\n",
      height);
  double at = name;
  for (const auto& [what, colour] : groups) {
    out += fmt::format(
        "<rect x=\"{0:.0f}\" y=\"4\" width=\"12\" height=\"12\" fill=\"{1}\"/><text x=\"{2:.0f}\" "
        "y=\"15\">{3}</text>\n",
        at, colour, at + 16, what);
    at += 36 + 7 * static_cast<double>(what.size());
  }
  double y = 26;
  for (const trace_track& t : r.trace.tracks) {
    std::vector<std::array<double, std::size(groups)>> in(slices);
    for (const trace_event& e : t.events) {
      if (e.what == activity::strand) continue;  // what it has is in it
      for (auto s = static_cast<std::size_t>(static_cast<double>(e.begin_ns) / slice);
           s < slices && static_cast<double>(s) * slice < static_cast<double>(e.end_ns); ++s)
        in[s][group_of(e.what)] += (std::min(static_cast<double>(e.end_ns), static_cast<double>(s + 1) * slice) -
                                    std::max(static_cast<double>(e.begin_ns), static_cast<double>(s) * slice));
    }
    out +=
        fmt::format("<text x=\"{}\" y=\"{:.0f}\" text-anchor=\"end\">worker {}</text>\n", name - 8, y + 15, t.worker);
    for (std::size_t s = 0; s < slices;) {
      const auto most = [&](std::size_t i) { return std::ranges::max_element(in[i]) - in[i].begin(); };
      const bool empty = *std::ranges::max_element(in[s]) <= 0;
      std::size_t to = s + 1;
      while (to < slices && (*std::ranges::max_element(in[to]) <= 0) == empty && most(to) == most(s)) ++to;
      if (!empty)
        out +=
            fmt::format("<rect x=\"{:.2f}\" y=\"{:.0f}\" width=\"{:.2f}\" height=\"{:.0f}\" fill=\"{}\"/>\n",
                        name + width * static_cast<double>(s) / slices, y, width * static_cast<double>(to - s) / slices,
                        row_height - 5, groups[static_cast<std::size_t>(most(s))].second);
      s = to;
    }
    for (const auto& f : t.faults)
      out += fmt::format("<path d=\"M{0:.2f} {1:.0f}v{2:.0f}\" stroke=\"#000000\"/>\n",
                         name + width * static_cast<double>(f.ns) / static_cast<double>(end), y - 2, row_height - 1);
    y += row_height;
  }
  for (int i = 0; i <= 4; ++i) {
    const char* anchor = i == 0 ? "start" : i == 4 ? "end" : "middle";
    out += fmt::format("<text x=\"{:.0f}\" y=\"{:.0f}\" text-anchor=\"{}\">{}</text>\n", name + width * i / 4, y + 14,
                       anchor, i == 0 ? "0" : readable_ns(static_cast<double>(end) * i / 4));
  }
  return out + "</svg>\n";
}

std::string cost_table(const job_report& r, const std::vector<cost_row>& rows, const char* first) {
  std::string out =
      "<div class=\"wide\"><table>\n" +
      row({first, "commits", "of time", "frames", "lines", "written", "×64", "×256", "again", "same"}, "th");
  for (const cost_row& c : rows) {
    const double lines = std::max<double>(1, static_cast<double>(c.cost.lines));
    out +=
        row({c.line.empty() ? c.function : fmt::format("{} ({})", c.function, c.line), std::to_string(c.cost.commits),
             percent(share(r, c.cost.nanoseconds)), std::to_string(c.cost.frames), std::to_string(c.cost.lines),
             c.cost.bytes == 0 ? "-" : bytes(c.cost.bytes), times(amplification_64(c.cost)),
             times(amplification_256(c.cost)), fmt::format("{:.0f} %", 100 * static_cast<double>(c.cost.again) / lines),
             fmt::format("{:.0f} %", 100 * static_cast<double>(c.cost.unchanged) / lines)});
    std::string causes;
    for (std::size_t i = 0; i < commit_causes; ++i)
      if (c.causes[i] != 0)
        causes += fmt::format("{}{} {}", causes.empty() ? "commits by: " : ", ", name_of(static_cast<commit_cause>(i)),
                              c.causes[i]);
    if (!causes.empty()) out += fmt::format("<tr><td class=\"causes\" colspan=\"10\">{}</td></tr>\n", escaped(causes));
  }
  return out + "</table></div>\n";
}

}  // namespace

std::string medium_to_html(const std::string& text) {
  using json = nlohmann::json;
  std::string out;
  try {
    const json all = json::parse(text);
    for (const json& m : all.at("media")) {
      for (const char* pattern : {"same lines", "sequential", "random 64 B", "random 256 B"}) {
        line_chart chart{fmt::format("{} ({}): {}", m.at("path").get<std::string>(),
                                     m.at("file_system").get<std::string>(), pattern),
                         "lines of 64 bytes",
                         "ns until they are waited for",
                         {}};
        for (const json& c : m.at("lines")) {
          if (c.at("pattern") != pattern) continue;
          const auto way = c.at("way").get<std::string>();
          if (chart.lines.empty() || chart.lines.back().name != way) chart.lines.push_back({way, {}});
          const json& s = c.at("ns");
          chart.lines.back().points.push_back({c.at("lines").get<double>(), s.at("median").get<double>(),
                                               s.at("p10").get<double>(), s.at("p90").get<double>()});
        }
        out += to_svg(chart);
      }
      out += "<dl>\n";
      for (const json& a : m.at("advice"))
        out += fmt::format("<dt>{}: {}</dt><dd>because {}</dd>\n", escaped(a.at("topic").get<std::string>()),
                           escaped(a.at("what").get<std::string>()), escaped(a.at("why").get<std::string>()));
      out += "</dl>\n";
    }
  } catch (const json::exception& e) {
    throw error(fmt::format(
        "expected the figures of a medium, as `ppmm profile medium --json` writes them, found something else: {}",
        e.what()));
  }
  return out;
}

std::string to_html(const job_report& r) {
  const durability_cost sum = sum_of(r);
  std::string out = fmt::format(
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" "
      "content=\"width=device-width, initial-scale=1\">\n"
      "<title>PPMM profile: {0}</title>\n<style>{1}</style>\n</head>\n<body>\n<h1>Where the durability of "
      "&#8220;{0}&#8221; goes</h1>\n",
      escaped(r.job), style);
  out += fmt::format("<p>{:.3f} s with {} worker{}. {}.</p>\n", r.profile.seconds, r.profile.workers,
                     r.profile.workers == 1 ? "" : "s", escaped(r.profile.medium));
  out += "<h2>Advice</h2>\n<dl>\n";
  for (const advice& a : advise(r))
    out += fmt::format("<dt>{}: {}</dt><dd>because {}</dd>\n", escaped(a.topic), escaped(a.what), escaped(a.why));
  out += "</dl>\n<h2>Time</h2>\n" + to_svg(time_chart(r));
  if (!r.trace.tracks.empty())
    out +=
        "<h2>Workers</h2>\n<p class=\"small\">Each slice has the colour of what takes most of it; black strokes are "
        "faults. Single commits are seen in a trace (<code>--trace FILE</code>, opened in ui.perfetto.dev).</p>\n" +
        timeline(r);
  out += "<h2>Commits</h2>\n" + to_svg(cause_chart(r));
  out += fmt::format("<p>{} thefts, {} lost; {} faults, {} graves robbed.</p>\n", r.profile.steals,
                     r.profile.lost_steals, r.profile.faults, r.profile.adoptions);
  out += "<h2>Flushes</h2>\n" + to_svg(line_chart_of(r));
  out += fmt::format(
      "<p>{}: {} lines ({}) in {} fences. Frames and views are {} of these lines; the rest are records, exposures, "
      "heap "
      "lists and undo logs. "
      "The program wrote {} through views; for each byte {} were written back by lines, {} by blocks of 256 bytes "
      "(frames included).</p>\n",
      r.profile.needs_flushes ? "Flushed" : "To be flushed, did this medium need it", r.profile.flushed.lines,
      bytes(r.profile.flushed.lines * 64), r.profile.flushed.fences, sum.lines, bytes(sum.bytes),
      times(amplification_64(sum)), times(amplification_256(sum)));
  out += "<h2>By function</h2>\n" + cost_table(r, r.functions, "function");
  if (!r.lines.empty()) out += "<h2>By source line</h2>\n" + cost_table(r, r.lines, "line");
  out +=
      "<p class=\"small\">&#215;64, &#215;256: bytes written back for each that was written through a view, by lines "
      "and by blocks of 256 bytes. again: lines that were flushed a second time in one capsule; "
      "same: lines that were as they had been when they were last flushed (both estimated from a sample of "
      "lines).</p>\n";
  out += "<h2>Hardware</h2>\n";
  if (!r.counters.empty()) {
    out += "<table>\n" + row({"counter", "value"}, "th");
    for (const auto& c : r.counters) out += row({c.name, fmt::format("{:.4g}", c.value)});
    out += "</table>\n";
  }
  if (!r.counters_missing.empty()) out += fmt::format("<p>Left out: {}.</p>\n", escaped(r.counters_missing));
  if (!r.medium_html.empty()) out += "<h2>The medium</h2>\n" + r.medium_html;
  return out + "</body>\n</html>\n";
}

}  // namespace ppmm::tools
