/// Runs the inputs that are kept of a fuzz target: a regression test for every build.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace ppmm::fuzz {
namespace {

TEST(PPMM_FUZZ_SUITE, Replay) {
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(PPMM_FUZZ_CORPUS)) files.push_back(entry.path());
  ASSERT_FALSE(files.empty()) << PPMM_FUZZ_CORPUS;
  std::ranges::sort(files);
  for (const auto& file : files) {
    std::ifstream in(file, std::ios::binary);
    const std::string bytes{std::istreambuf_iterator<char>(in), {}};
    // A finding ends the process: the last name says which input it was.
    std::fprintf(stderr, "%s\n", file.filename().c_str());
    EXPECT_EQ(LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()), 0);
  }
}

}  // namespace
}  // namespace ppmm::fuzz
