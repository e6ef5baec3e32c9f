#pragma once
// How a program of this folder begins and ends: arguments are read, work is done, and what goes wrong becomes one line
// on the error output and an exit code.

#include <CLI/CLI.hpp>
#include <cstdio>
#include <filesystem>
#include <string>

#include <kolmo/error.hpp>

/// Whether two paths name one file, be it there or not yet; empty ones name none.
inline bool same_file(const std::string& a, const std::string& b) {
  namespace fs = std::filesystem;
  if (a.empty() || b.empty()) return false;
  std::error_code error;
  if (fs::equivalent(a, b, error)) return true;
  const auto whole = [](const std::string& path) {
    std::error_code ignored;
    const fs::path absolute = fs::absolute(path, ignored), canonical = fs::weakly_canonical(absolute, ignored);
    return canonical.empty() ? absolute.lexically_normal() : canonical;
  };
  return whole(a) == whole(b);
}

/// Finds out before the work, not after, that a file cannot be written. Throws IoError; an empty path is no file.
inline void check_writable(const std::string& path) {
  namespace fs = std::filesystem;
  if (path.empty()) return;
  std::error_code ignored;
  const fs::path folder = fs::path(path).parent_path();
  if (!folder.empty() && !fs::is_directory(folder, ignored))
    throw kolmo::IoError("cannot write " + path + ": the folder " + folder.string() + " does not exist");
  if (fs::is_directory(path, ignored)) throw kolmo::IoError("cannot write " + path + ": it is a folder");
}

/// Parses the arguments and returns run(), or 2 for wrong arguments and 1 for everything else that is thrown.
template <class Run>
int run_program(CLI::App& app, const char* name, int argc, char** argv, const Run& run) {
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  try {
    return run();
  } catch (const kolmo::ArgumentError& error) {
    std::fprintf(stderr, "%s: %s\n", name, error.what());
    return 2;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s: %s\n", name, error.what());
    return 1;
  }
}
