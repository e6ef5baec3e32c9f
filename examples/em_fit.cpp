// Mixtures of sampled densities by expectation-maximisation from a start of your choice: em_fit START [MODEL]
// START is one of quantile, random, qmi, wqmi, kmeans, custom, and lamf with the file of a MODEL.
// test: quantile
// test: random
// test: qmi
// test: wqmi
// test: kmeans
// test: custom
// test: lamf @examples@/models/lamf_v5.safetensors

#include <cstdio>
#include <string>

#include <kolmo/gmm/em_fit.hpp>
#include <kolmo/gmm/lamf_fit.hpp>

namespace gmm = kolmo::gmm;
using kolmo::Shape;
using Tensor = kolmo::Tensor<double, kolmo::Cpu>;

/// The larger of two correlated normals, X ~ N(0, 1) and Y ~ N(1, 0.8) (variances) with correlation 0.5.
const gmm::MaxOfNormals maximum(0.0, gmm::Variance(1.0), 1.0, gmm::Variance(0.8), 0.5);

std::vector<double> sampled(const std::vector<double>& points) {
  std::vector<double> values;
  for (const double z : points) values.push_back(maximum.density(z));
  return values;
}

/// Fine in the middle, coarse outside.
std::vector<double> stretched_points() {
  std::vector<double> points;
  for (int i = 0; i < 96; ++i) {
    const double u = (i - 47.5) / 47.5;
    points.push_back(1.0 + 2.0 * u + 4.0 * u * u * u);
  }
  return points;
}

gmm::FitReport<Tensor> fit_from(const std::string& start) {
  const std::vector<double> points = stretched_points();  // strictly increasing, any spacing; or a gmm::Grid
  const Tensor density = Tensor::from(sampled(points));   // or [batch, points]; need not be normalised

  gmm::EmOptions em;
  em.components = 5;
  em.start = gmm::em_start_of_name(start);  // such as "quantile" or "kmeans"
  em.starts = 3;                            // the fit with the largest likelihood wins
  em.key = kolmo::Key{7};                   // reproduces every random number
  return gmm::fit(em, density, points, gmm::FitOptions{.measures = true});
}

gmm::FitReport<Tensor> fit_from_parts() {
  const std::vector<double> points = stretched_points();
  const Tensor density = Tensor::from(sampled(points));
  // Mean and variance of X, those of Y, and the correlation: a row per density.
  const Tensor parameters = Tensor::from({0.0, 1.0, 1.0, 0.8, 0.5}, Shape{1, 5});
  const gmm::EmGiven<Tensor> given{.winners = gmm::winner_parts<Tensor>(parameters, points)};
  return gmm::fit({.start = gmm::EmStartKind::wqmi}, density, points, given, {.measures = true});
}

gmm::FitReport<Tensor> fit_from_mixture() {
  const std::vector<double> points = stretched_points();
  const Tensor density = Tensor::from(sampled(points));
  const Shape shape{1, 2};  // one density, two components
  const gmm::Mixture<Tensor> mixture{Tensor::from({0.3, 0.7}, shape), Tensor::from({0.0, 1.0}, shape),
                                     Tensor::from({0.8, 0.8}, shape)};
  const gmm::EmGiven<Tensor> given{.mixture = mixture};
  const gmm::EmOptions em{.components = 2, .start = gmm::EmStartKind::custom};
  return gmm::fit(em, density, points, given, {.measures = true});
}

gmm::FitReport<Tensor> fit_from_model(const char* path) {
  const gmm::Grid grid{-6.0, 8.0, 120};
  std::vector<double> points;
  for (kolmo::index_t i = 0; i < grid.points; ++i) points.push_back(grid[i]);
  const Tensor density = Tensor::from(sampled(points));
  const auto model = gmm::load_lamf<Tensor>(path);
  // The networks alone: the polish that follows by default is better than EM after it.
  const auto learned = gmm::fit(model, density, grid, {.polish = gmm::PolishOptions{.evaluations = 0}});
  const gmm::EmOptions em{.components = 5, .start = gmm::EmStartKind::lamf};
  return gmm::fit(em, density, grid, gmm::EmGiven<Tensor>{learned.mixture}, {.measures = true});
}

int print(const gmm::FitReport<Tensor>& report) {
  const gmm::Status status = report.statuses()[0];
  const std::string warnings = gmm::describe_warnings(report.warnings.item());
  std::printf("%s after %d iterations%s%s\n", gmm::describe(status), static_cast<int>(report.iterations.item()),
              warnings.empty() ? "" : "; ", warnings.c_str());
  const auto weights = report.mixture.weights.to_vector();
  const auto means = report.mixture.means.to_vector();
  const auto deviations = report.mixture.deviations.to_vector();
  for (std::size_t k = 0; k < weights.size(); ++k)
    std::printf("  weight %.3f  mean %6.3f  deviation %.3f\n", weights[k], means[k], deviations[k]);
  std::printf("  errors: density %.6f, distribution function %.6f\n", report.measures->density_error.item(),
              report.measures->distribution_error.item());
  return gmm::is_valid(status) ? 0 : 1;
}

int main(int argc, char** argv) {
  const std::string start = argc > 1 ? argv[1] : "--help";
  if (start == "--help" || start == "-h") {
    std::printf(
        "Fits a mixture to a sampled density by expectation-maximisation.\n"
        "Usage: em_fit quantile|random|qmi|wqmi|kmeans|custom\n       em_fit lamf MODEL\n");
    return argc > 1 ? 0 : 2;
  }
  try {
    if (start == "lamf" && argc == 3) return print(fit_from_model(argv[2]));
    if (start == "wqmi") return print(fit_from_parts());
    if (start == "custom") return print(fit_from_mixture());
    return print(fit_from(start));
  } catch (const kolmo::ArgumentError& error) {
    std::fprintf(stderr, "em_fit: %s\n", error.what());
    return 2;
  } catch (const kolmo::Error& error) {
    std::fprintf(stderr, "em_fit: %s\n", error.what());
    return 1;
  }
}
