#include <ppmm/sched/profile.hpp>
#include <ppmm/sched/names.hpp>

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

/// Not 0: until August 2025 Perfetto took such a thread for the one that bears the process's number (its change 2278).
unsigned tid(const trace_track& t) { return t.worker + 1; }

/// An arrow's end must lie in a slice; viewers bind it to the innermost that is there then.
struct moment {
  const trace_track* track;
  std::uint64_t ns;
};

/// Whether a moment of a track lies in a slice: events may have been left out.
class covered {
 public:
  explicit covered(const trace_track& t) : events_(&t.events), begins_(t.events.size()) {
    std::uint64_t first = ~std::uint64_t{0};
    for (std::size_t i = begins_.size(); i-- > 0;) begins_[i] = first = std::min(first, t.events[i].begin_ns);
  }
  bool operator()(std::uint64_t ns) const {
    const auto after = std::ranges::upper_bound(*events_, ns, {}, &trace_event::end_ns);
    return after != events_->end() && begins_[static_cast<std::size_t>(after - events_->begin())] <= ns;
  }

 private:
  const std::vector<trace_event>* events_;
  std::vector<std::uint64_t> begins_;  // the first of this event and all later ones
};

void write_arrows(const run_trace& trace, event_list& out) {
  const auto end_of = [](const trace_event& e) {
    return std::max(e.begin_ns, e.end_ns - std::min<std::uint64_t>(e.end_ns, 1));
  };
  std::map<std::uint64_t, moment> offered;  // when a child could be taken
  std::map<std::uint64_t, moment> arrived;  // who was first at a join
  std::map<unsigned, moment> died;          // by slots
  for (const trace_track& t : trace.tracks) {
    const covered in_a_slice(t);
    for (const auto& e : t.exposures)
      if (in_a_slice(e.ns)) offered[e.exposure] = {&t, e.ns};
    for (const auto& f : t.faults)
      if (f.hard && f.ns > 0 && in_a_slice(f.ns - 1)) died[t.slot] = {&t, f.ns - 1};
    for (const trace_event& e : t.events)
      if (e.what == activity::join && e.exposure != 0)
        if (const auto [at, is_new] = arrived.try_emplace(e.exposure, moment{&t, end_of(e)});
            !is_new && end_of(e) < at->second.ns)
          at->second = {&t, end_of(e)};
  }
  std::uint64_t id = 0;
  const auto arrow = [&](const char* name, const auto& from, auto of, const trace_track& t, const trace_event& e) {
    const auto found = from.find(of);
    if (found == from.end()) return;
    const auto& [track, ns] = found->second;
    if (track == &t || end_of(e) < ns) return;
    ++id;
    out.add(R"({{"ph":"s","cat":"{0}","name":"{0}","id":{1},"pid":1,"tid":{2},"ts":{3:.3f}}})", name, id, tid(*track),
            us(ns));
    out.add(R"({{"ph":"f","bp":"e","cat":"{0}","name":"{0}","id":{1},"pid":1,"tid":{2},"ts":{3:.3f}}})", name, id,
            tid(t), us(end_of(e)));
  };
  for (const trace_track& t : trace.tracks)
    for (const trace_event& e : t.events) {
      if (e.what == activity::steal && e.exposure != 0) arrow("steal", offered, e.exposure, t, e);
      if (e.what == activity::join && e.exposure != 0) arrow("join", arrived, e.exposure, t, e);
      if (e.what == activity::adoption && e.grave != 0) arrow("adoption", died, e.grave - 1, t, e);
    }
}

/// What a slice of the program's is called: its function, without the namespaces, for which most slices are too narrow.
std::string short_name(const std::string& function) {
  const std::size_t at = function.rfind("::");
  if (at == std::string::npos || at + 2 == function.size() || function.compare(at + 2, 8, "operator") == 0)
    return function;
  return function.substr(at + 2);
}

/// Colours for what is not the program's work, from the viewer's list; the others have one each by their names.
const char* colour_of(activity a) {
  if (a == activity::idle) return R"(,"cname":"grey")";
  if (a == activity::lost_steal) return R"(,"cname":"generic_work")";
  if (a == activity::restart) return R"(,"cname":"bad")";
  if (a == activity::adoption) return R"(,"cname":"good")";
  return "";
}

/// What is told of a slice that is clicked on.
std::string details_of(const trace_event& e) {
  std::string out;
  const auto add = [&](std::string_view name, std::string_view value) {
    out += fmt::format(R"({}"{}":"{}")", out.empty() ? "" : ",", name, in_json(value));
  };
  if (!e.type.empty()) add("next", e.type);
  if (e.what == activity::commit) add("cause", name_of(e.cause));
  if (e.grave != 0) add("grave", fmt::format("slot {}", e.grave - 1));
  if (e.cut) add("cut", "by a fault");
  return out;
}

}  // namespace

void write_chrome_trace(const run_trace& trace, const std::function<void(std::string_view)>& write) {
  write(fmt::format(R"({{"displayTimeUnit":"ns","otherData":{{"job":"{}"}},"traceEvents":[)", in_json(trace.job)));
  event_list out(write);
  out.add(R"({{"ph":"M","pid":1,"name":"process_name","args":{{"name":"{}"}}}})", in_json(trace.job));
  unsigned position = 0;
  for (const trace_track& t : trace.tracks) {
    const std::string left_out = t.left_out == 0 ? "" : fmt::format(" ({} events left out)", t.left_out);
    out.add(R"({{"ph":"M","pid":1,"tid":{},"name":"thread_name","args":{{"name":"worker {}, slot {}{}"}}}})", tid(t),
            t.worker, t.slot, left_out);
    // Else "worker 10" comes before "worker 2".
    out.add(R"({{"ph":"M","pid":1,"tid":{},"name":"thread_sort_index","args":{{"sort_index":{}}}}})", tid(t),
            position++);
    // Parents before children, also where both begin at once: viewers sort by time only.
    std::vector<const trace_event*> events;
    for (const trace_event& e : t.events) events.push_back(&e);
    std::ranges::stable_sort(events, [](const trace_event* a, const trace_event* b) {
      return std::tuple(a->begin_ns, b->end_ns, a->what != activity::strand) <
             std::tuple(b->begin_ns, a->end_ns, b->what != activity::strand);
    });
    for (const trace_event* e : events) {
      const std::string name =
          e->what == activity::capsule && !e->type.empty() ? short_name(function_of(e->type)) : name_of(e->what);
      out.add(R"({{"ph":"X","cat":"{}","name":"{}","pid":1,"tid":{},"ts":{:.3f},"dur":{:.3f}{},"args":{{{}}}}})",
              name_of(e->what), in_json(name), tid(t), us(e->begin_ns), us(e->end_ns - e->begin_ns), colour_of(e->what),
              details_of(*e));
    }
    for (const auto& f : t.faults)
      out.add(R"({{"ph":"i","s":"t","cat":"fault","name":"{} fault","pid":1,"tid":{},"ts":{:.3f},"cname":"terrible"}})",
              f.hard ? "hard" : "soft", tid(t), us(f.ns));
  }
  write_arrows(trace, out);
  out.flush();
  write("\n]}\n");
}

}  // namespace ppmm
