#pragma once
// Reading the data sets of the simulators for score models: one or more files, or the folder of a data set, with named
// axes and geometry.

#include <filesystem>
#include <string>
#include <vector>

#include <kolmo/io/npy_reader.hpp>
#ifdef KOLMO_HDF5
#include <kolmo/io/hdf5.hpp>
#endif
#include <kolmo/ops/join.hpp>
#include <kolmo/score/trajectory_data.hpp>

#include "program_device.hpp"
#include "score_config.hpp"

namespace score_program {

using V = Tensor<float, Device>;
using Data = score::TrajectoryData<V>;

/// What the record beside a field file says of its grid; bodies are given by their circle.
struct Geometry {
  double first_x = 0, first_y = 0, spacing = 0;
  double body_x = 0, body_y = 0, body_radius = 0.5;
};

namespace detail {

/// The JSON record beside an NPY file, FILE.npy.json or FILE.json, or an empty object.
inline io::JsonValue record_beside(const std::filesystem::path& path) {
  std::filesystem::path beside = path, instead = path;
  beside += ".json";
  instead.replace_extension(".json");
  for (const auto& record : {beside, instead})
    if (std::filesystem::exists(record)) return io::parse_json(io::read_text_file(record), record.string());
  return {io::JsonValue::Object{}};
}

inline double number_of(const io::JsonValue& record, const char* name, const std::string& source) {
  const auto* value = record.find(name);
  double x = 0;
  if (value == nullptr || !from_value(*value, x))
    throw ArgumentError(source + " has no record of its grid with '" + name +
                        "'; give the fields.npy of simulate_wake, with its fields.json beside it");
  return x;
}

inline Data joined(std::vector<Data> sets, const std::vector<std::string>& names) {
  if (sets.size() == 1) return std::move(sets.front());
  std::vector<V> values;
  for (std::size_t i = 0; i < sets.size(); ++i) {
    if (sets[i].axes() != sets[0].axes() ||
        !(sets[i].values().shape().without(0) == sets[0].values().shape().without(0)))
      throw ArgumentError(names[i] + " has trajectories " + score::to_text(sets[i].axes()) + " of shape " +
                          sets[i].values().shape().without(0).to_string() + ", " + names[0] + " of shape " +
                          sets[0].values().shape().without(0).to_string() + "; they cannot be one set");
    values.push_back(sets[i].values());
  }
  return Data(concat(0, values), sets[0].axes());
}

}  // namespace detail

/// The NPY file that a path means: itself, or fields.npy in the folder of a wake.
inline std::string field_file(const std::string& path) {
  const std::filesystem::path inside = std::filesystem::path(path) / "fields.npy";
  return std::filesystem::is_directory(path) && std::filesystem::exists(inside) ? inside.string() : path;
}

/// The grid of a field file from its record. Throws ArgumentError when there is none.
inline void read_geometry(const std::string& path, Geometry& geometry) {
  const io::JsonValue record = detail::record_beside(path);
  geometry.first_x = detail::number_of(record, "first_x", path);
  geometry.first_y = detail::number_of(record, "first_y", path);
  geometry.spacing = detail::number_of(record, "spacing", path);
}

/// Reads `paths`: NPY files that are joined along their samples and split 80:10:10 in their order, or one folder with
/// train.h5, valid.h5 and test.h5. Trajectories are first cut into pieces of `pieces` frames; 0: left whole. Throws
/// ArgumentError or IoError.
inline score::TrajectoryParts<V> read_data(const std::vector<std::string>& paths, index_t pieces) {
  namespace fs = std::filesystem;
  if (paths.empty()) throw ArgumentError("no data given");
  const auto cut = [&](Data data) { return pieces > 0 ? data.pieces(pieces) : data; };
  if (paths.size() == 1 && fs::is_directory(field_file(paths[0]))) {
#ifdef KOLMO_HDF5
    const auto part = [&](const char* name) {
      const fs::path file = fs::path(paths[0]) / name;
      return cut(score::read_trajectories<V>(io::Hdf5Reader(io::trusted(file)), file.string()));
    };
    return {part("train.h5"), part("valid.h5"), part("test.h5")};
#else
    throw ArgumentError(paths[0] + " is a folder; this program was built without HDF5, give .npy files");
#endif
  }
  std::vector<Data> sets;
  for (const std::string& path : paths) sets.push_back(cut(score::load_trajectories<V>(field_file(path))));
  return detail::joined(std::move(sets), paths).split();
}

}  // namespace score_program
