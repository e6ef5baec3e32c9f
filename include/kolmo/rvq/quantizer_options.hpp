#pragma once
// What a residual quantizer is told once and keeps in its file.

#include <string>

#include <kolmo/ad/module.hpp>
#include <kolmo/error.hpp>

namespace kolmo::rvq {

/// How the losses of the stages become one.
enum class StageReduction { sum = 0, mean = 1 };

struct QuantizerOptions {
  /// Steps after which one more stage joins (P of rvq/schedule.hpp); 0: all at once.
  index_t progressive = 0;
  /// Weight of the commitment loss, sum over stages of mean((r - sg(e))^2), the mean over all elements n d. Where the
  /// squares are summed over d instead, as in the first VQ-VAE, the weight is d times smaller.
  double commitment_weight = 0.25;
  /// Weight of the codebook loss, sum over stages of mean((sg(r) - e)^2); it is zero for codebooks that are averaged.
  double codebook_weight = 1;
  StageReduction reduction = StageReduction::sum;
  /// Probability that an item of a training batch is quantized with a random number of stages, uniform from one to all
  /// active ones, instead of all. A model trained without degrades sharply when stages are left out.
  double dropout = 0;
  /// Dimension of the space in which a stage searches after a learned projection; 0: no projections. Codebooks are
  /// then searched by angle, and trained by gradient together with the projections.
  index_t projected_dimension = 0;
  /// With projections: no gradient passes from a later stage through the residual into an earlier one's output.
  bool detach_residual = false;
  /// One codebook for all stages, moved once a step by the vectors of all of them. Averaged codebooks only.
  bool shared_codebook = false;
  /// Updates after which a stage counts as trained; with fewer it is never used for encoding or decoding.
  index_t trained_updates = 100;

  friend bool operator==(const QuantizerOptions&, const QuantizerOptions&) = default;

  static void fields(auto&& f, auto&... s) {
    f(option("progressive"), s.progressive...);
    f(option("commitment_weight"), s.commitment_weight...);
    f(option("codebook_weight"), s.codebook_weight...);
    f(option("reduction"), s.reduction...);
    f(option("dropout"), s.dropout...);
    f(option("projected_dimension"), s.projected_dimension...);
    f(option("detach_residual"), s.detach_residual...);
    f(option("shared_codebook"), s.shared_codebook...);
    f(option("trained_updates"), s.trained_updates...);
  }

  /// Throws ArgumentError that names the option, its value and what it may be.
  void validate() const {
    const auto require = [](bool good, const char* name, const std::string& value, const char* expected) {
      if (!good)
        throw ArgumentError(std::string("QuantizerOptions: ") + name + " must be " + expected + ", given " + value);
    };
    require(progressive >= 0, "progressive", std::to_string(progressive), "at least 0 steps");
    require(commitment_weight >= 0, "commitment_weight", std::to_string(commitment_weight), "at least 0");
    require(codebook_weight >= 0, "codebook_weight", std::to_string(codebook_weight), "at least 0");
    require(reduction == StageReduction::sum || reduction == StageReduction::mean, "reduction",
            std::to_string(static_cast<int>(reduction)), "sum (0) or mean (1)");
    require(dropout >= 0 && dropout <= 1, "dropout", std::to_string(dropout), "a probability");
    require(projected_dimension >= 0, "projected_dimension", std::to_string(projected_dimension), "at least 0");
    require(trained_updates >= 0, "trained_updates", std::to_string(trained_updates), "at least 0");
    require(!(shared_codebook && projected_dimension > 0), "shared_codebook", "true", "false with projections");
  }
};

}  // namespace kolmo::rvq
