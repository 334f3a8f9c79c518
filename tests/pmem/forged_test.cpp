/// A pool file is a stranger's: whatever is in it, opening it works or throws, and when it throws the file is
/// untouched.
#include "pmem_test.hpp"

#include <array>
#include <span>
#include <vector>

namespace ppmm::test {

class Forged : public testing::Test {
 protected:
  Forged() {
    pool p = pool::create(file, small);
    for (int i = 0; i < 5; ++i) p.put_job(job("job " + std::to_string(i)));
  }

  /// The part of the file that open() reads: headers, logs, the heap's tables, the control root.
  std::string head() const { return content(file, forgery(file).root_at + layout::root_object_bytes); }

  /// True if it opens.
  bool opens_or_throws() {
    const std::string before = head();
    try {
      pool p = pool::open(file);
      try {
        p.jobs();
      } catch (const corrupt_pool&) {
      }
      return true;
    } catch (const pool_error&) {
      EXPECT_TRUE(head() == before) << "a failed open has changed the file";
      return false;
    }
  }

  scratch_folder folder{memory()};
  fs::path file = folder / "a.pool";
};

TEST_F(Forged, AnywhereItOpensOrThrows) {
  std::mt19937_64 random(seed());
  const std::string whole = head();
  const std::uint64_t root_at = forgery(file).root_at;
  struct area {
    std::uint64_t offset, size;
  };
  const std::array<area, 9> areas = {
      {{0, 4096},
       {4096, 2088},
       {4096 + 1024, 24},  // offsets in the descriptor
       {4096 + 2048, 40},
       {format::lanes_offset, format::lane_count * format::lane_bytes},
       {format::lanes_offset, std::uint64_t{64} * 48},  // the first lanes
       {format::heap_offset, sizeof(format::heap_header)},
       {format::zone_offset(0), sizeof(format::zone_header) + 64 * sizeof(format::chunk_header)},  // its chunk headers
       {root_at, sizeof(layout::control_root)}}};
  int opened = 0;
  int refused = 0;
  for (int i = 0; i < 450; ++i) {
    const area where = areas[random() % areas.size()];
    std::string forged = whole.substr(where.offset, where.size);
    for (std::uint64_t n = 1 + random() % 16; n > 0; --n) {
      // One byte, or one word of the kind that breaks arithmetic.
      if (random() % 2 == 0) {
        forged[random() % forged.size()] = static_cast<char>(random());
      } else if (forged.size() >= 8) {
        const std::array<std::uint64_t, 6> words = {
            0, 1, ~std::uint64_t{0}, std::uint64_t{1} << 63, random(), random() % pool::min_size};
        const std::uint64_t word = words[random() % words.size()];
        std::memcpy(forged.data() + random() % (forged.size() / 8) * 8, &word, 8);
      }
    }
    overwrite(file, where.offset, forged.data(), forged.size());
    // Half of them by somebody who knows the checksums.
    if (random() % 2 == 0 && where.offset != root_at) {
      forgery f(file);
      f.header.checksum = format::checksum_of(f.header);
      f.descriptor.checksum = format::checksum_of(f.descriptor);
      f.heap.checksum = format::checksum_of(f.heap);
      overwrite(file, 0, &f.header, sizeof(f.header));
      overwrite(file, format::descriptor_offset, &f.descriptor, sizeof(f.descriptor));
      overwrite(file, format::heap_offset, &f.heap, sizeof(f.heap));
    } else if (random() % 2 == 0 && where.offset == root_at) {
      auto root = std::make_unique<layout::control_root>(structure_at<layout::control_root>(file, root_at));
      root->checksum = detail::checksum_of(*root);
      overwrite(file, root_at, root.get(), sizeof(*root));
    }
    SCOPED_TRACE("seed " + std::to_string(seed()) + ", forgery " + std::to_string(i));
    ++(opens_or_throws() ? opened : refused);
    overwrite(file, 0, whole.data(), whole.size());
  }
  EXPECT_GT(opened, 0);
  EXPECT_GT(refused, 0);
  EXPECT_NO_THROW(pool::open(file)) << "the forgeries were not undone: what was tested?";
}

/// libpmemobj replays these at open, without looking where they point.
class ForgedLog : public Forged {
 protected:
  static constexpr std::uint64_t undo_in_lane =
      2 * sizeof(format::log_header) + format::internal_redo_bytes + format::external_redo_bytes;
  static constexpr std::uint64_t lane = 5;
  std::uint64_t lane_at = format::lanes_offset + lane * format::lane_bytes;
  std::uint64_t undo_at = lane_at + undo_in_lane;
  std::uint64_t catalog_at = forgery(file).root_at + offsetof(layout::control_root, jobs);

  void put_undo(std::uint64_t target, std::uint64_t size, std::uint64_t operation = format::operation_copy) {
    auto header = structure_at<format::log_header>(file, undo_at);
    EXPECT_EQ(header.capacity, format::undo_bytes);
    std::vector<std::byte> entry(format::undo_bytes, std::byte{0x5a});
    format::undo_entry head{target | operation << format::operation_shift, 0, size};
    std::memcpy(entry.data(), &head, sizeof(head));
    const std::size_t lines = std::min<std::uint64_t>((sizeof(head) + size + 63) / 64 * 64, entry.size());
    head.checksum = format::checksum_of_undo(std::span(entry).first(lines), header.generation);
    std::memcpy(entry.data(), &head, sizeof(head));
    overwrite(file, undo_at + sizeof(header), entry.data(), entry.size());
    const std::uint64_t end = 0;
    if (lines < entry.size()) overwrite(file, undo_at + sizeof(header) + lines, &end, sizeof(end));
  }
};

TEST_F(ForgedLog, OfTheCatalogIsReplayed) {
  // That the forger's hand is good: libpmemobj believes it.
  put_undo(catalog_at + 2 * sizeof(layout::job_entry) + 8, 8);
  pool p = pool::open(file);
  expect_error<corrupt_pool>(file, "entry 2", [&] { p.jobs(); });
}

TEST_F(ForgedLog, OfAnythingElseIsRefused) {
  const std::string whole = head();
  const auto refused = [&](const char* what, const auto& change) {
    change();
    expect_refused<corrupt_pool>(file, what);
    overwrite(file, 0, whole.data(), whole.size());
  };
  refused("other bytes", [&] { put_undo(4096, 64); });
  refused("other bytes", [&] { put_undo(6400, 8); });  // function pointers of the process
  refused("other bytes", [&] { put_undo(catalog_at - 8, 8); });
  refused("other bytes", [&] { put_undo(catalog_at + sizeof(layout::control_root::jobs) + sizeof(layout::control_root::names) - 8, 16); });
  refused("other bytes", [&] { put_undo(std::uint64_t{1} << 50, 8); });
  refused("other bytes", [&] { put_undo(catalog_at, ~std::uint64_t{0}); });
  refused("too long", [&] { put_undo(catalog_at, format::undo_bytes); });
  refused("operation", [&] { put_undo(catalog_at, 8, 5); });
  refused("operation", [&] { put_undo(catalog_at, 8, 7); });
  const auto word = [&](std::uint64_t offset, std::uint64_t value) { overwrite(file, offset, &value, sizeof(value)); };
  for (const std::uint64_t log :
       {lane_at, lane_at + sizeof(format::log_header) + format::internal_redo_bytes, undo_at}) {
    refused("extension", [&] { word(log + offsetof(format::log_header, next), 8); });
    refused("capacity", [&] { word(log + offsetof(format::log_header, capacity), std::uint64_t{1} << 40); });
    refused("capacity", [&] { word(log + offsetof(format::log_header, capacity), 8); });
    refused("flags", [&] { word(log + offsetof(format::log_header, flags), 1); });
  }
  refused("an entry", [&] {
    word(lane_at + offsetof(format::log_header, capacity), format::internal_redo_bytes);
    word(lane_at + sizeof(format::log_header), 4096);
  });
}

TEST_F(Forged, ChunkHeadersThatStandStillOrRunOffAreRefused) {
  const std::uint64_t first = format::zone_offset(0) + sizeof(format::zone_header);
  const auto refused = [&](std::uint64_t at, std::uint32_t value) {
    const auto before = structure_at<std::uint32_t>(file, at);
    overwrite(file, at, &value, sizeof(value));
    expect_refused<corrupt_pool>(file, "zone 0");
    overwrite(file, at, &before, sizeof(before));
  };
  refused(first + offsetof(format::chunk_header, chunks), 0);  // libpmemobj would walk for ever
  refused(first + offsetof(format::chunk_header, chunks), ~0u);
  refused(first + offsetof(format::chunk_header, type), 6);
  refused(first + offsetof(format::chunk_header, type), 0);
  refused(format::zone_offset(0) + offsetof(format::zone_header, chunks), 65528);
  refused(format::zone_offset(0), 1);
  EXPECT_NO_THROW(pool::open(file));
}

}  // namespace ppmm::test
