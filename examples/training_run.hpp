#pragma once
// What every training program has: options whose values have names, the folder of a run that can be resumed, its log
// and its progress line.

#include <CLI/CLI.hpp>
#include <cstdio>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <kolmo/io/csv_reader.hpp>
#include <kolmo/io/lock.hpp>
#include <kolmo/io/picture.hpp>
#include <kolmo/optim/callbacks.hpp>

#include "program.hpp"

namespace training {

using namespace kolmo;

template <class X>
std::string name_of(const std::map<std::string, X>& names, X value) {
  for (const auto& [name, x] : names)
    if (x == value) return name;
  return "?";
}

/// An option whose values have names.
template <class X>
CLI::Option* add_choice(CLI::App* app, const std::string& option, X& value, const std::map<std::string, X>& names,
                        const std::string& text) {
  return app->add_option(option, value, text)
      ->transform(CLI::CheckedTransformer(names))
      ->default_str(name_of(names, value));
}

/// The value of an option that decides the defaults of the others and so must be known before they are declared.
inline std::string early_option(int argc, char** argv, std::string_view option, std::string fallback) {
  for (int i = 1; i < argc; ++i) {
    const std::string_view word = argv[i];
    if (word == option && i + 1 < argc) fallback = argv[i + 1];
    if (word.size() > option.size() && word.starts_with(option) && word[option.size()] == '=')
      fallback = word.substr(option.size() + 1);
  }
  return fallback;
}

/// Where a run writes, and whether one that is there goes on or is forgotten.
struct RunPaths {
  std::string output;
  std::string log;
  std::string picture;
  bool resume = false;
  bool restart = false;
};

/// The folder of a run and what a fresh or resumed start means for it; held as long as the run.
struct RunFolder {
  std::filesystem::path output, directory, log;
  std::optional<io::RunLock> lock;
  io::RunStart start = io::RunStart::fresh;

  /// Throws ArgumentError for names that clash, and when there is a run that was not asked for.
  explicit RunFolder(const RunPaths& s) : output(s.output) {
    namespace fs = std::filesystem;
    if (!s.picture.empty()) io::picture_format(s.picture);
    if (same_file(s.log, s.output))
      throw ArgumentError("--log and --output are the same file, " + s.log + "; choose two");
    for (const auto& [option, path] : {std::pair{"--output", s.output}, {"--log", s.log}})
      if (same_file(s.picture, path))
        throw ArgumentError(std::string(option) + " and --picture are the same file, " + path + "; choose two");
    check_writable(s.log);
    check_writable(s.picture);
    directory = output;
    directory += ".run";
    // Before anything is made, so that a run that is refused leaves no trace, and again when no other can come between.
    check_start(s);
    if (output.has_parent_path()) fs::create_directories(output.parent_path());
    fs::create_directories(directory);
    log = s.log.empty() ? directory / "log.csv" : fs::path(s.log);
    lock.emplace(directory / "lock");
    io::remove_stale_temporaries<io::SystemCalls>(output.has_parent_path() ? output.parent_path() : fs::path("."));
    check_start(s);
    if (s.restart) {
      fs::remove(directory / "last.safetensors");
      fs::remove(log);
      fs::remove_all(directory / "events");
    }
    if (s.resume) start = io::RunStart::resume;
  }

 private:
  void check_start(const RunPaths& s) const {
    namespace fs = std::filesystem;
    const bool has_run = fs::exists(directory / "last.safetensors");
    if (s.restart) return;
    if (!s.resume && (has_run || fs::exists(output)))
      throw ArgumentError((fs::exists(output) ? output : directory).string() +
                          " exists; continue that run with --resume, or replace it with --restart");
    if (s.resume && !has_run && fs::exists(output))
      throw ArgumentError(output.string() + " exists, but " + directory.string() +
                          " holds no run to resume; choose another --output, or replace it with --restart");
  }
};

/// Columns of a log by name.
inline std::map<std::string, std::vector<double>> read_log(const std::filesystem::path& path) {
  const std::string text = io::read_text_file(path);
  io::CsvReader reader(text, {}, path.string());
  io::CsvRow row;
  std::vector<std::string> names;
  std::map<std::string, std::vector<double>> columns;
  while (reader.next(row)) {
    if (names.empty()) {
      names.assign(row.fields.begin(), row.fields.end());
      continue;
    }
    for (std::size_t i = 0; i < names.size() && i < row.fields.size(); ++i) {
      double value = 0;
      columns[names[i]].push_back(io::detail::parse_whole(row.fields[i], value) ? value : 0.0);
    }
  }
  return columns;
}

/// A quiet run has no progress line.
struct OptionalProgress {
  std::optional<optim::ProgressLine> line;
  void on_start(auto& info) {
    if (line) line->on_start(info);
  }
  void on_step(auto& info) {
    if (line) line->on_step(info);
  }
  void on_epoch(auto& info) {
    if (line) line->on_epoch(info);
  }
  void on_end(auto& info) {
    if (line) line->on_end(info);
  }
};

}  // namespace training
