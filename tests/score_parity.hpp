#pragma once
// Comparison of networks with tests/reference/score_networks.py: the same numbers for parameters and inputs, and every
// gradient.

#include <string>
#include <vector>

#include <kolmo/ad/transforms.hpp>
#include <kolmo/backend/cpu.hpp>
#include <kolmo/io/npz.hpp>
#include <kolmo/ops/reduce.hpp>

#include "catch.hpp"

namespace kolmo_test {

/// Reproducible values in [-1, 1), exact in float: `numbers` of the script.
template <class V>
V reference_numbers(std::uint32_t stream, const kolmo::Shape& shape, double scale = 1, double shift = 0) {
  std::vector<typename V::Scalar> values;
  for (kolmo::index_t i = 0; i < shape.size(); ++i) {
    std::uint32_t h = (static_cast<std::uint32_t>(i) + 1) * 2654435761u ^ (stream + 1) * 2246822519u;
    h ^= h >> 15;
    h *= 2246822519u;
    h ^= h >> 13;
    values.push_back(static_cast<typename V::Scalar>(scale * ((h >> 8) / 8388608.0 - 1) + shift));
  }
  return V::from(std::span<const typename V::Scalar>(values), shape);
}

inline constexpr std::uint32_t stream_x = 1000, stream_t = 1001, stream_u = 1002, stream_m = 1003, stream_c = 1004;

/// Parameter i of a network is numbers(i) / 4.
template <class V, class Net>
Net reference_parameters(Net net) {
  std::uint32_t i = 0;
  kolmo::visit_parameters([&](const std::string&, V& x) { x = reference_numbers<V>(i++, x.shape(), 0.25); }, net);
  return net;
}

/// Values agree within 1e-10 of the largest of them in double, in float within 1e-5 of `scale`.
template <class V>
void expect_reference(const kolmo::io::NamedArrays& arrays, const std::string& name, const V& x, double scale) {
  INFO(name);
  const kolmo::io::HostArray* expected = arrays.find(name);
  REQUIRE(expected != nullptr);
  const auto shape = x.shape();
  REQUIRE(expected->shape == std::vector<kolmo::index_t>(shape.begin(), shape.end()));
  const auto wanted = expected->template as<double>();
  const auto given = x.to_vector();
  double largest = 0, worst = 0;
  for (std::size_t i = 0; i < given.size(); ++i) {
    largest = std::max(largest, std::abs(wanted[i]));
    worst = std::max(worst, std::abs(static_cast<double>(given[i]) - wanted[i]));
  }
  CHECK(worst <= (std::is_same_v<typename V::Scalar, float> ? 1e-5 * scale : 1e-10 * std::max(largest, 1e-3)));
}

/// Compares the value of f(problem) and the gradients of <numbers(U), f(problem)> with score_NAME.npz. `problem` is a
/// module whose parameters are called as in the file, up to a leading "net."; `digest` is the one that is stored as its
/// product with numbers(U).
template <class Problem, class F>
void expect_parity(const std::string& file, const Problem& problem, const F& f, const std::string& digest = {}) {
  using namespace kolmo;
  using V = KindOf<Problem>;
  INFO(file);
  const auto arrays = io::load_npz(std::string(KOLMO_REFERENCE) + "/score_" + file + ".npz");
  const V y = f(problem);
  // Rounding of the parts of a gradient is relative to the whole of it.
  double scale = 0;
  for (const auto& [name, array] : arrays.arrays)
    for (const double v : array.template as<double>()) scale = std::max(scale, std::abs(v));
  expect_reference(arrays, "y", y, scale);
  const V u = reference_numbers<V>(stream_u, y.shape());
  const auto result = value_and_grad(problem, [&](const auto& p) { return sum(u * f(p)); });
  std::size_t compared = 1;
  visit_parameters(
      [&](const std::string& path, const V& g) {
        const std::string name = path.starts_with("net.") ? path.substr(4) : path;
        const V v = reference_numbers<V>(stream_u, Shape{g.rank() == 0 ? 1 : g.shape()[-1]});
        expect_reference(arrays, "g." + name, name == digest ? sum(g * v, {-1}) : g, scale);
        ++compared;
      },
      result.gradient);
  CHECK(compared == arrays.arrays.size());
}

}  // namespace kolmo_test
