/// What `ppmm resume` may be made to do by a pool that somebody else has written: nothing but to go on with a job.
#include "call.hpp"
#include "command.hpp"

#include <ppmm/pmem/pool.hpp>
#include <ppmm/sched/job.hpp>

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

namespace ppmm::tools {
namespace {

namespace fs = std::filesystem;

class Resume : public ::testing::Test {
 protected:
  Resume() { fs::create_directories(directory); }
  ~Resume() override { fs::remove_all(directory); }

  /// A pool with an unfinished job of this build, which says that it was called so.
  void forge(const std::string& call) {
    fs::remove(pool_file);
    pool p = pool::create(pool_file, {.size = pool::min_size, .level = durability::process});
    layout::job_entry job{};
    job.state = layout::job_state::running;
    std::strcpy(job.name, "fib 20");
    job.serial = 1;
    std::ranges::copy(build_id(), job.build_id);
    p.keep_call(job.serial, call);
    p.put_job(job);
    chmod(pool_file.c_str(), 0600);
  }
  void forge_words(std::vector<std::string> words) { forge(encode({directory, std::move(words), false})); }

  int resume(std::vector<std::string> more = {}) {
    std::vector<std::string> words{"resume", pool_file.string()};
    words.insert(words.end(), more.begin(), more.end());
    testing::internal::CaptureStderr();
    testing::internal::CaptureStdout();
    const int status = run_command(words, commands::all);
    told = testing::internal::GetCapturedStdout() + testing::internal::GetCapturedStderr();
    return status;
  }
  bool is_told(const std::string& what) const { return told.find(what) != std::string::npos; }

  fs::path directory = fs::path("/dev/shm") / ("ppmm-resume-" + std::to_string(getpid()));
  fs::path pool_file = directory / "a.pool";
  std::string told;
};

TEST(Call, IsReadAsItWasWritten) {
  const saved_call call{"/tmp/a b", {"sort", "", "x\ny", "--output", "\xff"}, true};
  const auto back = decode(encode(call));
  ASSERT_TRUE(back);
  EXPECT_EQ(back->directory, call.directory);
  EXPECT_EQ(back->words, call.words);
  EXPECT_TRUE(back->to_file);
}

TEST(Call, IsRefusedWhereAnythingIsAmiss) {
  const std::string good = encode({"/", {"fib", "20"}, false});
  ASSERT_TRUE(decode(good));
  EXPECT_FALSE(decode(""));
  EXPECT_FALSE(decode(good.substr(0, good.size() - 1)));
  EXPECT_FALSE(decode("x" + good));
  EXPECT_FALSE(decode(encode({"not/absolute", {"fib", "20"}, false})));
  EXPECT_FALSE(decode(encode({"/", {}, false})));
}

TEST(Call, CannotActOnATerminal) {
  EXPECT_EQ(for_shell(std::vector<std::string>{"a b", "c", "it's"}), R"('a b' c 'it'\''s')");
  EXPECT_EQ(for_shell(std::vector<std::string>{"\x1b[31m'\\"}), R"($'\x1b[31m\'\\')");
}

TEST_F(Resume, CallsNothingButJobs) {
  for (const char* command : {"create", "grow", "jobs", "resume", "query", "dump", "/bin/sh", "--help", ""}) {
    forge_words({command, (directory / "made").string(), "--size", "32M"});
    EXPECT_NE(resume(), 0) << command << told;
    EXPECT_FALSE(fs::exists(directory / "made")) << command;
  }
}

TEST_F(Resume, BeginsNothing) {
  forge_words({"fib", "20"});  // a pool of its own, which is another file
  EXPECT_EQ(resume(), 1);
  EXPECT_TRUE(is_told("was it moved?")) << told;
  EXPECT_FALSE(fs::exists(directory / "ppmm-fib-20.ppmm"));
  forge_words({"fib", "21", "--pool", "a.pool"});
  EXPECT_EQ(resume(), 1);
  EXPECT_TRUE(is_told("holds no job")) << told;
  forge_words({"fib", "20", "--pool", "a.pool", "--restart"});  // the entry is no job of ppmm's, and stays
  EXPECT_EQ(resume(), 1);
  EXPECT_EQ(pool::open(pool_file).jobs().size(), 1u);
}

TEST_F(Resume, RefusesWhatIsNoCall) {
  forge("rm -rf /");
  EXPECT_EQ(resume(), 1);
  EXPECT_TRUE(is_told("Give the command again")) << told;
  forge("");
  EXPECT_EQ(resume(), 1);
  EXPECT_TRUE(is_told("Give the command again")) << told;
}

TEST_F(Resume, RefusesAPoolThatOthersMayWriteTo) {
  forge_words({"fib", "20", "--pool", "a.pool"});
  for (const mode_t mode : {0620u, 0602u}) {
    chmod(pool_file.c_str(), mode);
    EXPECT_EQ(resume(), 1);
    EXPECT_TRUE(is_told("chmod go-w")) << told;
  }
  chmod(pool_file.c_str(), 0600);
  EXPECT_EQ(resume({"--dry-run"}), 0);
  EXPECT_TRUE(is_told("would resume \"fib 20\"")) << told;
}

}  // namespace
}  // namespace ppmm::tools
