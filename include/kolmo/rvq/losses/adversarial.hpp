#pragma once
// Losses of adversarial training, from the scores D of several discriminators and the activations f_l of their layers:
//
//                   discriminator, real x and generated x^                generator
//   hinge           mean relu(1 - D(x)) + mean relu(1 + D(x^))            -mean D(x^), or mean relu(1 - D(x^))
//   least squares   mean (1 - D(x))^2 + mean D(x^)^2                      mean (1 - D(x^))^2
//
//   feature matching   sum over l of mean |f_l(x) - f_l(x^)|, each divided by mean |f_l(x)| in EnCodec's form
//
// all summed over the discriminators, or averaged. Features of x are constants.

#include <kolmo/rvq/discriminators/judgement.hpp>
#include <kolmo/rvq/losses/spectral_pairs.hpp>

namespace kolmo::rvq {

enum class AdversarialKind { hinge, least_squares };

struct AdversarialOptions {
  AdversarialKind kind = AdversarialKind::hinge;
  bool bounded_generator = false;  ///< hinge: the generator's loss is mean relu(1 - D(x^)) instead of -mean D(x^)
  bool relative_features = false;  ///< feature matching after EnCodec
  bool average = false;            ///< over the discriminators instead of their sum
};

}  // namespace kolmo::rvq

namespace kolmo::detail {

/// relu(1 - sign x) for one sign.
struct HingeBelow {
  int sign;
  template <class S>
  KOLMO_HD S operator()(S x) const {
    return maximum(S(1) - x * S(sign), S(0));
  }
};

template <class X>
void check_judgements(const char* name, const std::vector<X>& judgements) {
  if (judgements.empty()) throw ArgumentError(std::string(name) + ": no discriminator has judged");
}

/// The sum or the mean of f(i) over i < count.
template <class F>
auto over_discriminators(std::size_t count, bool average, const F& f) {
  auto total = f(std::size_t{0});
  for (std::size_t i = 1; i < count; ++i) total = total + f(i);
  return average ? total / static_cast<double>(count) : total;
}

}  // namespace kolmo::detail

namespace kolmo::rvq {

/// The loss that the discriminators minimise. Throws ArgumentError unless there are as many judgements of both.
template <TensorLike R, TensorLike F>
auto discriminator_loss(const std::vector<Judgement<R>>& real, const std::vector<Judgement<F>>& generated,
                        const AdversarialOptions& options = {}) {
  using namespace kolmo::detail;
  check_judgements("discriminator_loss", real);
  if (real.size() != generated.size())
    throw ArgumentError("discriminator_loss: " + std::to_string(real.size()) + " judgements of real waves and " +
                        std::to_string(generated.size()) + " of generated ones");
  return over_discriminators(real.size(), options.average, [&](std::size_t i) {
    const auto& x = real[i].score;
    const auto& g = generated[i].score;
    using L = decltype(mean(x) + mean(g));
    return options.kind == AdversarialKind::hinge ? L(mean(map(HingeBelow{1}, x)) + mean(map(HingeBelow{-1}, g)))
                                                  : L(mean(square(1.0 - x)) + mean(square(g)));
  });
}

/// The loss by which the generator deceives them. Throws ArgumentError without judgements.
template <TensorLike F>
auto generator_loss(const std::vector<Judgement<F>>& generated, const AdversarialOptions& options = {}) {
  using namespace kolmo::detail;
  check_judgements("generator_loss", generated);
  return over_discriminators(generated.size(), options.average, [&](std::size_t i) {
    const F& g = generated[i].score;
    using L = decltype(mean(g));
    if (options.kind == AdversarialKind::least_squares) return L(mean(square(1.0 - g)));
    return options.bounded_generator ? L(mean(map(HingeBelow{1}, g))) : L(mean(g) * -1.0);
  });
}

/// The distance of the features of generated waves from those of the real ones, which are constants. Throws
/// ArgumentError unless both have the same discriminators and layers.
template <TensorLike R, TensorLike F>
auto feature_loss(const std::vector<Judgement<R>>& real, const std::vector<Judgement<F>>& generated,
                  const AdversarialOptions& options = {}) {
  using namespace kolmo::detail;
  check_judgements("feature_loss", real);
  bool same = real.size() == generated.size();
  for (std::size_t i = 0; same && i < real.size(); ++i)
    same = !real[i].features.empty() && real[i].features.size() == generated[i].features.size();
  if (!same) throw ArgumentError("feature_loss: the judgements are not of the same discriminators");
  return over_discriminators(real.size(), options.average, [&](std::size_t i) {
    const auto layer = [&](std::size_t l) {
      const auto x = detach(real[i].features[l]);
      const auto distance = mean(map(AbsoluteDistance{}, x, generated[i].features[l]));
      if (!options.relative_features) return distance;
      const double size = static_cast<double>(mean(abs(x)).item());
      return distance / (size > 1e-8 ? size : 1e-8);
    };
    auto total = layer(0);
    for (std::size_t l = 1; l < real[i].features.size(); ++l) total = total + layer(l);
    return total;
  });
}

}  // namespace kolmo::rvq
