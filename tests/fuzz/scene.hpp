/// A job whose tasks can do no harm whatever their arguments are, and pools in which it stands unfinished: made by
/// hand, word by word, so that they are the same in every run and build.
#pragma once

#include <ppmm/ppmm.hpp>
#include <ppmm/alloc/heap.hpp>
#include <ppmm/pmem/checksum.hpp>
#include <ppmm/sched/image.hpp>
#include <ppmm/sched/record.hpp>
#include <ppmm/sched/undo.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <typeinfo>
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
// What the heap is asked for. No address that a task was given is read or written by it: such a one is only handed to
// what has to refuse it (free, update), so a forged one must not do harm.

inline constexpr std::array<std::size_t, 8> block_sizes = {1, 3, 16, 100, 130, 512, 4096, 9000};  // numbers
inline constexpr const char* root_name = "numbers";
inline constexpr std::size_t root_size = 16;

/// What an earlier job has left; none in a pool without it.
inline array<number> left_behind(context& cx) {
  try {
    return cx.find_root<number>(root_name);
  } catch (const root_error&) {
    return {};
  }
}
inline step<void> swap(context& cx, number seen) {
  if (const auto root = left_behind(cx); !root.empty())
    cx.cam(shared<number>(root.address()), seen % 1000, seen % 1000 + 1);
  return {};
}
/// An undo log that was forged may put something back there meanwhile: no finding of ThreadSanitizer's.
__attribute__((no_sanitize("thread"))) inline void read_some(const array<number>& a, number x) {
  const number sum = a.address()[a.size() > 1 ? 1 + x % (a.size() - 1) : 0] + a.address()[a.size() - 1];
  asm volatile("" : : "r"(sum) : "memory");
}
inline step<void> look(context& cx, number x) {
  const auto root = left_behind(cx);
  if (root.empty()) return {};
  read_some(root, x);
  return cx.tail(task<swap>(cx.load(shared<number>(root.address()))));
}
inline step<void> change(context& cx, array<number> a, number x) {
  const auto part = cx.update(inout<number>(a.address(), std::min<std::size_t>(a.size(), 4)));
  for (number& n : part) n += x;
  return {};
}
inline step<void> release(context& cx, array<number> a, array<number> b, number x) {
  cx.free(a);
  if (x % 3 != 0)
    cx.free(b);
  else
    cx.set_root("made", b);
  cx.advance(1);
  return {};
}
inline step<void> mark(context& cx, number x) {
  const auto a = cx.alloc<number>(block_sizes[x % block_sizes.size()]), b = cx.alloc<number>(x % 7 + 1);
  const auto part = cx.write(out<number>(a.address(), std::min<std::size_t>(a.size(), 8)));
  std::ranges::fill(part, x);
  cx.write(b)[0] = x;
  return cx.fork(task<look>(x), task<change>(a, x)).then(task<release>(a, b, x));
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
using fork_release = detail::fork_frame<decltype(task<change>(array<number>(), number{})),
                                        decltype(task<release>(array<number>(), array<number>(), number{})), unit, unit>;
using call_narrow = detail::call_frame<decltype(task<narrow>(number{})), wide>;

inline std::array<std::uint64_t, 5> frame_types() {
  return {fork_add::registered, fork_fold::registered, call_plus::registered, call_narrow::registered, fork_release::registered};
}
inline std::array<const detail::node_type*, 8> task_types() {
  return {&detail::task_node<decltype(task<grow>(number{}, number{}))>::node,
          &detail::task_node<decltype(task<fold>(block{}))>::node,
          &detail::task_node<decltype(task<widen>(number{}))>::node,
          &detail::task_node<decltype(task<mark>(number{}))>::node,
          &detail::task_node<decltype(task<look>(number{}))>::node,
          &detail::task_node<decltype(task<swap>(number{}))>::node,
          &detail::task_node<decltype(task<change>(array<number>(), number{}))>::node,
          &detail::task_node<decltype(task<release>(array<number>(), array<number>(), number{}))>::node};
}

// ---- the scenes
// ---------------------------------------------------------------------------------------------------------

inline constexpr std::string_view job_name = "fuzz";
inline constexpr std::uint64_t job_serial = 7;
inline constexpr std::uint64_t kept_serial = 3;  // of an earlier job, which has set a root
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
    heap();
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
    r.has_list = has_list_;
    has_list_ = false;
    std::size_t bytes = 0;
    detail::write_record(img_.worker(worker), r, bytes);
  }

  std::uint32_t chunk(std::uint32_t k) const { return img_.chunk_ranges()[0].first + k; }
  detail::chunk_entry& entry(std::uint32_t k) const { return img_.chunk_ranges()[0].table[k]; }

  /// What an earlier job has kept, and this one has allocated: a root of blocks of 128 bytes; blocks of 4 KiB; an extent.
  void heap() {
    constexpr unsigned small = detail::size_class_for(root_size * sizeof(number), 8), large = detail::size_class_for(4096, 8);
    detail::heap_control& control = *img_.heap().control;
    control.newest.store(job_serial);
    control.kept[0].store(1u << kept_serial);
    auto* bits = reinterpret_cast<detail::block_bits*>(img_.chunk(chunk(6)));
    bits->alloc.store(0b1011);
    bits->free.store(0b0010);
    entry(6).serial.store(kept_serial);
    entry(6).word.store(detail::chunk_word(2, detail::chunk_kind::superblock, small, 1));
    entry(7).bits.alloc.store(0b111);
    entry(7).bits.young.store(0b110);
    entry(7).serial.store(job_serial);
    entry(7).word.store(detail::chunk_word(1, detail::chunk_kind::superblock, large, 0));
    entry(9).chunks.store(1);
    entry(9).word.store(detail::chunk_word(1, detail::chunk_kind::rest));
    entry(8).chunks.store(2);
    entry(8).bits.alloc.store(1);
    entry(8).bits.young.store(1);
    entry(8).serial.store(job_serial);
    entry(8).word.store(detail::chunk_word(3, detail::chunk_kind::extent));
    root_ = reinterpret_cast<number*>(img_.chunk(chunk(6)) + detail::class_layouts[small].first);
    for (number i = 0; i < root_size; ++i) root_[i] = i;
    detail::root_slot& r = control.roots[0];
    std::memcpy(r.name, root_name, std::strlen(root_name));
    r.versions[0].address.store(reinterpret_cast<std::uintptr_t>(root_));
    r.versions[0].count.store(root_size);
    r.versions[0].type.store(detail::hash_of_name(typeid(number).name()));
    r.versions[0].bytes.store(sizeof(number));
    r.versions[0].serial.store(kept_serial);
  }
  /// The worker's record, which comes next, has changed these bits.
  void list(unsigned worker, const std::vector<std::uint64_t>& words) {
    const std::uint64_t sequence = 4 + worker;
    detail::redo_area& area = img_.worker(worker).redo[sequence & 1];
    area.sequence = sequence;
    area.count = words.size();
    std::ranges::copy(words, area.words);
    area.checksum = detail::list_checksum(area, words);
    has_list_ = true;
  }
  /// The worker's capsule has updated a number that stands so far behind the root: in a block that no task reads.
  void update(unsigned worker, std::size_t element, number before) {
    auto* head = reinterpret_cast<detail::undo_head*>(img_.chunk(chunk(4)));
    *head = {4 + worker, reinterpret_cast<std::uintptr_t>(root_ + element), sizeof(number), 0};
    std::memcpy(head + 1, &before, sizeof before);
    const std::uint64_t words[] = {head->sequence, head->address, head->bytes, worker};
    head->checksum = checksum(words, sizeof words) ^ checksum(&before, sizeof before);
    img_.worker(worker).undo.store(std::uint64_t{chunk(4)} + 1);
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
    list(0, {detail::redo_word(2, chunk(6), 5, true, false), detail::redo_word(1, chunk(7), 1, true, true)});
    update(0, 3 * root_size, 3);
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
    list(0, {detail::redo_word(3, chunk(8), 0, true, true)});
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
  number* root_ = nullptr;
  bool has_list_ = false;  // the next record
  scene set_;
};

}  // namespace ppmm::fuzz
