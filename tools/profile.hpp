/// ppmm profile: what durability costs, of a medium or of a job.
#pragma once

namespace CLI {
class App;
}

namespace ppmm::tools {

void add_profile_medium(CLI::App& profile);
void add_profile_run(CLI::App& profile);

}  // namespace ppmm::tools
