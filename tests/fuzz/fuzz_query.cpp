/// `ppmm query` on a pool that somebody else has made: it gives an answer or an error. Where the hashes beside the
/// index were not put right, the answer is the one that was right before.
///
/// head: whether hashes are put right, what is asked; then patches
#include "command_line.hpp"
#include "files.hpp"
#include "finding.hpp"
#include "patch.hpp"
#include "scratch_pool.hpp"

#include "index_job.hpp"
#include "input_text.hpp"

#include <ppmm/alloc/heap.hpp>
#include <ppmm/pmem/inspect.hpp>
#include <ppmm/sched/image.hpp>

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace ppmm::fuzz {
namespace {

using strings = std::vector<std::string>;

const std::array<strings, 8> queries = {{{"alpha"},
                                         {"omega"},
                                         {"beta", "alpha"},
                                         {"nowhere"},
                                         {"--files", "alpha"},
                                         {"--files", "beta", "zeta"},
                                         {"a"},
                                         {"zzz"}}};

class indexed_pool {
 public:
  indexed_pool() : file_({.size = bytes, .max_workers = workers, .sparse = true, .level = durability::process}) {
    file_.close();
    const cut_files input("alpha beta\ngamma\n\nalpha zeta Omega\nbeta beta alpha omega\nlast alpha", 2);
    strings words{"index", "--pool", file_.path(), "--progress", "none", "--workers", "1"};
    for (const auto& f : input.names) words.push_back(f.string());
    const quiet now;
    run_command({tools::add_index}, words);

    void* at = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file_.fd(), 0);
    if (at == MAP_FAILED) finding("no mapping of the pool file");
    bytes_ = static_cast<std::byte*>(at);
    const pool_facts facts = inspect(file_.path()).facts.value();
    base_address_ = facts.base_address();
    // Where things are is asked with the pool's own addresses.
    auto* const base = reinterpret_cast<std::byte*>(base_address_);
    std::vector<std::span<std::byte>> segments;
    for (const auto& s : facts.parts[0].segments) segments.emplace_back(base + s.offset, s.size);
    const detail::part_segments part(segments);
    place_ = detail::heap_place_in(base, facts.size(), std::span(&part, 1), facts.max_workers);
    control_ = here<detail::heap_control>(reinterpret_cast<std::uint64_t>(place_.control));
    const std::array names = {tools::index_info_root,     tools::index_text_root,  tools::index_words_root,
                              tools::index_postings_root, tools::index_names_root, tools::index_files_root};
    for (std::size_t i = 0; i < names.size(); ++i)
      for (detail::root_slot& r : control_->roots)
        if (std::strcmp(r.name, names[i]) == 0) {
          const detail::root_version& v = r.versions[r.versions[0].serial.load() != 0 ? 0 : 1];
          arrays_[i] = {v.address.load(), v.count.load() * v.bytes.load(), &r};
        }
    for (const auto& a : arrays_)
      if (a.size == 0) finding("an index without an array");
    for (std::size_t i = 0; i < queries.size(); ++i) answers_[i] = ask(i).value_or("");
  }

  void forge(const std::vector<patch>& patches, bool put_hashes_right) {
    hash_changed_ = put_hashes_right;
    for (const patch& p : patches) apply(p);
    if (put_hashes_right) rehash();
  }
  void put_back() {
    for (auto made = changes_.rbegin(); made != changes_.rend(); ++made)
      std::memcpy(bytes_ + made->offset, made->before.data(), made->before.size());
    changes_.clear();
  }
  void check(unsigned which) {
    const std::size_t i = which % queries.size();
    const auto answer = ask(i);
    if (answer && !hash_changed_ && *answer != answers_[i])
      finding("a wrong answer from a damaged index", answer->c_str());
  }

 private:
  static constexpr std::size_t bytes = std::size_t{32} << 20;
  static constexpr unsigned workers = 2;

  struct root_array {
    std::uint64_t address = 0;
    std::size_t size = 0;  // bytes
    detail::root_slot* slot = nullptr;
  };
  struct change {
    std::size_t offset;
    std::vector<std::byte> before;
  };

  template <class T>
  T* here(std::uint64_t address) const {
    return reinterpret_cast<T*>(bytes_ + (address - base_address_));
  }

  /// Nothing: an error, in words.
  std::optional<std::string> ask(std::size_t which) {
    const std::string output = "/dev/shm/ppmm-fuzz-query-" + std::to_string(::getpid());
    strings words{"query", "--pool", file_.path(), "--output", output};
    words.insert(words.end(), queries[which].begin(), queries[which].end());
    std::optional<std::string> answer;
    try {
      const int status = run_command({tools::add_query}, words);
      const tools::input_text written({output});
      answer.emplace(written.size(), '?');
      if (!answer->empty()) written.read(0, *answer);
      if (status != (answer->empty() ? tools::exit_nothing_found : 0)) finding("another exit status");
    } catch (const error& e) {
      if (*e.what() == '\0') finding("an error without a word");
    } catch (const std::exception& e) {
      finding("an error that is none of the library's", e.what());
    }
    std::filesystem::remove(output);
    return answer;
  }

  std::byte* noted(std::byte* at, std::size_t n) {
    changes_.push_back({static_cast<std::size_t>(at - bytes_), {at, at + n}});
    return at;
  }
  template <class T>
  T& noted(T& at) {
    return *reinterpret_cast<T*>(noted(reinterpret_cast<std::byte*>(&at), sizeof at));
  }

  void apply(const patch& p) {
    const auto how = static_cast<word_change>(p.how % word_changes);
    const root_array& a = arrays_[p.object % arrays_.size()];
    std::byte* at = nullptr;
    std::size_t width = 8;
    switch (p.where % 8) {
      case 6: {  // a root
        constexpr std::size_t words = sizeof(detail::root_slot) / 8;
        at = reinterpret_cast<std::byte*>(a.slot) + p.field % words * 8;
        break;
      }
      case 7: {  // the heap's word on the array's memory, or on which jobs count
        const std::uint32_t chunk = place_.number_of(reinterpret_cast<const void*>(a.address));
        if (p.extra % 2 == 0)
          at = reinterpret_cast<std::byte*>(here<detail::chunk_entry>(
              reinterpret_cast<std::uint64_t>(place_.ranges[0].table + (chunk - place_.ranges[0].first))));
        else
          at = reinterpret_cast<std::byte*>(control_);
        at += p.field % 16 * 8;
        break;
      }
      default: {
        constexpr std::array<std::size_t, 4> widths = {8, 4, 1, 8};
        width = std::min(widths[p.how / word_changes % widths.size()], a.size);
        const std::size_t offset = (p.field | std::size_t{p.extra} << 8) * width % (a.size - width + 1);
        at = here<std::byte>(a.address) + offset;
        const std::size_t last = offset + width - 1;
        if (a.slot == arrays_[2].slot)
          hash_changed_ |= last % sizeof(tools::index_word) >= offsetof(tools::index_word, text_hash) || width == 8;
        if (a.slot == arrays_[0].slot) hash_changed_ |= last >= offsetof(tools::index_info, files_hash);
      }
    }
    change_bytes(noted(at, width), width, how, p.value);
  }

  /// As somebody would who knows the format.
  void rehash() {
    const auto all = [this]<class T>(std::size_t i, T*) {
      return std::span<T>(here<T>(arrays_[i].address), arrays_[i].size / sizeof(T));
    };
    const auto text = all(1, static_cast<const char*>(nullptr));
    const auto words = all(2, static_cast<tools::index_word*>(nullptr));
    const auto lines = all(3, static_cast<const std::uint32_t*>(nullptr));
    const auto within = [](std::uint64_t from, std::uint64_t to, std::size_t size) { return from <= to && to <= size; };
    for (std::size_t i = 0; i + 1 < words.size(); ++i) {
      tools::index_word& w = noted(words[i]);
      const tools::index_word& next = words[i + 1];
      if (within(w.begin, next.begin, text.size()))
        w.text_hash = tools::index_text_hash(w.begin, {text.data() + w.begin, next.begin - w.begin});
      if (within(w.first, next.first, lines.size()))
        w.lines_hash = tools::index_lines_hash(w.first, lines.subspan(w.first, next.first - w.first));
    }
    tools::index_info& info = noted(all(0, static_cast<tools::index_info*>(nullptr))[0]);
    info.files_hash = tools::index_files_hash(all(4, static_cast<const char*>(nullptr)),
                                              all(5, static_cast<const tools::index_file*>(nullptr)));
    info.hash = tools::index_hash(info);
  }

  scratch_pool file_;
  std::byte* bytes_ = nullptr;
  std::uint64_t base_address_ = 0;
  detail::heap_place place_;
  detail::heap_control* control_ = nullptr;
  std::array<root_array, 6> arrays_;  // info, text, words, postings, names, files
  std::array<std::string, queries.size()> answers_;
  std::vector<change> changes_;
  bool hash_changed_ = false;
};

}  // namespace
}  // namespace ppmm::fuzz

PPMM_FUZZ_PATCH_MUTATORS

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace ppmm::fuzz;
  static indexed_pool file;
  const input in(data, size);
  file.forge(in.patches, in.head[0] % 2 != 0);
  file.check(in.head[1]);
  file.put_back();
  return 0;
}
