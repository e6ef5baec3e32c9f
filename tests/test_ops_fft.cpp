// Fourier and sine transforms of tensors: definitions, derivatives, identities, and what they refuse.

#include <cmath>

#include <kolmo/ops/fft.hpp>

#include "expect_op.hpp"

using namespace kolmo;
using namespace kolmo_test;

namespace {

constexpr double pi = 3.14159265358979323846;

std::size_t index(index_t i) { return static_cast<std::size_t>(i); }

/// e^{-2 pi i j k / n} with the product reduced in integers.
double cosine(index_t j, index_t k, index_t n) {
  return std::cos(2 * pi * static_cast<double>(j * k % n) / static_cast<double>(n));
}
double sine(index_t j, index_t k, index_t n) {
  return -std::sin(2 * pi * static_cast<double>(j * k % n) / static_cast<double>(n));
}

/// Complex lines [lines, 2, n] by definition; `way` is 1, or -1 for the inverse.
std::vector<double> lines(const std::vector<double>& x, index_t n, int way) {
  std::vector<double> y(x.size());
  const double scale = way > 0 ? 1.0 : 1.0 / static_cast<double>(n);
  for (index_t at = 0; at < static_cast<index_t>(x.size()); at += 2 * n)
    for (index_t k = 0; k < n; ++k)
      for (index_t j = 0; j < n; ++j) {
        const double c = scale * cosine(j, k, n), s = scale * way * sine(j, k, n);
        y[index(at + k)] += c * x[index(at + j)] - s * x[index(at + n + j)];
        y[index(at + n + k)] += s * x[index(at + j)] + c * x[index(at + n + j)];
      }
  return y;
}

/// [batch, n0, 2, n1] with the first axis where the lines are, and back.
std::vector<double> turned(const std::vector<double>& x, index_t n0, index_t n1) {
  std::vector<double> y(x.size());
  const index_t size = 2 * n0 * n1;
  for (index_t at = 0; at < static_cast<index_t>(x.size()); at += size)
    for (index_t i = 0; i < n0; ++i)
      for (index_t part = 0; part < 2; ++part)
        for (index_t j = 0; j < n1; ++j)
          y[index(at + (j * 2 + part) * n0 + i)] = x[index(at + (i * 2 + part) * n1 + j)];
  return y;
}

Result complex_lines(const Input& x, int way) { return {x.shape, lines(x.values, x.shape[-1], way)}; }

Result complex_fields(const Input& x, int way) {
  const index_t n0 = x.shape[-3], n1 = x.shape[-1];
  return {x.shape, turned(lines(turned(lines(x.values, n1, way), n0, n1), n0, way), n1, n0)};
}

/// Real rows as complex ones, and the first columns of complex rows.
Input with_zeros(const Input& x) {
  const index_t n = x.shape[-1];
  Input y{x.shape.with(x.shape.rank() - 1, 2), std::vector<double>(2 * x.values.size())};
  for (index_t i = 0; i < x.shape.size(); ++i) y.values[index(i / n * 2 * n + i % n)] = x.values[index(i)];
  return y;
}
Result first_columns(const Result& x, index_t columns) {
  const index_t n = x.shape[-1];
  Result y{x.shape, {}};
  y.shape[-1] = columns;
  for (index_t i = 0; i < x.shape.size(); ++i)
    if (i % n < columns) y.values.push_back(x.values[index(i)]);
  return y;
}

/// The whole spectrum of rows [..., 2, m] whose lines along an earlier axis were transformed already, real part only.
Result from_half(const Input& x, index_t n) {
  const index_t m = x.shape[-1], rows = x.shape.size() / (2 * m);
  Result y{x.shape.without(x.shape.rank() - 2), std::vector<double>(index(rows * n))};
  y.shape[-1] = n;
  for (index_t r = 0; r < rows; ++r)
    for (index_t j = 0; j < n; ++j)
      for (index_t k = 0; k < m; ++k) {
        const double weight = (k == 0 || 2 * k == n ? 1.0 : 2.0) / static_cast<double>(n);
        y.values[index(r * n + j)] += weight * (x.values[index(2 * r * m + k)] * cosine(j, k, n) +
                                                x.values[index((2 * r + 1) * m + k)] * sine(j, k, n));
      }
  return y;
}

/// [batch, n0, 2, m] -> [batch, n0, n1]: the columns first.
Result from_half_fields(const Input& x, index_t n1) {
  const index_t n0 = x.shape[-3], m = x.shape[-1];
  return from_half({x.shape, turned(lines(turned(x.values, n0, m), n0, -1), m, n0)}, n1);
}

Result sine_lines(const Input& x) {
  const index_t count = x.shape[-1], n = count + 1;
  Result y{x.shape, std::vector<double>(x.values.size())};
  for (index_t i = 0; i < x.shape.size(); ++i)
    for (index_t j = 0; j < count; ++j)
      y.values[index(i)] +=
          2 * x.values[index(i / count * count + j)] *
          std::sin(pi * static_cast<double>((j + 1) * (i % count + 1) % (2 * n)) / static_cast<double>(n));
  return y;
}

using Plain = Tensor<double, Cpu>;

Plain tensor(const Input& x) { return Plain::from(std::span<const double>(x.values), x.shape); }

double distance(const Plain& a, const Plain& b) {
  const auto x = a.to_vector(), y = b.to_vector();
  REQUIRE(a.shape() == b.shape());
  double worst = 0;
  for (std::size_t i = 0; i < x.size(); ++i) worst = std::max(worst, std::abs(x[i] - y[i]));
  return worst;
}

}  // namespace

TEST_CASE("fft and ifft are their definition and each other's adjoint up to the scale") {
  const Input x = random_input({2, 3, 2, 6}, 1);
  expect_op(
      "fft", [](const auto& a) { return fft(a); }, {x}, [](const Inputs& in) { return complex_lines(in[0], 1); },
      {.bad = {{{Shape{4}}}, {{Shape{3, 4}}}, {{Shape{2, 0}}}}, .large = {{random_input({67, 2, 50}, 2)}}});
  expect_op(
      "ifft", [](const auto& a) { return ifft(a); }, {x}, [](const Inputs& in) { return complex_lines(in[0], -1); },
      {.bad = {{{Shape{4}}}, {{Shape{3, 4}}}}, .large = {{random_input({67, 2, 7}, 2)}}});
}

TEST_CASE("fft2 and ifft2 are their definition") {
  const Input x = random_input({2, 4, 2, 6}, 3);
  expect_op(
      "fft2", [](const auto& a) { return fft2(a); }, {x}, [](const Inputs& in) { return complex_fields(in[0], 1); },
      {.bad = {{{Shape{2, 4}}}, {{Shape{3, 3, 4}}}}, .large = {{random_input({3, 20, 2, 37}, 4)}}});
  expect_op(
      "ifft2", [](const auto& a) { return ifft2(a); }, {x}, [](const Inputs& in) { return complex_fields(in[0], -1); },
      {.bad = {{{Shape{2, 4}}}}});
}

TEST_CASE("rfft and rfft2 are the first columns of the complex transform") {
  for (const index_t n : {7, 8})
    for (const index_t columns : {index_t{-1}, index_t{3}}) {
      const index_t m = columns < 0 ? n / 2 + 1 : columns;
      expect_op(
          "rfft", [&](const auto& a) { return rfft(a, columns); }, {random_input({3, n}, 5)},
          [&](const Inputs& in) { return first_columns(complex_lines(with_zeros(in[0]), 1), m); },
          {.bad = {{{Shape{}}}, {{Shape{3, 0}}}}});
      expect_op(
          "rfft2", [&](const auto& a) { return rfft2(a, columns); }, {random_input({2, 5, n}, 6)},
          [&](const Inputs& in) { return first_columns(complex_fields(with_zeros(in[0]), 1), m); },
          {.bad = {{{Shape{3}}}}, .large = {{random_input({3, 33, n}, 7)}}});
    }
}

TEST_CASE("irfft and irfft2 sum the modes with their conjugates and ignore what a real signal cannot have") {
  for (const index_t n : {7, 8})
    for (const index_t m : {n / 2 + 1, index_t{3}}) {
      expect_op(
          "irfft", [&](const auto& a) { return irfft(a, n); }, {random_input({3, 2, m}, 8)},
          [&](const Inputs& in) { return from_half(in[0], n); }, {.bad = {{{Shape{3}}}, {{Shape{3, m}}}}});
      expect_op(
          "irfft2", [&](const auto& a) { return irfft2(a, n); }, {random_input({2, 5, 2, m}, 9)},
          [&](const Inputs& in) { return from_half_fields(in[0], n); },
          {.bad = {{{Shape{2, m}}}}, .large = {{random_input({3, 33, 2, m}, 10)}}});
    }
}

TEST_CASE("dst1 and dst1_2d are sine sums and their own adjoints") {
  expect_op(
      "dst1", [](const auto& a) { return dst1(a); }, {random_input({3, 7}, 11)},
      [](const Inputs& in) { return sine_lines(in[0]); }, {.bad = {{{Shape{}}}, {{Shape{2, 0}}}}});
  expect_op(
      "dst1_2d", [](const auto& a) { return dst1_2d(a); }, {random_input({2, 4, 5}, 12)},
      [](const Inputs& in) {
        const Result rows = sine_lines(in[0]);
        // Both axes are the same sum: transpose, transform, transpose.
        const auto transposed = [](const Result& x) {
          Result y = x;
          const index_t a = x.shape[-2], b = x.shape[-1];
          y.shape[-2] = b;
          y.shape[-1] = a;
          for (index_t i = 0; i < x.shape.size(); ++i)
            y.values[index(i / (a * b) * a * b + i % b * a + i / b % a)] = x.values[index(i)];
          return y;
        };
        const Result turned_rows = transposed(rows);
        return transposed(sine_lines({turned_rows.shape, turned_rows.values}));
      },
      {.bad = {{{Shape{3}}}}, .large = {{random_input({2, 39, 40}, 13)}}});
}

TEST_CASE("Lines of every length are their definition and come back") {
  std::vector<index_t> lengths;
  for (index_t n = 1; n <= 40; ++n) lengths.push_back(n);
  for (const index_t n : {48, 60, 64, 97, 100, 256, 257, 360}) lengths.push_back(n);
  for (const index_t n : lengths) {
    INFO("n = " << n);
    const double tolerance = 3e-15 * (2 + std::log2(static_cast<double>(n)));
    const Input x = random_input({9, 2, n}, 14);
    const Plain z = tensor(x), y = fft(z);
    const Result expected = complex_lines(x, 1);
    CHECK(distance(y, tensor({expected.shape, expected.values})) < tolerance * std::sqrt(static_cast<double>(n)));
    CHECK(distance(ifft(y), z) < tolerance);
    const Plain real = tensor(random_input({9, n}, 15));
    CHECK(distance(irfft(rfft(real), n), real) < tolerance);
    if (n > 1) {
      const Plain sines = tensor(random_input({9, n - 1}, 16));
      CHECK(distance(dst1(dst1(sines)), sines * (2.0 * static_cast<double>(n))) <
            20 * tolerance * static_cast<double>(n));
    }
  }
}

TEST_CASE("Parseval: the sum of squares is that of the spectrum over n") {
  const index_t n = 90;
  const Plain z = tensor(random_input({1, 2, n}, 17)), y = fft(z);
  CHECK(sum(y * y).item() / static_cast<double>(n) == Approx(sum(z * z).item()).epsilon(1e-14));
}

TEST_CASE("Shift theorem: a rotated signal has its spectrum times roots of unity") {
  const index_t n = 30, shift = 7;
  const Input x = random_input({2, n}, 18);
  Input rotated = x;
  for (index_t part = 0; part < 2; ++part)
    for (index_t j = 0; j < n; ++j) rotated.values[index(part * n + (j + shift) % n)] = x.values[index(part * n + j)];
  const auto y = fft(tensor(x)).to_vector(), z = fft(tensor(rotated)).to_vector();
  for (index_t k = 0; k < n; ++k) {
    const double c = cosine(shift, k, n), s = sine(shift, k, n);
    CHECK(z[index(k)] == Approx(c * y[index(k)] - s * y[index(n + k)]).margin(1e-13));
    CHECK(z[index(n + k)] == Approx(s * y[index(k)] + c * y[index(n + k)]).margin(1e-13));
  }
}

TEST_CASE("Parts of complex numbers and back") {
  const Input x = random_input({3, 2, 5}, 19);
  const auto z = to_complex(tensor(x));
  CHECK(z.shape() == Shape{3, 5});
  CHECK(z.to_vector()[7].re == x.values[12]);
  CHECK(z.to_vector()[7].im == x.values[17]);
  CHECK(distance(from_complex(z), tensor(x)) == 0);
}

TEST_CASE("fft_frequencies are NumPy's") {
  CHECK(fft_frequencies(4) == std::vector<double>{0, 0.25, -0.5, -0.25});
  CHECK(fft_frequencies(5, 0.2) == std::vector<double>{0, 1, 2, -2, -1});
  CHECK_THROWS_AS(fft_frequencies(0), ArgumentError);
  CHECK_THROWS_AS(fft_frequencies(4, 0.0), ArgumentError);
}

TEST_CASE("An empty batch gives an empty result") {
  CHECK(rfft2(Plain::zeros({0, 4, 6})).shape() == Shape{0, 4, 2, 4});
  CHECK(irfft(Plain::zeros({0, 2, 4})).shape() == Shape{0, 6});
}

TEST_CASE("Wave numbers that do not exist are refused with their range") {
  const Plain x = Plain::zeros({4, 6}), y = Plain::zeros({4, 2, 4});
  CHECK_THROWS_WITH(rfft(x, 5), contains("1 to 4") && contains("given 5"));
  CHECK_THROWS_AS(rfft2(x, 0), ArgumentError);
  CHECK_THROWS_WITH(irfft(y, 5), contains("4 wave numbers cannot come from 5 points"));
  CHECK_THROWS_AS(irfft2(y, 0), ArgumentError);
  CHECK_THROWS_WITH(fft(x), contains("[..., 2, n]") && contains("[4, 6]"));
}
