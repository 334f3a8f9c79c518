/// Fuzzing inputs for pools: a list of changes to a pool that is made once and put back after each input.
///
/// A pool has megabytes, an input a few dozen bytes: a head, then patches of 16 bytes each. What a patch changes is
/// told by the names of things (record of worker 3, frame 5), so an input means the same in every build.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <iterator>
#include <random>
#include <vector>

namespace ppmm::fuzz {

struct patch {
  std::uint8_t where;   // a kind of thing
  std::uint8_t object;  // which of them
  std::uint8_t field;   // which part of it
  std::uint8_t how;     // what is done to it
  std::uint32_t extra;
  std::uint64_t value;
};
static_assert(sizeof(patch) == 16);

struct input {
  std::array<std::uint8_t, 8> head{};  // the target's own
  std::vector<patch> patches;

  static constexpr std::size_t most_patches = 32;

  input() = default;
  input(const std::uint8_t* data, std::size_t size) {
    const std::size_t n = std::min(size, head.size());
    if (n > 0) std::memcpy(head.data(), data, n);
    patches.resize(std::min((size - n) / sizeof(patch), most_patches));
    if (!patches.empty()) std::memcpy(patches.data(), data + n, patches.size() * sizeof(patch));
  }
  std::size_t store(std::uint8_t* to, std::size_t room) const {
    if (room < head.size()) return 0;
    const std::size_t n = std::min(patches.size(), (room - head.size()) / sizeof(patch));
    std::memcpy(to, head.data(), head.size());
    if (n > 0) std::memcpy(to + head.size(), patches.data(), n * sizeof(patch));
    return head.size() + n * sizeof(patch);
  }
};

/// How a word changes. The width is that of the field; `value` and `extra` are a patch's.
enum class word_change : std::uint8_t { set, add, xor_, interesting };
inline constexpr unsigned word_changes = 4;

inline constexpr std::array<std::uint64_t, 20> interesting_words = {0,
                                                                    1,
                                                                    2,
                                                                    3,
                                                                    7,
                                                                    8,
                                                                    63,
                                                                    64,
                                                                    255,
                                                                    4095,
                                                                    4096,
                                                                    0x10000,
                                                                    0x7fff'ffff,
                                                                    0x8000'0000,
                                                                    0xffff'ffff,
                                                                    0x1'0000'0000,
                                                                    ~std::uint64_t{0},
                                                                    ~std::uint64_t{0} - 1,
                                                                    std::uint64_t{1} << 63,
                                                                    0x7fff'ffff'ffff'ffff};

inline std::uint64_t changed(std::uint64_t word, word_change how, std::uint64_t value) {
  switch (how) {
    case word_change::set:
      return value;
    case word_change::add:
      return word + value;
    case word_change::xor_:
      return word ^ value;
    case word_change::interesting:
      return interesting_words[value % interesting_words.size()] + (value >> 8) % 3 - 1;
  }
  return word;
}

/// Changes `width` bytes (1 to 8) at `at`.
inline void change_bytes(std::byte* at, std::size_t width, word_change how, std::uint64_t value) {
  std::uint64_t word = 0;
  std::memcpy(&word, at, width);
  word = changed(word, how, value);
  std::memcpy(at, &word, width);
}

/// One step of mutation that keeps the form of an input. `bytes` is libFuzzer's own mutator, which has seen what the
/// program compared.
template <class Bytes>
void mutate(input& in, std::uint32_t seed, Bytes bytes) {
  std::mt19937 random(seed);
  const auto below = [&](std::size_t n) { return static_cast<std::size_t>(random() % n); };
  const auto fresh = [&] {
    patch p{};
    p.where = static_cast<std::uint8_t>(random());
    p.object = static_cast<std::uint8_t>(below(4) == 0 ? random() : below(12));
    p.field = static_cast<std::uint8_t>(below(4) == 0 ? random() : below(12));
    p.how = static_cast<std::uint8_t>(random());
    p.extra = below(2) == 0 ? static_cast<std::uint32_t>(random()) : static_cast<std::uint32_t>(below(16));
    p.value = below(2) == 0 ? below(16) : std::uint64_t{random()} << 32 | random();
    return p;
  };
  const auto change = [&](patch& p) {
    switch (below(9)) {
      case 0:
        p.where = static_cast<std::uint8_t>(random());
        break;
      case 1:
        p.object = static_cast<std::uint8_t>(below(2) == 0 ? below(12) : p.object + below(3) - 1);
        break;
      case 2:
        p.field = static_cast<std::uint8_t>(below(2) == 0 ? below(12) : p.field + below(3) - 1);
        break;
      case 3:
        p.how = static_cast<std::uint8_t>(random());
        break;
      case 4:
        p.extra = below(2) == 0 ? static_cast<std::uint32_t>(below(16)) : static_cast<std::uint32_t>(random());
        break;
      case 5:
        p.value = below(64);
        break;
      case 6:
        p.value ^= std::uint64_t{1} << below(64);
        break;
      case 7:
        p.value += below(2) == 0 ? 1u + below(64) : ~std::uint64_t{0} - below(64);
        break;
      default:
        bytes(reinterpret_cast<std::uint8_t*>(&p.value), sizeof p.value);
    }
  };
  for (std::size_t steps = 1 + below(3); steps > 0; --steps) {
    auto& list = in.patches;
    const std::size_t choice = below(12);
    if (choice == 0) {
      in.head[below(in.head.size())] = static_cast<std::uint8_t>(below(2) == 0 ? below(8) : random());
    } else if (list.empty() || (choice <= 3 && list.size() < input::most_patches)) {
      list.insert(list.begin() + static_cast<std::ptrdiff_t>(below(list.size() + 1)), fresh());
    } else if (choice == 4) {
      list.erase(list.begin() + static_cast<std::ptrdiff_t>(below(list.size())));
    } else if (choice == 5 && list.size() < input::most_patches) {
      patch copy = list[below(list.size())];
      change(copy);
      list.push_back(copy);
    } else if (choice == 6) {
      std::swap(list[below(list.size())], list[below(list.size())]);
    } else {
      change(list[below(list.size())]);
    }
  }
}

inline input crossed(const input& a, const input& b, std::uint32_t seed) {
  std::mt19937 random(seed);
  input both = random() % 2 == 0 ? a : b;
  both.patches.clear();
  for (const input* from : {&a, &b})
    std::ranges::copy_if(from->patches, std::back_inserter(both.patches),
                         [&](const patch&) { return random() % 3 != 0; });
  if (both.patches.size() > input::most_patches) both.patches.resize(input::most_patches);
  return both;
}

}  // namespace ppmm::fuzz

/// The mutators of a target whose inputs are lists of patches; libFuzzer finds them by name.
#define PPMM_FUZZ_PATCH_MUTATORS                                                                                 \
  extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t*, std::size_t, std::size_t) __attribute__((weak));        \
  extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size, std::size_t most,         \
                                                 unsigned seed) {                                                \
    ppmm::fuzz::input in(data, size);                                                                            \
    ppmm::fuzz::mutate(in, seed, [](std::uint8_t* at, std::size_t n) { LLVMFuzzerMutate(at, n, n); });           \
    return in.store(data, most);                                                                                 \
  }                                                                                                              \
  extern "C" std::size_t LLVMFuzzerCustomCrossOver(const std::uint8_t* a, std::size_t na, const std::uint8_t* b, \
                                                   std::size_t nb, std::uint8_t* out, std::size_t most,          \
                                                   unsigned seed) {                                              \
    return ppmm::fuzz::crossed({a, na}, {b, nb}, seed).store(out, most);                                         \
  }
