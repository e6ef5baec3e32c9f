#pragma once
// A finished set of trajectories as files: one NPY array whose first axis counts them, or a folder with train.h5,
// valid.h5 and test.h5 as the published data sets of score-based data assimilation are laid out.

#include <algorithm>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include <kolmo/core/data_split.hpp>
#include <kolmo/io/npy.hpp>
#include <kolmo/io/npy_reader.hpp>
#ifdef KOLMO_HDF5
#include <kolmo/io/hdf5.hpp>
#endif

#include "program.hpp"

/// Whether a set goes into a folder: the name ends in a slash.
inline bool is_folder_target(const std::string& target) { return !target.empty() && target.back() == '/'; }

/// Throws ArgumentError for a name that is neither a folder nor an .npy file, IoError for one that cannot be written.
inline void check_target(const std::string& target) {
  if (is_folder_target(target)) {
#ifndef KOLMO_HDF5
    throw kolmo::ArgumentError(
        "--output " + target +
        " asks for HDF5 files, and this program was built without HDF5; install it (Debian, Ubuntu: "
        "apt-get install libhdf5-dev) and build again, or give a FILE.npy");
#endif
    if (std::filesystem::exists(target) && !std::filesystem::is_directory(target))
      throw kolmo::IoError("cannot write " + target + ": it is a file");
    return;
  }
  if (std::filesystem::path(target).extension() != ".npy")
    throw kolmo::ArgumentError("--output " + target + " must end in .npy, or in / for a folder of HDF5 files");
  check_writable(target);
}

/// The three files of a folder, and where each begins.
struct Split {
  const char* name;
  kolmo::index_t begin, end;
};
inline std::vector<Split> splits(kolmo::index_t count) {
  const kolmo::DataSplit split = kolmo::split_by_index(count);
  const kolmo::index_t i = split.train, j = split.train + split.valid;
  return {{"train.h5", 0, i}, {"valid.h5", i, j}, {"test.h5", j, count}};
}

inline bool trajectories_exist(const std::string& target) {
  namespace fs = std::filesystem;
  if (!is_folder_target(target)) return fs::exists(target);
  return fs::exists(target + "train.h5") && fs::exists(target + "valid.h5") && fs::exists(target + "test.h5");
}

/// Writes `count` trajectories of one shape, which `load(i)` gives one after the other; `axes` names the axes, the
/// trajectory first. HDF5 files hold float32. Throws IoError and ShapeError.
template <class Load>
void write_trajectories(const std::string& target, kolmo::index_t count, const std::vector<std::string>& axes,
                        const Load& load) {
  namespace io = kolmo::io;
  const auto shape_of = [](kolmo::index_t extent, const io::HostArray& one) {
    std::vector<kolmo::index_t> shape{extent};
    shape.insert(shape.end(), one.shape.begin(), one.shape.end());
    return shape;
  };
  const auto check = [&](kolmo::index_t i, const io::HostArray& one, const io::HostArray& first) {
    if (one.shape != first.shape || one.dtype != first.dtype)
      throw kolmo::ShapeError("trajectory " + std::to_string(i) + " has shape " + io::shape_text(one.shape) +
                              ", others " + io::shape_text(first.shape) + ", or another precision");
  };
  io::HostArray one = load(0);
  const io::HostArray first(one.dtype, one.shape);
  if (!is_folder_target(target)) {
    const auto write = [&]<class T>(T) {
      io::NpyWriter<T> writer(target, shape_of(count, first));
      for (kolmo::index_t i = 0; i < count; ++i) {
        if (i > 0) one = load(i);
        check(i, one, first);
        writer.write(one.template as<T>());
      }
      writer.finish();
    };
    if (one.dtype == io::DType::f32)
      write(float{});
    else
      write(double{});
    return;
  }
#ifdef KOLMO_HDF5
  std::filesystem::create_directories(target);
  for (const Split& part : splits(count)) {
    io::Hdf5Options options;
    options.axes = axes;
    io::Hdf5Writer<float> writer(target + part.name, shape_of(part.end - part.begin, first), options);
    for (kolmo::index_t i = part.begin; i < part.end; ++i) {
      if (i > 0) one = load(i);
      check(i, one, first);
      writer.write(i - part.begin, one.convert<float>());
    }
    writer.finish();
  }
#else
  (void)axes;
  check_target(target);
#endif
}

/// One trajectory after the other of a finished set.
class TrajectoryReader {
 public:
  explicit TrajectoryReader(const std::string& target) : target_(target) {
    if (!is_folder_target(target)) array_.emplace(target);
  }

  /// Throws IoError unless the set has `count` trajectories.
  void require(kolmo::index_t count) const {
    kolmo::index_t there = !array_ || array_->shape().empty() ? 0 : array_->shape()[0];
#ifdef KOLMO_HDF5
    if (is_folder_target(target_)) {
      there = 0;
      for (const char* name : {"train.h5", "valid.h5", "test.h5"})
        there += kolmo::io::Hdf5Reader(kolmo::io::TrustedFile{target_ + name}).shape()[0];
    }
#endif
    if (there != count)
      throw kolmo::IoError(target_ + " has " + std::to_string(there) + " trajectories, its record says " +
                           std::to_string(count));
  }

  /// Trajectory i of the set, counted from 0. Throws IoError when there is none.
  kolmo::io::HostArray read(kolmo::index_t i) const {
    if (is_folder_target(target_)) return read_hdf5(i);
    if (array_->shape().size() < 2 || i >= array_->shape()[0])
      throw kolmo::IoError(target_ + " has no trajectory " + std::to_string(i) + "; its shape is " +
                           kolmo::io::shape_text(array_->shape()));
    kolmo::io::HostArray one = array_->read(i, 1);
    one.shape.erase(one.shape.begin());
    return one;
  }

 private:
  kolmo::io::HostArray read_hdf5([[maybe_unused]] kolmo::index_t i) const {
#ifdef KOLMO_HDF5
    for (const char* name : {"train.h5", "valid.h5", "test.h5"}) {
      const kolmo::io::Hdf5Reader reader(kolmo::io::TrustedFile{target_ + name});
      if (reader.shape().empty()) break;
      if (i < reader.shape()[0]) {
        kolmo::io::HostArray one = reader.read(i, 1);
        one.shape.erase(one.shape.begin());
        return one;
      }
      i -= reader.shape()[0];
    }
    throw kolmo::IoError(target_ + " has fewer trajectories");
#else
    throw kolmo::ArgumentError(target_ + " holds HDF5 files, and this program was built without HDF5");
#endif
  }

  std::string target_;
  std::optional<kolmo::io::NpyReader> array_;
};
