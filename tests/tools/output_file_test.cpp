#include "output_file.hpp"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>
#include <ppmm/pmem/errors.hpp>

#include <fstream>
#include <iterator>
#include <string>

namespace ppmm::tools {
namespace {

namespace fs = std::filesystem;

class OutputFile : public ::testing::Test {
 protected:
  OutputFile() { fs::create_directories(directory); }
  ~OutputFile() override { fs::remove_all(directory); }

  static std::string content(const fs::path& file) {
    std::ifstream in(file, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  static mode_t mode(const fs::path& file) {
    struct stat st {};
    stat(file.c_str(), &st);
    return st.st_mode & 07777;
  }
  auto files() const { return std::distance(fs::directory_iterator(directory), fs::directory_iterator()); }

  const fs::path directory = fs::path(::testing::TempDir()) / ("ppmm-output-" + std::to_string(getpid()));
  const fs::path file = directory / "out";
};

TEST_F(OutputFile, AppearsWhole) {
  {
    output_file out(file);
    out.reserve(10);
    out.append(std::string("hello "));
    out.append(std::string(3 << 20, 'x'));
    out.append(std::string("world"));
    EXPECT_FALSE(fs::exists(file));
    out.publish();
  }
  EXPECT_EQ(content(file), "hello " + std::string(3 << 20, 'x') + "world");
  EXPECT_EQ(files(), 1);
}

TEST_F(OutputFile, OrNotAtAll) {
  std::ofstream(file) << "old";
  {
    output_file out(file);
    out.append(std::string(3 << 20, 'x'));
  }
  EXPECT_EQ(content(file), "old");
  EXPECT_EQ(files(), 1);
}

TEST_F(OutputFile, PermissionsAsAShellGives) {
  const mode_t old_mask = umask(027);
  output_file(file).publish();
  umask(old_mask);
  EXPECT_EQ(mode(file), 0640u);
  chmod(file.c_str(), 0604);
  output_file(file).publish();
  EXPECT_EQ(mode(file), 0604u);
}

TEST_F(OutputFile, FollowsALink) {
  const fs::path target = directory / "target";
  std::ofstream(target) << "old";
  fs::create_symlink("target", file);
  {
    output_file out(file);
    out.append(std::string("new"));
    out.publish();
  }
  EXPECT_TRUE(fs::is_symlink(file));
  EXPECT_EQ(content(target), "new");
}

TEST_F(OutputFile, TakesOverWhatADeadWriterLeft) {
  std::ofstream(directory / "out.part") << std::string(100, 'z');
  {
    output_file out(file);
    out.append(std::string("new"));
    out.publish();
  }
  EXPECT_EQ(content(file), "new");
  EXPECT_EQ(files(), 1);
}

TEST_F(OutputFile, OneWriterAtATime) {
  output_file first(file);
  EXPECT_THROW(output_file second(file), error);
  first.publish();
  output_file(file).publish();
}

TEST_F(OutputFile, RefusesEarly) {
  EXPECT_THROW(output_file{directory}, error);
  EXPECT_THROW(output_file{directory / "no" / "such"}, error);
  if (fs::exists("/dev/full")) {
    output_file full("/dev/full");
    full.append(std::string("x"));
    EXPECT_THROW(full.publish(), error);
  }
}

}  // namespace
}  // namespace ppmm::tools
