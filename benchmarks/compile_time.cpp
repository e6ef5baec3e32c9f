// What including a header costs: CPU seconds (user and system, median) and peak memory of `COMPILER -std=c++20 -O2 -c`
// on a file that contains nothing but the include. CPU time, not wall time, so that a busy machine disturbs it less.

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

constexpr const char* usage =
    "Usage: compile_time [--compilers A,B] [--repetitions N] [--flags 'FLAGS'] [HEADER...]\n"
    "\n"
    "Measures CPU seconds and peak memory of compiling a file that only includes HEADER.\n"
    "\n"
    "  --compilers A,B    compilers to measure (default: g++,clang++)\n"
    "  --repetitions N    runs of which the median is taken (default: 5)\n"
    "  --flags 'FLAGS'    flags separated by spaces (default: -O2)\n"
    "  HEADER             as in #include <HEADER> (default: an empty file and the main headers)\n"
    "  --help             this text\n";

struct Cost {
  double seconds = 0;
  double megabytes = 0;
};

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  std::size_t begin = 0;
  while (begin <= text.size()) {
    const std::size_t end = std::min(text.find(separator, begin), text.size());
    if (end > begin) parts.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return parts;
}

Cost run(const std::vector<std::string>& command) {
  std::vector<char*> arguments;
  for (const std::string& argument : command) arguments.push_back(const_cast<char*>(argument.c_str()));
  arguments.push_back(nullptr);
  const pid_t child = fork();
  if (child < 0) throw std::runtime_error("cannot start a process");
  if (child == 0) {
    setenv("CCACHE_DISABLE", "1", 1);
    execvp(arguments[0], arguments.data());
    std::perror(arguments[0]);
    _exit(127);
  }
  int status = 0;
  rusage usage_of_child{};
  if (wait4(child, &status, 0, &usage_of_child) != child) throw std::runtime_error("cannot wait for the compiler");
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
    std::string text = "failed:";
    for (const std::string& argument : command) text += " " + argument;
    throw std::runtime_error(text);
  }
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + 1e-6 * static_cast<double>(t.tv_usec);
  };
  return {seconds(usage_of_child.ru_utime) + seconds(usage_of_child.ru_stime),
          static_cast<double>(usage_of_child.ru_maxrss) / 1024};
}

Cost median(std::vector<Cost> costs) {
  std::sort(costs.begin(), costs.end(), [](const Cost& a, const Cost& b) { return a.seconds < b.seconds; });
  return costs[costs.size() / 2];
}

bool is_installed(const std::string& compiler) {
  return std::system(("command -v '" + compiler + "' >/dev/null 2>&1").c_str()) == 0;
}

/// A folder of our own that disappears with the program.
class ScratchFolder {
 public:
  ScratchFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "compile_time.XXXXXX").string();
    if (!mkdtemp(name.data())) throw std::runtime_error("cannot create a folder " + name);
    path_ = name;
  }
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;
  ~ScratchFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

int measure(const std::vector<std::string>& compilers, int repetitions, const std::vector<std::string>& flags,
            const std::vector<std::string>& headers) {
  const ScratchFolder folder;
  const std::string source = (folder.path() / "include.cpp").string();
  const std::string object = (folder.path() / "include.o").string();
  std::printf("%-12s %-32s %8s %8s\n", "compiler", "header", "CPU s", "peak MB");
  for (const std::string& compiler : compilers) {
    if (!is_installed(compiler)) {
      std::fprintf(stderr, "compile_time: %s is not installed, left out\n", compiler.c_str());
      continue;
    }
    std::vector<std::string> command{compiler, "-std=c++20", "-I", KOLMO_INCLUDE_DIRECTORY};
    if (*EIGEN_INCLUDE_DIRECTORY) command.insert(command.end(), {"-isystem", EIGEN_INCLUDE_DIRECTORY});
    command.insert(command.end(), flags.begin(), flags.end());
    command.insert(command.end(), {"-c", source, "-o", object});
    for (const std::string& header : headers) {
      std::ofstream(source) << (header.empty() ? "" : "#include <" + header + ">\n");
      run(command);  // brings the files into memory
      std::vector<Cost> costs;
      for (int i = 0; i < repetitions; ++i) costs.push_back(run(command));
      const Cost cost = median(costs);
      const std::string name = std::filesystem::path(compiler).filename().string();
      std::printf("%-12s %-32s %8.2f %8.0f\n", name.c_str(), header.empty() ? "(empty file)" : header.c_str(),
                  cost.seconds, cost.megabytes);
      std::fflush(stdout);
    }
  }
  return 0;
}

std::vector<std::string> main_headers() {
  std::vector<std::string> headers{""};
  for (const char* header :
       {"kolmo/core/tensor.hpp", "kolmo/ad/transforms.hpp", "kolmo/backend/cpu.hpp", "kolmo/backend/eigen.hpp",
        "kolmo/nn/layers.hpp", "kolmo/io/safetensors.hpp", "kolmo/gmm/em.hpp", "kolmo/gmm/lamf.hpp", "kolmo/kolmo.hpp"})
    if (std::filesystem::exists(std::filesystem::path(KOLMO_INCLUDE_DIRECTORY) / header)) headers.emplace_back(header);
  return headers;
}

}  // namespace

int main(int argc, char** argv) try {
  std::vector<std::string> compilers{"g++", "clang++"};
  std::vector<std::string> flags{"-O2"};
  std::vector<std::string> headers;
  int repetitions = 5;
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    if (argument == "--help" || argument == "-h") {
      std::fputs(usage, stdout);
      return 0;
    }
    if (argument.rfind("--", 0) == 0) {
      if (i + 1 == argc) throw std::runtime_error("a value is missing after " + argument);
      const std::string value = argv[++i];
      if (argument == "--compilers") {
        compilers = split(value, ',');
      } else if (argument == "--flags") {
        flags = split(value, ' ');
      } else if (argument == "--repetitions") {
        repetitions = std::stoi(value);
        if (repetitions < 1) throw std::runtime_error("--repetitions must be at least 1, given " + value);
      } else {
        throw std::runtime_error("unknown option " + argument + "; see --help");
      }
    } else {
      headers.push_back(argument);
    }
  }
  if (headers.empty()) headers = main_headers();
  return measure(compilers, repetitions, flags, headers);
} catch (const std::exception& error) {
  std::fprintf(stderr, "compile_time: %s\n", error.what());
  return 1;
}
