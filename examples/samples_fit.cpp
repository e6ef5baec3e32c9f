// A mixture of normals from points, and what it is good for afterwards: samples_fit SEED
// test: 1

#include <cstdio>
#include <cstdlib>

#include <kolmo/backend/cpu.hpp>
#include <kolmo/gmm/em_samples.hpp>

namespace gmm = kolmo::gmm;
using kolmo::Key;
using kolmo::Shape;
using Tensor = kolmo::Tensor<double, kolmo::Cpu>;

std::uint64_t seed = 0;

/// Two thousand points of two clusters; in practice they come from a file.
Tensor some_points() {
  const gmm::NormalMixture<Tensor> truth{gmm::Covariance::diagonal, Tensor::from({0.3, 0.7}),
                                         Tensor::from({0.0, 0.0, 5.0, 1.0}, Shape{2, 2}),
                                         Tensor::from({1.0, 1.0, 1.0, 4.0}, Shape{2, 2})};
  return gmm::sample(truth, Key{seed}, 2000).points;
}

void fit_and_use() {
  const Tensor points = some_points();  // [N, D]
  const auto fit = gmm::fit_samples(points, 2, {.starts = 3});

  const auto weights = fit.mixture.weights.to_vector();  // [K]
  const auto means = fit.mixture.means.to_vector();      // [K, D], row by row
  for (std::size_t k = 0; k < weights.size(); ++k)
    std::printf("weight %.3f, mean (%.2f, %.2f)\n", weights[k], means[2 * k], means[2 * k + 1]);
  std::printf("%s after %d iterations, BIC %.1f\n", gmm::describe(fit.status), fit.iterations, fit.score.bic());

  const Tensor others = Tensor::from({0.5, 0.5, 5.0, 4.0}, Shape{2, 2});
  const auto labels = gmm::predict(fit.mixture, others).to_vector();           // the likeliest component of each
  const auto shares = gmm::responsibilities(fit.mixture, others).to_vector();  // [N, K], each row sums to one
  const auto density = gmm::log_density(fit.mixture, others).to_vector();      // low for outliers
  for (std::size_t i = 0; i < labels.size(); ++i)
    std::printf("component %d with probability %.4f, log density %.2f\n", labels[i],
                shares[2 * i + static_cast<std::size_t>(labels[i])], density[i]);
}

void choose_the_number() {
  const Tensor points = some_points();
  const auto selection = gmm::select_components(points, 1, 5, gmm::Criterion::bic);
  for (const auto& fit : selection.fits)
    std::printf("%lld components: BIC %.1f\n", static_cast<long long>(fit.mixture.components()), fit.score.bic());
  std::printf("best: %lld\n", static_cast<long long>(selection.best_fit().mixture.components()));
}

void weights_and_start() {
  const Tensor points = some_points();
  const Tensor weights = Tensor::full(Shape{points.extent(0)}, 2.0);  // as if every point were there twice
  const gmm::NormalMixture<Tensor> start{gmm::Covariance::spherical, Tensor::from({0.5, 0.5}),
                                         Tensor::from({0.0, 0.0, 4.0, 0.0}, Shape{2, 2}), Tensor::from({1.0, 1.0})};
  const auto fit = gmm::fit_samples(points, start, {.max_iterations = 100}, weights);
  std::printf("mean log density %.4f\n", fit.score.mean_log_density);
}

int main(int argc, char** argv) {
  if (argc != 2 || argv[1][0] == '-') {
    std::printf("Fits mixtures to points drawn from a known one, and uses them.\nUsage: samples_fit SEED\n");
    return argc == 2 ? 0 : 2;
  }
  seed = std::strtoull(argv[1], nullptr, 10);
  fit_and_use();
  choose_the_number();
  weights_and_start();
}
