#pragma once
// How a program of this folder begins and ends: arguments are read, work is done, and what goes wrong becomes one line
// on the error output and an exit code.

#include <CLI/CLI.hpp>
#include <cstdio>

#include <kolmo/error.hpp>

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
