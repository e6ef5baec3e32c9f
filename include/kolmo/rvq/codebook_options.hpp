#pragma once
// How the codebook of one quantizer stage is searched, trained and kept in use.

#include <string>

#include <kolmo/ad/module.hpp>
#include <kolmo/core/math.hpp>
#include <kolmo/error.hpp>

namespace kolmo::rvq {

/// What "nearest" means. By the angle alone a codebook that is averaged holds unit vectors: it codes directions, and
/// the length of a vector is lost unless it is coded apart.
enum class Distance { euclidean = 0, cosine = 1 };

/// Who moves the codewords: running averages of the vectors they are chosen for, or an optimiser.
enum class CodebookTraining { ema = 0, gradient = 1 };

/// Which vectors of the batch take the place of codes out of use.
enum class Replacement {
  by_error = 0,  ///< drawn with probabilities proportional to the squared error of their quantization
  uniform = 1,
};

struct CodebookOptions {
  index_t codes = 1024;
  Distance distance = Distance::euclidean;
  CodebookTraining training = CodebookTraining::ema;
  double decay = 0.99;           ///< of the running averages, per update
  double epsilon = 1e-5;         ///< Laplace smoothing of the counts, in the ratio form alone
  double dead_threshold = 0.03;  ///< a code is out of use below this part of the mean count; 0: never
  index_t grace = 100;           ///< updates after its (re)start before a code may be replaced
  double replace_share = 0.125;  ///< largest part of the codes replaced in one update, but at least one code
  Replacement replacement = Replacement::by_error;
  index_t lloyd_iterations = 10;        ///< of the start
  index_t start_vectors_per_code = 64;  ///< vectors that the start uses at most

  friend bool operator==(const CodebookOptions&, const CodebookOptions&) = default;

  static void fields(auto&& f, auto&... s) {
    f(option("codes"), s.codes...);
    f(option("distance"), s.distance...);
    f(option("training"), s.training...);
    f(option("decay"), s.decay...);
    f(option("epsilon"), s.epsilon...);
    f(option("dead_threshold"), s.dead_threshold...);
    f(option("grace"), s.grace...);
    f(option("replace_share"), s.replace_share...);
    f(option("replacement"), s.replacement...);
    f(option("lloyd_iterations"), s.lloyd_iterations...);
    f(option("start_vectors_per_code"), s.start_vectors_per_code...);
  }

  /// Throws ArgumentError that names the option, its value and what it may be.
  void validate() const {
    const auto require = [](bool good, const char* name, const std::string& value, const char* expected) {
      if (!good)
        throw ArgumentError(std::string("CodebookOptions: ") + name + " must be " + expected + ", given " + value);
    };
    require(codes >= 1 && codes <= (index_t{1} << 24), "codes", std::to_string(codes), "from 1 to 2^24");
    require(distance == Distance::euclidean || distance == Distance::cosine, "distance",
            std::to_string(static_cast<int>(distance)), "euclidean (0) or cosine (1)");
    require(training == CodebookTraining::ema || training == CodebookTraining::gradient, "training",
            std::to_string(static_cast<int>(training)), "ema (0) or gradient (1)");
    require(decay >= 0 && decay < 1, "decay", std::to_string(decay), "at least 0 and below 1");
    require(epsilon > 0 && is_finite(epsilon), "epsilon", std::to_string(epsilon), "positive");
    require(dead_threshold >= 0 && dead_threshold < 1, "dead_threshold", std::to_string(dead_threshold),
            "at least 0 and below 1, a part of the mean count");
    require(grace >= 1, "grace", std::to_string(grace), "at least one update");
    require(replace_share > 0 && replace_share <= 1, "replace_share", std::to_string(replace_share),
            "above 0 and at most 1");
    require(replacement == Replacement::by_error || replacement == Replacement::uniform, "replacement",
            std::to_string(static_cast<int>(replacement)), "by_error (0) or uniform (1)");
    require(lloyd_iterations >= 0, "lloyd_iterations", std::to_string(lloyd_iterations), "at least 0");
    require(start_vectors_per_code >= 1, "start_vectors_per_code", std::to_string(start_vectors_per_code),
            "at least 1");
  }
};

}  // namespace kolmo::rvq
