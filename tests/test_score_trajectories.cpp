// Sets of trajectories: axes by name, values that are refused, normalisers, parts, and windows as samples for training.

#include "catch.hpp"
#include "io_support.hpp"

#include <cmath>
#include <limits>

#include <kolmo/backend/eigen.hpp>
#include <kolmo/io/npy.hpp>
#include <kolmo/io/tree.hpp>
#include <kolmo/nn/mlp.hpp>
#include <kolmo/ops/elementwise.hpp>
#include <kolmo/ops/reduce.hpp>
#include <kolmo/optim/adam.hpp>
#include <kolmo/optim/train.hpp>
#include <kolmo/score/trajectory_data.hpp>
#include <kolmo/score/window_samples.hpp>
#ifdef KOLMO_HDF5
#include <kolmo/io/hdf5.hpp>
#endif

using namespace kolmo;
using namespace kolmo::score;
using kolmo::io::test::TemporaryDirectory;
using kolmo_test::contains;

namespace {

using Ten = Tensor<float, Cpu>;
const AxisNames usual{"sample", "time", "channel", "y", "x"};

/// Element e of the result is e.
Ten counting(const Shape& shape) { return Ten::arange(shape.size()).reshaped(shape); }

/// Random walks: samples are independent, neighbouring times are not.
std::vector<float> walks(index_t samples, index_t times, index_t channels) {
  std::vector<float> x(static_cast<std::size_t>(samples * times * channels));
  for (index_t s = 0; s < samples; ++s)
    for (index_t c = 0; c < channels; ++c) {
      float at = 3 * normal<float>(Key{5}, static_cast<std::uint64_t>(s * channels + c));
      for (index_t t = 0; t < times; ++t) {
        const index_t e = (s * times + t) * channels + c;
        at += 0.1f * normal<float>(Key{6}, static_cast<std::uint64_t>(e));
        x[static_cast<std::size_t>(e)] = at;
      }
    }
  return x;
}

template <class F>
std::string message_of(const F& f) {
  try {
    f();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

}  // namespace

TEST_CASE("5.3: axes must be named, and in the order of the data") {
  const auto refused = [](const AxisNames& names) {
    return message_of([&] { TrajectoryData<Ten>(counting({4, 5, 2, 3, 3}), names, "wake.npy"); });
  };
  CHECK_THAT(refused({}), contains("wake.npy does not name its axes"));
  CHECK_THAT(refused({"time", "sample", "channel", "y", "x"}), contains("(time, sample, channel, y, x)"));
  CHECK_THAT(refused({"time", "sample", "channel", "y", "x"}), contains("transpose"));
  CHECK_THAT(refused({"sample", "channel", "time", "y", "x"}), contains("their order is another"));
  CHECK_THAT(refused({"sample", "time", "y", "x", "channel"}), contains("their order is another"));
  CHECK_THAT(refused({"time", "chain", "component", "y", "x"}), contains("their order is another"));
  CHECK_THAT(refused({"sample", "time", "z", "y", "x"}), contains("none is the channel"));
  CHECK_THAT(refused({"sample", "trajectory", "time", "channel", "x"}), contains("the same"));
  CHECK_THAT(refused({"sample", "time", "channel", "x"}), contains("4 names"));
  CHECK_THAT(refused({"sample", "time", "channel", "x", ""}), contains("no name"));
  const TrajectoryData<Ten> good(counting({4, 5, 2, 3, 3}), {"trajectory", "time", "component", "x", "y"});
  CHECK(good.space_axes() == AxisNames{"x", "y"});
  CHECK(good.channels() == 2);
  // One trajectory alone is a set of one.
  const TrajectoryData<Ten> one(counting({5, 2, 3, 3}), {"time", "component", "y", "x"});
  CHECK(one.values().shape() == Shape{1, 5, 2, 3, 3});
}

TEST_CASE("a value that is not finite is refused with its place") {
  Ten values = counting({4, 5, 2, 3, 3});
  values.mutable_data()[(((2 * 5 + 3) * 2 + 1) * 3 + 0) * 3 + 2] = std::numeric_limits<float>::quiet_NaN();
  CHECK_THAT(message_of([&] { TrajectoryData<Ten>(values, usual, "set.npy"); }),
             contains("nan at sample 2, time 3, channel 1, y 0, x 2"));
  CHECK_THAT(message_of([&] {
               TrajectoryData<Ten>(counting({4, 0, 2, 3, 3}), usual);
             }),
             contains("along the axis time"));
}

TEST_CASE("files: names from the record beside an array or from the caller, never guessed") {
  const TemporaryDirectory dir;
  const std::string path = (dir / "walks.npy").string();
  io::save_npy(path, io::HostArray(walks(20, 30, 3), {20, 30, 3}));
  CHECK_THAT(message_of([&] { load_trajectories<Ten>(path); }), contains("does not name its axes"));
  const auto data = load_trajectories<Ten>(path, {.axes = {"chain", "time", "component"}});
  CHECK(data.values().to_vector() == walks(20, 30, 3));
  CHECK(load_trajectories<Ten>(path, {.axes = data.axes(), .first = 18}).values().to_vector() ==
        data.part(18, 2).values().to_vector());
  CHECK_THAT(message_of([&] { load_trajectories<Ten>(path, {.axes = data.axes(), .first = 18, .count = 3}); }),
             contains("not in it"));

  io::write_atomically(dir / "walks.npy.json", R"({"axes": ["chain", "time", "component"], "first": 0})");
  CHECK(load_trajectories<Ten>(path).axes() == AxisNames{"chain", "time", "component"});
  CHECK_THAT(message_of([&] {
               load_trajectories<Ten>(path, {.axes = {"time", "sample", "channel"}});
             }),
             contains("its record names the axes (chain, time, component)"));
#ifdef KOLMO_HDF5
  io::Hdf5Options named;
  named.axes = {"time", "sample", "channel"};
  io::Hdf5Writer<float> writer(dir / "walks.h5", {20, 30, 3}, named);
  writer.write(0, walks(20, 30, 3));
  writer.finish();
  CHECK_THAT(message_of([&] {
               read_trajectories<Ten>(io::Hdf5Reader(io::trusted(dir / "walks.h5")), "walks.h5",
                                      {.axes = {"sample", "time", "channel"}});
             }),
             contains("walks.h5 names its axes (time, sample, channel)"));
#endif
}

TEST_CASE("5.3: data stored (time, sample) under the names (sample, time) are found out by their neighbours") {
  const TemporaryDirectory dir;
  const auto x = walks(20, 30, 3);
  std::vector<float> swapped(x.size());
  for (std::size_t s = 0; s < 20; ++s)
    for (std::size_t t = 0; t < 30; ++t)
      for (std::size_t c = 0; c < 3; ++c) swapped[(t * 20 + s) * 3 + c] = x[(s * 30 + t) * 3 + c];
  io::save_npy(dir / "x.npy", io::HostArray(swapped, {30, 20, 3}));
  TrajectoryReading reading{.axes = {"sample", "time", "channel"}};
  CHECK_THAT(message_of([&] { load_trajectories<Ten>(dir / "x.npy", reading); }),
             contains("seem to be stored in the other order"));
  reading.check_order = false;
  CHECK(load_trajectories<Ten>(dir / "x.npy", reading).samples() == 30);
  // Without correlation in time there is nothing to see, and nothing is said.
  std::vector<float> white(20 * 30);
  for (std::size_t i = 0; i < white.size(); ++i) white[i] = normal<float>(Key{8}, i);
  CHECK_FALSE(
      check_axis_order(TrajectoryData<Ten>(Ten::from(white, {20, 30, 1}), {"sample", "time", "channel"})).swapped);
}

TEST_CASE("the normaliser has the moments of each channel and undoes itself") {
  const Shape shape{3, 4, 2, 5};
  std::vector<float> x(static_cast<std::size_t>(shape.size()));
  for (std::size_t i = 0; i < x.size(); ++i)
    x[i] = normal<float>(Key{9}, i) * (i / 5 % 2 == 0 ? 1.0f : 20.0f) + (i / 5 % 2 == 0 ? 1000.0f : -3.0f);
  const TrajectoryData<Ten> data(Ten::from(x, shape), {"sample", "time", "channel", "x"});
  const auto normaliser = data.fit_normaliser();
  for (index_t c = 0; c < 2; ++c) {
    double mean = 0, square = 0;
    for (std::size_t i = 0; i < x.size(); ++i)
      if (i / 5 % 2 == static_cast<std::size_t>(c)) mean += static_cast<double>(x[i]) / 60;
    for (std::size_t i = 0; i < x.size(); ++i)
      if (i / 5 % 2 == static_cast<std::size_t>(c)) square += std::pow(static_cast<double>(x[i]) - mean, 2) / 60;
    CHECK(normaliser.mean.to_vector()[static_cast<std::size_t>(c)] == Approx(mean).epsilon(1e-6));
    CHECK(normaliser.deviation.to_vector()[static_cast<std::size_t>(c)] == Approx(std::sqrt(square)).epsilon(1e-6));
  }
  const auto standard = data.normalised(normaliser);
  CHECK(standard.axes() == data.axes());
  CHECK(max(abs(mean(standard.values(), {0, 1, 3}))).item() < 1e-4f);
  CHECK(max(abs(mean(square(standard.values()), {0, 1, 3}) - 1.0f)).item() < 1e-4f);
  CHECK(max(abs(normaliser.denormalised(standard.values()) - data.values())).item() < 1e-3f);
  CHECK_THROWS_AS(normaliser.normalised(counting({3, 5})), ShapeError);
  CHECK_THAT(message_of([&] {
               TrajectoryData<Ten>(Ten::ones({2, 3, 1}), {"sample", "time", "channel"}).fit_normaliser();
             }),
             contains("channel 0 is constant"));
}

TEST_CASE("3.1: parts by trajectory, and long ones in pieces") {
  const TrajectoryData<Ten> data(counting({1024, 4, 3}), {"chain", "time", "component"});
  const auto parts = data.split();
  CHECK(parts.train.samples() == 819);
  CHECK(parts.valid.samples() == 102);
  CHECK(parts.test.samples() == 103);
  CHECK(parts.test.values().to_vector().front() == 921 * 12);
  CHECK_THROWS_AS(data.part(0, 4).split(), ArgumentError);
  const auto pieces = TrajectoryData<Ten>(counting({2, 7, 1}), {"sample", "time", "channel"}).pieces(3);
  CHECK(pieces.values().to_vector() == std::vector<float>{0, 1, 2, 3, 4, 5, 7, 8, 9, 10, 11, 12});
  CHECK_THROWS_AS(pieces.pieces(4), ArgumentError);
}

TEST_CASE("3.2: an epoch visits every trajectory once, at a time drawn anew") {
  const index_t times = 9, window = 5;
  const TrajectoryData<Ten> data(counting({200, times, 2, 3}), {"sample", "time", "channel", "x"});
  const WindowSamples<Ten> windows(data, {.window = window, .key = Key{3}});
  CHECK(windows.size() == 200);
  std::vector<index_t> histogram(static_cast<std::size_t>(times - window + 1), 0);
  index_t same = 0;
  for (index_t i = 0; i < 200; ++i) {
    ++histogram.at(static_cast<std::size_t>(windows.start(i)));
    same += windows.start(i) == windows.at_epoch(2).start(i) ? 1 : 0;
  }
  for (const index_t count : histogram) CHECK((count > 20 && count < 60));  // 40 expected, sigma 5.7
  CHECK((same > 20 && same < 60));
  // Time-major: frame after frame, the channels of one beside each other.
  const std::vector<index_t> indices{7, 0, 199};
  const Ten batch = windows.batch(indices);
  CHECK(batch.shape() == Shape{3, window * 2, 3});
  const auto values = batch.to_vector();
  for (std::size_t b = 0; b < 3; ++b)
    for (std::size_t e = 0; e < 30; ++e)
      CHECK(values[b * 30 + e] == static_cast<float>((indices[b] * times + windows.start(indices[b])) * 6) + float(e));
  const WindowSamples<Ten> frames(data, {.window = window, .layout = WindowLayout::frames, .key = Key{3}});
  CHECK(frames.batch(indices).shape() == Shape{3, window, 2, 3});
  CHECK(frames.batch(indices).to_vector() == values);
}

TEST_CASE("all windows are visited in order, at a stride") {
  const TrajectoryData<Ten> data(counting({2, 6, 1}), {"sample", "time", "channel"});
  const WindowSamples<Ten> windows(data, {.window = 3, .choice = WindowChoice::all, .stride = 2});
  CHECK(windows.size() == 4);
  const std::vector<index_t> indices{0, 1, 2, 3};
  CHECK(windows.batch(indices).to_vector() == std::vector<float>{0, 1, 2, 2, 3, 4, 6, 7, 8, 8, 9, 10});
  CHECK_THROWS_AS(WindowSamples<Ten>(data, {.window = 7}), ArgumentError);
  CHECK_THROWS_AS(WindowSamples<Ten>(data, {.window = 0}), ArgumentError);
  const std::vector<index_t> outside{4};
  CHECK_THROWS_AS(windows.batch(outside), ArgumentError);
}

namespace {

struct SquareOfOutput {
  auto operator()(const auto& model, const auto& batch) const { return mean(square(model(batch) - 1.0f)); }
};

struct StopAt {
  index_t step;
  bool on_step(auto& info) const { return info.step != step; }
};

}  // namespace

TEST_CASE("training takes the windows of its epoch, and continues with the same ones") {
  const TrajectoryData<Ten> data(Ten::from(walks(12, 10, 2), {12, 10, 2}), {"sample", "time", "channel"});
  const WindowSamples<Ten> windows(data, {.window = 3, .key = Key{4}});
  nn::Mlp<Ten> net({.inputs = 6, .hidden = {4}, .outputs = 1});
  nn::init(Key{1}, net);
  optim::TrainOptions options;
  options.epochs = 3;
  options.batch = 5;
  options.key = Key{2};
  const optim::Adam adam = optim::adam({.learning_rate = 1e-2});
  auto straight = optim::start_training(net, adam, options), stopped = straight, first_only = straight;
  optim::train(straight, adam, windows, SquareOfOutput{}, options);
  optim::train(stopped, adam, windows, SquareOfOutput{}, options, StopAt{3});
  CHECK(stopped.step == 3);
  optim::train(stopped, adam, windows, SquareOfOutput{}, options);
  CHECK(io::to_arrays(stopped) == io::to_arrays(straight));
  // The windows of epoch 2 are not those of epoch 1.
  struct OnlyFirst {
    const WindowSamples<Ten>& windows;
    index_t size() const { return windows.size(); }
    auto batch(std::span<const index_t> indices) const { return windows.batch(indices); }
  };
  optim::train(first_only, adam, OnlyFirst{windows}, SquareOfOutput{}, options);
  CHECK_FALSE(io::to_arrays(first_only) == io::to_arrays(straight));
}
