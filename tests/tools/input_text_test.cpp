#include "input_text.hpp"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>
#include <ppmm/pmem/errors.hpp>

#include <algorithm>
#include <fstream>
#include <string>

namespace ppmm::tools {
namespace {

namespace fs = std::filesystem;

class InputText : public ::testing::Test {
 protected:
  InputText() { fs::create_directories(directory); }
  ~InputText() override { fs::remove_all(directory); }

  fs::path write(const std::string& name, const std::string& content) const {
    std::ofstream(directory / name, std::ios::binary) << content;
    return directory / name;
  }
  static std::string all_of(const input_text& t) {
    std::string s(t.size(), '?');
    t.read(0, s);
    return s;
  }
  static text_summary summary_of(const input_text& t, unsigned threads = 1) {
    return summarise(t, threads, [](std::uint64_t) {});
  }

  const fs::path directory = fs::path(::testing::TempDir()) / ("ppmm-input-" + std::to_string(getpid()));
};

TEST_F(InputText, JoinsFilesAndEndsEveryLine) {
  const input_text t({write("a", "one\ntwo"), write("empty", ""), write("b", "three\n"), write("c", "\n"),
                      write("empty", ""), write("d", "x")});
  EXPECT_EQ(all_of(t), "one\ntwo\nthree\n\nx\n");
  EXPECT_EQ(summary_of(t).lines, 5u);
  for (std::size_t from = 0; from < t.size(); ++from)
    for (std::size_t n = 0; from + n <= t.size(); ++n) {
      std::string some(n, '?');
      t.read(from, some);
      EXPECT_EQ(some, all_of(t).substr(from, n));
    }
}

TEST_F(InputText, NothingIsNothing) {
  const input_text t({write("empty", "")});
  EXPECT_EQ(t.size(), 0u);
  EXPECT_EQ(summary_of(t, 4), (text_summary{0, 0, 0}));
}

TEST_F(InputText, SummaryDoesNotDependOnThreads) {
  std::string content;
  for (std::uint64_t i = 0; content.size() < 100 * block_bytes + 17; ++i)
    content += std::to_string(i * 7919) + (i % 5 == 0 ? "\n" : " ");
  const input_text t({write("a", content)});
  const text_summary one = summary_of(t, 1);
  EXPECT_EQ(one, summary_of(t, 4));
  EXPECT_EQ(one.lines,
            static_cast<std::uint64_t>(std::count(content.begin(), content.end(), '\n') + (content.back() != '\n')));
}

TEST_F(InputText, EveryChangeShows) {
  std::string content(3 * block_bytes, 'x');
  const auto mark = [&] { return summary_of(input_text({write("a", content)})).mark(); };
  const auto original = mark();
  EXPECT_EQ(original, mark());
  for (const std::size_t at : {std::size_t{0}, block_bytes - 1, block_bytes, content.size() - 1}) {
    content[at] = 'y';
    EXPECT_NE(original, mark());
    content[at] = 'x';
  }
  content[0] = 'y';  // blocks change places
  const auto first = mark();
  content[0] = 'x', content[block_bytes] = 'y';
  EXPECT_NE(first, mark());
}

TEST_F(InputText, RefusesWhatCannotBeReadAgain) {
  EXPECT_THROW(input_text({"-"}), error);
  EXPECT_THROW(input_text({directory}), error);
  EXPECT_THROW(input_text({directory / "missing"}), error);
  EXPECT_THROW(input_text({"/dev/null"}), error);
  const fs::path pipe = directory / "pipe";
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  EXPECT_THROW(input_text({pipe}), error);
}

TEST_F(InputText, FileThatShrankIsAnError) {
  const auto file = write("a", std::string(10'000, 'x'));
  const input_text t({file});
  fs::resize_file(file, 5'000);
  std::string s(t.size(), '?');
  EXPECT_THROW(t.read(0, s), error);
}

}  // namespace
}  // namespace ppmm::tools
