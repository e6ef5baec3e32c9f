#pragma once
// Runs the same function on two backends and compares everything it computed.

#include <string>
#include <utility>
#include <vector>

#include <kolmo/ad/transforms.hpp>

#include "check.hpp"

namespace check {

/// Named arrays, in the order in which they were computed.
template <class T>
struct Results {
  std::vector<std::pair<std::string, std::vector<T>>> list;

  void add(const std::string& name, const auto& x) {
    std::vector<T> values;
    for (const auto& value : x.to_vector()) values.push_back(static_cast<T>(value));
    list.emplace_back(name, values);
  }
  void add_model(const std::string& name, const auto& model) {
    kolmo::visit_parameters([&](const std::string& path, const auto& t) { add(name + " of " + path, t); }, model);
  }
};

/// Numbers from `low` to `high`, not in order.
template <class V>
V ramp(const kolmo::Shape& shape, double low, double high) {
  using T = typename V::Scalar;
  std::vector<T> values;
  for (kolmo::index_t i = 0; i < shape.size(); ++i)
    values.push_back(static_cast<T>(low + (high - low) * static_cast<double>(i * 7 % shape.size()) /
                                              static_cast<double>(shape.size())));
  return V::from(values, shape);
}

/// Value, gradient, Hessian-vector product and tangent of a scalar function.
template <class T, class V, class F>
void derivatives(Results<T>& results, const std::string& name, const F& f, const V& x) {
  const V direction = ramp<V>(x.shape(), -1, 1);
  const auto first = kolmo::value_and_grad(x, f);
  results.add(name, first.value);
  results.add("gradient of " + name, first.gradient);
  results.add("Hessian-vector product of " + name, kolmo::hvp(f, x, direction));
  results.add("tangent of " + name, kolmo::jvp(f, x, direction).tangent);
}

/// The device against the host, within `slack` times the tolerance of one operation, and against itself, to the bit.
template <class T>
void compare(const Results<T>& device, const Results<T>& again, const Results<T>& host, double slack = 1) {
  that(device.list.size() == host.list.size() && again.list.size() == host.list.size(), "as many results");
  for (std::size_t i = 0; i < host.list.size(); ++i) {
    const std::string name = host.list[i].first + (sizeof(T) == 4 ? " in float" : " in double");
    close(device.list[i].second, host.list[i].second, name, slack);
    identical(device.list[i].second, again.list[i].second, name + ", repeated");
  }
}

}  // namespace check
