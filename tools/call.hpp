/// How the command was called: kept with a job, so that `ppmm resume` can call it again.
#pragma once

#include <ppmm/pmem/inspect.hpp>

#include <sys/types.h>

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace ppmm::tools {

struct saved_call {
  std::filesystem::path directory;  // where it was called
  std::vector<std::string> words;   // without the program's name
  bool to_file = false;             // a finished job's answer has still to be written to its place
};

/// The call of this process.
void set_this_call(std::vector<std::string> words);
saved_call this_call(bool to_file);

/// As it stands in a pool. Empty for a call in a folder that has been removed: it cannot be made again.
std::string encode(const saved_call& call);
/// Nothing if it is not what `encode` makes. The text may be anybody's: so may be what the words ask for.
std::optional<saved_call> decode(std::string_view text);

/// A file of the pool that others than its owner may write to: then the call that is kept in it may be anybody's.
std::optional<std::filesystem::path> open_to_others(const pool_facts& pool, uid_t owner);

/// To be pasted into a shell. Bytes that would act on a terminal are written as escapes.
std::string for_shell(const std::vector<std::string>& words);
std::string for_shell(const saved_call& call);

}  // namespace ppmm::tools
