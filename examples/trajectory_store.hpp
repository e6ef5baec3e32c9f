#pragma once
// A set of trajectories that is made one at a time, in any order and by any number of threads, and is never lost: each
// finished one lies in a file of its own, PATH.parts/trajectory_000017.npy, beside a record of the settings, until all
// are there and become the file or the folder that was asked for.

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include <kolmo/io/json.hpp>
#include <kolmo/io/lock.hpp>
#include <kolmo/io/npy.hpp>

#include "trajectory_set.hpp"

/// What a set of trajectories holds and how it was made.
struct TrajectoryRecord {
  kolmo::io::JsonValue settings;  ///< an object of everything the numbers depend on
  kolmo::index_t first = 0;       ///< index of the first trajectory
  kolmo::index_t count = 1;
  std::vector<std::string> axes;  ///< names, the trajectory first

  kolmo::io::JsonValue to_json() const {
    using Value = kolmo::io::JsonValue;
    Value::Array names;
    for (const std::string& axis : axes) names.push_back({axis});
    return {Value::Object{{"settings", settings}, {"first", {first}}, {"trajectories", {count}}, {"axes", {names}}}};
  }

  /// Throws IoError when the text is not such a record.
  static TrajectoryRecord from_json(const kolmo::io::JsonValue& json, const std::string& source) {
    TrajectoryRecord record;
    const auto* settings = json.find("settings");
    const auto* first = json.find("first");
    const auto* count = json.find("trajectories");
    const auto* axes = json.find("axes");
    if (!settings || !first || !count || !axes || !std::holds_alternative<std::int64_t>(first->value) ||
        !std::holds_alternative<std::int64_t>(count->value) ||
        !std::holds_alternative<kolmo::io::JsonValue::Array>(axes->value))
      throw kolmo::IoError(source +
                           " is no record of a set of trajectories; expected the members settings, first, "
                           "trajectories and axes");
    record.settings = *settings;
    record.first = std::get<std::int64_t>(first->value);
    record.count = std::get<std::int64_t>(count->value);
    if (record.first < 0 || record.count < 1)
      throw kolmo::IoError(source + ": " + std::to_string(record.count) + " trajectories from number " +
                           std::to_string(record.first) +
                           " on are no set; the first counts from 0, and there must be one");
    for (const auto& axis : std::get<kolmo::io::JsonValue::Array>(axes->value))
      if (const auto* name = std::get_if<std::string>(&axis.value)) record.axes.push_back(*name);
    return record;
  }
};

/// Where the record of a finished set lies: PATH.json, or settings.json in the folder.
inline std::string record_path(const std::string& target) {
  return is_folder_target(target) ? target + "settings.json" : target + ".json";
}

/// The record beside a finished set, if there is one.
inline std::optional<TrajectoryRecord> load_record(const std::string& target) {
  const std::string path = record_path(target);
  if (!std::filesystem::exists(path)) return std::nullopt;
  return TrajectoryRecord::from_json(kolmo::io::parse_json(kolmo::io::read_text_file(path), path), path);
}

/// The first setting in which two records differ, as "size is 256 there and 64 here"; empty when there is none.
inline std::string difference(const kolmo::io::JsonValue& there, const kolmo::io::JsonValue& here) {
  using Object = kolmo::io::JsonValue::Object;
  const auto shown = [](const kolmo::io::JsonValue* value) {
    return value == nullptr ? std::string("not given") : kolmo::io::to_json(*value);
  };
  for (const auto* side : {&here, &there}) {
    if (!std::holds_alternative<Object>(side->value)) return "the settings are no object";
    for (const auto& [name, ignored] : std::get<Object>(side->value)) {
      const auto* a = there.find(name);
      const auto* b = here.find(name);
      if (a == nullptr || b == nullptr || !(*a == *b))
        return name + " is " + shown(a) + " there and " + shown(b) + " here";
    }
  }
  return "";
}

class TrajectoryStore {
 public:
  /// Opens the parts of `target`, new or left by a run that was stopped. Throws ArgumentError when what is there was
  /// made with other settings, unless `restart` says to remove it, and IoError when another process is at work on it.
  TrajectoryStore(std::string target, TrajectoryRecord record, bool restart)
      : target_(std::move(target)), record_(std::move(record)) {
    namespace fs = std::filesystem;
    fs::path parent = is_folder_target(target_) ? fs::path(target_) : fs::path(target_).parent_path();
    if (is_folder_target(target_)) fs::create_directories(parent);
    if (!parent.empty() && !fs::is_directory(parent))
      throw kolmo::IoError("cannot write " + target_ + ": the folder " + parent.string() + " does not exist");
    folder_ = is_folder_target(target_) ? fs::path(target_) / "parts" : fs::path(target_ + ".parts");
    fs::create_directories(folder_);
    lock_.emplace(folder_ / "lock");
    kolmo::io::remove_stale_temporaries(folder_);
    kolmo::io::remove_stale_temporaries(parent.empty() ? fs::path(".") : parent);
    const fs::path settings = folder_ / "settings.json";
    if (restart) clear();
    if (!restart && !fs::exists(settings) && trajectories_exist(target_) && !load_record(target_))
      throw kolmo::ArgumentError(target_ + " exists and has no record " + record_path(target_) +
                                 ", so it was not made here; give another --output, or --begin-again to replace it");
    finished_ = is_complete();
    if (finished_) return;
    if (fs::exists(settings) && has_parts()) {
      const auto there = kolmo::io::parse_json(kolmo::io::read_text_file(settings), settings.string());
      const std::string differs = difference(there, record_.settings);
      if (!differs.empty())
        throw kolmo::ArgumentError(folder_.string() + " holds trajectories made with other settings: " + differs +
                                   "; give the same settings to go on, another --output, or --begin-again");
    } else if (has_parts()) {
      throw kolmo::ArgumentError(folder_.string() +
                                 " holds trajectories of unknown settings; remove it, or give --begin-again");
    } else {
      kolmo::io::write_atomically(settings, kolmo::io::to_json(record_.settings));
    }
  }

  /// Whether the whole set is there already, made with these settings.
  bool is_finished() const { return finished_; }

  /// Indices of the trajectories that are still to be made.
  std::vector<kolmo::index_t> missing() const {
    std::vector<kolmo::index_t> result;
    if (finished_) return result;
    for (kolmo::index_t i = record_.first; i < record_.first + record_.count; ++i)
      if (!std::filesystem::exists(part(i))) result.push_back(i);
    return result;
  }

  /// Keeps trajectory i. May be called from several threads.
  void add(kolmo::index_t i, const kolmo::io::HostArray& trajectory) { kolmo::io::save_npy(part(i), trajectory); }

  kolmo::io::HostArray load(kolmo::index_t i) const { return kolmo::io::load_npy(part(i)); }

  /// Keeps the last good state of a trajectory that broke, for whoever wants to look at it or go on from it; its name.
  std::string keep_last_good(kolmo::index_t i, const kolmo::io::HostArray& state) const {
    const std::filesystem::path path = folder_ / ("last_good_" + std::to_string(i) + ".npy");
    kolmo::io::save_npy(path, state);
    return path.string();
  }

  /// Writes the set from its parts, then its record, and removes the parts. Throws IoError when one is missing.
  void assemble() {
    if (finished_) return;
    write_trajectories(target_, record_.count, record_.axes, [&](kolmo::index_t i) { return load(record_.first + i); });
    kolmo::io::write_atomically(record_path(target_), kolmo::io::to_json(record_.to_json()));
    finished_ = true;
    for (kolmo::index_t i = record_.first; i < record_.first + record_.count; ++i) std::filesystem::remove(part(i));
    close();
  }

  ~TrajectoryStore() {
    // A folder in which nothing was kept is of no use.
    if (finished_ || !has_parts()) close();
  }

 private:
  std::filesystem::path part(kolmo::index_t i) const {
    char name[64];
    std::snprintf(name, sizeof name, "trajectory_%06lld.npy", static_cast<long long>(i));
    return folder_ / name;
  }

  bool is_complete() const {
    const auto there = load_record(target_);
    if (!there || !trajectories_exist(target_)) return false;
    const std::string differs = difference(there->settings, record_.settings);
    if (!differs.empty())
      throw kolmo::ArgumentError(target_ + " was made with other settings: " + differs +
                                 "; give another --output, or --begin-again to replace it");
    if (there->first != record_.first || there->count != record_.count)
      throw kolmo::ArgumentError(
          target_ + " holds the trajectories " + std::to_string(there->first) + " to " +
          std::to_string(there->first + there->count - 1) + "; for others give --first " +
          std::to_string(there->first + there->count) +
          " and another --output and join both by merge_trajectories, or give --begin-again to replace it");
    return true;
  }

  void clear() {
    namespace fs = std::filesystem;
    for (const auto& entry : fs::directory_iterator(folder_)) {
      const std::string name = entry.path().filename().string();
      if (name == "settings.json" || entry.path().extension() == ".npy") fs::remove(entry.path());
    }
    // Without its record the old set counts as unfinished; it is replaced when the new one is complete.
    fs::remove(record_path(target_));
  }

  /// Whether there is any finished trajectory or last good state, of this range or another.
  bool has_parts() const {
    std::error_code ignored;
    for (std::filesystem::directory_iterator at(folder_, ignored), end; !ignored && at != end; at.increment(ignored))
      if (at->path().extension() == ".npy") return true;
    return false;
  }

  void close() {
    std::error_code ignored;
    if (!has_parts()) std::filesystem::remove(folder_ / "settings.json", ignored);
    lock_.reset();
    std::filesystem::remove(folder_, ignored);
  }

  std::string target_;
  TrajectoryRecord record_;
  std::filesystem::path folder_;
  std::optional<kolmo::io::RunLock> lock_;
  bool finished_ = false;
};
