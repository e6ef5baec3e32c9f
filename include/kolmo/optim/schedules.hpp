#pragma once
// Learning rates over time. A schedule is any callable double(index_t t), where t counts epochs or steps from 1; these
// are the usual ones as values.

#include <cmath>
#include <string>

#include <kolmo/core/array.hpp>
#include <kolmo/error.hpp>

namespace kolmo::optim {

/// The same learning_rate always.
struct Constant {
  double learning_rate = 1e-3;
  double operator()(index_t) const { return learning_rate; }
};

/// From `learning_rate` at t = first to `final_learning_rate` at t = last, in a straight line; constant outside.
struct Linear {
  double learning_rate = 1e-3;
  double final_learning_rate = 0;
  index_t first = 1;
  index_t last = 100;
  double operator()(index_t t) const {
    if (t <= first) return learning_rate;
    if (t >= last) return final_learning_rate;
    return learning_rate +
           (final_learning_rate - learning_rate) * static_cast<double>(t - first) / static_cast<double>(last - first);
  }
};

/// final_learning_rate + (learning_rate - final_learning_rate) (1 + cos(pi (t - first) / period)) / 2 from t = first on
/// (Loshchilov and Hutter 2016, without restarts); constant before and after one period.
struct Cosine {
  double learning_rate = 1e-3;
  double final_learning_rate = 0;
  index_t first = 1;
  index_t period = 100;
  double operator()(index_t t) const {
    if (t <= first) return learning_rate;
    if (t >= first + period) return final_learning_rate;
    constexpr double pi = 3.14159265358979323846;
    return final_learning_rate + 0.5 * (learning_rate - final_learning_rate) *
                                     (1 + std::cos(pi * static_cast<double>(t - first) / static_cast<double>(period)));
  }
};

/// Multiplied by `factor` after every `every` values of t.
struct Step {
  double learning_rate = 1e-3;
  double factor = 0.5;
  index_t every = 20;
  double operator()(index_t t) const { return learning_rate * std::pow(factor, static_cast<double>((t - 1) / every)); }
};

/// learning_rate exp(-rate ((t - first) / period)^2) from t = first on: a slow start and a long low end.
struct GaussianDecay {
  double learning_rate = 1e-3;
  double rate = 7;
  index_t first = 1;
  index_t period = 100;
  double operator()(index_t t) const {
    if (t <= first) return learning_rate;
    const double part = static_cast<double>(t - first) / static_cast<double>(period);
    return learning_rate * std::exp(-rate * part * part);
  }
};

/// learning_rate t / length for t <= length, then another schedule.
template <class Then>
struct WarmUp {
  double learning_rate = 1e-3;
  index_t length = 5;
  Then then{};
  double operator()(index_t t) const {
    return t <= length ? learning_rate * static_cast<double>(t) / static_cast<double>(length) : then(t);
  }
};

/// Warm-up over the first `warm_up` epochs to `learning_rate`, then a cosine that starts at `learning_rate` in the next
/// epoch and would reach `final_fraction` of it one epoch after the last. Throws ArgumentError unless 0 <= warm_up <
/// epochs.
struct WarmUpCosineOptions {
  double learning_rate = 1e-3;
  double final_fraction = 0.01;
  index_t warm_up = 5;
  index_t epochs = 50;
};
inline WarmUp<Cosine> warm_up_cosine(const WarmUpCosineOptions& options) {
  if (options.warm_up < 0 || options.warm_up >= options.epochs)
    throw ArgumentError("warm_up_cosine: the warm-up of " + std::to_string(options.warm_up) +
                        " epochs must be shorter than the training of " + std::to_string(options.epochs));
  return {options.learning_rate, options.warm_up,
          Cosine{options.learning_rate, options.final_fraction * options.learning_rate, options.warm_up + 1,
                 options.epochs - options.warm_up}};
}

}  // namespace kolmo::optim
