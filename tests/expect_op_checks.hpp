#pragma once
// The checks of expect_op on operations seen as functions of vectors of doubles.

#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <sstream>
#include <string>
#include <vector>

#include <kolmo/backend/threads.hpp>
#include <kolmo/core/shape.hpp>

#include "catch.hpp"

namespace kolmo_test {

struct Input {
  kolmo::Shape shape;
  std::vector<double> values;
};
using Inputs = std::vector<Input>;
using Vectors = std::vector<std::vector<double>>;

struct Result {
  kolmo::Shape shape;
  std::vector<double> values;
};

/// The expected value of the operation, computed by something else in double precision.
using Oracle = std::function<Result(const Inputs&)>;

/// Reproducible numbers in [low, high).
class Numbers {
 public:
  explicit Numbers(std::uint64_t seed) : state_(seed * 0x9E3779B97F4A7C15u + 1) {}
  double uniform(double low = -1.0, double high = 1.0) {
    state_ += 0x9E3779B97F4A7C15u;
    std::uint64_t z = state_;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    z ^= z >> 31;
    return low + (high - low) * static_cast<double>(z >> 11) * 0x1p-53;
  }
  std::vector<double> vector(std::size_t n, double low = -1.0, double high = 1.0) {
    std::vector<double> values(n);
    for (double& v : values) v = uniform(low, high);
    return values;
  }

 private:
  std::uint64_t state_;
};

/// Random values, rounded to float so that every scalar sees the same ones.
inline Input random_input(const kolmo::Shape& shape, std::uint64_t seed, double low = -1.0, double high = 1.0) {
  Input input{shape, Numbers(seed).vector(static_cast<std::size_t>(shape.size()), low, high)};
  for (double& v : input.values) v = static_cast<double>(static_cast<float>(v));
  return input;
}

enum class Thrown { nothing, shape, argument, other };

/// Shapes that the operation must refuse, and how.
struct BadShapes {
  std::vector<kolmo::Shape> shapes;
  Thrown expected = Thrown::shape;
};

struct OpOptions {
  // Relative to the largest magnitude in what is compared.
  double value = 1e-13;
  double value_float = 2e-6;
  double exact = 1e-12;       // against dual numbers and the complex step
  double differences = 1e-8;  // against Richardson differences
  double second = 1e-10;      // Hessian-vector products
  double derivative_float = 2e-5;
  /// Why a tolerance above differs from its default; required then.
  std::string reason = {};
  /// Largest step of the differences; the inputs must stay inside the domain around it.
  double step = 0.01;
  std::vector<BadShapes> bad = {};
  /// Larger inputs on which bits are compared between backends and numbers of threads.
  std::vector<Inputs> large = {};
};

/// One backend and scalar.
struct Engine {
  std::string name;
  bool single_precision = false;
  const void* f = nullptr;
  Result (*value)(const void*, const Inputs&, bool transposed) = nullptr;
  Vectors (*vjp)(const void*, const Inputs&, const std::vector<double>&) = nullptr;
  Result (*jvp)(const void*, const Inputs&, const Vectors&) = nullptr;
  Vectors (*hvp)(const void*, const Inputs&, const std::vector<double>&, const Vectors&) = nullptr;
};

struct Operation {
  std::string name;
  const void* f = nullptr;
  bool same_bits = true;         // on FakeDevice and Cpu
  std::vector<Engine> engines;  // Cpu double, Cpu float, FakeDevice double, FakeDevice float, others
  std::vector<double> (*dual)(const void*, const Inputs&, const Vectors&) = nullptr;
  std::vector<double> (*complex_step)(const void*, const Inputs&, const Vectors&) = nullptr;
  Vectors (*gradient_step)(const void*, const Inputs&, const std::vector<double>&, const Vectors&) = nullptr;
};

namespace detail {

inline double magnitude(const std::vector<double>& x) {
  double largest = 0;
  for (double v : x) largest = std::max(largest, std::abs(v));
  return largest;
}
inline double inner(const std::vector<double>& a, const std::vector<double>& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}
inline double inner(const Vectors& a, const Vectors& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += inner(a[i], b[i]);
  return sum;
}
inline double inner_magnitude(const std::vector<double>& a, const std::vector<double>& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += std::abs(a[i] * b[i]);
  return sum;
}
inline double inner_magnitude(const Vectors& a, const Vectors& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += inner_magnitude(a[i], b[i]);
  return sum;
}

/// Where failed checks go instead of to Catch while the harness itself is tested.
inline std::vector<std::string>* failed_checks = nullptr;

/// Collects the differences of one kind of check and reports the first ones together.
class Comparison {
 public:
  Comparison(const Operation& op, std::string what, std::string reason)
      : title_(op.name + ": " + std::move(what)), reason_(std::move(reason)) {}
  ~Comparison() {
    if (failed_checks != nullptr) {
      if (failures_ > 0) failed_checks->push_back(title_);
      return;
    }
    INFO(title_ << (reason_.empty() ? "" : " (tolerance: " + reason_ + ")") << text_.str());
    CHECK(failures_ == 0);
  }
  Comparison(const Comparison&) = delete;
  Comparison& operator=(const Comparison&) = delete;

  void expect(double given, double expected, double allowed, const std::string& where) {
    if (std::abs(given - expected) <= allowed || given == expected || (std::isnan(given) && std::isnan(expected)))
      return;
    fail(where + ": " + number(given) + " instead of " + number(expected) + ", off by " +
         number(std::abs(given - expected)) + ", allowed " + number(allowed));
  }
  void expect(const std::vector<double>& given, const std::vector<double>& expected, double tolerance, double scale,
              const std::string& where) {
    if (given.size() != expected.size()) {
      fail(where + ": " + std::to_string(given.size()) + " elements instead of " + std::to_string(expected.size()));
      return;
    }
    for (std::size_t i = 0; i < given.size(); ++i)
      expect(given[i], expected[i], tolerance * scale, where + ", element " + std::to_string(i));
  }
  void expect_same_bits(const std::vector<double>& given, const std::vector<double>& expected,
                        const std::string& where) {
    if (given.size() != expected.size()) fail(where + ": different numbers of elements");
    for (std::size_t i = 0; i < given.size() && i < expected.size(); ++i)
      if (std::memcmp(&given[i], &expected[i], sizeof(double)) != 0)
        fail(where + ", element " + std::to_string(i) + ": " + number(given[i]) + " and " + number(expected[i]));
  }
  void expect_shape(const kolmo::Shape& given, const kolmo::Shape& expected, const std::string& where) {
    if (!(given == expected)) fail(where + ": shape " + given.to_string() + " instead of " + expected.to_string());
  }
  void fail(const std::string& message) {
    if (++failures_ <= 5) text_ << "\n  " << message;
    if (failures_ == 6) text_ << "\n  ...";
  }

 private:
  static std::string number(double x) {
    std::ostringstream text;
    text.precision(17);
    text << x;
    return text.str();
  }
  std::string title_, reason_;
  std::ostringstream text_;
  int failures_ = 0;
};

/// A direction in the space of all inputs.
struct Direction {
  std::string name;
  Vectors dx;
};

inline Vectors zeros_like(const Inputs& x) {
  Vectors zeros;
  for (const Input& input : x) zeros.emplace_back(input.values.size(), 0.0);
  return zeros;
}

inline Vectors random_direction(const Inputs& x, std::uint64_t seed) {
  Numbers numbers(seed);
  Vectors dx;
  for (const Input& input : x) dx.push_back(numbers.vector(input.values.size()));
  return dx;
}

inline std::vector<Direction> directions(const Inputs& x) {
  std::vector<Direction> result;
  std::size_t total = 0;
  for (const Input& input : x) total += input.values.size();
  if (total <= 256) {
    for (std::size_t k = 0; k < x.size(); ++k)
      for (std::size_t i = 0; i < x[k].values.size(); ++i) {
        result.push_back({"d/d input " + std::to_string(k) + "[" + std::to_string(i) + "]", zeros_like(x)});
        result.back().dx[k][i] = 1.0;
      }
  } else {
    for (std::uint64_t seed = 0; seed < 8; ++seed)
      result.push_back({"random direction " + std::to_string(seed), random_direction(x, 1000 + seed)});
  }
  return result;
}

inline Inputs moved(const Inputs& x, const Vectors& dx, double distance) {
  Inputs result = x;
  for (std::size_t k = 0; k < x.size(); ++k)
    for (std::size_t i = 0; i < x[k].values.size(); ++i) result[k].values[i] += distance * dx[k][i];
  return result;
}

/// Central differences of step h, h/2, h/4, extrapolated twice: an error of order h^6.
template <class F>
std::vector<double> richardson(const F& f, double h) {
  Vectors levels;
  for (int level = 0; level < 3; ++level, h /= 2) {
    const std::vector<double> above = f(h), below = f(-h);
    std::vector<double> quotient(above.size());
    for (std::size_t i = 0; i < above.size(); ++i) quotient[i] = (above[i] - below[i]) / (2 * h);
    levels.push_back(quotient);
  }
  for (int order = 1; order < 3; ++order) {
    const double power = std::pow(4.0, order);
    for (int level = 0; level + order < 3; ++level)
      for (std::size_t i = 0; i < levels[0].size(); ++i) {
        auto& coarse = levels[static_cast<std::size_t>(level)][i];
        coarse = (power * levels[static_cast<std::size_t>(level + 1)][i] - coarse) / (power - 1);
      }
  }
  return levels[0];
}

inline void check_values(const Operation& op, const Inputs& x, const Result& expected, const OpOptions& options) {
  Comparison comparison(op, "value against the oracle", options.reason);
  const double scale = magnitude(expected.values);
  for (const Engine& e : op.engines)
    for (const bool transposed : {false, true}) {
      const std::string where = e.name + (transposed ? ", transposed memory" : "");
      const Result y = e.value(e.f, x, transposed);
      comparison.expect_shape(y.shape, expected.shape, where);
      comparison.expect(y.values, expected.values, e.single_precision ? options.value_float : options.value, scale,
                        where);
    }
}

/// Products of random cotangents with one Jacobian column, as the reference predicts and as vjp gives.
inline void compare_direction(Comparison& comparison, const Operation& op, const Inputs& x, const Direction& direction,
                              const std::vector<double>& column, double scale, double tolerance,
                              const Vectors& cotangents, const std::vector<std::vector<Vectors>>& pulled,
                              const OpOptions& options, const std::string& reference) {
  for (std::size_t n = 0; n < op.engines.size(); ++n) {
    const Engine& e = op.engines[n];
    const double allowed = e.single_precision ? std::max(tolerance, options.derivative_float) : tolerance;
    const std::string where = e.name + ", " + direction.name + ", " + reference;
    comparison.expect(e.jvp(e.f, x, direction.dx).values, column, allowed, std::max(scale, magnitude(column)),
                      "jvp on " + where);
    for (std::size_t u = 0; u < cotangents.size(); ++u)
      comparison.expect(inner(pulled[n][u], direction.dx), inner(cotangents[u], column),
                        allowed * std::max(scale, inner_magnitude(cotangents[u], column)), "vjp on " + where);
  }
}

inline void check_derivatives(const Operation& op, const Inputs& x, const Result& y, const OpOptions& options) {
  const double scale = std::max(magnitude(y.values), 1e-30);
  Vectors cotangents;
  for (std::uint64_t seed = 0; seed < 2; ++seed) cotangents.push_back(Numbers(77 + seed).vector(y.values.size()));
  std::vector<std::vector<Vectors>> pulled;
  {
    Comparison comparison(op, "shapes of the gradients", "");
    for (const Engine& e : op.engines) {
      pulled.emplace_back();
      for (const auto& u : cotangents) {
        pulled.back().push_back(e.vjp(e.f, x, u));
        for (std::size_t k = 0; k < x.size(); ++k)
          if (pulled.back().back()[k].size() != x[k].values.size())
            comparison.fail(e.name + ", input " + std::to_string(k));
      }
    }
  }
  Comparison exact(op, "derivatives against duals and the complex step", options.reason);
  Comparison differences(op, "derivatives against Richardson differences", options.reason);
  const Engine& host = op.engines[0];
  for (const Direction& direction : directions(x)) {
    if (op.dual != nullptr)
      compare_direction(exact, op, x, direction, op.dual(op.f, x, direction.dx), scale, options.exact, cotangents,
                        pulled, options, "dual");
    if (op.complex_step != nullptr)
      compare_direction(exact, op, x, direction, op.complex_step(op.f, x, direction.dx), scale, options.exact,
                        cotangents, pulled, options, "complex step");
    const auto column =
        richardson([&](double h) { return host.value(host.f, moved(x, direction.dx, h), false).values; }, options.step);
    compare_direction(differences, op, x, direction, column, scale, options.differences, cotangents, pulled, options,
                      "differences");
  }
  Comparison identity(op, "<J v, u> = <v, J^T u>", options.reason);
  for (std::size_t n = 0; n < op.engines.size(); ++n) {
    const Engine& e = op.engines[n];
    for (std::size_t u = 0; u < cotangents.size(); ++u) {
      const Vectors v = random_direction(x, 31 + u);
      const auto image = e.jvp(e.f, x, v).values;
      const double size = std::max(
          {inner_magnitude(image, cotangents[u]), inner_magnitude(v, pulled[n][u]), e.single_precision ? scale : 0.0});
      identity.expect(inner(v, pulled[n][u]), inner(image, cotangents[u]),
                      (e.single_precision ? options.derivative_float : options.exact) * size, e.name);
    }
  }
}

inline void check_second_order(const Operation& op, const Inputs& x, const Result& y, const OpOptions& options) {
  const std::vector<double> w = Numbers(5).vector(y.values.size());
  const Vectors v = random_direction(x, 6), u = random_direction(x, 7);
  Comparison comparison(op, "Hessian-vector products against the gradient of perturbed inputs", options.reason);
  Comparison symmetry(op, "symmetry of the Hessian", options.reason);
  for (const Engine& e : op.engines) {
    if (e.hvp == nullptr) continue;
    const Vectors hv = e.hvp(e.f, x, w, v), hu = e.hvp(e.f, x, w, u);
    double scale = 0;
    for (const auto& part : hv) scale = std::max(scale, magnitude(part));
    if (op.gradient_step != nullptr) {
      const Vectors reference = op.gradient_step(op.f, x, w, v);
      for (const auto& part : reference) scale = std::max(scale, magnitude(part));
      for (std::size_t k = 0; k < x.size(); ++k)
        comparison.expect(hv[k], reference[k], options.second, std::max(scale, magnitude(y.values)),
                          e.name + ", input " + std::to_string(k));
    }
    symmetry.expect(inner(u, hv), inner(v, hu),
                    options.exact * std::max({inner_magnitude(u, hv), inner_magnitude(v, hu), magnitude(y.values)}),
                    e.name);
  }
}

template <class F>
Thrown thrown_by(const F& f, std::string& message) {
  try {
    f();
  } catch (const kolmo::ShapeError& error) {
    message = error.what();
    return Thrown::shape;
  } catch (const kolmo::ArgumentError& error) {
    message = error.what();
    return Thrown::argument;
  } catch (const std::exception& error) {
    message = error.what();
    return Thrown::other;
  }
  return Thrown::nothing;
}

inline void check_errors(const Operation& op, const OpOptions& options) {
  static const char* const names[] = {"no error", "ShapeError", "ArgumentError", "another error"};
  Comparison comparison(op, "errors on bad shapes", "");
  for (const BadShapes& bad : options.bad) {
    Inputs x;
    std::string shapes;
    for (const auto& shape : bad.shapes) {
      x.push_back({shape, std::vector<double>(static_cast<std::size_t>(shape.size()), 1.0)});
      shapes += " " + shape.to_string();
    }
    const auto expect = [&](const std::string& where, Thrown thrown, const std::string& message) {
      if (thrown != bad.expected)
        comparison.fail(where + " with shapes" + shapes + ": " + names[static_cast<int>(thrown)] + " instead of " +
                        names[static_cast<int>(bad.expected)] + ": " + message);
      else if (message.find(':') == std::string::npos)
        comparison.fail(where + ": the message does not name the operation: " + message);
    };
    for (const Engine& e : op.engines) {
      std::string message;
      expect("value on " + e.name, thrown_by([&] { e.value(e.f, x, false); }, message), message);
      if (e.vjp == nullptr) continue;
      expect("vjp on " + e.name, thrown_by([&] { e.vjp(e.f, x, {1.0}); }, message), message);
      expect("jvp on " + e.name, thrown_by([&] { e.jvp(e.f, x, zeros_like(x)); }, message), message);
    }
  }
}

inline void check_bits(const Operation& op, const Inputs& x) {
  Comparison threads(op, "bits for 1, 2 and 4 threads", "");
  Comparison backends(op, "bits on FakeDevice and Cpu", "");
  const int count = kolmo::threads::count();
  std::vector<Result> values;
  std::vector<Vectors> gradients;
  for (const Engine& e : op.engines) {
    for (const int n : {1, 2, 4}) {
      kolmo::threads::set_count(n);
      const Result y = e.value(e.f, x, false);
      const std::vector<double> u = Numbers(9).vector(y.values.size());
      const Vectors g = e.vjp != nullptr ? e.vjp(e.f, x, u) : Vectors{};
      if (n == 1) {
        values.push_back(y);
        gradients.push_back(g);
        continue;
      }
      const std::string where = e.name + ", " + std::to_string(n) + " threads";
      threads.expect_same_bits(y.values, values.back().values, where + ", value");
      for (std::size_t k = 0; k < g.size(); ++k)
        threads.expect_same_bits(g[k], gradients.back()[k], where + ", gradient of input " + std::to_string(k));
    }
  }
  kolmo::threads::set_count(count);
  if (!op.same_bits) return;
  for (const std::size_t scalar : {0u, 1u}) {
    backends.expect_same_bits(values[2 + scalar].values, values[scalar].values,
                              op.engines[2 + scalar].name + ", value");
    for (std::size_t k = 0; k < gradients[scalar].size(); ++k)
      backends.expect_same_bits(gradients[2 + scalar][k], gradients[scalar][k],
                                op.engines[2 + scalar].name + ", gradient of input " + std::to_string(k));
  }
}

/// Value and gradient of a device, to the bit what they were before and near those of the host.
inline void check_device_values(const Operation& op, const Inputs& x, const OpOptions& options) {
  Comparison repeated(op, "bits of the device when repeated", "");
  Comparison near(op, "values and gradients on the device and on Cpu", options.reason);
  const Engine& host = op.engines[0];
  const Result expected = host.value(host.f, x, false);
  const std::vector<double> u = Numbers(9).vector(expected.values.size());
  const Vectors pulled = host.vjp != nullptr ? host.vjp(host.f, x, u) : Vectors{};
  for (std::size_t n = 1; n < op.engines.size(); ++n) {
    const Engine& e = op.engines[n];
    const Result y = e.value(e.f, x, false);
    near.expect(y.values, expected.values, e.single_precision ? std::max(options.value_float, 1e-5) : options.exact,
                magnitude(expected.values), e.name + ", value");
    repeated.expect_same_bits(y.values, e.value(e.f, x, false).values, e.name + ", value");
    if (e.vjp == nullptr) continue;
    const Vectors g = e.vjp(e.f, x, u), again = e.vjp(e.f, x, u);
    for (std::size_t k = 0; k < g.size(); ++k) {
      const std::string where = e.name + ", gradient of input " + std::to_string(k);
      near.expect(g[k], pulled[k], e.single_precision ? options.derivative_float : options.exact, magnitude(pulled[k]),
                  where);
      repeated.expect_same_bits(g[k], again[k], where);
    }
  }
}

/// Tangents and Hessian-vector products of a device, near those of the host.
inline void check_device_derivatives(const Operation& op, const Inputs& x, const Result& y, const OpOptions& options) {
  Comparison comparison(op, "tangents and Hessian-vector products on the device and on Cpu", options.reason);
  const Engine& host = op.engines[0];
  const std::vector<double> w = Numbers(5).vector(y.values.size());
  const Vectors v = random_direction(x, 6);
  const std::vector<double> tangent = host.jvp(host.f, x, v).values;
  for (std::size_t n = 1; n < op.engines.size(); ++n) {
    const Engine& e = op.engines[n];
    comparison.expect(e.jvp(e.f, x, v).values, tangent, e.single_precision ? options.derivative_float : options.exact,
                      std::max(magnitude(y.values), magnitude(tangent)), "jvp on " + e.name);
    if (e.hvp == nullptr) continue;
    const Vectors expected = host.hvp(host.f, x, w, v), given = e.hvp(e.f, x, w, v);
    for (std::size_t k = 0; k < x.size(); ++k)
      comparison.expect(given[k], expected[k], options.second, std::max(magnitude(y.values), magnitude(expected[k])),
                        "hvp on " + e.name + ", input " + std::to_string(k));
  }
}

}  // namespace detail

/// For engines of which the first is the host, tested by check_operation elsewhere.
inline void check_device_operation(const Operation& op, const Inputs& x, const Oracle& oracle,
                                   const OpOptions& options) {
  const Result expected = oracle(x);
  detail::check_values(op, x, expected, options);
  if (op.engines[0].jvp != nullptr) detail::check_device_derivatives(op, x, expected, options);
  detail::check_errors(op, options);
  detail::check_device_values(op, x, options);
  for (const Inputs& large : options.large) detail::check_device_values(op, large, options);
}

inline void check_operation(const Operation& op, const Inputs& x, const Oracle& oracle, const OpOptions& options) {
  const OpOptions usual;
  const bool changed = options.value != usual.value || options.value_float != usual.value_float ||
                       options.exact != usual.exact || options.differences != usual.differences ||
                       options.second != usual.second || options.derivative_float != usual.derivative_float;
  {
    INFO(op.name << ": a changed tolerance needs a reason");
    CHECK((!changed || !options.reason.empty()));
  }

  const Result expected = oracle(x);
  detail::check_values(op, x, expected, options);
  if (op.engines[0].vjp != nullptr) detail::check_derivatives(op, x, expected, options);
  if (op.engines[0].hvp != nullptr) detail::check_second_order(op, x, expected, options);
  detail::check_errors(op, options);
  detail::check_bits(op, x);
  for (const Inputs& large : options.large) detail::check_bits(op, large);
}

}  // namespace kolmo_test
