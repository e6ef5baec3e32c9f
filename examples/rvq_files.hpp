#pragma once
// What the programs around a residual quantizer share: vectors read by rows, the use of codes, what the model says.

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include <kolmo/backend/cpu.hpp>
#include <kolmo/backend/eigen.hpp>
#include <kolmo/io/checksum.hpp>
#include <kolmo/io/npy_reader.hpp>
#include <kolmo/io/number_text.hpp>
#include <kolmo/rvq/bitstream.hpp>
#include <kolmo/rvq/inference.hpp>
#include <kolmo/rvq/model_file.hpp>

#include "program.hpp"
#include "program_device.hpp"

namespace rvq_program {

using kolmo::ArgumentError;
using kolmo::index_t;
using kolmo::IoError;
namespace io = kolmo::io;
namespace rvq = kolmo::rvq;

using Vectors = kolmo::Tensor<float, Device>;
using Codes = kolmo::Tensor<rvq::Code, Device>;
using Quantizer = rvq::ResidualQuantizer<Vectors>;

/// Squares of larger numbers, summed over a vector, overflow.
inline constexpr float largest_number = 1e15f;

/// Vectors that are in memory at a time.
inline constexpr index_t block = takes_batches<Device> ? index_t{1} << 20 : 16384;

/// An array [..., d] of numbers, read by entries of its first axis.
class VectorFile {
 public:
  /// Throws IoError for a file that is none, ArgumentError for other shapes than [..., dimension].
  VectorFile(const std::string& path, index_t dimension) : path_(path), reader_(path) {
    const auto& shape = reader_.shape();
    if (shape.size() < 2 || shape.back() != dimension)
      throw ArgumentError(path + " has shape " + io::shape_text(shape) + "; the model quantizes vectors [..., " +
                          std::to_string(dimension) + "]");
    for (std::size_t axis = 1; axis + 1 < shape.size(); ++axis) group_ *= shape[axis];
  }

  const std::vector<index_t>& shape() const { return reader_.shape(); }
  index_t entries() const { return reader_.shape()[0]; }
  index_t vectors() const { return entries() * group_; }
  /// Entries of a block.
  index_t step() const { return std::max<index_t>(1, block / std::max<index_t>(1, group_)); }

  /// The vectors of entries [first, first + count) as rows. Throws ArgumentError for one that is not finite.
  Vectors read(index_t first, index_t count) const {
    const std::vector<float> values = reader_.read(first, count).convert<float>();
    const index_t d = shape().back();
    for (std::size_t i = 0; i < values.size(); ++i) {
      const auto where = [&] {
        return "vector " + std::to_string(first * group_ + static_cast<index_t>(i) / d) + " of " + path_;
      };
      if (!kolmo::is_finite(values[i]))
        throw ArgumentError(where() + " holds a NaN or an infinity and has no code; remove such vectors");
      if (std::abs(values[i]) > largest_number)
        throw ArgumentError(where() + " holds " + io::to_text(values[i]) +
                            ", whose square leaves the range of single precision; divide the vectors by a constant");
    }
    return Vectors::from(std::span<const float>(values), {count * group_, d});
  }

 private:
  std::string path_;
  io::NpyReader reader_;
  index_t group_ = 1;
};

/// How often the codes of every stage were chosen.
class Usage {
 public:
  explicit Usage(const std::vector<index_t>& codes) {
    for (const index_t k : codes) hits_.emplace_back(static_cast<std::size_t>(k), 0);
  }
  void add(const Codes& codes) {
    const std::vector<rvq::Code> values = codes.to_vector();
    for (std::size_t i = 0; i < values.size(); ++i) {
      if (values[i] >= 0) ++hits_[i % hits_.size()][static_cast<std::size_t>(values[i])];
    }
  }
  const std::vector<index_t>& hits(index_t stage) const { return hits_[static_cast<std::size_t>(stage)]; }
  /// Share of the codes that were chosen.
  double used(index_t stage) const {
    const auto& h = hits(stage);
    return static_cast<double>(std::count_if(h.begin(), h.end(), [](index_t n) { return n > 0; })) /
           static_cast<double>(h.size());
  }
  /// 2^entropy of the choices.
  double perplexity(index_t stage) const {
    double sum = 0, logs = 0;
    for (const index_t n : hits(stage)) {
      sum += static_cast<double>(n);
      if (n > 0) logs += static_cast<double>(n) * std::log(static_cast<double>(n));
    }
    return sum > 0 ? std::exp(std::log(sum) - logs / sum) : 0;
  }

 private:
  std::vector<std::vector<index_t>> hits_;
};

/// Tells whether codes belong to a model: a hash of the tables of its trained stages.
inline std::uint64_t model_hash(const Quantizer& quantizer) {
  std::uint64_t hash = 0;
  for (const Vectors& table : rvq::decode_tables(quantizer)) {
    const std::vector<float> values = table.to_vector();
    hash = (hash ^ io::hash64(std::as_bytes(std::span<const float>(values)))) * 0x9e3779b97f4a7c15ull;
  }
  return hash;
}

inline std::vector<int> bits_of_stages(const Quantizer& quantizer, index_t stages) {
  std::vector<int> bits;
  for (index_t q = 0; q < stages; ++q)
    bits.push_back(rvq::code_bits(quantizer.code_counts()[static_cast<std::size_t>(q)]));
  return bits;
}

/// Frequencies of the codes from the running counts of the model, for range-coded streams.
inline std::vector<rvq::FrequencyTable> frequencies_of(const Quantizer& quantizer, index_t stages) {
  std::vector<rvq::FrequencyTable> tables;
  for (index_t q = 0; q < stages; ++q) {
    const auto counts = quantizer.stages[static_cast<std::size_t>(q)].book.counts.to_vector();
    tables.push_back(rvq::frequency_table(std::vector<double>(counts.begin(), counts.end())));
  }
  return tables;
}

inline bool has_ending(const std::string& path, const char* ending) {
  return std::filesystem::path(path).extension() == ending;
}

/// Throws ArgumentError unless the name has one of the endings.
inline void check_ending(const std::string& option, const std::string& path, const std::vector<const char*>& endings) {
  std::string expected;
  for (const char* ending : endings) {
    if (has_ending(path, ending)) return;
    expected += (expected.empty() ? "" : " or ") + std::string(ending);
  }
  throw ArgumentError(option + " " + path + ": expected a name that ends in " + expected);
}

/// Throws ArgumentError when the output would replace the model or the input.
inline void check_not_read(const std::string& output, const std::string& model, const std::string& input) {
  if (same_file(model, output)) throw ArgumentError("--output " + output + " is the model; give another name");
  if (same_file(input, output)) throw ArgumentError("--output is the file of --input; choose another");
}

inline void warn(const char* program, const std::string& warning) {
  if (!warning.empty()) std::fprintf(stderr, "%s: %s\n", program, warning.c_str());
}

inline void finish_output() {
  if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0) throw IoError("cannot write to the standard output");
}

}  // namespace rvq_program
