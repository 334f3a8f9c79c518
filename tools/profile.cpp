#include "profile.hpp"

#include "command.hpp"

#include <CLI/CLI.hpp>

namespace ppmm::tools {

void add_profile(CLI::App& app) {
  CLI::App* profile = app.add_subcommand("profile", "Tell what durability costs: on a medium, or in a job");
  profile->require_subcommand(1);
  add_profile_medium(*profile);
  add_profile_run(*profile);
}

}  // namespace ppmm::tools
