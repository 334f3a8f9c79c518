#include "call.hpp"

#include <sys/stat.h>

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <system_error>

namespace ppmm::tools {
namespace {

std::vector<std::string> words_of_this_call;

constexpr std::string_view mark = "ppmm call 1", to_a_file = "to a file", to_be_told = "to be told";

bool acts_on_terminals(char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }

bool is_plain(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 ||
         std::string_view("-_./=+:,@%").find(c) != std::string_view::npos;
}

std::string shell_word(std::string_view word) {
  if (!word.empty() && std::ranges::all_of(word, is_plain)) return std::string(word);
  const bool escapes = std::ranges::any_of(word, acts_on_terminals);
  std::string q = escapes ? "$'" : "'";
  for (const char c : word) {
    if (acts_on_terminals(c))
      q += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    else if (escapes && (c == '\'' || c == '\\'))
      q += fmt::format("\\{}", c);
    else if (c == '\'')
      q += R"('\'')";
    else
      q += c;
  }
  return q + "'";
}

}  // namespace

void set_this_call(std::vector<std::string> words) { words_of_this_call = std::move(words); }

saved_call this_call(bool to_file) {
  std::error_code removed;
  return {std::filesystem::current_path(removed), words_of_this_call, to_file};
}

std::string encode(const saved_call& call) {
  if (call.directory.empty()) return {};
  std::string text;
  const auto add = [&](std::string_view part) { (text += part) += '\0'; };
  add(mark);
  add(call.to_file ? to_a_file : to_be_told);
  add(call.directory.native());
  for (const std::string& word : call.words) add(word);
  return text;
}

std::optional<saved_call> decode(std::string_view text) {
  std::vector<std::string> parts;
  while (!text.empty()) {
    const std::size_t end = text.find('\0');
    if (end == std::string_view::npos) return std::nullopt;
    parts.emplace_back(text.substr(0, end));
    text.remove_prefix(end + 1);
  }
  if (parts.size() < 4 || parts[0] != mark || (parts[1] != to_a_file && parts[1] != to_be_told)) return std::nullopt;
  saved_call call{parts[2], {parts.begin() + 3, parts.end()}, parts[1] == to_a_file};
  if (!call.directory.is_absolute()) return std::nullopt;
  return call;
}

std::string for_shell(const std::vector<std::string>& words) {
  std::string line;
  for (const std::string& word : words) (line += line.empty() ? "" : " ") += shell_word(word);
  return line;
}

std::string for_shell(const saved_call& call) {
  return fmt::format("cd {} && ppmm {}", shell_word(call.directory.native()), for_shell(call.words));
}

std::optional<std::filesystem::path> open_to_others(const pool_facts& pool, uid_t owner) {
  for (const part_facts& part : pool.parts) {
    struct stat st {};
    if (stat(part.file.c_str(), &st) != 0 || st.st_uid != owner || (st.st_mode & (S_IWGRP | S_IWOTH)) != 0)
      return part.file;
  }
  return std::nullopt;
}

}  // namespace ppmm::tools
