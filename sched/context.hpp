/// What a task sees of the runtime, and the fast path: a fork as a few plain stores and two direct calls.
///
/// `cx.fork(a, b).then(k)` pushes a frame, calls `a`, calls `b` if nobody took it, pops the frame and calls `k`. No
/// atomic, no fence, no allocation. The slow path (safepoint.cpp, commit.cpp, join.cpp) is entered only where a frame's
/// link is not zero or the fuel until the next look at the clock is used up.
#pragma once

#include <ppmm/alloc/spread.hpp>
#include <ppmm/alloc/arena.hpp>
#include <ppmm/alloc/array.hpp>
#include <ppmm/check/watch.hpp>
#include <ppmm/pmem/persist.hpp>  // line_size
#include <ppmm/sched/frame.hpp>
#include <ppmm/sched/layout.hpp>
#include <ppmm/sched/step.hpp>
#include <ppmm/sched/task.hpp>
#include <ppmm/sched/view.hpp>

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <span>
#include <string_view>
#include <type_traits>
#include <typeinfo>
#include <utility>

namespace ppmm {

class context;

namespace detail {

class worker;

/// A task without its type: what goes into a record.
struct task_ref {
  const node_type* type;
  const void* bytes;
};

template <class Task>
task_ref ref(const Task& task) {
  static_assert(sizeof(Task) <= max_argument_bytes, "a task's arguments are too large for a record; put them into pool memory");
  return {&task_node<Task>::node, &task};
}

/// Thrown by context::write when the task would overwrite what its capsule has read. Caught where the task was called:
/// it is run again as a capsule of its own. Not an error of the user's, so not derived from std::exception.
struct overwrite {
  const void* address;
  std::size_t bytes;
  bool cell = false;  // a CAM that must be the first thing in its capsule
};
[[noreturn, gnu::cold]] void overwrites_its_own_input(const overwrite&);

/// Runs a task's body; if it would overwrite what its capsule has read, commits just before it and runs it again.
/// `Running`: the task's or continuation's type.
template <class Running, class Body, class Commit>
[[gnu::always_inline]] inline auto restartable(Body body, Commit commit) -> decltype(body()) {
  [[maybe_unused]] const watch::running<Running> now;
  try {
    return body();
  } catch (const overwrite&) {
  }
  commit();
  try {
    return body();
  } catch (const overwrite& o) {
    overwrites_its_own_input(o);
  }
}

inline constexpr std::size_t copy_block_bytes = 4096;  // context::fill: twice as much is slower already

enum class after_left : std::uint8_t { run_right, joined, gone };

template <class Left, class Right>
class fork_call;
template <class Child>
class child_call;
template <class T>
struct without;

}  // namespace detail

/// Given to every task as its first argument; belongs to one worker.
class context {
 public:
  /// Runs the tasks in parallel; `.then(k)` goes on with their results. Must be what the calling task returns.
  template <task_like Left, task_like Right>
  auto fork(const Left& left, const Right& right) {
    return detail::fork_call<Left, Right>(*this, left, right);
  }
  template <task_like First, task_like Second, task_like Third, task_like... More>
  auto fork(const First& first, const Second& second, const Third& third, const More&... more);

  /// Runs one task; `.then(k)` goes on with its result on the persistent stack. Must be what the calling task returns.
  template <task_like Child>
  auto call(const Child& child) {
    return detail::child_call<Child>(*this, child);
  }

  /// Goes on as another task: no frame is pushed. Must be what the calling task returns.
  template <task_like Next>
  step<task_result<Next>> tail(const Next& next);

  /// A safe point: commits if it is time. `here` is the task that does all that is left to do; a repeated capsule begins
  /// there. False: what is left is done elsewhere, and the task must return step::detached() at once.
  template <task_like Here>
  bool safe_point(const Here& here) {
    detail::watch::durable(here);
    if (--fuel_ < 0) [[unlikely]]
      return poll_task(here);
    return true;
  }
  /// One turn of a loop, right after the safe point with the same `here`: runs `body()`. A task that makes turns opens its
  /// views inside them only.
  template <task_like Here, std::invocable Body>
  void run_turn(const Here& here, Body body) {
    detail::watch::turn_begins<Here>();
    detail::restartable<detail::watch::turn>([&] { return body(), 0; }, [&, at = cur_] { commit_task(here, detail::place(at)); });
  }
  /// Both: a turn of a loop.
  template <task_like Here, std::invocable Body>
  bool turn(const Here& here, Body body) {
    if (!safe_point(here)) return false;
    run_turn(here, body);
    return true;
  }
  /// True after a commit that found nothing in this strand for a thief to take: a loop then forks off half of its rest.
  bool split_wanted() const { return split_wanted_; }
  /// Makes the next fork commit at once and expose its frame.
  void commit_next() {
    spill_fuel();
    commit_next_ = true;
  }

  /// Opens a view for reading.
  template <class T>
  std::span<const T> read(const in<T>& v) {
    detail::watch::opened(detail::watch::view_kind::read, v.address(), v.size());
    note_read(v.address(), v.size_bytes());
    return {v.address(), v.size()};
  }
  /// Opens all rows of a tile for reading: one look at what was written, not one a row.
  template <class T>
  rows<const T> read(const tile<in<T>>& t) {
    if (t.empty()) return {};
    for (std::size_t r = 0; r < t.rows(); ++r) detail::watch::opened(detail::watch::view_kind::read, t.row(r).address(), t.columns());
    note_read(t.row(0).address(), t.columns() * sizeof(T), t.stride() * sizeof(T), t.rows());
    return {t.row(0).address(), t.stride()};
  }
  /// Opens all rows of a tile for writing.
  template <class T>
  rows<T> write(const tile<out<T>>& t) {
    if (t.empty()) return {};
    for (std::size_t r = 0; r < t.rows(); ++r) write(t.row(r));
    return {t.row(0).address(), t.stride()};
  }

  /// Opens a view for writing; the runtime flushes it with this capsule's commit. If the capsule has read any of it
  /// before, the task is run again in a capsule of its own; a task that itself read what it writes is an error.
  template <class T>
  std::span<T> write(const out<T>& v) {
    detail::watch::opened(detail::watch::view_kind::write, v.address(), v.size());
    note_write(v.address(), v.size_bytes());
    return {v.address(), v.size()};
  }

  /// Writes a view from its beginning to its end: `fill(part, at)` writes all elements of `part`, which are those from
  /// `at` on, and reads none of them; parts are some KiB. For outputs that are large: where a flush costs anything, a part
  /// is a buffer, copied past the caches when it is full, so that it is on its way to the medium while the next one is
  /// computed. Else as write.
  template <class T, std::invocable<std::span<T>, std::size_t> Fill>
  void fill(const out<T>& v, Fill fill);
  /// Writes `f(i)` to each element i of [lo, hi) of a view, from the first to the last, as fill does; gives f, which is
  /// trivially copyable, as it is then. Faster: what is made of words goes past the caches one by one, without a buffer, and
  /// where flushes cost nothing it does so if the whole view is larger than the caches.
  template <class T, std::invocable<std::size_t> F>
  F fill_each(const out<T>& v, std::size_t lo, std::size_t hi, F f);

  /// `n` objects of the pool's heap, not initialised: written through a view. Allocated when this capsule commits, so a
  /// repeated capsule does not leak. They last until they are freed or the job ends; beyond it, if the job finishes and
  /// has set a root. Throws out_of_pool_memory, at which the job stops, to go on in a larger pool. Cost: some ns; more than
  /// 32 KiB: whole chunks of 64 KiB, and some fences.
  template <class T>
  array<T> alloc(std::size_t n) {
    static_assert(std::is_trivially_copyable_v<T>, "objects in a pool must be trivially copyable");
    static_assert(alignof(T) <= detail::max_block_alignment);
    if (n == 0) return {};
    if (n > ~std::size_t{0} / 2 / sizeof(T)) n = ~std::size_t{0} / 2 / sizeof(T);  // refused, with its size
    return {reinterpret_cast<T*>(allocate(n * sizeof(T), alignof(T))), n};
  }
  /// One object.
  template <class T>
  ptr<T> alloc() {
    return alloc<T>(1)[0];
  }
  /// `n` objects in the part of the pool on a NUMA node, or, with placement::interleaved and blocked, over all parts: as
  /// alloc, in whole chunks of 64 KiB.
  template <class T>
  array<T> alloc(std::size_t n, placement::on_node where) {
    if (n == 0) return {};
    return {allocate_in<T>(part_on(where.node), n), n};
  }
  template <class T>
  spread<T> alloc(std::size_t n, placement::interleaved how) {
    return allocate_spread<T>(n, how.bytes / sizeof(T));
  }
  template <class T>
  spread<T> alloc(std::size_t n, placement::blocked) {
    return allocate_spread<T>(n, n / parts() + (n % parts() != 0 ? 1 : 0));
  }
  /// Parts of the pool, and the one that is nearest to the worker that runs the task now: another may run the next.
  unsigned parts() const;
  unsigned near_part() const { return arena_->part(); }
  /// Frees what alloc gave, in this job or an earlier one, on any worker; as of this capsule's commit. Throws
  /// invalid_free, which fails the job. None: nothing is done.
  template <class T>
  void free(const array<T>& a) {
    if (!a.empty()) free_block(a.address());
  }
  template <class T>
  void free(ptr<T> p) {
    if (p) free_block(p.address());
  }
  template <class T>
  void free(const spread<T>& s) {
    for (unsigned p = 0; p < s.pieces(); ++p) free(s.piece(p));
  }
  /// Runs `body(cx, a)` with an array of `n` objects of the pool's heap that lasts as long as the body's frame: not
  /// initialised, written through views, also across capsules and by the body's children, and freed when the body's value
  /// is there, which is passed on. `body` is a closure, or a task<f>(…) that lacks its last argument. Must be what the
  /// calling task returns. Throws out_of_pool_memory. Cost: as alloc, free and a call.
  template <class T, durable_value Body>
  auto with(std::size_t n, const Body& body);

  /// The pool's root of that name is `a`, as of the end of this job: then all that the job allocated and did not free
  /// stays. If the job fails, the root is what it was. `find_root` reads it. Throws root_error.
  template <class T>
  void set_root(std::string_view name, const array<T>& a) {
    detail::watch::durable(a);
    put_root(name, reinterpret_cast<std::uintptr_t>(a.address()), a.size(), typeid(T).name(), sizeof(T));
  }
  /// What an earlier job left under that name: the same throughout a job, whatever it sets itself. Throws root_error.
  template <class T>
  array<T> find_root(std::string_view name) const {
    const detail::root_value v = get_root(name, typeid(T).name(), sizeof(T));
    return {reinterpret_cast<T*>(v.address), v.count};
  }
  template <class T>
  void set_root(std::string_view name, ptr<T> p) {
    set_root(name, array<T>(p));
  }

  /// `n` objects of ephemeral memory, not initialised, until this capsule ends: for what a task needs between two of its
  /// safe points. A fork, call, tail or turn may end the capsule; then the memory is given to others, and in builds with
  /// assertions or AddressSanitizer whoever still uses it is found out. So it is never captured, passed on, or kept from
  /// turn to turn. Throws error where the machine has not so much, which fails the job. Cost: some ns; no flush. More
  /// than 32 KiB: what operator new takes.
  template <class T>
  std::span<T> scratch(std::size_t n) {
    static_assert(std::is_trivially_copyable_v<T> && std::is_trivially_destructible_v<T>, "nobody destroys what is in scratch memory");
    if (n > ~std::size_t{0} / 2 / sizeof(T)) n = ~std::size_t{0} / 2 / sizeof(T);  // refused, with its size
    return {reinterpret_cast<T*>(scratch_bytes(n * sizeof(T), alignof(T))), n};
  }
  std::span<std::byte> scratch(std::size_t bytes) { return scratch<std::byte>(bytes); }

  /// Opens a view for updating in place: what stands there is saved, durably, before this returns. Cost: one fence and
  /// two copies (no fence for what this capsule has allocated; nothing for what this task has). Throws error if the view is not in the pool.
  template <class T>
  std::span<T> update(const inout<T>& v) {
    detail::watch::opened(detail::watch::view_kind::update, v.address(), v.size());
    note_update(v.address(), v.size_bytes(), alignof(T));
    return {v.address(), v.size()};
  }
  template <class T>
  std::span<T> update(const array<T>& a) {
    return update(inout<T>(a.address(), a.size()));
  }
  template <class T>
  std::span<T> update(ptr<T> p) {
    return update(array<T>(p));
  }

  /// The value of a shared cell. What follows from it becomes durable only with it. Cost: a load; a flush in the commit.
  template <class T>
  T load(const shared<T>& c) {
    detail::watch::uses_cell(c.address());
    T value;
    load_cell(c.address(), &value, sizeof(T));
    return value;
  }
  /// Compare-and-modify: the cell becomes `desired` if it is `expected`. Whether it did is learned by `load` after it. The
  /// capsule may not have read a cell, written a view, allocated or freed before, for a repeated capsule must do the same
  /// CAM, and what it publishes must be durable: if it has, the task is run again in a capsule of its own. So in a task
  /// CAMs come first. Cost: an atomic operation; mostly a commit.
  template <class T>
  void cam(const shared<T>& c, const T& expected, const T& desired) {
    detail::watch::durable(desired);
    detail::watch::uses_cell(c.address());
    cam_cell(c.address(), &expected, &desired, sizeof(T));
  }

  template <class T>
  std::span<const T> read(const array<T>& a) {
    return read(in<T>(a.address(), a.size()));
  }
  template <class T>
  std::span<T> write(const array<T>& a) {
    return write(out<T>(a.address(), a.size()));
  }
  template <class T>
  std::span<const T> read(ptr<T> p) {
    return read(array<T>(p));
  }
  template <class T>
  std::span<T> write(ptr<T> p) {
    return write(array<T>(p));
  }

  /// Counts work done, in the user's units. What is committed counts exactly once, whatever crashes. To be called when
  /// a body has opened all its views: a body that is run again because of a view would count again.
  void advance(std::uint64_t units);

  /// The worker slot that executes (hard who-am-I).
  unsigned hard_id() const;
  /// The worker slot that the current strand's record was first written by (soft who-am-I): after a grave was robbed it is the dead one's.
  unsigned soft_id() const;

  context(const context&) = delete;
  context& operator=(const context&) = delete;

 private:
  template <class>
  friend struct detail::without;
  template <class, class>
  friend class detail::fork_call;
  template <class>
  friend class detail::child_call;
  template <class, class, class, class>
  friend struct detail::fork_frame;
  template <class, class>
  friend struct detail::call_frame;
  template <class>
  friend struct detail::task_node;
  friend class detail::worker;
  context(detail::worker& w, detail::arena& a) : arena_(&a), worker_(&w) {}
  ~context() = default;

  /// Room for a frame on top of the stacklet, its head filled in.
  template <class Frame>
  Frame* push() {
    static_assert(sizeof(Frame) < detail::chunk_bytes, "a frame's captures and arguments are too large; put them into pool memory");
    std::byte* at = room_.top;
    if (reinterpret_cast<std::uintptr_t>(at) + sizeof(Frame) > reinterpret_cast<std::uintptr_t>(room_.limit)) [[unlikely]]
      at = grow(sizeof(Frame));
    room_.top = at + sizeof(Frame);
    Frame* f = ::new (static_cast<void*>(at)) Frame;  // members are trivial: nothing is written
    f->parent = cur_;
    f->link = 0;
    f->type = Frame::registered;
    cur_ = reinterpret_cast<std::uintptr_t>(f);
    return f;
  }

  // The slow path. A false or `gone` means: detach.
  [[gnu::cold]] std::byte* grow(std::size_t bytes);
  /// Before `next` runs, its value for cur_. By value: a task whose address nobody takes stays in registers; else its first
  /// instructions would wait for stores just made (a fork of fib is 12 % faster).
  template <class Task>
  [[gnu::cold, gnu::noinline]] bool poll_task(Task next) {
    return poll(detail::ref(next), __builtin_return_address(0));
  }
  template <class Task>
  [[gnu::cold, gnu::noinline]] void commit_task(Task next, detail::place to) {
    commit(detail::ref(next), to, __builtin_return_address(0));
  }
  // `site`: where in the user's code, for a profile.
  bool poll(detail::task_ref next, const void* site);
  void commit(detail::task_ref next, detail::place to, const void* site);
  [[gnu::cold]] detail::after_left left_done(detail::frame* f);              // f's link is not zero, its left result stored
  [[gnu::cold]] bool pop_linked(detail::frame* f);                           // f's link is not zero, its results stored
  [[gnu::cold]] void commit_right(detail::frame* f);
  [[gnu::cold]] void commit_continuation(detail::frame* f);
  void deliver(detail::place to, const void* value, std::size_t bytes);
  /// The next safe point looks at the clock.
  void spill_fuel() {
    spilt_ += fuel_;
    fuel_ = 0;
  }
  detail::task_stamp stamp() const { return {cur_, fuel_ + spilt_, polls_}; }
  std::byte* allocate(std::size_t bytes, std::size_t alignment) {
    if (arena_->is_full()) [[unlikely]]
      commit_next();
    const detail::task_stamp now = stamp();
    std::byte* const p = bytes > detail::max_block_bytes ? arena_->allocate_extent(bytes, now)
                                                         : arena_->allocate(detail::size_class_for(bytes, alignment), now);
    detail::watch::allocated(p);
    return p;
  }
  template <class T>
  T* allocate_in(unsigned part, std::size_t n) {
    static_assert(std::is_trivially_copyable_v<T>, "objects in a pool must be trivially copyable");
    static_assert(alignof(T) <= detail::max_block_alignment);
    n = std::min(n, ~std::size_t{0} / 2 / sizeof(T));  // refused, with its size
    if (arena_->is_full()) [[unlikely]]
      commit_next();
    std::byte* const p = arena_->allocate_extent(n * sizeof(T), part, stamp());
    detail::watch::allocated(p);
    return reinterpret_cast<T*>(p);
  }
  template <class T>
  spread<T> allocate_spread(std::size_t n, std::size_t block) {
    spread<T> s(n, block, parts());
    for (unsigned p = 0; p < s.pieces(); ++p)
      if (const std::size_t here = s.piece_size(p); here > 0) s.set_piece(p, allocate_in<T>(p, here));
    return s;
  }
  unsigned part_on(unsigned node) const;
  void free_block(const void* p, bool run_once = false) {
    if (arena_->is_full()) [[unlikely]]
      commit_next();
    detail::watch::freed(p);
    arena_->free(p, stamp(), run_once);
  }
  std::byte* scratch_bytes(std::size_t bytes, std::size_t alignment);
  void put_root(std::string_view name, std::uintptr_t address, std::uint64_t count, const char* type, std::uint64_t bytes);
  detail::root_value get_root(std::string_view name, const char* type, std::uint64_t bytes) const;
  void note_read(const void* p, std::size_t n);
  void note_read(const void* p, std::size_t n, std::size_t stride, std::size_t rows);
  void note_write(const void* p, std::size_t n);
  void note_write(const void* p, std::size_t n, bool flushed, const void* site);
  bool note_fill(const void* p, std::size_t n);
  bool note_stores(const void* p, std::size_t n, std::size_t whole);
  void stored(const void* p, std::size_t n);
  void copy_block(void* to, const void* from, std::size_t n);
  void note_update(const void* p, std::size_t n, std::size_t alignment);
  void undo_task();
  void load_cell(const void* cell, void* value, std::size_t n);
  void cam_cell(void* cell, const void* expected, const void* desired, std::size_t n);

  detail::room room_;           // for the next frame
  std::uintptr_t cur_ = 0;      // place of the running task's value
  std::int64_t fuel_ = 0;       // safe points until the clock is looked at
  std::int64_t spilt_ = 0;      // fuel that was thrown away, so that a safe point comes soon
  std::uint64_t polls_ = 0;     // how often the fuel was filled up
  bool split_wanted_ = false;
  bool commit_next_ = false;
  detail::arena* arena_;
  detail::worker* worker_;
};

namespace detail {

/// fork(left, right), waiting for its continuation.
template <class Left, class Right>
class [[nodiscard]] fork_call {
  using A = typename step<task_result<Left>>::value_type;
  using B = typename step<task_result<Right>>::value_type;

 public:
  fork_call(context& cx, const Left& left, const Right& right) : cx_(cx), left_(left), right_(right) {}

  template <durable_value K>
  [[gnu::always_inline]] auto then(const K& k) -> decltype(call_continuation(k, std::declval<context&>(), std::declval<const A&>(), std::declval<const B&>())) {
    using result = decltype(call_continuation(k, cx_, std::declval<const A&>(), std::declval<const B&>()));
    using frame_t = fork_frame<Right, K, A, B>;
    watch::durable(left_, right_, k);
    context& cx = cx_;
    auto* f = cx.template push<frame_t>();
    f->right.set(right_);
    f->k.set(k);
    if (--cx.fuel_ < 0) [[unlikely]]
      if (!cx.poll_task(left_)) return result::detached();

    const auto a = restartable<Left>([&] { return left_(cx); }, [&] { cx.commit_task(left_, place(f, side::left)); });
    if (a.is_detached()) [[unlikely]]
      return result::detached();
    f->left.set(a.value());
    bool joined = false;
    if (f->link != 0) [[unlikely]] {
      const after_left next = cx.left_done(f);
      if (next == after_left::gone) return result::detached();
      joined = next == after_left::joined;
    }
    B right_value{};
    if (!joined) [[likely]] {
      cx.cur_ = place(f, side::right).word;
      const auto b = restartable<Right>([&] { return f->right.get()(cx); }, [&] { cx.commit_right(f); });
      if (b.is_detached()) [[unlikely]]
        return result::detached();
      right_value = b.value();
      if (f->link != 0) [[unlikely]] {
        f->right_result.set(right_value);
        if (!cx.pop_linked(f)) return result::detached();
      } else {
        cx.room_.top = reinterpret_cast<std::byte*>(f);
      }
    } else {
      right_value = f->right_result.get();
    }
    cx.cur_ = f->parent;
    return restartable<K>([&] { return call_continuation(k, cx, a.value(), right_value); },
                       [&] {
                         f->right_result.set(right_value);
                         cx.commit_continuation(f);
                       });
  }

 private:
  context& cx_;
  const Left& left_;
  const Right& right_;
};

/// call(child), waiting for its continuation.
template <class Child>
class [[nodiscard]] child_call {
  using A = typename step<task_result<Child>>::value_type;

 public:
  child_call(context& cx, const Child& child) : cx_(cx), child_(child) {}

  template <durable_value K>
  [[gnu::always_inline]] auto then(const K& k) -> decltype(call_continuation(k, std::declval<context&>(), std::declval<const A&>())) {
    using result = decltype(call_continuation(k, cx_, std::declval<const A&>()));
    using frame_t = call_frame<K, A>;
    watch::durable(child_, k);
    context& cx = cx_;
    auto* f = cx.template push<frame_t>();
    f->k.set(k);
    if (--cx.fuel_ < 0) [[unlikely]]
      if (!cx.poll_task(child_)) return result::detached();

    const auto a = restartable<Child>([&] { return child_(cx); }, [&] { cx.commit_task(child_, place(f, side::left)); });
    if (a.is_detached()) [[unlikely]]
      return result::detached();
    if (f->link != 0) [[unlikely]] {
      f->left.set(a.value());
      if (!cx.pop_linked(f)) return result::detached();
    } else {
      cx.room_.top = reinterpret_cast<std::byte*>(f);
    }
    cx.cur_ = f->parent;
    return restartable<K>([&] { return call_continuation(k, cx, a.value()); },
                       [&] {
                         f->left.set(a.value());
                         cx.commit_continuation(f);
                       });
  }

 private:
  context& cx_;
  const Child& child_;
};

// ---- thunks: the same from memory ----------------------------------------------------------------------------------

template <class Right, class K, class A, class B>
outcome fork_frame<Right, K, A, B>::run_right(context& cx, frame* base) {
  auto* f = static_cast<fork_frame*>(base);
  cx.cur_ = place(f, side::right).word;
  const auto b = restartable<Right>([&] { return f->right.get()(cx); }, [&] { cx.commit_right(f); });
  if (b.is_detached()) return outcome::detached;
  cx.deliver(place(f, side::right), &b.value(), value_bytes<B>);
  return outcome::value;
}

template <class Right, class K, class A, class B>
outcome fork_frame<Right, K, A, B>::run_continuation(context& cx, frame* base) {
  auto* f = static_cast<fork_frame*>(base);
  const place to(f->parent);
  cx.cur_ = to.word;
  const K k = f->k.get();  // copies: a turn's commit may give back the frame while k still runs
  const A a = f->left.get();
  const B b = f->right_result.get();
  const auto r = restartable<K>([&] { return call_continuation(k, cx, a, b); }, [&] { cx.commit_continuation(f); });
  if (r.is_detached()) return outcome::detached;
  cx.deliver(to, &r.value(), value_bytes<decltype(r.value())>);
  return outcome::value;
}

template <class K, class A>
outcome call_frame<K, A>::run_continuation(context& cx, frame* base) {
  auto* f = static_cast<call_frame*>(base);
  const place to(f->parent);
  cx.cur_ = to.word;
  const K k = f->k.get();  // copies, as above
  const A a = f->left.get();
  const auto r = restartable<K>([&] { return call_continuation(k, cx, a); }, [&] { cx.commit_continuation(f); });
  if (r.is_detached()) return outcome::detached;
  cx.deliver(to, &r.value(), value_bytes<decltype(r.value())>);
  return outcome::value;
}

template <class Task>
outcome task_node<Task>::run(context& cx, const void* bytes, place to) {
  alignas(Task) std::byte copy[sizeof(Task)];  // a record's buffer is reused by the commits of the task itself
  std::memcpy(copy, bytes, sizeof(Task));
  const Task& task = *std::launder(reinterpret_cast<const Task*>(copy));
  watch::durable(task);
  cx.cur_ = to.word;
  const auto r = restartable<Task>([&] { return task(cx); }, [&] { cx.commit_task(task, to); });
  if (r.is_detached()) return outcome::detached;
  cx.deliver(to, &r.value(), value_bytes<decltype(r.value())>);
  return outcome::value;
}

/// Where a member is in a frame. (offsetof is for standard-layout types only, which closures need not be.)
template <class Frame, class Member>
std::uint32_t offset_in(Member Frame::*member) {
  alignas(Frame) static std::byte space[sizeof(Frame)];
  return static_cast<std::uint32_t>(reinterpret_cast<std::byte*>(&(reinterpret_cast<Frame*>(space)->*member)) - space);
}

template <class Right, class K, class A, class B>
const std::uint64_t fork_frame<Right, K, A, B>::registered =
    register_type(typeid(fork_frame), {.bytes = sizeof(fork_frame),
                                       .offset = {offset_in(&fork_frame::left), offset_in(&fork_frame::right_result)},
                                       .result = {value_bytes<A>, value_bytes<B>},
                                       .right = &fork_frame::run_right,
                                       .continuation = &fork_frame::run_continuation})
        .word();

template <class K, class A>
const std::uint64_t call_frame<K, A>::registered =
    register_type(typeid(call_frame), {.bytes = sizeof(call_frame),
                                       .offset = {offset_in(&call_frame::left), 0},
                                       .result = {value_bytes<A>, 0},
                                       .continuation = &call_frame::run_continuation})
        .word();

template <class Task>
const node_type& task_node<Task>::node = register_type(typeid(task_node), {.bytes = sizeof(Task), .run = &task_node::run});

/// The tasks after the first two, forked in turn; gives their results together.
template <class... T>
struct results {
  pack<T...> values;
};

template <class First, class... More>
struct fork_rest {
  First first;
  pack<More...> more;
  auto operator()(context& cx) const {
    return apply(
        [&](const More&... m) {
          return cx.fork(first, m...).then([](context&, const auto&... r) { return step<results<std::remove_cvref_t<decltype(r)>...>>({{{{r}...}}}); });
        },
        more);
  }
};

template <class T>
inline constexpr std::size_t most_in_block = std::max<std::size_t>(copy_block_bytes / sizeof(T), 1);

/// Calls `block(at, n)` for [at, at + n) of a view, up to where a block of memory ends: lines that are stored whole need
/// no read.
template <class T, class Block>
void in_blocks(const out<T>& v, Block block) {
  for (std::size_t at = 0, n = 0; at < v.size(); at += n) {
    const std::size_t room = copy_block_bytes - reinterpret_cast<std::uintptr_t>(v.address() + at) % copy_block_bytes;
    n = std::min(v.size() - at, std::clamp<std::size_t>(room / sizeof(T), 1, most_in_block<T>));
    block(at, n);
  }
}

}  // namespace detail

template <class T, std::invocable<std::span<T>, std::size_t> Fill>
void context::fill(const out<T>& v, Fill fill) {
  detail::watch::opened(detail::watch::view_kind::write, v.address(), v.size());
  if (!note_fill(v.address(), v.size_bytes())) return fill(std::span<T>(v.address(), v.size()), std::size_t{0});
  alignas(std::max(alignof(T), line_size)) std::byte buffer[detail::most_in_block<T> * sizeof(T)];
  T* const part = reinterpret_cast<T*>(buffer);
  detail::in_blocks(v, [&](std::size_t at, std::size_t n) {
    fill(std::span<T>(part, n), at);
    copy_block(v.address() + at, part, n * sizeof(T));
  });
}

template <class T, std::invocable<std::size_t> F>
F context::fill_each(const out<T>& v, std::size_t lo, std::size_t hi, F f) {
  static_assert(std::is_trivially_copyable_v<F>);
  const out<T> part = v.sub(lo, hi - lo);
  // Unrolled: a core sees only so many instructions ahead, and so more of the loads that wait for memory.
  const auto each = [&f](std::size_t first, std::size_t n, auto store) {
    F here = f;  // in registers
#pragma GCC unroll 8
    for (std::size_t i = 0; i < n; ++i) store(i, here(first + i));
    std::construct_at(&f, here);
  };
  if constexpr (words_past_caches<T>) {
    if (note_stores(part.address(), part.size_bytes(), v.size_bytes())) {
      detail::watch::opened(detail::watch::view_kind::write, part.address(), part.size());
      detail::in_blocks(part, [&](std::size_t at, std::size_t n) {
        T* const to = part.address() + at;
        each(lo + at, n, [to](std::size_t i, const T& x) { store_past_caches(to + i, x); });
        stored(to, n * sizeof(T));
      });
      return f;
    }
  }
  fill(part, [&each, lo](std::span<T> block, std::size_t at) {
    T* const to = block.data();
    each(lo + at, block.size(), [to](std::size_t i, const T& x) { to[i] = x; });
  });
  return f;
}

template <task_like Next>
step<task_result<Next>> context::tail(const Next& next) {
  detail::watch::durable(next);
  if (--fuel_ < 0) [[unlikely]]
    if (!poll_task(next)) return step<task_result<Next>>::detached();
  return detail::restartable<Next>([&] { return next(*this); }, [&, at = cur_] { commit_task(next, detail::place(at)); });
}

namespace detail {
/// A body that lacks its array, and the array.
template <class Body, class T>
struct body_with {
  [[no_unique_address]] Body body;
  array<T> memory;
  auto operator()(context& cx) const { return body(cx, memory); }
};
/// The continuation that frees it. Opens no view, so it is not run again but with its capsule.
template <class T>
struct without {
  array<T> memory;
  template <class R>
  step<R> operator()(context& cx, const R& value) const {
    give_back(cx);
    return value;
  }
  step<void> operator()(context& cx) const {
    give_back(cx);
    return {};
  }
  void give_back(context& cx) const {
    if (!memory.empty()) cx.free_block(memory.address(), true);
  }
};
}  // namespace detail

template <class T, durable_value Body>
auto context::with(std::size_t n, const Body& body) {
  const array<T> memory = alloc<T>(n);
  return call(detail::body_with<Body, T>{body, memory}).then(detail::without<T>{memory});
}

namespace detail {
/// A continuation of many results, called with the first and the rest together.
template <class K>
struct unpacked {
  [[no_unique_address]] K k;
  template <class A, class... B>
  auto operator()(context& cx, const A& a, const results<B...>& rest) const {
    return apply([&](const B&... b) { return k(cx, a, b...); }, rest.values);
  }
  template <class... B>
  auto operator()(context& cx, const results<B...>& rest) const {  // the first gives void
    return apply([&](const B&... b) { return k(cx, b...); }, rest.values);
  }
};
template <class First, class Rest>
class [[nodiscard]] fork_many {
 public:
  fork_many(context& cx, const First& first, const Rest& rest) : cx_(cx), first_(first), rest_(rest) {}
  template <durable_value K>
  auto then(const K& k) {
    return cx_.fork(first_, rest_).then(unpacked<K>{k});
  }

 private:
  context& cx_;
  First first_;
  Rest rest_;
};
}  // namespace detail

template <task_like First, task_like Second, task_like Third, task_like... More>
auto context::fork(const First& first, const Second& second, const Third& third, const More&... more) {
  using rest = detail::fork_rest<Second, Third, More...>;
  return detail::fork_many<First, rest>(*this, first, rest{second, {{{third}, {more}...}}});
}

}  // namespace ppmm
