// Frames, overlap-add and short-time Fourier transforms: definitions, adjoints, inverses, PyTorch's values, and what
// they refuse.

#include <cmath>

#include <kolmo/io/npz.hpp>
#include <kolmo/ops/stft.hpp>

#include "expect_op.hpp"

using namespace kolmo;
using namespace kolmo_test;

namespace {

constexpr double pi = 3.14159265358979323846;
using Plain = Tensor<double, Cpu>;

std::size_t index(index_t i) { return static_cast<std::size_t>(i); }

/// x[p] of one row, continued.
double continued(const Input& x, index_t row, index_t p, Padding padding) {
  const index_t n = x.shape[-1];
  if (padding == Padding::reflect) p = p < 0 ? -p : p >= n ? 2 * (n - 1) - p : p;
  return p < 0 || p >= n ? 0.0 : x.values[index(row * n + p)];
}

Result frames_by_definition(const Input& x, const FrameOptions& o, index_t count, const std::vector<double>& window) {
  Result y{x.shape, {}};
  y.shape[-1] = count;
  y.shape = y.shape.with(y.shape.rank(), o.length);
  for (index_t row = 0; row < x.shape.size() / x.shape[-1]; ++row)
    for (index_t f = 0; f < count; ++f)
      for (index_t j = 0; j < o.length; ++j)
        y.values.push_back(window[index(j)] * continued(x, row, f * o.hop + j - o.pad, o.padding));
  return y;
}

Result stft_by_definition(const Input& x, const StftOptions& o, index_t frames, const std::vector<double>& window) {
  const index_t pad = o.pad == -1 ? o.size / 2 : o.pad, hop = o.hop == 0 ? o.size / 4 : o.hop;
  Result y{x.shape, {}};
  y.shape[-1] = frames;
  y.shape = y.shape.with(y.shape.rank(), 2);
  y.shape = y.shape.with(y.shape.rank(), o.size / 2 + 1);
  for (index_t row = 0; row < x.shape.size() / x.shape[-1]; ++row)
    for (index_t f = 0; f < frames; ++f)
      for (int part = 0; part < 2; ++part)
        for (index_t k = 0; k <= o.size / 2; ++k) {
          double sum = 0;
          for (index_t j = 0; j < o.size; ++j) {
            const double angle = 2 * pi * static_cast<double>(j * k % o.size) / static_cast<double>(o.size);
            sum += window[index(j)] * continued(x, row, f * hop + j - pad, o.padding) *
                   (part == 0 ? std::cos(angle) : -std::sin(angle));
          }
          y.values.push_back(sum);
        }
  return y;
}

std::vector<double> hann(index_t n) {
  std::vector<double> window;
  for (index_t j = 0; j < n; ++j) {
    const double s = std::sin(pi * static_cast<double>(j) / static_cast<double>(n));
    window.push_back(s * s);
  }
  return window;
}

Plain tensor(const Input& x) { return Plain::from(std::span<const double>(x.values), x.shape); }

double distance(const Plain& a, const Plain& b) {
  REQUIRE(a.shape() == b.shape());
  const auto x = a.to_vector(), y = b.to_vector();
  double worst = 0;
  for (std::size_t i = 0; i < x.size(); ++i) worst = std::max(worst, std::abs(x[i] - y[i]));
  return worst;
}

}  // namespace

TEST_CASE("frames are their definition, with zeros and mirrored ends, and overlap_add is their adjoint") {
  const std::vector<double> window = {0.5, -1.25, 2, 0.75, 1};
  const Plain weights = Plain::from(window);
  for (const Padding padding : {Padding::zeros, Padding::reflect}) {
    const FrameOptions options{.length = 5, .hop = 2, .pad = 3, .padding = padding};
    expect_op(
        "frames", [&](const auto& x) { return frames(x, options, weights); }, {random_input({2, 9}, 1)},
        [&](const Inputs& in) { return frames_by_definition(in[0], options, 6, window); },
        {.bad = {{{Shape{}}}, {{Shape{2, 0}}}}, .large = {{random_input({3, 1500}, 2)}}});
  }
}

TEST_CASE("overlap_add sums what the frames say of a point") {
  const FrameOptions options{.length = 4, .hop = 2, .pad = 1};
  expect_op(
      "overlap_add", [&](const auto& y) { return overlap_add(y, 6, options); }, {random_input({2, 3, 4}, 3)},
      [&](const Inputs& in) {
        Result x{{2, 6}, std::vector<double>(12)};
        for (index_t row = 0; row < 2; ++row)
          for (index_t f = 0; f < 3; ++f)
            for (index_t j = 0; j < 4; ++j) {
              const index_t t = 2 * f + j - 1;
              if (t >= 0 && t < 6) x.values[index(row * 6 + t)] += in[0].values[index((row * 3 + f) * 4 + j)];
            }
        return x;
      },
      {.bad = {{{Shape{2, 2, 4}}}, {{Shape{2, 3, 5}}}, {{Shape{4}}}}});
}

TEST_CASE("stft is its definition") {
  const StftOptions options{.size = 8, .hop = 3};
  expect_op(
      "stft", [&](const auto& x) { return stft(x, options); }, {random_input({2, 13}, 4)},
      [&](const Inputs& in) { return stft_by_definition(in[0], options, 5, hann(8)); },
      {.bad = {{{Shape{}}}}, .large = {{random_input({3, 400}, 5)}}});
}

TEST_CASE("The magnitude of a spectrum is that of its complex numbers") {
  expect_op<OpChecks{.complex_step = false}>(
      "magnitude", [](const auto& x) { return magnitude(x); }, {random_input({3, 2, 4}, 6, 0.25, 1.5)},
      [](const Inputs& in) {
        Result y{{3, 4}, {}};
        for (index_t i = 0; i < 12; ++i)
          y.values.push_back(
              std::hypot(in[0].values[index(i / 4 * 8 + i % 4)], in[0].values[index(i / 4 * 8 + 4 + i % 4)]));
        return y;
      },
      {.bad = {{{Shape{3, 4}}}, {{Shape{4}}}}});
}

TEST_CASE("Silence has finite derivatives: a magnitude below 1e-12 passes none") {
  const Plain x = Plain::from({0.0, 1e-13, 3.0, 0.0, 0.0, 4.0}, Shape{2, 3});
  const auto y = magnitude(x).to_vector();
  CHECK(y[2] == 5);
  CHECK(y[0] <= 1e-12);
  const auto gradient = grad([](const auto& v) { return sum(magnitude(v)); }, x).to_vector();
  CHECK(gradient == std::vector<double>{0, 0, 0.6, 0, 0, 0.8});
}

TEST_CASE("istft recovers what stft transformed, and halves of its gradient are stft's") {
  const Input x = random_input({2, 50}, 7);
  for (const StftOptions& options : {StftOptions{.size = 16}, StftOptions{.size = 12, .hop = 5, .window = 10},
                                     StftOptions{.size = 16, .hop = 4, .padding = Padding::zeros, .normalised = true}})
    CHECK(distance(istft(stft(tensor(x), options), 50, options), tensor(x)) < 1e-14);
  const StftOptions options{.size = 4, .hop = 1};
  expect_op(
      "istft", [&](const auto& y) { return istft(y, 6, options); }, {random_input({7, 2, 3}, 8)},
      [&](const Inputs& in) {
        // The least squares inverse: overlapped inverse transforms over the sum of squared windows.
        Result result{{6}, {}};
        for (index_t t = 0; t < 6; ++t) {
          double above = 0, below = 0;
          for (index_t f = 0; f < 7; ++f) {
            const index_t j = t + 2 - f;
            if (j < 0 || j > 3) continue;
            double value = 0;
            for (index_t k = 0; k < 3; ++k) {
              const double angle = 2 * pi * static_cast<double>(j * k) / 4, weight = k == 1 ? 0.5 : 0.25;
              value += weight * (in[0].values[index(f * 6 + k)] * std::cos(angle) -
                                 in[0].values[index(f * 6 + 3 + k)] * std::sin(angle));
            }
            above += hann(4)[index(j)] * value;
            below += hann(4)[index(j)] * hann(4)[index(j)];
          }
          result.values.push_back(above / below);
        }
        return result;
      },
      {.bad = {{{Shape{6, 2, 3}}}, {{Shape{7, 2, 4}}}, {{Shape{2, 3}}}}});
}

TEST_CASE("Spectra, magnitudes and their gradients are PyTorch's") {
  const io::NamedArrays file = io::load_npz(std::string(KOLMO_REFERENCE) + "/stft.npz");
  const auto get = [&](const char* name) {
    const io::HostArray& array = file.at(name);
    return Plain::from(array.as<double>(), Shape(array.shape.begin(), array.shape.end()));
  };
  const Plain x = get("wave"), weight = get("weight");
  const StftOptions options{.size = 32, .hop = 8, .window = 24, .normalised = true};
  CHECK(distance(stft(x, options), get("spectrum")) < 1e-13);
  CHECK(distance(magnitude(stft(x, options)), get("magnitude")) < 1e-13);
  CHECK(distance(grad([&](const auto& v) { return sum(magnitude(stft(v, options)) * weight); }, x), get("gradient")) <
        1e-12);
  CHECK(distance(istft(get("spectrum"), x.shape()[-1], options), x) < 1e-13);
}

TEST_CASE("A window that does not fit a short wave is refused with both numbers") {
  const Plain x = Plain::zeros(Shape{1, 100});
  CHECK_THROWS_WITH(stft(x, {.size = 256}), contains("256") && contains("100"));
  CHECK_THROWS_AS(stft(x, {.size = 256}), ArgumentError);
  CHECK_THROWS_AS(stft(x, {.size = 128, .pad = 0}), ArgumentError);
  CHECK(stft(x, {.size = 256, .padding = Padding::zeros}).shape() == Shape{1, 2, 2, 129});
  CHECK_THROWS_AS(stft(x, {.size = 32, .padding = Padding::circular}), ArgumentError);
  CHECK_THROWS_AS(stft(x, {.size = 1}), ArgumentError);
  CHECK_THROWS_AS(stft(x, {.size = 32, .hop = -1}), ArgumentError);
  CHECK_THROWS_AS(stft(x, {.size = 32, .window = 33}), ArgumentError);
  CHECK_THROWS_AS(stft(x, {.size = 32}, Plain::zeros(Shape{31})), ShapeError);
  // Without overlap the window's zero covers some points with nothing.
  CHECK_THROWS_WITH(istft(Plain::zeros(Shape{1, 7, 2, 9}), 100, {.size = 16, .hop = 16}), contains("point"));
}
