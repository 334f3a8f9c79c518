#include <ppmm/pmem/file.hpp>
#include <ppmm/pmem/inspect.hpp>
#include <ppmm/pmem/verify.hpp>

#include <cstddef>
#include <functional>

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
    }
  }
  return message;
}

}  // namespace

pool_report inspect(const std::filesystem::path& file) {
  const detail::descriptor fd = detail::open_pool_file(file, detail::access::read);
  const detail::file_system where = detail::file_system_of(fd.get());
  pool_report report{.file = file,
                     .file_size = detail::size_of(fd, file),
                     .file_system = where.name,
                     .in_memory = where.memory,
                     .holder = detail::holder_of(fd),
                     .facts = {},
                     .failed = {},
                     .jobs = {}};
  detail::verifier verify(fd, file);
  for (const auto& check : detail::verifier::checks()) {
    const auto message = failure_of([&] { (verify.*check.run)(); });
    if (!message) continue;
    report.failed.push_back({check.name, *message});
    if (check.others_need_it) return report;
  }

  const layout::control_root& root = verify.root();
  report.facts = {.format_version = root.version,
                  .max_workers = root.max_workers,
                  .base_address = root.base_address,
                  .size = detail::pool_size(root),
                  .first_size = root.file_size,
                  .level = static_cast<durability>(root.durability),
                  .segments = detail::segments_of(root),
                  .growths = detail::extensions(root)};
  for (std::size_t i = 0; i < layout::max_jobs; ++i) {
    std::optional<layout::job_entry> job;
    const auto message = failure_of([&] { job = verify.read_job(i); });
    if (message) {
      report.failed.push_back({"job catalog", *message});
    } else if (job) {
      report.jobs.push_back(*job);
    }
  }
  return report;
}

}  // namespace ppmm
