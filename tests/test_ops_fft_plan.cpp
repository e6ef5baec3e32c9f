// The transforms of fields against their definitions, and the adjoints by dot products.

#include <cmath>

#include <kolmo/core/dual.hpp>
#include <kolmo/ops/fft_plan.hpp>

#include "device.hpp"
#include "expect_op_checks.hpp"

#if defined(KOLMO_FFTW)
#include <fftw3.h>
#endif

using namespace kolmo;
using namespace kolmo_test;

namespace {

constexpr double pi = 3.14159265358979323846;

template <class T, class B>
Tensor<T, B> random_tensor(const Shape& shape, std::uint64_t seed) {
  const auto values = Numbers(seed).vector(static_cast<std::size_t>(shape.size()));
  const std::vector<T> rounded(values.begin(), values.end());
  return Tensor<T, B>::from(std::span<const T>(rounded), shape);
}

/// The half spectrum of one field by its definition.
std::vector<double> spectrum(const std::vector<double>& x, index_t n0, index_t n1, index_t columns) {
  // Row by row, then along the rows: the same sums, in n0 n1 (n0 + n1) steps.
  std::vector<double> rows(static_cast<std::size_t>(2 * n0 * columns)), y(rows.size());
  const auto angle = [](index_t j, index_t k, index_t n) {
    return 2 * pi * static_cast<double>(j * k % n) / static_cast<double>(n);
  };
  for (index_t i = 0; i < n0; ++i)
    for (index_t k = 0; k < columns; ++k)
      for (index_t j = 0; j < n1; ++j) {
        const double v = x[static_cast<std::size_t>(i * n1 + j)], a = angle(j, k, n1);
        rows[static_cast<std::size_t>(2 * i * columns + k)] += v * std::cos(a);
        rows[static_cast<std::size_t>((2 * i + 1) * columns + k)] -= v * std::sin(a);
      }
  for (index_t q = 0; q < n0; ++q)
    for (index_t i = 0; i < n0; ++i) {
      const double c = std::cos(angle(i, q, n0)), s = -std::sin(angle(i, q, n0));
      for (index_t k = 0; k < columns; ++k) {
        const double re = rows[static_cast<std::size_t>(2 * i * columns + k)];
        const double im = rows[static_cast<std::size_t>((2 * i + 1) * columns + k)];
        y[static_cast<std::size_t>(2 * q * columns + k)] += re * c - im * s;
        y[static_cast<std::size_t>((2 * q + 1) * columns + k)] += re * s + im * c;
      }
    }
  return y;
}

template <class T>
std::vector<double> as_double(const std::vector<T>& x) {
  return std::vector<double>(x.begin(), x.end());
}

/// Largest difference relative to the root mean square of the expected values.
double error(const std::vector<double>& value, const std::vector<double>& expected) {
  REQUIRE(value.size() == expected.size());
  double worst = 0, squares = 0;
  for (std::size_t i = 0; i < value.size(); ++i) {
    worst = std::max(worst, std::abs(value[i] - expected[i]));
    squares += expected[i] * expected[i];
  }
  return worst / std::sqrt(squares / static_cast<double>(value.size()) + 1e-300);
}

template <class T>
double dot(const std::vector<T>& a, const std::vector<T>& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += static_cast<double>(a[i]) * static_cast<double>(b[i]);
  return sum;
}

template <class T>
constexpr double tolerance = std::is_same_v<T, double> ? 2e-14 : 1e-5;
/// Odd sine sums are running sums of differences: their error grows like the square root of the length.
template <class T>
constexpr double sine_tolerance = 6 * tolerance<T>;

template <class T, class B>
void check_field(index_t n0, index_t n1, index_t columns, index_t batch) {
  INFO("n0 = " << n0 << ", n1 = " << n1 << ", columns = " << columns << ", batch = " << batch);
  const RealFft2<T> plan(n0, n1, columns);
  const index_t m = plan.columns();
  const auto x = random_tensor<T, B>({batch, n0, n1}, 1);
  auto y = Tensor<T, B>::uninitialized({batch, n0, 2, m});
  plan.template forward<B>(batch, x.data(), y.mutable_data());
  const auto points = as_double(x.to_vector()), modes = as_double(y.to_vector());
  for (index_t b = 0; b < batch; ++b) {
    const std::vector<double> field(points.begin() + b * n0 * n1, points.begin() + (b + 1) * n0 * n1);
    const std::vector<double> modes_of_field(modes.begin() + b * n0 * 2 * m, modes.begin() + (b + 1) * n0 * 2 * m);
    CHECK(error(modes_of_field, spectrum(field, n0, n1, m)) < tolerance<T>);
  }

  auto back = Tensor<T, B>::uninitialized(x.shape());
  if (m == n1 / 2 + 1) {
    plan.template inverse<B>(batch, y.data(), back.mutable_data(), T(1) / static_cast<T>(n0 * n1));
    CHECK(error(as_double(back.to_vector()), points) < tolerance<T>);
  }

  // Adjoints of both directions, for spectra without any symmetry.
  const auto gy = random_tensor<T, B>(y.shape(), 2);
  plan.template forward_adjoint<B>(batch, gy.data(), back.mutable_data());
  const double size = std::sqrt(dot(modes, modes) * dot(gy.to_vector(), gy.to_vector()));
  CHECK(std::abs(dot(gy.to_vector(), y.to_vector()) - dot(back.to_vector(), x.to_vector())) < tolerance<T> * size);
  plan.template inverse<B>(batch, gy.data(), back.mutable_data(), T(0.5));
  auto gradient = Tensor<T, B>::uninitialized(y.shape());
  plan.template inverse_adjoint<B>(batch, x.data(), gradient.mutable_data(), T(0.5));
  CHECK(std::abs(dot(back.to_vector(), x.to_vector()) - dot(gy.to_vector(), gradient.to_vector())) <
        tolerance<T> * size);
}

template <class T, class B>
void check_sines(index_t nx, index_t ny, index_t batch) {
  INFO("nx = " << nx << ", ny = " << ny << ", batch = " << batch);
  const SineTransform2<T> plan(nx, ny);
  const auto x = random_tensor<T, B>({batch, nx - 1, ny - 1}, 3);
  auto y = Tensor<T, B>::uninitialized(x.shape());
  plan.template apply<B>(batch, x.data(), y.mutable_data(), T(0.5));
  const auto points = as_double(x.to_vector());
  std::vector<double> along(points.size()), expected(points.size());
  const auto at = [&](index_t b, index_t i, index_t j) {
    return static_cast<std::size_t>((b * (nx - 1) + i - 1) * (ny - 1) + j - 1);
  };
  for (index_t b = 0; b < batch; ++b) {
    for (index_t i = 1; i < nx; ++i)
      for (index_t l = 1; l < ny; ++l)
        for (index_t j = 1; j < ny; ++j)
          along[at(b, i, l)] +=
              2 * points[at(b, i, j)] * std::sin(pi * static_cast<double>(j * l % (2 * ny)) / static_cast<double>(ny));
    for (index_t k = 1; k < nx; ++k)
      for (index_t i = 1; i < nx; ++i) {
        const double s = std::sin(pi * static_cast<double>(i * k % (2 * nx)) / static_cast<double>(nx));
        for (index_t l = 1; l < ny; ++l) expected[at(b, k, l)] += along[at(b, i, l)] * s;
      }
  }
  CHECK(error(as_double(y.to_vector()), expected) < sine_tolerance<T>);
  // In place, and back.
  T* memory = y.mutable_data();
  plan.template apply<B>(batch, memory, memory, T(0.5) / static_cast<T>(nx * ny));
  CHECK(error(as_double(y.to_vector()), points) < sine_tolerance<T>);
}

}  // namespace

TEMPLATE_TEST_CASE("RealFft2 is its definition, its adjoints pass dot-product tests", "[device]", float, double) {
  for (index_t n = 1; n <= 20; ++n) {
    check_field<TestType, Cpu>(n, 21 - n, -1, 1);
    check_field<TestType, TestDevice>(n, 21 - n, -1, 2);
  }
  for (const index_t n : {21, 31, 36, 39, 48, 60, 64, 97, 100, 256, 257, 360}) {
    check_field<TestType, Cpu>(n, 5, -1, 1);
    check_field<TestType, Cpu>(6, n, -1, 1);
    check_field<TestType, Cpu>(33, n, n / 3 + 1, 1);
    check_field<TestType, TestDevice>(n, 6, -1, 1);
    check_field<TestType, TestDevice>(5, n, -1, 1);
  }
  check_field<TestType, Cpu>(48, 60, -1, 2);
  check_field<TestType, Cpu>(64, 64, 22, 3);
  check_field<TestType, TestDevice>(64, 36, 12, 2);
}

TEMPLATE_TEST_CASE("SineTransform2 is its definition and its own inverse", "[device]", float, double) {
  for (index_t n = 2; n <= 20; ++n) {
    check_sines<TestType, Cpu>(n, 22 - n, 1);
    check_sines<TestType, TestDevice>(n, 22 - n, 2);
  }
  for (const index_t n : {31, 36, 39, 48, 60, 64, 97, 100, 256, 257, 360}) {
    check_sines<TestType, Cpu>(n, 7, 1);
    check_sines<TestType, Cpu>(8, n, 1);
    check_sines<TestType, Cpu>(37, n, 1);
    check_sines<TestType, TestDevice>(n, 8, 1);
    check_sines<TestType, TestDevice>(7, n, 1);
  }
  check_sines<TestType, Cpu>(40, 20, 2);
}

/// A factor that is not the same along both axes.
struct Tilt {
  KOLMO_HD auto operator()(index_t kx, index_t ky) const { return 1.0f / static_cast<float>(1 + kx * kx + 3 * ky); }
};

namespace {

/// Filtered fields, and the same by a transform each way with the factor between them.
template <class S, class B>
std::pair<std::vector<S>, std::vector<S>> filtered(index_t n0, index_t n1, index_t columns) {
  const RealFft2<float> plan(n0, n1, columns);
  const auto x = random_tensor<S, B>({2, n0, n1}, 3);
  auto spectrum = Tensor<S, B>::uninitialized({2, n0, 2, plan.columns()}), y = Tensor<S, B>::uninitialized(x.shape());
  auto scratch = Tensor<S, B>::uninitialized({plan.scratch_size(2)});
  plan.template filter<B>(2, x.data(), y.mutable_data(), Tilt{}, scratch.mutable_data());
  plan.template forward<B>(2, x.data(), spectrum.mutable_data());
  std::vector<S> modes = spectrum.to_vector();
  for (std::size_t i = 0; i < modes.size(); ++i) {
    const auto at = static_cast<index_t>(i), m = plan.columns();
    modes[i] = modes[i] * Tilt{}(at / (2 * m) % n0, at % m);
  }
  spectrum = Tensor<S, B>::from(std::span<const S>(modes), spectrum.shape());
  auto expected = Tensor<S, B>::uninitialized(x.shape());
  plan.template inverse<B>(2, spectrum.data(), expected.mutable_data());
  return {y.to_vector(), expected.to_vector()};
}

template <class S, class B>
void check_filter() {
  for (const auto& [n0, n1, columns] :
       std::vector<std::tuple<index_t, index_t, index_t>>{{12, 16, 9}, {7, 30, 8}, {22, 10, 6}, {40, 7, 4}}) {
    const auto [actual, expected] = filtered<S, B>(n0, n1, columns);
    for (std::size_t i = 0; i < expected.size(); ++i) {
      if constexpr (std::is_same_v<S, float>) {
        CHECK(std::abs(actual[i] - expected[i]) < 1e-4f);
      } else {
        CHECK(std::abs(actual[i].v - expected[i].v) < 1e-4f);
        CHECK(std::abs(actual[i].d[0] - expected[i].d[0]) < 1e-4f);
      }
    }
  }
}

template <class T, class B>
std::vector<std::vector<T>> all_transforms(index_t n0, index_t n1, index_t columns) {
  const RealFft2<T> plan(n0, n1, columns);
  const SineTransform2<T> sines(n0 + 1, n1 + 1);
  const auto x = random_tensor<T, B>({3, n0, n1}, 1), y = random_tensor<T, B>({3, n0, 2, plan.columns()}, 2);
  auto forward = Tensor<T, B>::uninitialized(y.shape()), inverse = Tensor<T, B>::uninitialized(x.shape());
  auto sums = Tensor<T, B>::uninitialized(x.shape());
  plan.template forward<B>(3, x.data(), forward.mutable_data());
  plan.template inverse<B>(3, y.data(), inverse.mutable_data());
  sines.template apply<B>(3, x.data(), sums.mutable_data(), T(0.7));
  return {forward.to_vector(), inverse.to_vector(), sums.to_vector()};
}

}  // namespace

TEST_CASE("A filter is a transform, a factor for every mode, and a transform back", "[device]") {
  check_filter<float, Cpu>();
  check_filter<float, TestDevice>();
  check_filter<Dual<float, 1>, TestDevice>();
}

TEMPLATE_TEST_CASE("Transforms have the same bits for any number of threads and on a device", "[device]", float, double) {
  const int before = threads::count();
  for (const auto& [n0, n1, columns] :
       std::vector<std::tuple<index_t, index_t, index_t>>{{64, 80, 30}, {31, 17, 9}, {120, 128, 65}, {7, 500, 251}}) {
    threads::set_count(1);
    const auto expected = all_transforms<TestType, Cpu>(n0, n1, columns);
    for (const int count : {2, 4}) {
      threads::set_count(count);
      CHECK(all_transforms<TestType, Cpu>(n0, n1, columns) == expected);
    }
    const auto on_device = all_transforms<TestType, TestDevice>(n0, n1, columns);
    REQUIRE(on_device.size() == expected.size());
    for (std::size_t k = 0; k < expected.size(); ++k) CHECK(as_on_host(on_device[k], expected[k]));
  }
  threads::set_count(before);
}

#if defined(KOLMO_FFTW)
TEST_CASE("RealFft2 and SineTransform2 agree with FFTW on fields of solver size") {
  for (const auto& [n0, n1] :
       std::vector<std::pair<index_t, index_t>>{{256, 256}, {200, 399}, {251, 120}, {49, 1024}}) {
    INFO("n0 = " << n0 << ", n1 = " << n1);
    const index_t m = n1 / 2 + 1;
    const auto x = random_tensor<double, Cpu>({n0, n1}, 7);
    auto points = x.to_vector();
    std::vector<double> modes(static_cast<std::size_t>(n0 * m * 2)), expected(modes.size());
    const fftw_plan plan = fftw_plan_dft_r2c_2d(static_cast<int>(n0), static_cast<int>(n1), points.data(),
                                                reinterpret_cast<fftw_complex*>(modes.data()), FFTW_ESTIMATE);
    fftw_execute(plan);
    fftw_destroy_plan(plan);
    for (index_t i = 0; i < n0 * m; ++i) {
      const index_t at = i / m * 2 * m + i % m;
      expected[static_cast<std::size_t>(at)] = modes[static_cast<std::size_t>(2 * i)];
      expected[static_cast<std::size_t>(at + m)] = modes[static_cast<std::size_t>(2 * i + 1)];
    }
    auto y = Tensor<double, Cpu>::uninitialized({n0, 2, m});
    RealFft2<double>(n0, n1).forward<Cpu>(1, x.data(), y.mutable_data());
    CHECK(error(y.to_vector(), expected) < tolerance<double>);

    points = x.to_vector();
    const fftw_plan sines = fftw_plan_r2r_2d(static_cast<int>(n0), static_cast<int>(n1), points.data(), points.data(),
                                             FFTW_RODFT00, FFTW_RODFT00, FFTW_ESTIMATE);
    fftw_execute(sines);
    fftw_destroy_plan(sines);
    auto sums = Tensor<double, Cpu>::uninitialized({n0, n1});
    SineTransform2<double>(n0 + 1, n1 + 1).apply<Cpu>(1, x.data(), sums.mutable_data());
    CHECK(error(sums.to_vector(), points) < sine_tolerance<double>);
  }
}
#endif

TEST_CASE("Transforms of duals transform values and derivatives") {
  using D = Dual<double, 1>;
  const RealFft2<double> plan(6, 8);
  const auto x = random_tensor<double, Cpu>({6, 8}, 5), dx = random_tensor<double, Cpu>({6, 8}, 6);
  const auto pairs = kolmo::detail::zip_dual(Jet<Tensor<double, Cpu>>{x, dx});
  auto result = Tensor<D, Cpu>::uninitialized({6, 2, 5});
  plan.forward<Cpu>(1, pairs.data(), result.mutable_data());
  const auto parts = kolmo::detail::unzip_dual(result);
  CHECK(error(parts.value.to_vector(), spectrum(x.to_vector(), 6, 8, 5)) < 1e-14);
  CHECK(error(parts.tangent.to_vector(), spectrum(dx.to_vector(), 6, 8, 5)) < 1e-14);
}

TEST_CASE("Plans refuse extents and columns that do not exist") {
  CHECK_THROWS_AS(RealFft2<double>(0, 4), ArgumentError);
  CHECK_THROWS_AS(RealFft2<double>(4, 0), ArgumentError);
  CHECK_THROWS_AS(RealFft2<double>(4, 8, 6), ArgumentError);
  CHECK_THROWS_AS(RealFft2<double>(4, 8, 0), ArgumentError);
  CHECK_THROWS_AS(SineTransform2<double>(1, 4), ArgumentError);
}

TEMPLATE_TEST_CASE("a part of a sine transform is that of the whole", "", float, double) {
  using T = TestType;
  for (const auto& [nx, ny] : {std::pair<index_t, index_t>{40, 30}, {61, 100}, {3, 2}}) {
    const SineTransform2<T> plan(nx, ny);
    const index_t rows = nx - 1, columns = ny - 1;
    const typename SineTransform2<T>::Part part{rows / 4, rows / 2 + 1, columns / 3, columns / 2 + 1};
    std::vector<T> x(static_cast<std::size_t>(rows * columns), T(0)), whole(x), some(x);
    for (index_t i = part.row_begin; i < part.row_end; ++i)
      for (index_t j = 0; j < columns; ++j)
        x[static_cast<std::size_t>(i * columns + j)] = static_cast<T>((7 * i + 13 * j) % 11 - 5);
    plan.template apply<Cpu>(1, x.data(), whole.data(), T(0.5));
    plan.template apply_part<Cpu>(1, x.data(), some.data(), part, T(0.5));
    for (index_t i = 0; i < rows; ++i)
      for (index_t j = part.column_begin; j < part.column_end; ++j) {
        const auto at = static_cast<std::size_t>(i * columns + j);
        REQUIRE(some[at] == whole[at]);
      }
  }
}
