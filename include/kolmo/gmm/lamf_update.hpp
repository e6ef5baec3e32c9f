#pragma once
// The two kernels of the learned fitter that move parameters: the constrained start and the damped, bounded
// update. See lamf_kernels.hpp for the conventions.

#include <kolmo/gmm/lamf_kernels.hpp>

namespace kolmo::gmm {

/// Smallest distance between neighbouring means at the start, in standard deviations of the density.
inline constexpr double smallest_gap = 1e-4;

/// Unconstrained outputs [alpha (K), c, beta (K - 1), gamma (K)] to a mixture row:
///   weights = softmax(alpha), raised to least_weight and normalised again;  mean_1 = c, mean_k = mean_(k-1) + softplus(beta_(k-1)) + smallest_gap;
///   deviation = min(floor + softplus(gamma), largest).
template <class T>
struct ProjectKernel {
  const T* log_floor;
  T log_largest;
  int components;
  T least_weight = T(0);

  template <class S>
  KOLMO_HD void forward(index_t item, const S* x, S* mixture) const {
    const S* beta = x + components + 1;
    const S* gamma = x + 2 * components;
    const S normalizer = log_total(x);
    const T floor = exp(log_floor[item]);
    S mean = x[components];
    for (int k = 0; k < components; ++k) {
      if (k > 0) mean = mean + softplus(beta[k - 1]) + T(smallest_gap);
      mixture[k] = x[k] - normalizer;
      mixture[components + k] = mean;
      mixture[2 * components + k] = minimum(log(softplus(gamma[k]) + floor), S(log_largest));
    }
    if (!(least_weight > T(0))) return;
    const S log_least = S(log(least_weight));
    S total = S(T(0));
    for (int k = 0; k < components; ++k) {
      mixture[k] = maximum(mixture[k], log_least);
      total = total + exp(mixture[k]);
    }
    const S log_sum = log(total);
    for (int k = 0; k < components; ++k) mixture[k] = mixture[k] - log_sum;
  }

  template <class S>
  KOLMO_HD void pull(index_t item, const S* x, const S* g, S* gx) const {
    const S* beta = x + components + 1;
    const S* gamma = x + 2 * components;
    const S normalizer = log_total(x);
    const T floor = exp(log_floor[item]);
    S weight_sum = S(T(0)), mean_sum = S(T(0));
    for (int k = 0; k < components; ++k) weight_sum = weight_sum + g[k];
    for (int k = components - 1; k >= 0; --k) {
      mean_sum = mean_sum + g[components + k];
      gx[k] = g[k] - exp(x[k] - normalizer) * weight_sum;
      if (k > 0) gx[components + k] = mean_sum * sigmoid(beta[k - 1]);
      const S deviation = softplus(gamma[k]) + floor;
      const bool capped = log(deviation) > S(log_largest);
      gx[2 * components + k] = capped ? S(T(0)) : S(g[2 * components + k] * sigmoid(gamma[k]) / deviation);
    }
    gx[components] = mean_sum;
    if (least_weight > T(0)) pull_raised(x, normalizer, weight_sum, g, gx);
  }

 private:
  /// The gradient of the logits when weights are raised to the least one: a raised weight passes nothing on.
  template <class S>
  KOLMO_HD void pull_raised(const S* x, S normalizer, S weight_sum, const S* g, S* gx) const {
    S total = S(T(0)), through = S(T(0));
    for (int k = 0; k < components; ++k) total = total + maximum(exp(x[k] - normalizer), S(least_weight));
    for (int k = 0; k < components; ++k) {
      const S weight = exp(x[k] - normalizer);
      const bool raised = !(weight > least_weight);
      gx[k] = raised ? S(T(0)) : S(g[k] - weight * weight_sum / total);
      through = through + gx[k];
    }
    for (int k = 0; k < components; ++k) gx[k] = gx[k] - exp(x[k] - normalizer) * through;
  }

  template <class S>
  KOLMO_HD S log_total(const S* x) const {
    S top = x[0];
    for (int k = 1; k < components; ++k) top = select(x[k] > top, x[k], top);
    S total = S(T(0));
    for (int k = 0; k < components; ++k) total = total + exp(x[k] - top);
    return top + log(total);
  }
};

/// One damped EM step with bounded corrections. Inputs: features [K, feature_count] of StatisticsKernel, raw
/// corrections (a, b, c) [K, 3], blend lambda (shared). With kappa the correction scale:
///   log weight    = log softmax((1 - lambda) log weight + lambda log n + kappa tanh a)
///   mean          = (1 - lambda) mean + lambda m + kappa unit tanh b
///   log deviation = clamp((1 - lambda) log deviation + lambda log sqrt(v) + kappa tanh c, floor, largest)
/// and the components are sorted by mean when `ordered`; in the reverse rule the permutation is a constant. `unit` is the
/// deviation of every density, null in standardised coordinates, where it is one.
template <class T>
struct UpdateKernel {
  const T* log_floor;
  T log_largest;
  T correction_scale;
  int components;
  const T* unit = nullptr;
  bool ordered = true;
  using Feature = typename StatisticsKernel<T>::Feature;

  template <class S>
  KOLMO_HD void forward(index_t item, const S* features, const S* raw, const S* blend, S* mixture) const {
    const Blended<S> x(*this, features, raw, *blend, unit_of(item));
    int order[max_components];
    sort_by_mean(x.mean, order);
    for (int k = 0; k < components; ++k) {
      const int from = order[k];
      mixture[k] = x.log_weight[from];
      mixture[components + k] = x.mean[from];
      mixture[2 * components + k] = minimum(maximum(x.log_deviation[from], S(log_floor[item])), S(log_largest));
    }
  }

  template <class S>
  KOLMO_HD void pull(index_t item, const S* features, const S* raw, const S* blend, const S* g, S* g_features, S* g_raw,
                     S* g_blend) const {
    const T of_mean = unit_of(item);
    const Blended<S> blended(*this, features, raw, *blend, of_mean);
    int order[max_components];
    sort_by_mean(blended.mean, order);
    S weight_sum = S(T(0));
    for (int k = 0; k < components; ++k) weight_sum = weight_sum + g[k];
    const S keep = 1 - *blend;
    S blend_sum = S(T(0));
    for (int k = 0; k < components; ++k) {
      const int from = order[k];
      const S* x = features + from * feature_count;
      const S g_weight = g[k] - exp(blended.log_weight[from]) * weight_sum;
      const S g_mean = g[components + k];
      const S log_deviation = blended.log_deviation[from];
      const bool bounded = log_deviation < S(log_floor[item]) || log_deviation > S(log_largest);
      const S g_deviation = bounded ? S(T(0)) : g[2 * components + k];
      S* gx = g_features + from * feature_count;
      for (int i = 0; i < feature_count; ++i) gx[i] = S(T(0));
      gx[Feature::log_weight] = keep * g_weight;
      gx[Feature::n] = *blend * g_weight / x[Feature::n];
      gx[Feature::mean] = keep * g_mean;
      gx[Feature::m] = *blend * g_mean;
      gx[Feature::log_deviation] = keep * g_deviation;
      gx[Feature::log_v] = *blend * g_deviation;
      blend_sum = blend_sum + g_weight * (blended.log_n[from] - x[Feature::log_weight]) +
                  g_mean * (x[Feature::m] - x[Feature::mean]) +
                  g_deviation * (x[Feature::log_v] - x[Feature::log_deviation]);
      const S slope[3] = {g_weight, g_mean * of_mean, g_deviation};
      for (int i = 0; i < 3; ++i) {
        const S t = blended.correction[i][from];
        g_raw[3 * from + i] = slope[i] * correction_scale * (1 - t * t);
      }
    }
    *g_blend = blend_sum;
  }

 private:
  KOLMO_HD T unit_of(index_t item) const { return unit != nullptr ? unit[item] : T(1); }

  /// The blended parameters in the order of the features; weights normalised, deviations not yet bounded. Loops run to
  /// a multiple of 16, on whole vectors.
  template <class S>
  struct Blended {
    S log_weight[max_components];
    S mean[max_components];
    S log_deviation[max_components];
    S log_n[max_components];
    S correction[3][max_components];  // tanh of the raw ones

    KOLMO_HD Blended(const UpdateKernel& kernel, const S* features, const S* raw, S blend, T of_mean) {
      const int count = kernel.components, padded = (count + 15) / 16 * 16;
      for (int k = 0; k < padded; ++k) {
        log_n[k] = k < count ? features[k * feature_count + Feature::n] : S(T(1));
        for (int i = 0; i < 3; ++i) correction[i][k] = k < count ? raw[3 * k + i] : S(T(0));
      }
      for (int k = 0; k < padded; ++k) log_n[k] = log(log_n[k]);
      for (int i = 0; i < 3; ++i)
        for (int k = 0; k < padded; ++k) correction[i][k] = tanh(correction[i][k]);
      const S keep = 1 - blend;
      const T mean_scale = kernel.correction_scale * of_mean;
      S top = S(T(0));
      for (int k = 0; k < count; ++k) {
        const S* x = features + k * feature_count;
        log_weight[k] = keep * x[Feature::log_weight] + blend * log_n[k] + kernel.correction_scale * correction[0][k];
        mean[k] = keep * x[Feature::mean] + blend * x[Feature::m] + mean_scale * correction[1][k];
        log_deviation[k] =
            keep * x[Feature::log_deviation] + blend * x[Feature::log_v] + kernel.correction_scale * correction[2][k];
        top = k == 0 ? log_weight[0] : select(log_weight[k] > top, log_weight[k], top);
      }
      for (int k = count; k < padded; ++k) log_weight[k] = top;
      S weight[max_components];
      for (int k = 0; k < padded; ++k) weight[k] = exp(log_weight[k] - top);
      S total = S(T(0));
      for (int k = 0; k < count; ++k) total = total + weight[k];
      const S normalizer = top + log(total);
      for (int k = 0; k < count; ++k) log_weight[k] = log_weight[k] - normalizer;
    }
  };

  /// Stable insertion sort of indices; as they are when not `ordered`.
  template <class S>
  KOLMO_HD void sort_by_mean(const S* mean, int* order) const {
    for (int k = 0; k < components; ++k) {
      int j = k;
      for (; ordered && j > 0 && mean[k] < mean[order[j - 1]]; --j) order[j] = order[j - 1];
      order[j] = k;
    }
  }
};

}  // namespace kolmo::gmm
