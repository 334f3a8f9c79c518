/// Pools of several files: made, found, told apart, moved, grown; and what a crash leaves of all that.
#include "pmem_test.hpp"

#include <ppmm/pmem/inspect.hpp>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>

#include <array>
#include <vector>

namespace ppmm::test {
namespace {

constexpr std::size_t mebi = std::size_t{1} << 20;
constexpr std::size_t count = 3;

class Parts : public testing::Test {
 protected:
  /// Three parts in three folders, as if each was a file system.
  pool_options three(const char* name = "p.pool") {
    pool_options how = small;
    how.level = durability::emulated;
    how.further_parts = {{part(1, name), 7}, {part(2, name)}};
    return how;
  }
  fs::path part(std::size_t i, const char* name = "p.pool") { return folders[i] / name; }
  fs::path first() { return part(0); }
  pool create() { return pool::create(first(), three()); }
  std::string all_content() {
    std::string all;
    for (std::size_t i = 0; i < count; ++i)
      if (fs::exists(part(i))) all += content(part(i));
    return all;
  }
  /// open() fails that way, names `file`, and changes no part.
  template <class Error>
  void expect_all_refused(const fs::path& file, const std::string& text) {
    const std::string before = all_content();
    expect_error<Error>(file, text, [&] { pool::open(first()); });
    EXPECT_TRUE(all_content() == before) << "a failed open has changed a part";
    const pool_report r = inspect(first());
    EXPECT_FALSE(r.ok());
    bool told = false;
    for (const auto& f : r.failed) told = told || f.message.find(text) != std::string::npos;
    EXPECT_TRUE(told) << text;
  }

  std::array<scratch_folder, count> folders{scratch_folder(memory()), scratch_folder(memory()), scratch_folder(memory())};
};

TEST_F(Parts, StandSideBySideAtTheirAddresses) {
  std::vector<std::byte*> bases;
  {
    const pool p = create();
    ASSERT_EQ(p.parts().size(), count);
    EXPECT_EQ(p.size(), count * pool::min_size);
    EXPECT_EQ(p.base(), p.parts()[0].base);
    EXPECT_EQ(p.span(), static_cast<std::size_t>(p.parts()[2].base + pool::min_size - p.base()));
    std::size_t segments = 0;
    for (std::size_t i = 0; i < count; ++i) {
      const pool_part& part_ = p.parts()[i];
      EXPECT_EQ(part_.file, part(i));
      EXPECT_EQ(part_.size, pool::min_size);
      EXPECT_TRUE(part_.in_memory);
      EXPECT_EQ(part_.node, i == 1 ? std::optional<unsigned>(7) : std::nullopt);
      EXPECT_TRUE(p.contains(part_.base, part_.size));
      EXPECT_FALSE(p.contains(part_.base, part_.size + 1));
      EXPECT_FALSE(p.contains(part_.base + part_.size));
      ASSERT_FALSE(part_.segments.empty());
      EXPECT_EQ(part_.segments.size(), part_.rounds.size());
      for (const auto s : part_.segments) {
        EXPECT_EQ(p.segments()[segments++].data(), s.data());
        EXPECT_TRUE(p.contains(s.data(), s.size()));
        EXPECT_TRUE(std::ranges::all_of(s, [](std::byte b) { return b == std::byte{0}; }));
      }
      part_.segments[0][5] = static_cast<std::byte>(40 + i);
      bases.push_back(part_.base);
    }
    EXPECT_EQ(segments, p.segments().size());
  }
  pool p = pool::open(first());
  for (std::size_t i = 0; i < count; ++i) {
    EXPECT_EQ(p.parts()[i].base, bases[i]);
    EXPECT_EQ(p.parts()[i].segments[0][5], static_cast<std::byte>(40 + i));
  }
  p.put_job(job("one"));
  EXPECT_EQ(p.jobs().size(), 1u);
}

TEST_F(Parts, AreToldByALook) {
  create();
  const pool_report r = inspect(first());
  EXPECT_TRUE(r.ok());
  ASSERT_TRUE(r.facts);
  EXPECT_EQ(r.facts->part, 0u);
  EXPECT_EQ(r.facts->size(), count * pool::min_size);
  ASSERT_EQ(r.facts->parts.size(), count);
  for (std::size_t i = 0; i < count; ++i) {
    EXPECT_EQ(r.facts->parts[i].file, part(i));
    EXPECT_EQ(r.facts->parts[i].file_size, pool::min_size);
    EXPECT_EQ(r.facts->parts[i].segments.size(), 1u);
  }
  EXPECT_EQ(r.facts->parts[1].node, std::optional<unsigned>(7));

  const pool_report other = inspect(part(2));
  EXPECT_TRUE(other.ok());
  ASSERT_TRUE(other.facts);
  EXPECT_EQ(other.facts->part, 2u);
  EXPECT_EQ(other.facts->parts[0].file, first());
}

TEST_F(Parts, AreOpenedByTheFirstOnly) {
  create();
  expect_refused<part_mismatch>(part(1), "part 1 of 3, whose first part was made as " + first().string());
}

TEST_F(Parts, OneThatIsMissingIsRefused) {
  create();
  fs::rename(part(1), folders[1] / "elsewhere");
  expect_all_refused<part_mismatch>(part(1), "expected part 1 of the pool " + first().string() + ", found no file");
}

TEST_F(Parts, SwappedAreRefused) {
  create();
  fs::rename(part(1), folders[1] / "x");
  fs::rename(part(2), part(1));
  fs::rename(folders[1] / "x", part(2));
  expect_all_refused<part_mismatch>(part(1), "found its part 2: the parts are swapped");
}

TEST_F(Parts, ThoseOfAnotherPoolAreRefused) {
  create();
  pool_options others = three("q.pool");
  others.address = pool::default_address;
  pool::create(part(0, "q.pool"), others);
  fs::rename(part(1, "q.pool"), part(1));
  expect_all_refused<part_mismatch>(part(1), "found part 1 of another pool");
  pool::create(part(2, "r.pool"), small);
  fs::rename(part(2, "r.pool"), part(1));
  expect_all_refused<part_mismatch>(part(1), "found the only part of another pool");
  fs::resize_file(part(1), 0);
  expect_error<part_mismatch>(part(1), "found another file", [&] { pool::open(first()); });
  EXPECT_FALSE(inspect(first()).ok());
}

TEST_F(Parts, ThatAreDamagedAreRefused) {
  create();
  fs::resize_file(part(2), pool::min_size - 4096);
  expect_all_refused<truncated_pool>(part(2), std::to_string(pool::min_size));
}

TEST_F(Parts, OneThatIsHeldIsInUse) {
  create();
  const int fd = ::open(part(2).c_str(), O_RDONLY | O_CLOEXEC);
  ASSERT_EQ(::flock(fd, LOCK_EX), 0);
  const std::string before = all_content();
  expect_error<pool_in_use>(part(2), "nobody has open", [&] { pool::open(first()); });
  expect_error<pool_in_use>(part(2), "nobody has open", [&] { pool::grow(first(), 100 * mebi); });
  EXPECT_TRUE(all_content() == before);
  ::close(fd);
  EXPECT_EQ(pool::open(first()).parts().size(), count);
}

TEST_F(Parts, MayMoveWhenThatIsTold) {
  create();
  const fs::path to = folders[0] / "moved";
  const std::string before = all_content();
  expect_error<part_mismatch>(to, "found no file", [&] { pool::move_part(first(), 1, to); });
  expect_error<part_mismatch>(part(2), "swapped", [&] { pool::move_part(first(), 1, part(2)); });
  expect_error<pool_error>(first(), "a part from 1 to 2", [&] { pool::move_part(first(), 0, to); });
  expect_error<pool_error>(first(), "a part from 1 to 2", [&] { pool::move_part(first(), 3, to); });
  EXPECT_TRUE(all_content() == before) << "what was refused has changed something";
  fs::rename(part(1), to);
  pool::move_part(first(), 1, to);
  EXPECT_EQ(pool::open(first()).parts()[1].file, to);
  EXPECT_EQ(inspect(first()).facts->parts[1].file, to);
  // The first one may go anywhere: it is what the pool is called.
  fs::rename(first(), folders[2] / "new-name");
  EXPECT_EQ(pool::open(folders[2] / "new-name").parts()[1].file, to);
}

TEST_F(Parts, ForgedTablesAreRefused) {
  create();
  const forgery whole(first());
  const auto refused_after = [&](const char* what, const auto& change) {
    forgery f(first());
    change(*f.root);
    f.store();
    expect_refused<corrupt_pool>(first(), what);
    whole.store_as_is();
  };
  refused_after("one of 1 to 16 parts", [](layout::control_root& r) { r.part_count = 0; });
  refused_after("one of 1 to 16 parts", [](layout::control_root& r) { r.part_count = 17; });
  refused_after("one of 1 to 16 parts", [](layout::control_root& r) { r.part = 3; });
  refused_after("in the table of parts", [](layout::control_root& r) { r.part = 2; });
  refused_after("in the table of parts", [](layout::control_root& r) { r.parts[0].base_address += 4096; });
  refused_after("in the table of parts", [](layout::control_root& r) { r.parts[0].file_size += 4096; });
  refused_after("expected part 1 mapped behind", [](layout::control_root& r) { r.parts[1].base_address = r.base_address; });
  refused_after("expected part 1 mapped behind", [](layout::control_root& r) { r.parts[1].base_address = r.base_address + r.file_size - 4096; });
  refused_after("expected part 1 mapped behind", [](layout::control_root& r) { r.parts[1].base_address += 8; });
  refused_after("expected part 1 mapped behind", [](layout::control_root& r) { r.parts[1].base_address = ~std::uint64_t{4095}; });
  refused_after("expected part 1 mapped behind", [](layout::control_root& r) { r.parts[1].file_size = ~std::uint64_t{0}; });
  refused_after("expected part 2 mapped behind", [](layout::control_root& r) { r.parts[2].base_address = r.base_address + pool::max_size; });
  refused_after("expected part 2 mapped behind", [](layout::control_root& r) { r.parts[2].file_size = 4096; });
  refused_after("the name of part 1", [](layout::control_root& r) { r.names[1].file[3] ^= 1; });
  refused_after("the name of part 2", [](layout::control_root& r) {
    std::memset(r.names[2].file, 'x', sizeof r.names[2].file);
    r.names[2].checksum = detail::checksum_of(r.names[2]);
  });
  refused_after("the name of part 1", [](layout::control_root& r) {
    r.names[1] = {};
    r.names[1].checksum = detail::checksum_of(r.names[1]);
  });
  EXPECT_EQ(pool::open(first()).parts().size(), count);

  // A part that says otherwise than the first.
  const forgery second(part(1));
  const auto part_refused_after = [&](const char* what, const auto& change) {
    forgery f(part(1));
    change(*f.root);
    f.store();
    expect_all_refused<corrupt_pool>(part(1), what);
    second.store_as_is();
  };
  part_refused_after("says of the pool's parts", [](layout::control_root& r) { r.parts[2].node = 3; });
  part_refused_after("says of the pool's parts", [](layout::control_root& r) { r.max_workers = 63; });
  part_refused_after("says of the pool's parts", [](layout::control_root& r) { r.part_count = 2; });
  part_refused_after("says of the pool's parts", [](layout::control_root& r) { r.durability = 1; });
  EXPECT_EQ(pool::open(first()).parts().size(), count);
}

TEST_F(Parts, OptionsOutOfRangeAreRefused) {
  const auto refused = [&](const char* what, const auto& change) {
    pool_options how = three();
    change(how);
    expect_error<pool_error>(first(), what, [&] { pool::create(first(), how); });
    for (std::size_t i = 0; i < count; ++i) EXPECT_TRUE(folders[i].empty());
  };
  refused("named twice", [&](pool_options& o) { o.further_parts[0].file = first(); });
  refused("at most 16 parts", [&](pool_options& o) { o.further_parts.resize(16); });
  refused("of addresses each", [&](pool_options& o) { o.spacing = pool::min_size; });
  refused("of addresses each", [&](pool_options& o) { o.spacing = 64 * mebi + 4096; });
  refused("of addresses each", [&](pool_options& o) { o.spacing = pool::min_size + 2 * mebi - 4096; });
  refused("of addresses each", [&](pool_options& o) { o.spacing = pool::max_size / 2; });
  refused("of addresses each", [&](pool_options& o) { o.size = pool::max_size / 2; });
  pool_options how = three();
  how.further_parts[1].file = folders[2] / std::string(600, 'x').c_str();
  EXPECT_THROW(pool::create(first(), how), pool_error);
  for (std::size_t i = 0; i < count; ++i) EXPECT_TRUE(folders[i].empty());
}

TEST_F(Parts, ThatExistAreNeitherReplacedNorLost) {
  std::ofstream(part(2)) << "mine";
  EXPECT_THROW(create(), pool_exists);
  EXPECT_EQ(content(part(2)), "mine");
  EXPECT_TRUE(folders[0].empty() && folders[1].empty());
}

// ---- growing

TEST_F(Parts, GrowTogether) {
  create();
  EXPECT_EQ(pool::grow(first(), 3 * 32 * mebi), 3 * 32 * mebi);
  EXPECT_EQ(pool::grow(first(), 3 * 32 * mebi), 3 * 32 * mebi) << "what it has";
  expect_error<pool_error>(first(), "never shrinks", [&] { pool::grow(first(), 3 * 31 * mebi); });
  expect_error<pool_error>(first(), "at least", [&] { pool::grow(first(), 3 * 32 * mebi + mebi); });
  EXPECT_EQ(pool::grow(first(), 3 * 40 * mebi), 3 * 40 * mebi);
  const pool p = pool::open(first());
  for (const pool_part& q : p.parts()) {
    EXPECT_EQ(q.size, 40 * mebi);
    EXPECT_EQ(fs::file_size(q.file), 40 * mebi);
    EXPECT_EQ(q.rounds, (std::vector<std::uint64_t>{0, 1, 2}));
  }
  EXPECT_EQ(inspect(first()).facts->growths(), 6u);
}

TEST_F(Parts, GrowNoFurtherThanTheNext) {
  pool_options how = three();
  how.spacing = 34 * mebi;  // and 2 MiB that libpmem2 takes beside
  pool::create(first(), how);
  expect_error<pool_error>(first(), "the pool's next part is mapped", [&] { pool::grow(first(), 3 * 33 * mebi); });
  EXPECT_EQ(pool::grow(first(), 3 * 32 * mebi), 3 * 32 * mebi);
  EXPECT_EQ(pool::open(first()).size(), 3 * 32 * mebi);
}

// ---- killed

/// Runs `work` in a child that is killed `calls` stops at system calls, entered or left, after the first call of `from`.
/// Whether it came to its end before.
bool killed_at_call(std::uint64_t from, int calls, const std::function<void()>& work) {
  const pid_t pid = ::fork();
  if (pid == 0) {
    ::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
    ::raise(SIGSTOP);
    try {
      work();
    } catch (const std::exception&) {
      ::_exit(1);
    }
    ::_exit(0);
  }
  int status = 0;
  ::waitpid(pid, &status, 0);
  ::ptrace(PTRACE_SETOPTIONS, pid, nullptr, PTRACE_O_EXITKILL);
  bool begun = false;
  for (int i = 0; i < calls; i += begun ? 1 : 0) {
    ::ptrace(PTRACE_SYSCALL, pid, nullptr, nullptr);
    ::waitpid(pid, &status, 0);
    if (WIFEXITED(status)) return true;
    user_regs_struct registers{};
    ::ptrace(PTRACE_GETREGS, pid, nullptr, &registers);
    begun = begun || registers.orig_rax == from;
  }
  ::kill(pid, SIGKILL);
  ::waitpid(pid, &status, 0);
  return false;
}

/// What is left is nothing, or parts without the first, which are said to be that; or the pool.
TEST_F(Parts, AreThereTogetherOrNotAtAll) {
  pool_options how = three();
  how.sparse = true;
  int ends = 0, halves = 0;
  for (int calls = 1; ends < 1; ++calls) {
    const bool ended = killed_at_call(SYS_linkat, calls, [&] { pool::create(first(), how); });
    ends += ended ? 1 : 0;
    if (fs::exists(first())) {
      EXPECT_EQ(pool::open(first()).parts().size(), count) << "killed at stop " << calls;
    } else {
      EXPECT_FALSE(ended);
      EXPECT_THROW(pool::open(first()), no_such_pool);
      for (std::size_t i = 1; i < count; ++i) {
        if (!fs::exists(part(i))) continue;
        ++halves;
        expect_refused<part_mismatch>(part(i), "if it never came to be");
        expect_error<pool_exists>(part(i), "never came to be. Remove it", [&] { pool::create(first(), how); });
        fs::remove(part(i));
      }
      EXPECT_EQ(pool::create(first(), how).parts().size(), count) << "killed at stop " << calls;
    }
    for (std::size_t i = 0; i < count; ++i) fs::remove(part(i));
  }
  EXPECT_GT(halves, 0) << "no kill fell between the names";
}

/// The file has two names, so the pool opens with either. Once the new one has been found it stays.
TEST_F(Parts, AreWhereTheyWereOrWhereTheyWereSaidToBe) {
  create();
  const fs::path to = folders[0] / "moved";
  fs::create_hard_link(part(1), to);
  int before = 0, after = 0;
  for (int calls = 1; after < 2; ++calls) {
    const bool ended = killed_at_call(SYS_msync, calls, [&] { pool::move_part(first(), 1, to); });
    const fs::path now = pool::open(first()).parts()[1].file;
    EXPECT_TRUE(now == part(1) || now == to) << "killed at stop " << calls << ": " << now;
    EXPECT_TRUE(now == to || after == 0) << "killed at stop " << calls;
    (now == to ? after : before) += 1;
    ASSERT_TRUE(!ended || now == to);
  }
  EXPECT_GT(before, 0) << "no kill fell before the name was changed";
}

/// Each part has its old size or the new one, and the same growth again comes to its end.
TEST_F(Parts, GrowOneByOne) {
  int ends = 0, mixed = 0;
  for (int calls = 1; ends < 1; calls += 1 + calls / 8) {
    create();
    const bool ended = killed_at_call(SYS_ftruncate, calls, [&] { pool::grow(first(), 3 * 20 * mebi, true); });
    ends += ended ? 1 : 0;
    const pool_report r = inspect(first());
    ASSERT_TRUE(r.ok()) << "killed at stop " << calls << ": " << r.failed[0].message;
    std::size_t grown = 0;
    for (const part_facts& p : r.facts->parts) {
      EXPECT_TRUE(p.size == pool::min_size || p.size == 20 * mebi) << "killed at stop " << calls;
      grown += p.size == 20 * mebi ? 1 : 0;
    }
    mixed += grown > 0 && grown < count ? 1 : 0;
    EXPECT_EQ(pool::open(first()).size(), count * pool::min_size + grown * 4 * mebi);
    EXPECT_EQ(pool::grow(first(), 3 * 20 * mebi), 3 * 20 * mebi) << "killed at stop " << calls;
    EXPECT_EQ(pool::open(first()).size(), 3 * 20 * mebi);
    for (std::size_t i = 0; i < count; ++i) fs::remove(part(i));
  }
  EXPECT_GT(mixed, 0) << "no kill fell between the parts";
}

}  // namespace
}  // namespace ppmm::test
