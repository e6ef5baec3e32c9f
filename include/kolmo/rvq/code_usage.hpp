#pragma once
// How evenly the codes of any quantizer are used: the usage part of the stage reports, for quantizers without a
// codebook that is averaged, or for codes read from a file.

#include <span>
#include <string>
#include <vector>

#include <kolmo/rvq/code.hpp>
#include <kolmo/rvq/stage_report.hpp>

namespace kolmo::rvq {

/// Entropy, perplexity, utilisation and the most used codes of each stage of codes [n, A], where `counts` holds the
/// number of codes of every stage; the other entries of the reports stay zero. A code of -1 counts nowhere. Throws
/// ShapeError unless there is a count per stage, ArgumentError for a code outside its range.
template <class B>
std::vector<StageReport> code_usage(const Tensor<Code, B>& codes, const std::vector<index_t>& counts) {
  if (codes.rank() != 2 || codes.shape()[1] != static_cast<index_t>(counts.size()))
    throw ShapeError("code_usage: expected codes [n, " + std::to_string(counts.size()) + "], given " +
                     codes.shape().to_string());
  const std::vector<Code> values = codes.to_vector();
  std::vector<StageReport> reports;
  for (std::size_t q = 0; q < counts.size(); ++q) {
    std::vector<double> hits(static_cast<std::size_t>(counts[q]), 0.0);
    StageReport report;
    for (std::size_t i = q; i < values.size(); i += counts.size()) {
      if (values[i] < -1 || static_cast<index_t>(values[i]) >= counts[q])
        throw ArgumentError("code_usage: the code " + std::to_string(values[i]) + " of stage " + std::to_string(q) +
                            " is not in [0, " + std::to_string(counts[q]) + "), nor -1 for none");
      if (values[i] < 0) continue;
      ++hits[static_cast<std::size_t>(values[i])];
      ++report.vectors;
    }
    report.codes = static_cast<double>(counts[q]);
    report.batches = 1;
    report.vectors_per_code = report.vectors / report.codes;
    detail::report_usage(hits, hits, report);
    reports.push_back(report);
  }
  return reports;
}

}  // namespace kolmo::rvq
