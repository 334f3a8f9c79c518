/// Random allocations and frees by several workers, with crashes at every step of their commits, against a model.
///
///   soak [--crashes N] [--operations N] [--workers N] [--seed S]
///
/// Workers are objects that take turns; what is durable is decided line by line (alloc_test.hpp). After each crash the
/// lists of the records that count are applied again; then exactly the blocks of the model must be allocated, and a
/// walk over the heap as `ppmm check` makes it must find nothing wrong. Chunks are taken for stacks meanwhile and
/// filled with garbage. Jobs end kept, not kept, and in the middle. Runs until there were so many crashes and so many
/// operations, allocations and frees; the crashes are spread over them. Status 1 and the seed if something is wrong.
#include "alloc_test.hpp"

#include "seed.hpp"

#include <ppmm/alloc/inspect.hpp>
#include <ppmm/pmem/checksum.hpp>

#include <fmt/core.h>

#include <algorithm>
#include <iostream>
#include <optional>

namespace ppmm::test {
namespace {

using namespace detail;

struct block {
  std::byte* at;
  std::size_t bytes;
  std::uint64_t serial;  // of the job that allocated it
};

struct failure : std::runtime_error {
  using std::runtime_error::runtime_error;
};

class soak {
  struct worker {
    unsigned index = 0;
    std::unique_ptr<persister> pers;
    shared_object<arena_books> books;
    std::unique_ptr<arena> heap;
    std::uint64_t sequence = 0;  // of the record that counts
    bool has_list = false;
    bool unfenced = false;
    std::vector<block> allocated, freed;  // by its capsule
    std::vector<block> leaving;           // by its newest record
    std::uint64_t tasks = 0;
  };

 public:
  soak(std::uint64_t seed, unsigned workers) : dice_(seed), memory_(160), workers_(workers) {
    begin_job();
    start();
  }

  void run(unsigned crashes, std::uint64_t operations) {
    calm_ = crashes == 0 ? 0 : operations / crashes;
    stay_calm();
    while (crashes_ < crashes || this->operations() < operations) {
      worker& w = workers_[dice_() % workers_.size()];
      memory_.become(w.index);
      memory_.die_at_fences(is_calm() ? 0 : fatal_fence_, &dice_);
      const auto roll = dice_() % 1000;
      if (dice_() % 20'000 == 0) shrinking_ = !shrinking_;
      try {
        step(w, roll);
      } catch (const fake_medium::power_off&) {
        crash();
      }
    }
    fmt::print("{} crashes, {} jobs, {} allocations, {} frees, {} times out of memory, no difference\n", crashes_,
               jobs_, allocations_, frees_, full_);
  }

 private:
  void step(worker& w, std::uint64_t roll) {
    if (roll < 1) {
      if (!is_calm()) crash();
    } else if (roll < 2) {
      end_job();
    } else if (roll < 10) {
      scribble_on_a_stack();
    } else if (roll < 20) {
      soft_fault(w);
    } else if (roll < 70) {
      if (!commit(w)) crash();
    } else if (roll < (shrinking_ ? 400 : 560)) {
      for (auto n = 1 + dice_() % 8; n > 0; --n) allocate(w);
    } else {
      for (auto n = 1 + dice_() % 8; n > 0; --n) free_one(w);
    }
  }

  void begin_job() {
    persister p(memory_.get());
    heap(memory_.place(), memory_.get(), serial_, commons_).begin_job(p);
  }
  std::uint64_t operations() const { return allocations_ + frees_; }
  /// After a crash there is none for a while: for as many operations on average as were asked for.
  bool is_calm() const { return operations() < calm_until_; }
  void stay_calm() {
    calm_until_ = operations() + (calm_ == 0 ? 0 : dice_() % (2 * calm_));
    fatal_fence_ = 500;
  }

  void start() {
    heap_ = std::make_unique<heap>(memory_.place(), memory_.get(), serial_, commons_);
    for (worker& w : workers_) {
      w.index = static_cast<unsigned>(&w - workers_.data());
      w.pers = std::make_unique<persister>(memory_.get());
      w.heap.reset();
      w.books = commons_.make<arena_books>();
      w.heap = std::make_unique<arena>(*heap_, w.index, 0, *w.books, *w.pers);
      w.unfenced = false;
      w.allocated.clear();
      w.freed.clear();
      w.leaving.clear();
    }
  }

  /// All workers are lost. Then recovery, which may be lost as well.
  void crash() {
    ++crashes_;
    for (worker& w : workers_) live_.insert(live_.end(), w.freed.begin(), w.freed.end());
    stacks_.clear();
    forbidden_.clear();
    memory_.die_at_fences(0, nullptr);
    do {
      memory_.crash(dice_);
      start();
      memory_.become(99);
      persister p(memory_.get());
      for (const worker& w : workers_)
        if (w.has_list) heap_->replay(memory_.areas(w.index)[w.sequence & 1], w.sequence, p);
      if (dice_() % 4 == 0) continue;
      p.fence();
      for (const worker& w : workers_)
        if (w.has_list) heap::retire_list(memory_.areas(w.index)[w.sequence & 1], p);
      if (dice_() % 4 == 0) continue;
      p.fence();
      break;
    } while (true);
    stay_calm();
    compare();
  }

  void compare() {
    heap h(memory_.place(), memory_.get(), serial_, commons_);
    const chunk_space& chunks = h.chunks();
    std::uint64_t allocated = 0;
    for (std::uint32_t c = 1; c < memory_.place().numbers; ++c)
      if (const chunk_use u = chunks.look_at(c); u.kind != chunk_kind::none && u.head == c) allocated += u.allocated;
    for (const block& b : live_)
      if (!is_allocated(chunks, reinterpret_cast<std::uintptr_t>(b.at), b.bytes))
        throw failure(fmt::format("a block of {} bytes is lost", b.bytes));
    if (allocated != live_.size())
      throw failure(fmt::format("{} blocks are allocated instead of {}", allocated, live_.size()));
    const heap_report found = inspect_heap(chunks);  // as the job sees it; then as one who comes from outside
    for (const heap_report& r : {found, inspect_heap(chunk_space(memory_.place(), memory_.get(), 0))})
      if (!r.problems.empty()) throw failure("the heap is damaged: " + r.problems.front());
    if (found.blocks != live_.size())
      throw failure(fmt::format("the walk finds {} blocks instead of {}", found.blocks, live_.size()));
  }

  bool lost_here() { return !is_calm() && dice_() % 100 == 0; }

  /// False: everything crashed on the way.
  bool commit(worker& w) {
    redo_area& area = memory_.areas(w.index)[(w.sequence + 1) & 1];
    bool has_list = false;
    try {
      has_list = w.heap->write_list(area, w.sequence + 1);
    } catch (const out_of_pool_memory&) {  // for a long list
      soft_fault(w);
      return true;
    }
    if (lost_here()) return false;
    if (has_list || dice_() % 2 == 0) {  // not every record has a first fence
      w.pers->fence();
      w.unfenced = false;
    }
    if (lost_here()) return false;
    if (w.unfenced) w.pers->fence();
    // The record is durable.
    ++w.sequence;
    w.has_list = has_list;
    for (const block& b : w.allocated) live_.push_back(b);
    for (const block& b : w.leaving) forbidden_.erase(b.at);
    w.leaving = std::move(w.freed);
    w.freed.clear();
    w.allocated.clear();
    if (lost_here()) return false;
    w.unfenced = w.heap->committed(w.sequence);
    return true;
  }

  void soft_fault(worker& w) {
    try {
      if (dice_() % 2 == 0)
        static_cast<void>(w.heap->write_list(memory_.areas(w.index)[(w.sequence + 1) & 1], w.sequence + 1));
    } catch (const out_of_pool_memory&) {
    }
    w.heap->forget();
    for (const block& b : w.freed) {
      forbidden_.erase(b.at);
      live_.push_back(b);
    }
    w.allocated.clear();
    w.freed.clear();
  }

  task_stamp stamp(worker& w) {
    if (dice_() % 4 == 0) ++w.tasks;
    return {64 * (w.index + 1), static_cast<std::int64_t>(w.tasks), 0};
  }

  void allocate(worker& w) {
    const auto kind = dice_() % 100;
    static_cast<void>(w.heap->is_full());  // takes chunks for lists, as a task's allocation does
    const std::size_t bytes = kind < 70   ? 1 + dice_() % 200
                              : kind < 96 ? 1 + dice_() % max_block_bytes
                                          : max_block_bytes + dice_() % (5 * chunk_bytes);
    try {
      std::byte* at = bytes > max_block_bytes ? w.heap->allocate_extent(bytes, stamp(w))
                                              : w.heap->allocate(size_class_for(bytes), stamp(w));
      ++allocations_;
      if (forbidden_.contains(at)) throw failure("a freed block is given out before its freer's next record");
      const auto overlaps = [&](const std::vector<block>& some) {
        return std::any_of(some.begin(), some.end(),
                           [&](const block& b) { return at < b.at + b.bytes && b.at < at + bytes; });
      };
      for (const worker& x : workers_)
        if (overlaps(x.allocated) || overlaps(x.freed)) throw failure("an allocated block is given out");
      if (overlaps(live_)) throw failure("an allocated block is given out");
      w.allocated.push_back({at, bytes, serial_});
      std::memset(at, static_cast<int>(dice_()), bytes);
    } catch (const out_of_pool_memory&) {
      ++full_;
      for (int i = 0; i < 50; ++i) free_one(w);
    }
  }

  void free_one(worker& w) {
    const bool own = !w.allocated.empty() && dice_() % 3 == 0;
    std::vector<block>& from = own ? w.allocated : live_;
    if (from.empty()) return;
    const std::size_t i = own && dice_() % 2 == 0 ? from.size() - 1 : dice_() % from.size();
    const block b = from[i];
    w.heap->free(b.at, stamp(w));
    ++frees_;
    from.erase(from.begin() + static_cast<std::ptrdiff_t>(i));
    if (own) return;
    w.freed.push_back(b);
    forbidden_.insert(b.at);
    try {
      w.heap->free(b.at, stamp(w));
    } catch (const invalid_free&) {
      return;
    }
    throw failure("a block was freed twice");
  }

  void scribble_on_a_stack() {
    if (!stacks_.empty() && dice_() % 2 == 0) {
      heap_->chunks().give_back(stacks_.back());
      stacks_.pop_back();
      return;
    }
    if (stacks_.size() > 8) return;
    const std::uint32_t c = heap_->chunks().take_high(0);
    if (c == no_chunk) return;
    stacks_.push_back(c);
    auto* at = memory_.place().address(c);
    for (std::size_t i = 0; i < chunk_bytes; i += 8) {
      const std::uint64_t garbage = dice_();
      std::memcpy(at + i, &garbage, 8);
    }
    for (const block& b : live_)
      if (b.at < at + chunk_bytes && at < b.at + b.bytes) throw failure("a stack stands on allocated blocks");
  }

  /// The job is over: all that was committed is durable. Kept or not; the next one begins.
  void end_job() {
    ++jobs_;
    memory_.die_at_fences(0, nullptr);  // (what a job's end leaves behind is tested apart)
    for (worker& w : workers_) {
      memory_.become(w.index);
      soft_fault(w);
      w.pers->fence();
      w.has_list = false;
    }
    for (const std::uint32_t c : stacks_) heap_->chunks().give_back(c);
    stacks_.clear();
    persister p(memory_.get());
    const auto how = dice_() % 3;
    if (how == 0) heap_->set_root("soak", 0, 0, 1, 1, p);
    if (how != 1) heap_->finish_job(p);  // 1: it failed
    if (how != 0) std::erase_if(live_, [&](const block& b) { return b.serial == serial_; });
    forbidden_.clear();
    serial_ += dice_() % 5 == 0 ? serial_window / 2 : 1;
    begin_job();
    start();
    compare();
    fatal_fence_ = 20;  // the first that happens to what the job left
  }

  std::mt19937_64 dice_;
  fake_medium memory_;
  std::uint64_t serial_ = 1;
  commons commons_;
  std::unique_ptr<heap> heap_;
  std::vector<worker> workers_;
  std::vector<block> live_;         // by records that count
  std::set<std::byte*> forbidden_;  // freed, and not to be given out yet
  std::vector<std::uint32_t> stacks_;
  unsigned crashes_ = 0, jobs_ = 0, fatal_fence_ = 0;  // once in so many
  std::uint64_t calm_ = 0, calm_until_ = 0;            // operations
  bool shrinking_ = false;
  std::uint64_t allocations_ = 0, frees_ = 0, full_ = 0;
};

}  // namespace
}  // namespace ppmm::test

int main(int argc, char** argv) {
  unsigned crashes = 300, workers = 3;
  std::uint64_t operations = 0, seed = ppmm::test::seed();
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string_view name = argv[i];
    if (name == "--crashes") crashes = static_cast<unsigned>(std::stoul(argv[i + 1]));
    if (name == "--operations") operations = std::stoull(argv[i + 1]);
    if (name == "--workers") workers = static_cast<unsigned>(std::stoul(argv[i + 1]));
    if (name == "--seed") seed = std::stoull(argv[i + 1]);
  }
  std::cout << "soak --crashes " << crashes << " --operations " << operations << " --workers " << workers << " --seed "
            << seed << std::endl;
  try {
    ppmm::test::soak(seed, workers).run(crashes, operations);
    return 0;
  } catch (const std::exception& e) {
    std::cout << "FAILED: " << e.what() << std::endl;
    return 1;
  }
}
