#include <ppmm/pmem/parts.hpp>

#include <ppmm/pmem/device.hpp>
#include <ppmm/pmem/verify.hpp>

#include <cstring>

namespace ppmm::detail {

namespace {

bool may_have_unfinished_jobs(const layout::control_root& root, const std::filesystem::path& file) {
  for (std::size_t i = 0; i < layout::max_jobs; ++i) {
    try {
      if (check_job(root.jobs[i], i, file) && root.jobs[i].state == layout::job_state::running) return true;
    } catch (const corrupt_pool&) {
      return true;
    }
  }
  return false;
}

}  // namespace

part_file open_part(const std::filesystem::path& file, opening how) {
  part_file p{.file = file, .fd = open_pool_file(file, access::write), .where = {}, .root = {}, .bad = {}, .lock = {}};
  p.where = file_system_of(p.fd.get());
  if (how == opening::alone) p.lock = std::make_unique<opening_lock>(p.fd, file);
  verifier verify(p.fd, file);
  verify.run_all();
  p.bad = known_bad_blocks(p.fd);
  check_bad_blocks(p.bad, verify.root(), file, verify.libpmemobj_refuses_bad_blocks());
  p.may_have_unfinished_jobs = verify.root().part == 0 && may_have_unfinished_jobs(verify.root(), file);
  p.root_offset = verify.root_offset();
  p.libpmemobj_first = verify.libpmemobj_has_its_say();
  p.root = verify.take_root();
  return p;
}

std::filesystem::path name_of_part(const layout::control_root& first, std::uint32_t part) { return first.names[part].file; }

void check_is_first(const layout::control_root& root, const std::filesystem::path& file) {
  if (root.part == 0) return;
  layout::part_name first = root.names[0];
  first.file[sizeof first.file - 1] = '\0';
  fail<part_mismatch>(
      "{}: expected the first part of a pool, found part {} of {}, whose first part was made as {}. Name that one; if it never came to be, "
      "remove this file and create the pool again",
      file.string(), root.part, root.part_count, first.file);
}

void check_is_part(const layout::control_root& root, const std::filesystem::path& file, const layout::control_root& first,
                   const std::filesystem::path& first_file, std::uint32_t part) {
  const std::string pool = first_file.string(), name = file.string();
  if (std::memcmp(root.pool_id, first.pool_id, sizeof root.pool_id) != 0)
    fail<part_mismatch>("{}: expected part {} of the pool {}, found {} of another pool. Mount the right file system there, or tell where the part is: `ppmm parts {} --at {}=FILE`",
                        name, part, pool, root.part_count == 1 ? std::string("the only part") : fmt::format("part {}", root.part), pool, part);
  if (root.part != part)
    fail<part_mismatch>("{}: expected part {} of the pool {}, found its part {}: the parts are swapped. Mount them as they were, or tell where they are: `ppmm parts {} --at {}=FILE`",
                        name, part, pool, root.part, pool, part);
  if (root.part_count != first.part_count || root.max_workers != first.max_workers || root.durability != first.durability ||
      std::memcmp(root.parts, first.parts, sizeof root.parts) != 0)
    fail<corrupt_pool>("{}: expected what the first part {} says of the pool's parts, found something else. Restore the pool from a copy", name, pool);
}

void look_at_part(const std::filesystem::path& first_file, std::uint32_t part, const std::filesystem::path& file, const std::function<void()>& look) {
  try {
    look();
  } catch (const no_such_pool&) {
    fail<part_mismatch>("{}: expected part {} of the pool {}, found no file. Mount its file system, or tell where the part is: `ppmm parts {} --at {}=FILE`",
                        file.string(), part, first_file.string(), first_file.string(), part);
  } catch (const not_a_pool& e) {
    fail<part_mismatch>("expected part {} of the pool {}, found another file: {}", part, first_file.string(), e.what());
  }
}

std::vector<part_file> open_parts(const std::filesystem::path& first, opening how) {
  std::vector<part_file> parts;
  parts.push_back(open_part(first, how));
  check_is_first(*parts[0].root, first);
  const std::uint32_t n = parts[0].root->part_count;
  for (std::uint32_t i = 1; i < n; ++i) {
    const std::filesystem::path file = name_of_part(*parts[0].root, i);
    look_at_part(first, i, file, [&] { parts.push_back(open_part(file, how)); });
    check_is_part(*parts[i].root, file, *parts[0].root, first, i);
  }
  return parts;
}

}  // namespace ppmm::detail
