#pragma once
// Sets of trajectories [sample, time, channel, space...] that know the names of their axes, read from NPY and HDF5
// files as the flow programs write them.

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <kolmo/backend/cpu.hpp>
#include <kolmo/core/data_split.hpp>
#include <kolmo/core/tensor.hpp>
#include <kolmo/io/file.hpp>
#include <kolmo/io/json.hpp>
#include <kolmo/io/npy_reader.hpp>
#include <kolmo/io/number_text.hpp>
#include <kolmo/score/normaliser.hpp>
#include <kolmo/score/trajectory_axes.hpp>

namespace kolmo::score {

template <PlainTensor V>
class TrajectoryData;

/// The parts of a set.
template <PlainTensor V>
struct TrajectoryParts {
  TrajectoryData<V> train, valid, test;
};

namespace detail {

/// "sample 3, time 17, channel 1, x 5": element e of a set.
inline std::string place_text(const AxisNames& axes, const Shape& shape, index_t e) {
  std::string text;
  for (int d = shape.rank() - 1; d >= 0; --d) {
    const std::string here = axes[static_cast<std::size_t>(d)] + " " + std::to_string(e % shape[d]);
    text = text.empty() ? here : here + ", " + text;
    e /= shape[d];
  }
  return text;
}

}  // namespace detail

/// Trajectories in memory. Copies share it.
template <PlainTensor V>
class TrajectoryData {
 public:
  using T = typename V::Scalar;
  using B = typename V::Backend;

  TrajectoryData() = default;
  /// `axes` names the axes of `values`; one trajectory alone, (time, channel, ...), becomes a set of one. Throws
  /// ArgumentError for names that are missing or out of order, for a value that is not finite, with its place, and for
  /// an axis without extent.
  TrajectoryData(V values, const AxisNames& axes, const std::string& source = "trajectories")
      : axes_(checked_axes(axes, static_cast<std::size_t>(values.rank()), source)) {
    values_ = values.contiguous();
    if (static_cast<int>(axes_.size()) != values.rank()) values_ = values_.reshaped(values.shape().with(0, 1));
    for (int d = 0; d < values_.rank(); ++d)
      if (values_.shape()[d] < 1)
        throw ArgumentError(source + ": there is nothing along the axis " + axes_[static_cast<std::size_t>(d)] +
                            " of shape " + values_.shape().to_string());
    each_sample([&](index_t sample, const std::vector<T>& x) {
      for (std::size_t e = 0; e < x.size(); ++e)
        if (!is_finite(x[e]))
          throw ArgumentError(source + " holds " + io::to_text(static_cast<double>(x[e])) + " at " +
                              detail::place_text(axes_, values_.shape(),
                                                 sample * static_cast<index_t>(x.size()) + static_cast<index_t>(e)) +
                              "; values must be finite: remove the trajectory, or make it again");
    });
  }

  /// [sample, time, channel, space...]
  const V& values() const { return values_; }
  const AxisNames& axes() const { return axes_; }
  /// The names of the axes of space, in the order in which they are stored.
  AxisNames space_axes() const { return {axes_.begin() + 3, axes_.end()}; }
  index_t samples() const { return values_.shape()[0]; }
  index_t times() const { return values_.shape()[1]; }
  index_t channels() const { return values_.shape()[2]; }
  index_t space_rank() const { return values_.rank() - 3; }

  /// Samples [first, first + count). Throws ArgumentError for samples that are not there.
  TrajectoryData part(index_t first, index_t count) const {
    if (first < 0 || count < 1 || count > samples() - first)
      throw ArgumentError("TrajectoryData: " + std::to_string(count) + " samples from number " + std::to_string(first) +
                          " on are not in a set of " + std::to_string(samples()));
    TrajectoryData result;
    result.axes_ = axes_;
    result.values_ = slice(values_, 0, first, first + count);
    return result;
  }

  /// The first 80 % of the samples, the next 10 %, the rest. Throws ArgumentError when a part would be empty.
  TrajectoryParts<V> split() const {
    const DataSplit counts = split_by_index(samples());
    if (counts.train < 1 || counts.valid < 1 || counts.test < 1)
      throw ArgumentError("TrajectoryData: " + std::to_string(samples()) +
                          " samples are too few for three parts of 80, 10 and 10 %; make more, or cut long "
                          "trajectories into pieces");
    return {part(0, counts.train), part(counts.train, counts.valid), part(counts.train + counts.valid, counts.test)};
  }

  /// Every trajectory cut into pieces of `length` times, one after the other; what is left at the end is dropped.
  /// Throws ArgumentError for a length without meaning.
  TrajectoryData pieces(index_t length) const {
    if (length < 1 || length > times())
      throw ArgumentError("TrajectoryData: pieces of " + std::to_string(length) + " times cannot be cut from " +
                          std::to_string(times()));
    TrajectoryData result;
    result.axes_ = axes_;
    const index_t count = times() / length;
    Shape shape = values_.shape();
    shape[0] *= count;
    shape[1] = length;
    result.values_ = slice(values_, 1, 0, count * length).reshaped(shape);
    return result;
  }

  /// Mean and standard deviation of each channel over samples, times and space. Throws ArgumentError for a channel
  /// that is constant.
  Normaliser<V> fit_normaliser() const {
    const auto c = static_cast<std::size_t>(channels());
    const std::size_t points = static_cast<std::size_t>(values_.size() / samples() / times()) / c;
    std::vector<double> means(c, 0), squares(c, 0);
    double count = 0;
    // Sample by sample, merging means and sums of squares: no cancellation, whatever the mean.
    each_sample([&](index_t, const std::vector<T>& x) {
      const double more = static_cast<double>(x.size() / c);
      for (std::size_t k = 0; k < c; ++k) {
        const auto each = [&](const auto& f) {
          for (std::size_t row = k * points; row < x.size(); row += c * points)
            for (std::size_t i = row; i < row + points; ++i) f(static_cast<double>(x[i]));
        };
        double mean = 0, square = 0;
        each([&](double v) { mean += v / more; });
        each([&](double v) { square += (v - mean) * (v - mean); });
        const double shift = mean - means[k];
        means[k] += shift * more / (count + more);
        squares[k] += square + shift * shift * count * more / (count + more);
      }
      count += more;
    });
    std::vector<T> mean, deviation;
    for (std::size_t k = 0; k < c; ++k) {
      mean.push_back(static_cast<T>(means[k]));
      deviation.push_back(static_cast<T>(std::sqrt(squares[k] / count)));
      if (!(deviation.back() > T(0)))
        throw ArgumentError("TrajectoryData: channel " + std::to_string(k) + " is constant, " + io::to_text(means[k]) +
                            "; a normaliser needs a standard deviation. Leave the channel out");
    }
    return {V::from(mean), V::from(deviation), space_rank()};
  }

  /// The set in standardised units.
  TrajectoryData normalised(const Normaliser<V>& normaliser) const {
    TrajectoryData result;
    result.axes_ = axes_;
    result.values_ = normaliser.normalised(values_);
    return result;
  }

  /// Calls f(sample, its values on the host).
  template <class F>
  void each_sample(const F& f) const {
    const index_t row = values_.size() / samples();
    std::vector<T> x(static_cast<std::size_t>(row));
    for (index_t sample = 0; sample < samples(); ++sample) {
      B::download(x.data(), values_.data() + sample * row, x.size() * sizeof(T));
      f(sample, x);
    }
  }

 private:
  V values_;
  AxisNames axes_;
};

/// Mean square differences of neighbours in time and of neighbouring samples. Samples that are independent differ by
/// at least as much as two times of one; `swapped` says when the opposite is so clear that the first two axes of the
/// data must be in the other order, whatever they are called.
struct AxisOrderCheck {
  double along_time = 0, along_samples = 0;
  bool swapped = false;
};
template <PlainTensor V>
AxisOrderCheck check_axis_order(const TrajectoryData<V>& data) {
  constexpr index_t looked_at = 64, fewest = 8;
  constexpr double clear = 3;
  AxisOrderCheck result;
  if (data.samples() < 2 || data.times() < 2) return result;
  const auto few = data.part(0, smaller(data.samples(), looked_at));
  const index_t times = smaller(data.times(), looked_at), frame = few.values().size() / few.samples() / few.times();
  std::vector<typename V::Scalar> before;
  double in_time = 0, in_samples = 0;
  few.each_sample([&](index_t sample, const auto& x) {
    for (index_t e = 0; e < times * frame; ++e) {
      const auto at = static_cast<std::size_t>(e);
      const auto value = static_cast<double>(x[at]);
      if (e >= frame) {
        const double difference = value - static_cast<double>(x[at - static_cast<std::size_t>(frame)]);
        in_time += difference * difference;
      }
      if (sample > 0) {
        const double difference = value - static_cast<double>(before[at]);
        in_samples += difference * difference;
      }
    }
    before = x;
  });
  result.along_time = in_time / static_cast<double>(few.samples() * (times - 1) * frame);
  result.along_samples = in_samples / static_cast<double>((few.samples() - 1) * times * frame);
  result.swapped = few.samples() >= fewest && times >= fewest && result.along_time > clear * result.along_samples;
  return result;
}

/// How a file is read.
struct TrajectoryReading {
  /// The names of the axes, for files that do not name them; compared with the names of those that do.
  AxisNames axes = {};
  /// Refuses data whose neighbouring samples are far more alike than neighbouring times. Turn it off for sets whose
  /// samples are no independent draws.
  bool check_order = true;
  /// Samples [first, first + count); -1: all from there on.
  index_t first = 0, count = -1;
};

/// Reads from an open io::NpyReader or io::Hdf5Reader, whose `axes()` are taken where the file has them. Throws
/// ArgumentError as TrajectoryData does, or when the names of the file are not those asked for, and IoError.
template <PlainTensor V, class Reader>
TrajectoryData<V> read_trajectories(const Reader& reader, const std::string& source,
                                    const TrajectoryReading& reading = {}) {
  using T = typename V::Scalar;
  AxisNames names = reading.axes;
  if constexpr (requires { reader.axes(); }) {
    const AxisNames found = reader.axes();
    if (!found.empty() && !names.empty() && found != names)
      throw ArgumentError(source + " names its axes " + to_text(found) + ", asked for were " + to_text(names) +
                          "; leave them out, or give the file that was meant");
    if (!found.empty()) names = found;
  }
  const AxisNames all = checked_axes(names, reader.shape().size(), source);
  const bool one = all.size() != names.size();
  const index_t there = reader.shape()[0], first = one ? 0 : reading.first;
  const index_t count = one ? there : reading.count < 0 ? there - first : reading.count;
  if (first < 0 || count < 1 || count > there - first)
    throw ArgumentError(source + " holds " + std::to_string(there) + " samples; those from number " +
                        std::to_string(first) + " on, " + std::to_string(count) + " of them, are not in it");
  Shape shape(reader.shape().begin(), reader.shape().end());
  shape[0] = count;
  V values = V::uninitialized(shape);
  T* const target = values.mutable_data();
  const index_t row = values.size() / count;
  // Some 16 MB at a time: sets are as large as the memory.
  const index_t block = larger<index_t>(1, (index_t{1} << 24) / larger<index_t>(1, row * 8));
  for (index_t done = 0; done < count; done += block) {
    const index_t rows = smaller(block, count - done);
    const std::vector<T> part = reader.read(first + done, rows).template convert<T>();
    V::Backend::upload(target + done * row, part.data(), part.size() * sizeof(T));
  }
  TrajectoryData<V> data(std::move(values), names, source);
  if (reading.check_order) {
    const AxisOrderCheck order = check_axis_order(data);
    if (order.swapped)
      throw ArgumentError(source + ": neighbours along " + data.axes()[1] + " differ by " +
                          io::to_text(std::sqrt(order.along_time), 3) + " (rms), neighbours along " + data.axes()[0] +
                          " by " + io::to_text(std::sqrt(order.along_samples), 3) + ": the axes called " +
                          data.axes()[0] + " and " + data.axes()[1] +
                          " seem to be stored in the other order. Transpose the data, or turn check_order off if "
                          "neighbouring samples are meant to be alike");
  }
  return data;
}

namespace detail {

/// The names of the axes in the JSON record beside an NPY file: FILE.npy.json, or FILE.json.
inline AxisNames recorded_axes(const std::filesystem::path& path) {
  std::filesystem::path beside = path, instead = path;
  beside += ".json";
  instead.replace_extension(".json");
  for (const auto& record : {beside, instead}) {
    if (!std::filesystem::exists(record)) continue;
    const io::JsonValue json = io::parse_json(io::read_text_file(record), record.string());
    const auto* axes = json.find("axes");
    if (axes == nullptr || !std::holds_alternative<io::JsonValue::Array>(axes->value)) continue;
    AxisNames names;
    for (const auto& axis : std::get<io::JsonValue::Array>(axes->value)) {
      const auto* name = std::get_if<std::string>(&axis.value);
      if (name == nullptr) throw IoError(record.string() + ": an axis is called by something that is no text");
      names.push_back(*name);
    }
    return names;
  }
  return {};
}

}  // namespace detail

/// Reads an NPY file. The names of its axes come from the record beside it, FILE.npy.json or FILE.json with a member
/// "axes", else from `reading`. Throws as read_trajectories.
template <PlainTensor V>
TrajectoryData<V> load_trajectories(const std::filesystem::path& path, TrajectoryReading reading = {}) {
  const AxisNames recorded = detail::recorded_axes(path);
  if (!recorded.empty() && !reading.axes.empty() && recorded != reading.axes)
    throw ArgumentError(path.string() + ": its record names the axes " + to_text(recorded) + ", asked for were " +
                        to_text(reading.axes) + "; leave them out, or give the file that was meant");
  if (!recorded.empty()) reading.axes = recorded;
  return read_trajectories<V>(io::NpyReader(path), path.string(), reading);
}

}  // namespace kolmo::score
