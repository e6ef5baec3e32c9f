// Initial velocities, operators on staggered fields, coarsening and vorticities.

#include <cmath>

#include <kolmo/ad/transforms.hpp>
#include <kolmo/flow/coarse.hpp>
#include <kolmo/flow/filtered_noise.hpp>
#include <kolmo/flow/initial_conditions.hpp>

#include "catch.hpp"
#include "device.hpp"
#include "flow_reference.hpp"

using namespace kolmo;
using namespace kolmo::flow;
using kolmo_test::TestDevice;
using kolmo_test::contains;
using kolmo_test::FlowReference;

namespace {

using Host = Tensor<double, Cpu>;

KolmogorovOptions options_of(index_t size) {
  KolmogorovOptions o;
  o.size = size;
  return o;
}

double largest(const Host& x) { return norm_max(flatten(x), 0).item(); }

Host noise(const Shape& shape, std::uint64_t key) {
  std::vector<double> values;
  for (index_t i = 0; i < shape.size(); ++i) values.push_back(normal<double>(Key{key}, static_cast<std::uint64_t>(i)));
  return Host::from(std::span<const double>(values), shape);
}

/// <J dx, y> and <dx, J^T y> of a function on tensors of any kind.
template <class F>
void expect_adjoint(const F& f, const Shape& shape) {
  const Host x = noise(shape, 1), dx = noise(shape, 2);
  const auto forward = jvp(f, x, dx);
  const Host y = noise(forward.shape(), 3);
  auto pull = vjp(f, x);
  const double a = dot(forward.tangent, y).item(), b = dot(dx, pull.pull(y)).item();
  CHECK(a == Approx(b).epsilon(1e-12));
}

}  // namespace

TEST_CASE("the filtered noise has largest speed 3, no mean and no divergence, on any grid") {
  const index_t size = GENERATE(17, 64, 90);
  const auto flow = options_of(size);
  const Host x = filtered_velocities<Host>(flow, Key{7}, 0, 3);
  const auto speed = sqrt(max(reshape(sum(x * x, {-3}), Shape{3, size * size}), -1)).to_vector();
  for (const double s : speed) CHECK(s == Approx(3).epsilon(1e-14));
  CHECK(largest(mean(x, {-1, -2})) < 1e-15);
  CHECK(largest(divergence(x, flow.spacing())) < 1e-14 * static_cast<double>(size) * 3 / flow.spacing());
}

TEST_CASE("at 256 x 256 its energy is that of the data set's start") {
  // An independent implementation in NumPy gave 0.685 +- 0.09 (one draw) over 24 draws, the reference 0.648 over 12.
  const Host x = filtered_velocities<Host>(KolmogorovOptions{}, Key{2026}, 0, 12);
  CHECK(std::sqrt(mean(x * x).item()) == Approx(0.815).margin(0.04));
  for (const double e : mean(x * x, {-1, -2, -3}).to_vector()) CHECK(e == Approx(0.67).margin(0.4));
}

TEST_CASE("a trajectory's start depends on the key and its number alone", "[device]") {
  const auto flow = options_of(20);
  const Host all = filtered_velocities<Host>(flow, Key{5}, 0, 4);
  CHECK(filtered_velocity<Host>(flow, Key{5}, 3).to_vector() == at(all, 0, 3).to_vector());
  CHECK(filtered_velocities<Host>(flow, Key{5}, 2, 2).to_vector() == slice(all, 0, 2).to_vector());
  CHECK(filtered_velocity<Host>(flow, Key{6}, 3).to_vector() != at(all, 0, 3).to_vector());
  const auto single = filtered_velocity<Tensor<float, Cpu>>(flow, Key{5}, 3).to_vector();
  const auto expected = at(all, 0, 3).to_vector();
  for (std::size_t i = 0; i < single.size(); ++i) CHECK(single[i] == static_cast<float>(expected[i]));
  const auto device = filtered_velocity<Tensor<double, TestDevice>>(flow, Key{5}, 3);
  CHECK(largest(device.to<Cpu>() - at(all, 0, 3)) < 1e-13);
}

TEST_CASE("the spectrum of the noise follows LN(k)^2 / k") {
  // E(k) ~ k g(k)^2 with g = LN(k)/k: the ratio of two shells, averaged over many draws.
  const auto flow = options_of(32);
  FilteredNoise white;
  white.projections = 1;
  const index_t draws = 60;
  const Host x = filtered_velocities<Host>(flow, Key{11}, 0, draws, white);
  const auto values = x.to_vector();
  const auto energy_along_y = [&](int k) {
    // Modes (0, k) of u, which the projection leaves as they are; each trajectory in units of its energy at k = 4.
    double sum = 0;
    for (index_t b = 0; b < draws; ++b) {
      double re = 0, im = 0;
      for (int i = 0; i < 32; ++i)
        for (int j = 0; j < 32; ++j) {
          const double u = values[static_cast<std::size_t>((b * 2 * 32 + i) * 32 + j)];
          re += u * std::cos(two_pi * k * j / 32);
          im += u * std::sin(two_pi * k * j / 32);
        }
      sum += re * re + im * im;
    }
    return sum;
  };
  const auto gain = [](double k) {
    const double d = std::log(4.0) + 0.25 - std::log(k);
    return std::exp(-d * d / 0.5 - std::log(k)) / k;
  };
  const double expected = std::pow(gain(6) / gain(3), 2);
  CHECK(energy_along_y(6) / energy_along_y(3) == Approx(expected).epsilon(0.5));
}

TEST_CASE("closed forms are sampled where the components lie") {
  KolmogorovOptions flow = options_of(16);
  flow.drag = 0.3;
  const double h = flow.spacing(), t = 0.7, factor = std::exp(-(2 * 4 / 1000.0 + 0.3) * t);
  const auto x = taylor_green_velocity<Host>(flow, 2, t).to_vector();
  CHECK(x[3 * 16 + 5] == Approx(factor * std::cos(2 * 4 * h) * std::sin(2 * 5.5 * h)).margin(1e-15));
  CHECK(x[256 + 3 * 16 + 5] == Approx(-factor * std::sin(2 * 3.5 * h) * std::cos(2 * 6 * h)).margin(1e-15));
  CHECK(largest(divergence(taylor_green_velocity<Host>(flow), h)) < 1e-13);

  flow.length = 1;
  const auto shear = double_shear_layer<Host>(flow, 30, 0.05).to_vector();
  CHECK(shear[4] == Approx(std::tanh(30 * (4.5 / 16 - 0.25))));
  CHECK(shear[12] == Approx(std::tanh(30 * (0.75 - 12.5 / 16))));
  CHECK(shear[256 + 2 * 16] == Approx(0.05 * std::sin(two_pi * 2.5 / 16)));

  const auto decaying = decaying_turbulence(flow);
  CHECK((decaying.forcing_amplitude == 0 && decaying.drag == 0));
  CHECK_THROWS_WITH(laminar_velocity<Host>([] {
                      auto o = decaying_turbulence();
                      o.reynolds = std::numeric_limits<double>::infinity();
                      return o;
                    }()),
                    contains("viscosity"));
}

TEST_CASE("operators on staggered fields agree with plain loops") {
  const auto flow = options_of(9);
  const FlowReference r{flow};
  const double h = flow.spacing();
  const Host x = noise(Shape{2, 9, 9}, 4), p = noise(Shape{9, 9}, 5);
  const auto u = at(x, 0, 0).to_vector(), v = at(x, 0, 1).to_vector(), c = p.to_vector();
  const auto d = divergence(x, h).to_vector(), l = laplacian(p, h).to_vector(), g = gradient(p, h).to_vector();
  const auto w = staggered_vorticity(x, h).to_vector(), sda = vorticity_sda(x).to_vector();
  for (int i = 0; i < 9; ++i)
    for (int j = 0; j < 9; ++j) {
      const auto k = r.at(i, j);
      CHECK(d[k] == Approx((u[k] - u[r.at(i - 1, j)] + v[k] - v[r.at(i, j - 1)]) / h).margin(1e-13));
      CHECK(l[k] == Approx(r.laplacian(c, i, j)).margin(1e-12));
      CHECK(g[k] == Approx((c[r.at(i + 1, j)] - c[k]) / h).margin(1e-13));
      CHECK(g[81 + k] == Approx((c[r.at(i, j + 1)] - c[k]) / h).margin(1e-13));
      CHECK(w[k] == Approx((v[r.at(i + 1, j)] - v[k] - u[r.at(i, j + 1)] + u[k]) / h).margin(1e-13));
      const double central = (u[r.at(i, j + 1)] - u[r.at(i, j - 1)] - v[r.at(i + 1, j)] + v[r.at(i - 1, j)]) / 2;
      CHECK(sda[k] == Approx(central).margin(1e-14));
    }
  CHECK(largest(divergence(gradient(p, h), h) - laplacian(p, h)) < 1e-12);
  CHECK(largest(vorticity(x, h) + vorticity_sda(x) * (1 / h)) < 1e-13);
}

TEST_CASE("the projection is orthogonal and removes the divergence", "[device]") {
  const index_t size = 14;
  const double h = options_of(size).spacing();
  const Projection<double> project(size);
  const Host x = noise(Shape{3, 2, size, size}, 6);
  const Host y = project(x);
  CHECK(largest(divergence(y, h)) < 1e-12);
  CHECK(largest(project(y) - y) < 1e-14);
  CHECK(std::abs(dot(y, x - y).item()) < 1e-12);
  CHECK(largest(mean(y, {-1, -2}) - mean(x, {-1, -2})) < 1e-15);
  const Projection<double, TestDevice> on_device(size);
  CHECK(largest(on_device(x.to<TestDevice>()).to<Cpu>() - y) < 1e-13);
  CHECK_THROWS_WITH(project(noise(Shape{2, 13, 13}, 1)), contains("size 14") && contains("13"));
  CHECK_THROWS_AS(Projection<double>(3), ArgumentError);
}

TEST_CASE("the vorticity of the data set is minus the spacing times that of a smooth flow") {
  const auto flow = options_of(64);
  const double h = flow.spacing();
  const auto w = vorticity_sda(taylor_green_velocity<Host>(flow)).to_vector();
  // At k = 1, omega = -2 cos x cos y; staggering moves it by half a cell.
  double most = 0;
  for (int i = 0; i < 64; ++i)
    for (int j = 0; j < 64; ++j) {
      const double omega = -2 * std::cos((i + 0.5) * h) * std::cos((j + 0.5) * h);
      most = std::max(most, std::abs(w[static_cast<std::size_t>(i * 64 + j)] + h * omega));
    }
  CHECK(most < 0.1 * h * 2);
}

TEST_CASE("coarsening takes block means and upsampling interpolates between their centres") {
  const Host x = noise(Shape{2, 2, 6, 4}, 8);
  const auto c = coarsen(x, 2);
  CHECK(c.shape() == Shape{2, 2, 3, 2});
  const auto v = x.to_vector();
  CHECK(c.to_vector()[3] == Approx((v[10] + v[11] + v[14] + v[15]) / 4));
  CHECK(largest(coarsen(x, 1) - x) == 0);
  CHECK_THROWS_WITH(coarsen(x, 4), contains("4") && contains("[2, 2, 6, 4]"));
  CHECK_THROWS_AS(coarsen(x, 0), ArgumentError);

  const Host y = Host::from({0, 4, 8, 4, 1, 5, 9, 5}, Shape{2, 4});
  const Host up = upsample(y, 2);
  CHECK(up.shape() == Shape{4, 8});
  // Along the last axis centres of fine cells lie a quarter between; across rows 1/4 of the step of one.
  CHECK(at(at(up, 0, 0), 0, 1).item() == Approx(0.75 * 0 + 0.25 * 4 + 0.25));
  CHECK(at(at(up, 0, 0), 0, 0).item() == Approx(0.75 * 0 + 0.25 * 4 + 0.25));
  CHECK(at(at(up, 0, 1), 0, 4).item() == Approx(0.75 * 8 + 0.25 * 4 + 0.25));
  CHECK(mean(up).item() == Approx(mean(y).item()));
  CHECK(largest(upsample(Host::full(Shape{5, 5}, 2.5), 3) - 2.5) < 1e-15);
}

TEST_CASE("every operator on staggered fields has its adjoint") {
  const double h = 0.3;
  const Projection<double> project(8);
  expect_adjoint([&](const auto& x) { return divergence(x, h); }, Shape{2, 2, 8, 8});
  expect_adjoint([&](const auto& x) { return gradient(x, h); }, Shape{2, 7, 8});
  expect_adjoint([&](const auto& x) { return laplacian(x, h); }, Shape{8, 5});
  expect_adjoint([&](const auto& x) { return staggered_vorticity(x, h); }, Shape{2, 8, 8});
  expect_adjoint([&](const auto& x) { return vorticity_sda(x); }, Shape{3, 2, 8, 8});
  expect_adjoint([&](const auto& x) { return project(x); }, Shape{3, 2, 8, 8});
  expect_adjoint([&](const auto& x) { return coarsen(x, 4); }, Shape{3, 2, 8, 8});
  expect_adjoint([&](const auto& x) { return upsample(x, 3); }, Shape{2, 4, 5});
}

TEST_CASE("shapes that are no fields are refused") {
  CHECK_THROWS_WITH(divergence(noise(Shape{3, 4, 4}, 1), 1), contains("[..., 2, n, m]") && contains("[3, 4, 4]"));
  CHECK_THROWS_AS(gradient(noise(Shape{4}, 1), 1), ShapeError);
  CHECK_THROWS_AS(vorticity_sda(noise(Shape{4, 4}, 1)), ShapeError);
  CHECK_THROWS_AS(filtered_velocities<Host>(options_of(8), Key{1}, -1, 2), ArgumentError);
  FilteredNoise bad;
  bad.variance = 0;
  CHECK_THROWS_WITH(filtered_velocity<Host>(options_of(16), Key{1}, 0, bad), contains("variance"));
}
