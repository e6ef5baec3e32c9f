#pragma once
// Runs of example programs (`// program: NAME...` in the test) in a folder of their own, as a user runs them.

#include <sys/wait.h>

#include <cstdlib>
#include <string>

#include "catch.hpp"
#include "io_support.hpp"

namespace kolmo_test {

struct ProgramRuns {
  kolmo::io::test::TemporaryDirectory folder;

  void write(const std::string& name, const std::string& text) const {
    kolmo::io::write_atomically(folder / name, text);
  }
  std::string read(const std::string& name) const { return kolmo::io::read_text_file(folder / name); }
  bool has(const std::string& name) const { return std::filesystem::exists(folder / name); }

  struct Result {
    int code;
    std::string out, err;
  };
  /// Runs the program that the test names first.
  Result operator()(const std::string& arguments) const { return run(KOLMO_PROGRAM, arguments); }
  /// Runs another one of those it names.
  Result of(const std::string& name, const std::string& arguments) const {
    return run(std::filesystem::path(KOLMO_PROGRAM).replace_filename(name), arguments);
  }

 private:
  Result run(const std::filesystem::path& program, const std::string& arguments) const {
    const std::string command = "cd '" + (folder / "").string() + "' || exit 99; '" + program.string() + "' " +
                                arguments + " >out.txt 2>err.txt </dev/null";
    const int status = std::system(command.c_str());
    REQUIRE(WIFEXITED(status));
    return {WEXITSTATUS(status), read("out.txt"), read("err.txt")};
  }
};

}  // namespace kolmo_test
