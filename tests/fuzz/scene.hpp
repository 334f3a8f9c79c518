/// A job whose tasks can do no harm whatever their arguments are, and pools in which it stands unfinished: made by
/// hand, word by word, so that they are the same in every run and build.
#pragma once

#include <ppmm/ppmm.hpp>
#include <ppmm/sched/image.hpp>
#include <ppmm/sched/record.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace ppmm::fuzz {

using number = std::uint64_t;

// ---- the job: bounded recursion, frames and results of several sizes
// ----------------------------------------------------

struct wide {  // a result that no record holds
  std::array<number, 64> words;
};
struct block {  // arguments of several lines of a record
  std::array<number, 12> words;
};

inline constexpr number most_depth = 6;

inline step<number> grow(context& cx, number depth, number x);
inline step<number> add(context& cx, number tag, number a, number b) {
  cx.advance(1);
  return a + b + tag % 4;
}
inline step<number> plus(context& cx, number tag, number a) {
  cx.advance(1);
  return a + tag % 4;
}
inline step<wide> widen(context&, number x) {
  wide w{};
  w.words.fill(x);
  return w;
}
inline step<number> narrow(context&, number tag, wide w) { return w.words[tag % w.words.size()] + tag % 4; }
inline step<void> mark(context& cx, number) {
  cx.advance(1);
  return {};
}
inline step<number> fold(context&, block b) {
  number sum = 0;
  for (const number w : b.words) sum += w;
  return sum;
}
inline step<number> after_mark(context&, number tag, number folded) { return folded + tag % 4; }
inline constexpr block block_of(number x) {
  block b{};
  for (std::size_t i = 0; i < b.words.size(); ++i) b.words[i] = x + i;
  return b;
}

inline step<number> grow(context& cx, number depth, number x) {
  switch (depth > most_depth ? 0 : depth) {
    case 0:
      return x % 1000;
    case 1:
      return cx.call(task<widen>(x)).then(task<narrow>(x));
    case 2:
      return cx.fork(task<mark>(x), task<fold>(block_of(x))).then(task<after_mark>(x));
    case 3:
      return cx.call(task<grow>(number{2}, x + 1)).then(task<plus>(x));
    default:
      return cx.fork(task<grow>(depth - 1, 2 * x), task<grow>(depth - 2, 2 * x + 1)).then(task<add>(x));
  }
}

inline number serial_fold(number x) {
  number sum = 0;
  for (const number w : block_of(x).words) sum += w;
  return sum;
}
inline number serial_grow(number depth, number x) {
  switch (depth > most_depth ? 0 : depth) {
    case 0:
      return x % 1000;
    case 1:
      return x + x % 4;
    case 2:
      return serial_fold(x) + x % 4;
    case 3:
      return serial_grow(2, x + 1) + x % 4;
    default:
      return serial_grow(depth - 1, 2 * x) + serial_grow(depth - 2, 2 * x + 1) + x % 4;
  }
}

inline auto root_task() { return task<grow>(most_depth, number{1}); }

using fork_add =
    detail::fork_frame<decltype(task<grow>(number{}, number{})), decltype(task<add>(number{})), number, number>;
using fork_fold = detail::fork_frame<decltype(task<fold>(block{})), decltype(task<after_mark>(number{})), unit, number>;
using call_plus = detail::call_frame<decltype(task<plus>(number{})), number>;
using call_narrow = detail::call_frame<decltype(task<narrow>(number{})), wide>;

inline std::array<std::uint64_t, 4> frame_types() {
  return {fork_add::registered, fork_fold::registered, call_plus::registered, call_narrow::registered};
}
inline std::array<const detail::node_type*, 4> task_types() {
  return {&detail::task_node<decltype(task<grow>(number{}, number{}))>::node,
          &detail::task_node<decltype(task<fold>(block{}))>::node,
          &detail::task_node<decltype(task<widen>(number{}))>::node,
          &detail::task_node<decltype(task<mark>(number{}))>::node};
}

// ---- the scenes
// ---------------------------------------------------------------------------------------------------------

inline constexpr std::string_view job_name = "fuzz";
inline constexpr std::uint64_t job_serial = 7;
inline constexpr std::uint32_t scene_workers = 8;
inline constexpr pool_options scene_pool{
    .size = pool::min_size, .max_workers = scene_workers, .sparse = true, .level = durability::process};

struct scene {
  std::vector<detail::frame*> frames;
  number expected = 0;  // the job's result
};

/// Builds scenes into a pool whose data plane is all zeros.
class stage {
 public:
  explicit stage(const pool& p) : img_(p) {}

  static constexpr unsigned scenes = 5;

  scene build(unsigned which) {
    set_ = {};
    switch (which % scenes) {
      case 1:
        joins();
        break;
      case 2:
        arrivals();
        break;
      case 3:
        claimed();
        break;
      case 4:
        done();
        break;
      default:
        set_.expected = serial_grow(most_depth, 1);
    }
    return set_;
  }

 private:
  using record_kind = detail::record_kind;
  using right_state = detail::right_state;
  using join_state = detail::join_state;
  using side = detail::side;
  using place = detail::place;

  /// Frames are stacked in the chunk of this number, of those there are.
  void on_chunk(std::uint32_t k) { top_ = img_.chunk(img_.chunk_ranges()[0].first + k); }

  template <class Frame>
  Frame* push(place parent) {
    auto* f = ::new (static_cast<void*>(top_)) Frame;
    top_ += sizeof(Frame);
    f->parent = parent.word;
    f->link = detail::link_flag::committed;
    f->type = Frame::registered;
    set_.frames.push_back(f);
    return f;
  }
  fork_add* fork(place parent, number depth, number x, number tag) {
    auto* f = push<fork_add>(parent);
    f->right.set(task<grow>(depth, x));
    f->k.set(task<add>(tag));
    return f;
  }
  call_plus* call(place parent, number tag) {
    auto* f = push<call_plus>(parent);
    f->k.set(task<plus>(tag));
    return f;
  }
  static place left(detail::frame* f) { return {f, side::left}; }
  static place right(detail::frame* f) { return {f, side::right}; }

  void expose(detail::frame* f, detail::exposure e, right_state r, detail::identity thief, join_state j, side first) {
    detail::exposure_slot& s = img_.slot(e.slot);
    s.generation.store(e.generation);
    s.frame_address.store(reinterpret_cast<std::uintptr_t>(f));
    s.right.store(detail::right_word(e.generation, r, thief));
    s.join.store(detail::join_word(e.generation, j, first));
    f->link = detail::exposed_link(e);
  }

  void record(unsigned worker, record_kind kind, std::uint64_t at, std::uint64_t type) {
    detail::restart r;
    r.kind = kind;
    r.at = at;
    r.type = type;
    put(worker, r);
  }
  template <class Task>
  void record_run(unsigned worker, place at, const Task& t) {
    detail::restart r;
    r.kind = record_kind::run;
    r.at = at.word;
    r.type = detail::task_node<Task>::node.id;
    r.bytes = sizeof t;
    std::memcpy(r.arguments, &t, sizeof t);
    put(worker, r);
  }
  void put(unsigned worker, detail::restart& r) {
    r.sequence = 4 + worker;
    r.job = job_serial;
    r.progress = 10 * worker;
    r.when = 1;
    std::size_t bytes = 0;
    detail::write_record(img_.worker(worker), r, bytes);
  }

  /// A strand over two chunks with a stolen, an arrived and an exposed frame; the thief's strand, about to run a right
  /// child that was taken back; and a thief that has arrived first.
  void joins() {
    on_chunk(0);
    fork_add* f0 = fork(place(), 3, 100, 1);
    fork_add* f1 = fork(left(f0), 2, 200, 2);
    fork_add* f2 = fork(left(f1), 4, 300, 3);
    call_plus* c3 = call(left(f2), 5);
    on_chunk(1);
    fork_add* f4 = fork(left(c3), 5, 400, 6);
    on_chunk(2);
    fork_add* g0 = fork(right(f0), 4, 500, 7);
    expose(f0, {0, 1}, right_state::stolen, {1, 0}, join_state::none, side::left);
    expose(f1, {1, 2}, right_state::stolen, {2, 0}, join_state::first, side::right);
    expose(f2, {2, 1}, right_state::available, {}, join_state::none, side::left);
    expose(g0, {256, 3}, right_state::inlined, {}, join_state::none, side::left);
    f1->right_result.set(12);
    g0->left.set(34);
    record_run(0, left(f4), task<grow>(number{4}, number{11}));
    record(1, record_kind::right, right(g0).word, 0);
    record(2, record_kind::arrive, detail::exposure_word({1, 2}), 1);
    number v = serial_grow(4, 11) + serial_grow(5, 400) + 6 % 4;  // f4
    v = v + 5 % 4;                                                // c3
    v = v + serial_grow(4, 300) + 3 % 4;                          // f2
    v = v + 12 + 2 % 4;                                           // f1
    set_.expected = v + (34 + serial_grow(4, 500) + 7 % 4) + 1;   // f0
  }

  /// Both sides on their way to a join; a robbery under way of a worker that had stolen; a theft that was lost.
  void arrivals() {
    on_chunk(3);
    call_plus* root = call(place(), 3);
    fork_add* f0 = fork(left(root), 4, 60, 1);
    fork_add* f1 = fork(left(f0), 4, 70, 2);
    expose(f0, {3, 5}, right_state::stolen, {3, 0}, join_state::none, side::left);
    expose(f1, {4, 1}, right_state::stolen, {1, 0}, join_state::none, side::left);
    f1->left.set(1000);
    f1->right_result.set(2000);
    detail::exposure_slot& lost = img_.slot(5 * detail::exposure_slots_per_worker);
    lost.generation.store(8);
    lost.right.store(detail::right_word(8, right_state::inlined));
    lost.join.store(detail::join_word(8, join_state::none));
    lost.frame_address.store(reinterpret_cast<std::uintptr_t>(f1));
    record(0, record_kind::arrive, detail::exposure_word({4, 1}), 0);
    record(1, record_kind::arrive, detail::exposure_word({4, 1}), 1);
    record(3, record_kind::steal, detail::exposure_word({3, 5}), detail::identity_word({3, 0}));
    img_.worker(3).owner.store(detail::robbed_word(0, {4, 0}));
    record(4, record_kind::rob, std::uint64_t{3} << 32, detail::identity_word({4, 0}));
    record(5, record_kind::steal, detail::exposure_word({5 * detail::exposure_slots_per_worker, 8}),
           detail::identity_word({5, 0}));
    set_.expected = 1000 + 2000 + 2 % 4 + serial_grow(4, 60) + 1 + 3;
  }

  /// A join that was claimed and not yet gone on from; a continuation about to run on a stolen strand; a task with
  /// arguments in several lines right at a stolen edge.
  void claimed() {
    on_chunk(1);
    fork_add* root = fork(place(), 4, 1, 2);
    fork_add* p = fork(left(root), 4, 2, 3);
    fork_add* f = fork(left(p), 4, 3, 1);
    on_chunk(5);
    auto* q = push<fork_fold>(right(p));
    q->right.set(task<fold>(block_of(9)));
    q->k.set(task<after_mark>(number{2}));
    q->right_result.set(77);
    expose(root, {7, 2}, right_state::stolen, {2, 4}, join_state::none, side::left);
    expose(p, {6, 1}, right_state::stolen, {1, 0}, join_state::none, side::left);
    expose(f, {5, 9}, right_state::stolen, {6, 0}, join_state::claimed, side::left);
    f->link = detail::link_flag::committed;
    f->left.set(50);
    f->right_result.set(60);
    img_.worker(2).owner.store(detail::owner_word(4));
    record(0, record_kind::arrive, detail::exposure_word({5, 9}), 0);
    record(1, record_kind::continuation, right(q).word, 0);
    record_run(2, right(root), task<fold>(block_of(9)));
    set_.expected = (50 + 60 + 1) + (77 + 2) + 3 + serial_fold(9) + 2;
  }

  void done() {
    detail::restart r;
    r.kind = record_kind::done;
    const number result = 4242;
    r.bytes = sizeof result;
    std::memcpy(r.arguments, &result, sizeof result);
    put(1, r);
    set_.expected = result;
  }

  detail::image img_;
  std::byte* top_ = nullptr;
  scene set_;
};

}  // namespace ppmm::fuzz
