#include <ppmm/sched/books.hpp>

#include <ppmm/pmem/pool.hpp>

#include <fmt/core.h>  // format

#include <string_view>
#include <system_error>

namespace ppmm::detail {

/// A failed medium is no fault of the job's: it can be resumed. So it can where the pool was too small, once it was grown.
/// Anything else would come again, so the job fails.
void failure::note(std::exception_ptr thrown) noexcept {
  if (what.load() != cause::none) return;
  const auto say = [&](cause c, std::string_view words) {
    text[words.copy(text, sizeof text - 1)] = 0;
    what.store(c, std::memory_order_release);
  };
  try {
    std::rethrow_exception(thrown);
  } catch (const medium_error& e) {
    say(cause::medium, e.what());
  } catch (const ppmm::corrupt_pool& e) {
    say(cause::corrupt_pool, e.what());
  } catch (const std::system_error& e) {
    code = e.code().value();
    say(cause::system, e.what());
  } catch (const out_of_pool_memory& e) {
    asked = e.asked, used = e.used, free = e.free;
    if (e.asked < pool::max_size)
      say(cause::no_room, e.what());
    else
      say(cause::task, fmt::format("{}; no pool can be so large", e.what()));
  } catch (const std::exception& e) {
    say(cause::task, e.what());
  } catch (...) {
    say(cause::task, "a task threw something that is no std::exception");
  }
}

void failure::raise() const {
  switch (what.load()) {
    case cause::medium: throw medium_error(text);
    case cause::corrupt_pool: throw ppmm::corrupt_pool(text);
    default: throw std::system_error(code, std::generic_category(), text);
  }
}

}  // namespace ppmm::detail
