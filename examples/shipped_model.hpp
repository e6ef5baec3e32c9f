#pragma once
// Where the models that ship with the examples are found.

#include <filesystem>
#include <string>
#include <vector>

#include <kolmo/error.hpp>

/// The shipped model `name`: beside the program, above its build folder, or beside this source file. Throws IoError
/// that ends with `advice`.
inline std::string shipped_model(const std::string& name, const std::string& advice) {
  namespace fs = std::filesystem;
  std::error_code ignored;
  std::vector<fs::path> places;
  fs::path folder = fs::read_symlink("/proc/self/exe", ignored).parent_path();
  for (int up = 0; up < 4 && !folder.empty(); ++up, folder = folder.parent_path()) {
    places.push_back(folder / "models");
    places.push_back(folder / "examples" / "models");
  }
  places.push_back(fs::path(__FILE__).parent_path() / "models");
  for (const fs::path& place : places)
    if (fs::is_regular_file(place / name, ignored)) return (place / name).string();
  throw kolmo::IoError("the shipped model " + name + " was not found in " + places.front().string() + ", " +
                       places.back().string() + " or the folders between; " + advice);
}
