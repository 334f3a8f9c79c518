#include <ppmm/sched/profile.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <map>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

namespace ppmm {

const char* name_of(commit_cause cause) {
  constexpr const char* names[] = {"heartbeat", "idle worker", "conflict", "memory", "user",     "every task", "stack",
                                   "stop",      "start",       "steal",    "join",   "adoption", "end"};
  return names[static_cast<std::size_t>(cause)];
}

const char* name_of(activity a) {
  constexpr const char* names[] = {"strand",     "capsule", "commit",  "join",     "steal",
                                   "lost steal", "idle",    "restart", "adoption", "finish"};
  return names[static_cast<std::size_t>(a)];
}

durability_cost& durability_cost::operator+=(const durability_cost& o) {
  commits += o.commits;
  nanoseconds += o.nanoseconds;
  fences += o.fences;
  frames += o.frames;
  lines += o.lines;
  blocks_256 += o.blocks_256;
  bytes += o.bytes;
  again += o.again;
  unchanged += o.unchanged;
  return *this;
}

std::uint64_t run_profile::untold_ns() const {
  std::uint64_t told = 0;
  for (const std::uint64_t n : nanoseconds) told += n;
  const auto all = static_cast<std::uint64_t>(seconds * 1e9 * workers);
  return all - std::min(all, told);
}

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

namespace {

std::string in_json(std::string_view text) {
  std::string out;
  for (const char c : text)
    if (c == '"' || c == '\\')
      out += {'\\', c};
    else if (static_cast<unsigned char>(c) < 0x20)
      out += fmt::format("\\u{:04x}", static_cast<unsigned char>(c));
    else
      out += c;
  return out;
}

/// Writes events one by one, separated by commas.
class event_list {
 public:
  explicit event_list(const std::function<void(std::string_view)>& write) : write_(write) {}
  template <class... Arguments>
  void add(fmt::format_string<Arguments...> format, Arguments&&... arguments) {
    text_ += first_ ? "\n" : ",\n";
    first_ = false;
    fmt::format_to(std::back_inserter(text_), format, std::forward<Arguments>(arguments)...);
    if (text_.size() > (std::size_t{1} << 16)) flush();
  }
  void flush() {
    write_(text_);
    text_.clear();
  }

 private:
  const std::function<void(std::string_view)>& write_;
  std::string text_;
  bool first_ = true;
};

double us(std::uint64_t ns) { return static_cast<double>(ns) / 1000; }

/// What is an arrow's end must lie in a slice; Perfetto binds it to the one that is there then.
struct moment {
  unsigned worker;
  std::uint64_t ns;
};

void write_arrows(const run_trace& trace, event_list& out) {
  const auto end_of = [](const trace_event& e) {
    return std::max(e.begin_ns, e.end_ns - std::min<std::uint64_t>(e.end_ns, 1));
  };
  std::map<std::uint64_t, moment> offered;  // when a child could be taken
  std::map<std::uint64_t, moment> arrived;  // who was first at a join
  for (const trace_track& t : trace.tracks) {
    for (const auto& e : t.exposures) offered[e.exposure] = {t.worker, e.ns};
    for (const trace_event& e : t.events)
      if (e.what == activity::join && e.exposure != 0)
        if (const auto [at, is_new] = arrived.try_emplace(e.exposure, moment{t.worker, end_of(e)});
            !is_new && end_of(e) < at->second.ns)
          at->second = {t.worker, end_of(e)};
  }
  std::uint64_t id = 0;
  const auto arrow = [&](const char* name, moment from, moment to) {
    if (to.ns < from.ns) return;
    ++id;
    out.add(R"({{"ph":"s","cat":"{0}","name":"{0}","id":{1},"pid":1,"tid":{2},"ts":{3:.3f}}})", name, id, from.worker,
            us(from.ns));
    out.add(R"({{"ph":"f","bp":"e","cat":"{0}","name":"{0}","id":{1},"pid":1,"tid":{2},"ts":{3:.3f}}})", name, id,
            to.worker, us(to.ns));
  };
  for (const trace_track& t : trace.tracks)
    for (const trace_event& e : t.events) {
      if (e.exposure == 0) continue;
      if (const auto from = offered.find(e.exposure); e.what == activity::steal && from != offered.end())
        arrow("steal", from->second, {t.worker, end_of(e)});
      if (const auto from = arrived.find(e.exposure); e.what == activity::join && from->second.worker != t.worker)
        arrow("join", from->second, {t.worker, end_of(e)});
    }
}

}  // namespace

void write_chrome_trace(const run_trace& trace, const std::function<void(std::string_view)>& write) {
  write(fmt::format(R"({{"displayTimeUnit":"ns","otherData":{{"job":"{}"}},"traceEvents":[)", in_json(trace.job)));
  event_list out(write);
  out.add(R"({{"ph":"M","pid":1,"name":"process_name","args":{{"name":"{}"}}}})", in_json(trace.job));
  for (const trace_track& t : trace.tracks) {
    out.add(R"({{"ph":"M","pid":1,"tid":{},"name":"thread_name","args":{{"name":"worker {}, slot {}"}}}})", t.worker,
            t.worker, t.slot);
    // Parents before children, also where both begin at once: viewers sort by time only.
    std::vector<const trace_event*> events;
    for (const trace_event& e : t.events) events.push_back(&e);
    std::ranges::stable_sort(events, [](const trace_event* a, const trace_event* b) {
      return std::tuple(a->begin_ns, b->end_ns, a->what != activity::strand) <
             std::tuple(b->begin_ns, a->end_ns, b->what != activity::strand);
    });
    for (const trace_event* e : events) {
      const std::string name =
          e->what == activity::capsule && !e->type.empty() ? function_of(e->type) : name_of(e->what);
      out.add(
          R"({{"ph":"X","cat":"{}","name":"{}","pid":1,"tid":{},"ts":{:.3f},"dur":{:.3f},"args":{{"next":"{}"{}{}}}}})",
          name_of(e->what), in_json(name), t.worker, us(e->begin_ns), us(e->end_ns - e->begin_ns), in_json(e->type),
          e->what == activity::commit ? fmt::format(R"(,"cause":"{}")", name_of(e->cause)) : "",
          e->cut ? R"(,"cut":"by a fault")" : "");
    }
    for (const auto& f : t.faults)
      out.add(R"({{"ph":"i","s":"t","cat":"fault","name":"{} fault","pid":1,"tid":{},"ts":{:.3f}}})",
              f.hard ? "hard" : "soft", t.worker, us(f.ns));
    if (t.left_out != 0)
      out.add(R"({{"ph":"M","pid":1,"tid":{},"name":"thread_labels","args":{{"labels":"{} events left out"}}}})",
              t.worker, t.left_out);
  }
  write_arrows(trace, out);
  out.flush();
  write("\n]}\n");
}

}  // namespace ppmm
