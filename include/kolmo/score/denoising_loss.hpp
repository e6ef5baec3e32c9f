#pragma once
// Denoising score matching: a network that estimates eps of x_t = mu x + sigma eps learns the score of the noisy data
// (Vincent 2011; Ho et al. 2020). The loss is the mean of (eps_phi(x_t, t) - eps)^2 over all elements, t uniform in (0,
// 1) for every sample.

#include <kolmo/nn/init.hpp>
#include <kolmo/nn/pass.hpp>
#include <kolmo/ops/reduce.hpp>
#include <kolmo/score/parameterisation.hpp>
#include <span>
#include <tuple>

namespace kolmo::score {

/// mean((eps(x_t, t) - noise)^2) with given times [B] or [] and noise of the shape of x [B, event...].
template <class Estimator, PlainTensor V>
auto denoising_loss(const Estimator& eps, const Schedule& schedule, const V& x, const V& times, const V& noise) {
  return mean(square(eps(perturb(x, noise, schedule, times), times) - noise));
}

/// mean(w error) / mean(w) with weights that broadcast to x: of samples [B, 1, ...], of channels, of points.
template <class Estimator, PlainTensor V>
auto denoising_loss(const Estimator& eps, const Schedule& schedule, const V& x, const V& times, const V& noise,
                    const V& weights) {
  if (!(broadcast(weights.shape(), x.shape(), "denoising_loss") == x.shape()))
    throw ShapeError("denoising_loss: weights of shape " + weights.shape().to_string() +
                     " do not repeat to the shape " + x.shape().to_string() + " of the data");
  const double total = static_cast<double>(mean(weights).item());
  if (!(total > 0) || !is_finite(total))
    throw ArgumentError("denoising_loss: the weights must have a positive, finite mean, given " + io::to_text(total));
  return mean(square(eps(perturb(x, noise, schedule, times), times) - noise) * weights) / total;
}

/// How the times of a batch are drawn: each by itself, or one in each of B equal parts of (0, 1), which makes the loss
/// of a batch vary less and leaves its mean as it is.
enum class TimeDraw { independent, stratified };

/// One time in (0, 1) per sample.
template <PlainTensor V>
V draw_times(Key key, index_t batch, TimeDraw draw = TimeDraw::independent) {
  using T = typename V::Scalar;
  if (draw == TimeDraw::independent) return nn::uniform_values<V>(key, Shape{batch}, 0, 1);
  const auto keys = split(key);
  const std::vector<index_t> order = permutation(keys.first, batch);
  std::vector<T> times(order.size());
  for (std::size_t i = 0; i < order.size(); ++i)
    times[i] =
        static_cast<T>((static_cast<double>(order[i]) + uniform<double>(keys.second, i)) / static_cast<double>(batch));
  return V::from(std::span<const T>(times), Shape{batch});
}

/// The loss of optim::train: loss(model, batch, pass), with times and noise from the key of the pass. The model is an
/// estimator of eps; a batch is x [B, event...] or a tuple of x and weights.
struct DenoisingLoss {
  Schedule schedule{};
  TimeDraw times = TimeDraw::independent;

  template <class M, PlainTensor V>
  auto operator()(const M& model, const V& x, const nn::Pass& pass) const {
    const auto keys = split(pass.key);
    return denoising_loss(model, schedule, x, drawn<V>(x, keys.first), nn::normal_values<V>(keys.second, x.shape()));
  }

  template <class M, PlainTensor V>
  auto operator()(const M& model, const std::tuple<V, V>& batch, const nn::Pass& pass) const {
    const auto keys = split(pass.key);
    const V& x = std::get<0>(batch);
    return denoising_loss(model, schedule, x, drawn<V>(x, keys.first), nn::normal_values<V>(keys.second, x.shape()),
                          std::get<1>(batch));
  }

 private:
  template <PlainTensor V>
  V drawn(const V& x, Key key) const {
    if (x.rank() < 2)
      throw ShapeError("DenoisingLoss: expected data [B, event...], given shape " + x.shape().to_string());
    return draw_times<V>(key, x.shape()[0], times);
  }
};

/// The smallest loss that any network reaches on Gaussian data whose covariance has these eigenvalues: the mean over
/// time and eigenvalues of mu^2 lambda / (mu^2 lambda + sigma^2). A loss below it is over-fitting or chance.
inline double smallest_denoising_loss(const Schedule& schedule, std::span<const double> eigenvalues) {
  if (eigenvalues.empty()) throw ArgumentError("smallest_denoising_loss: no eigenvalues given");
  for (const double lambda : eigenvalues)
    if (!(lambda >= 0) || !is_finite(lambda))
      throw ArgumentError("smallest_denoising_loss: eigenvalues of a covariance are not negative, given " +
                          io::to_text(lambda));
  // The integrand is smooth but steep at t = 0, where sigma falls to eta: substitute t = s^2.
  constexpr int points = 4096;
  double sum = 0;
  for (int k = 0; k < points; ++k) {
    const double s = (k + 0.5) / points, t = s * s, mu = schedule.mu(t), sigma = schedule.sigma(t);
    double level = 0;
    for (const double lambda : eigenvalues) {
      const double signal = mu * mu * lambda;
      level += signal / (signal + sigma * sigma);
    }
    sum += level * 2 * s / points;
  }
  return sum / static_cast<double>(eigenvalues.size());
}

}  // namespace kolmo::score
