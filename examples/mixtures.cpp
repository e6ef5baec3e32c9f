// A tour of the functions of mixtures: mixtures SEED
// test: 7

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include <kolmo/ad/transforms.hpp>
#include <kolmo/backend/cpu.hpp>
#include <kolmo/gmm/mixture_distance.hpp>
#include <kolmo/gmm/mixture_quantile.hpp>
#include <kolmo/gmm/mixture_reduce.hpp>
#include <kolmo/gmm/mixture_sample.hpp>

namespace gmm = kolmo::gmm;
using kolmo::Shape;
using Tensor = kolmo::Tensor<double, kolmo::Cpu>;

void print(const char* name, const Tensor& values) {
  std::printf("%-28s", name);
  for (double x : values.to_vector()) std::printf(" %8.4f", x);
  std::printf("\n");
}

/// Delays of two gates as mixtures; one row each.
gmm::Mixture<Tensor> delays() {
  return {Tensor::from({0.2, 0.5, 0.3, 0.6, 0.1, 0.3}, Shape{2, 3}),
          Tensor::from({1.5, 2.5, 4.0, 3.0, 1.0, 2.0}, Shape{2, 3}),
          Tensor::from({0.4, 0.6, 0.7, 0.5, 0.2, 0.9}, Shape{2, 3})};
}

void values_at_points(const gmm::Mixture<Tensor>& m) {
  const Tensor z = Tensor::from({1.0, 2.0, 4.0}, Shape{3});
  print("density at 1, 2, 4", gmm::density(m, z));
  print("distribution function", gmm::distribution(m, z));
  print("shares of the components", gmm::responsibilities(m, z));
  print("means", gmm::mean(m));
  print("variances", gmm::variance(m));
  print("skewnesses", gmm::skewness(m));
  print("excess kurtoses", gmm::excess_kurtosis(m));
}

void quantiles_and_samples(const gmm::Mixture<Tensor>& m, kolmo::Key key) {
  print("median and 99.9 % quantile", gmm::quantile(m, Tensor::from({0.5, 0.999}, Shape{2})));
  const Tensor x = gmm::sample(m, key, 100000);  // [2, 100000]
  print("means of samples", kolmo::mean(x, {1}));
  print("distance of the samples", gmm::kolmogorov_smirnov(m, x));
  // How the 99.9 % quantile of the first delay moves with each mean.
  const auto late = [](const auto& mixture) {
    return kolmo::sum(kolmo::slice(gmm::quantile(mixture, Tensor::from({0.999}, Shape{1})), 0, 0, 1));
  };
  print("its slope in the means", kolmo::grad(late, m).means);
}

void fewer_components(const gmm::Mixture<Tensor>& m) {
  const gmm::ReducedMixture<Tensor> two = gmm::merged(m, {.components = 2});
  print("means of merged pairs", two.mixture.means);
  print("bound of the divergence", two.divergence);
  print("largest error of the CDF", gmm::kolmogorov_smirnov(m, two.mixture));
  print("variances, as before", gmm::variance(two.mixture));
  const gmm::ReducedMixture<Tensor> heavy = gmm::pruned(m, 0.15);
  for (int count : heavy.components.to_vector()) std::printf("%d components of weight 0.15 or more\n", count);
}

int main(int argc, char** argv) {
  if (argc != 2 || argv[1][0] == '-') {
    std::printf(
        "Quantiles, samples, distances and reduction of mixtures, shown by two of them.\nUsage: mixtures SEED\n");
    return argc == 2 && std::strcmp(argv[1], "--help") == 0 ? 0 : 2;
  }
  const gmm::Mixture<Tensor> m = delays();
  values_at_points(m);
  quantiles_and_samples(m, kolmo::Key{std::strtoull(argv[1], nullptr, 10)});
  fewer_components(m);
}
