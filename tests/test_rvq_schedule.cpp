// Progressive activation, rates, and gradients through the quantizer as a whole: straight-through and rotation.

#include <cmath>
#include <vector>

#include <kolmo/ad/transforms.hpp>
#include <kolmo/nn/init.hpp>
#include <kolmo/rvq/schedule.hpp>
#include <kolmo/rvq/straight_through.hpp>

#include "catch.hpp"
#include "device.hpp"

using namespace kolmo;
using kolmo_test::TestDevice;
using kolmo_test::contains;
using V = Tensor<double, Cpu>;

TEST_CASE("R1: A(s) is one stage more every P steps, up to Q, and all of them for P = 0") {
  for (const index_t every : {1, 7, 300, 2000})
    for (const index_t stages : {1, 2, 8, 32}) {
      index_t counted = 1, since = 0;
      bool good = true;
      for (index_t s = 0; s <= 20000; ++s) {
        if (since == every) {
          counted = counted < stages ? counted + 1 : counted;
          since = 0;
        }
        good = good && rvq::active_stages(s, every, stages) == counted;
        ++since;
      }
      CAPTURE(every, stages);
      CHECK(good);
    }
  for (const index_t s : {0, 1, 20000}) CHECK(rvq::active_stages(s, 0, 8) == 8);
  CHECK_THROWS_WITH(rvq::active_stages(-1, 2000, 8), contains("given -1, 2000 and 8"));
  CHECK_THROWS_AS(rvq::active_stages(0, -1, 8), ArgumentError);
  CHECK_THROWS_AS(rvq::active_trained(0, 0, 0), ArgumentError);
}

TEST_CASE("R3: the file of step 4000 was last trained with two stages, the next iteration uses three") {
  CHECK(rvq::active_trained(0, 2000, 8) == 0);
  CHECK(rvq::active_trained(2000, 2000, 8) == 1);
  CHECK(rvq::active_trained(4000, 2000, 8) == 2);
  CHECK(rvq::active_stages(4000, 2000, 8) == 3);
  CHECK(rvq::active_trained(4001, 2000, 8) == 3);
  CHECK(rvq::active_stages(13999, 2000, 8) == 7);
  CHECK(rvq::active_stages(14000, 2000, 8) == 8);
  CHECK(rvq::active_trained(1, 0, 8) == 8);
  CHECK(rvq::activation_step(2, 2000) == 4000);
  CHECK(rvq::joins_at(4000, 2000, 8));
  CHECK_FALSE(rvq::joins_at(0, 2000, 8));
  CHECK_FALSE(rvq::joins_at(4001, 2000, 8));
  CHECK_FALSE(rvq::joins_at(16000, 2000, 8));
}

TEST_CASE("a bandwidth is met by as many stages as fit, at least one") {
  const std::vector<index_t> k1024(32, 1024);
  CHECK(rvq::bits_per_frame(k1024, 8) == Approx(80));
  // 24 kHz, hop 320: 75 frames a second, 0.75 kbit/s a stage.
  CHECK(rvq::stages_for_bandwidth(1500, 75, k1024) == 2);
  CHECK(rvq::stages_for_bandwidth(6000, 75, k1024) == 8);
  CHECK(rvq::stages_for_bandwidth(24000, 75, k1024) == 32);
  CHECK(rvq::stages_for_bandwidth(1e9, 75, k1024) == 32);
  CHECK(rvq::stages_for_bandwidth(10, 75, k1024) == 1);
  // Unequal sizes: 10 + 8 + 4 bits.
  const std::vector<index_t> mixed{1024, 256, 16};
  CHECK(rvq::stages_for_bandwidth(1800, 100, mixed) == 2);
  CHECK(rvq::stages_for_bandwidth(2199, 100, mixed) == 2);
  CHECK(rvq::stages_for_bandwidth(2200, 100, mixed) == 3);
  CHECK_THROWS_AS(rvq::stages_for_bandwidth(0, 75, mixed), ArgumentError);
  CHECK_THROWS_AS(rvq::stages_for_bandwidth(100, 75, {}), ArgumentError);
}

namespace {

template <class W>
W rotated_gradient(const W& x, const W& q, const W& g) {
  Tape<W> tape;
  const auto leaf = tape.leaf(x);
  const auto y = rvq::rotation_trick(q, leaf);
  tape.backward(y, g);
  return tape.gradient(leaf);
}

double dot_of(const std::vector<double>& a, const std::vector<double>& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

}  // namespace

TEMPLATE_TEST_CASE("R20: the rotation trick's test vector", "[device]", Cpu, TestDevice) {
  using W = Tensor<double, TestType>;
  const W x = W::from({3, 4}, Shape{1, 2}), q = W::from({0, 2}, Shape{1, 2}), g = W::from({1, 0}, Shape{1, 2});
  Tape<W> tape;
  CHECK(rvq::rotation_trick(q, tape.leaf(x)).value.to_vector() == std::vector<double>{0, 2});
  const auto gradient = rotated_gradient(x, q, g).to_vector();
  CHECK(gradient[0] == Approx(0.32).epsilon(1e-14));
  CHECK(gradient[1] == Approx(-0.24).epsilon(1e-14));
}

TEST_CASE("R20: the Jacobian is lambda times a rotation that takes x to its quantized value") {
  const index_t d = 5;
  const V x = nn::normal_values<V>(Key{1}, Shape{1, d}), q = nn::normal_values<V>(Key{2}, Shape{1, d});
  const double lambda2 = dot_of(q.to_vector(), q.to_vector()) / dot_of(x.to_vector(), x.to_vector());
  std::vector<std::vector<double>> rows;  // row i: the gradient of output i
  for (index_t i = 0; i < d; ++i) {
    std::vector<double> unit(static_cast<std::size_t>(d), 0.0);
    unit[static_cast<std::size_t>(i)] = 1;
    rows.push_back(rotated_gradient(x, q, V::from(std::span<const double>(unit), x.shape())).to_vector());
  }
  for (std::size_t i = 0; i < rows.size(); ++i)
    for (std::size_t j = 0; j < rows.size(); ++j)
      CHECK(dot_of(rows[i], rows[j]) == Approx(i == j ? lambda2 : 0.0).margin(1e-12));
  // J x = q, forward mode is the transpose of reverse mode.
  for (std::size_t i = 0; i < rows.size(); ++i)
    CHECK(dot_of(rows[i], x.to_vector()) == Approx(q.to_vector()[i]).margin(1e-12));
  const V direction = nn::normal_values<V>(Key{3}, x.shape());
  const auto tangent = rvq::rotation_trick(q, Jet<V>{x, direction}).tangent.to_vector();
  for (std::size_t i = 0; i < rows.size(); ++i)
    CHECK(tangent[i] == Approx(dot_of(rows[i], direction.to_vector())).margin(1e-12));
}

TEST_CASE("R20: where no rotation is defined the gradient passes straight through, row by row") {
  const V g = V::from({1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, Shape{5, 2});
  // Opposite directions; a zero input; a zero codeword; an ordinary row; equal rows.
  const V x = V::from({1, 2, 0, 0, 1, 1, 3, 4, 2, 1}, Shape{5, 2});
  const V q = V::from({-2, -4, 1, 1, 0, 0, 0, 2, 2, 1}, Shape{5, 2});
  const auto gradient = rotated_gradient(x, q, g).to_vector();
  for (const std::size_t i : {0u, 1u, 2u, 3u, 4u, 5u, 8u, 9u}) CHECK(gradient[i] == Approx(g.to_vector()[i]).epsilon(1e-14));
  CHECK(std::abs(gradient[6] - 7) > 1);
  const V one = V::from({1, 2}, Shape{2, 1});
  CHECK(rotated_gradient(one, V::from({-3, 4}, Shape{2, 1}), one).to_vector() == std::vector<double>{1, 2});
  CHECK_THROWS_AS(rvq::rotation_trick(one, x), ShapeError);
}
