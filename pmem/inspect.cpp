#include <ppmm/pmem/file.hpp>
#include <ppmm/pmem/inspect.hpp>
#include <ppmm/pmem/parts.hpp>
#include <ppmm/pmem/slot_lock.hpp>
#include <ppmm/pmem/verify.hpp>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <functional>
#include <utility>

namespace ppmm {

namespace {

/// The file may change under our eyes: only what is wrong at each of a few looks is wrong. The message of the last.
std::optional<std::string> failure_of(const std::function<void()>& look) {
  std::optional<std::string> message;
  for (int tries = 0; tries < 3; ++tries) {
    try {
      look();
      return std::nullopt;
    } catch (const pool_error& e) {
      message = e.what();
    } catch (const medium_error& e) {
      message = e.what();
    }
  }
  return message;
}

/// The checks of a part have found something after which nothing in it makes sense; it is in the report.
struct unbelievable {};

bool run_checks(detail::verifier& verify, pool_report& report) {
  for (const auto& check : detail::verifier::checks()) {
    const auto message = failure_of([&] { (verify.*check.run)(); });
    if (!message) continue;
    report.failed.push_back({check.name, *message});
    if (check.others_need_it) return false;
  }
  return true;
}

/// A file, and what is told of it from outside.
struct seen_file {
  explicit seen_file(const std::filesystem::path& file) : fd(detail::open_pool_file(file, detail::access::read)) {
    const detail::file_system where = detail::file_system_of(fd.get());
    told.file = file;
    told.file_size = detail::size_of(fd, file);
    told.file_system = where.name;
    told.in_memory = where.memory;
    told.unkept = where.unkept;
    told.device = detail::facts_of(fd);
  }
  detail::descriptor fd;
  part_facts told;
};

void check_bad_blocks(const detail::verifier& verify, const device_facts& on, const std::filesystem::path& file, pool_report& report) {
  if (!on.bad_blocks) return;
  try {
    detail::check_bad_blocks(*on.bad_blocks, verify.root(), file, verify.libpmemobj_refuses_bad_blocks());
  } catch (const medium_error& e) {
    report.failed.push_back({"bad blocks", e.what()});
  }
}

part_facts as_in_table(const layout::control_root& root, std::uint32_t part) {
  const layout::part_entry& e = root.parts[part];
  const layout::part_name& n = root.names[part];
  part_facts told;
  told.file = std::string(n.file, ::strnlen(n.file, sizeof n.file));
  told.base_address = e.base_address;
  told.size = told.first_size = e.file_size;
  if (e.node != layout::no_node) told.node = e.node;
  return told;
}

part_facts as_in_file(const layout::control_root& root, part_facts told) {
  const part_facts table = as_in_table(root, root.part);
  told.base_address = table.base_address;
  told.first_size = table.first_size;
  told.node = table.node;
  told.size = detail::part_size(root);
  told.segments = detail::segments_of(root);
  told.growths = detail::extensions(root);
  return told;
}

}  // namespace

pool_report inspect(const std::filesystem::path& file) {
  const seen_file first(file);
  pool_report report{.file = file,
                     .file_size = first.told.file_size,
                     .file_system = first.told.file_system,
                     .in_memory = first.told.in_memory,
                     .unkept = first.told.unkept,
                     .device = first.told.device,
                     .holder = detail::holder_of(first.fd),
                     .worked_in = {},
                     .facts = {},
                     .failed = {},
                     .jobs = {},
                     .call = {}};
  detail::verifier verify(first.fd, file);
  if (!run_checks(verify, report)) return report;

  check_bad_blocks(verify, *first.told.device, file, report);
  const layout::control_root& root = verify.root();
  pool_facts facts{.format_version = root.version,
                   .max_workers = root.max_workers,
                   .part = root.part,
                   .level = static_cast<durability>(root.durability),
                   .parts = {}};
  for (std::uint32_t i = 0; i < root.part_count; ++i) {
    facts.parts.push_back(as_in_table(root, i));
    if (i == root.part) facts.parts[i] = as_in_file(root, first.told);
    if (i == 0 || root.part != 0) continue;
    const std::filesystem::path other = facts.parts[i].file;
    try {
      detail::look_at_part(file, i, other, [&] {
        const seen_file seen(other);
        detail::verifier check(seen.fd, other);
        const bool believed = run_checks(check, report);
        if (!believed) throw unbelievable();
        detail::check_is_part(check.root(), other, root, file, i);
        check_bad_blocks(check, *seen.told.device, other, report);
        facts.parts[i] = as_in_file(check.root(), seen.told);
      });
    } catch (const unbelievable&) {
      return report;
    } catch (const pool_error& e) {
      report.failed.push_back({"table of parts", e.what()});
      return report;
    }
  }
  report.worked_in = detail::held_slots(first.fd.get(), facts.max_workers);
  report.facts = std::move(facts);
  for (std::size_t i = 0; i < layout::max_jobs; ++i) {
    std::optional<layout::job_entry> job;
    const auto message = failure_of([&] { job = verify.read_job(i); });
    if (message) {
      report.failed.push_back({"job catalog", *message});
    } else if (job) {
      report.jobs.push_back(*job);
    }
  }
  if (!report.jobs.empty()) {
    const std::uint64_t newest = std::ranges::max(report.jobs, {}, &layout::job_entry::serial).serial;
    const auto message = failure_of([&] { report.call = verify.read_call(newest); });
    if (message) report.failed.push_back({"job catalog", *message});
  }
  return report;
}

}  // namespace ppmm
