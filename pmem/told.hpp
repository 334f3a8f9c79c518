/// A fact that the system may tell.
#pragma once

#include <optional>
#include <string>
#include <utility>

namespace ppmm {

/// A value, or why there is none.
template <class T>
class told {
 public:
  told(T value) : value_(std::move(value)) {}  // NOLINT: a fact is its value
  static told not_told(std::string why) {
    told t;
    t.why_ = std::move(why);
    return t;
  }

  explicit operator bool() const { return value_.has_value(); }
  const T& operator*() const { return *value_; }
  const T* operator->() const { return &*value_; }
  const std::string& why_not() const { return why_; }
  /// In words, by `words` for the value.
  template <class Words>
  std::string in_words(Words words) const {
    return value_ ? words(*value_) : "not told: " + why_;
  }

 private:
  told() = default;
  std::optional<T> value_;
  std::string why_;
};

}  // namespace ppmm
