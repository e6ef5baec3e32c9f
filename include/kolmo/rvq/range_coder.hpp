#pragma once
// A range coder (Martin 1979) for codes of unequal frequencies. Frequencies are whole numbers of sum 2^24, at least 2
// each, made from weights by one deterministic rounding, so that encoder and decoder agree on every machine. Static
// frequencies gain log2 K - H bits a code, H their entropy: close to nothing for a codebook in even use.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <kolmo/core/math.hpp>
#include <kolmo/error.hpp>
#include <kolmo/io/bits.hpp>
#include <kolmo/rvq/code.hpp>

namespace kolmo::rvq {

/// How often each code of a stage occurs: code k has the numbers [starts[k], starts[k + 1]) of 2^24.
struct FrequencyTable {
  static constexpr std::uint32_t total = 1u << 24;

  std::vector<std::uint32_t> starts;  ///< K + 1 of them, from 0 to 2^24

  index_t codes() const { return static_cast<index_t>(starts.size()) - 1; }
  std::uint32_t frequency(index_t code) const {
    return starts[static_cast<std::size_t>(code) + 1] - starts[static_cast<std::size_t>(code)];
  }
  /// The bits that a code takes.
  double bits(index_t code) const { return 24 - log(static_cast<double>(frequency(code))) / log(2.0); }

  friend bool operator==(const FrequencyTable&, const FrequencyTable&) = default;
};

/// Frequencies in proportion to weights such as the counts of a codebook; all equal when all weights are 0. Weights
/// are rounded to multiples of 2^-32 of the largest first, so that weights that differ by the rounding of their
/// computation nearly always give the same table. Throws ArgumentError for no weight or more than 2^20, or one that is
/// negative or not finite.
inline FrequencyTable frequency_table(std::span<const double> weights) {
  if (weights.empty() || weights.size() > (std::size_t{1} << 20))
    throw ArgumentError("frequency_table: a stage has 1 to 2^20 codes, given " + std::to_string(weights.size()));
  double most = 0;
  for (std::size_t k = 0; k < weights.size(); ++k) {
    if (!(weights[k] >= 0) || !is_finite(weights[k]))
      throw ArgumentError("frequency_table: weights are finite and not negative, given " + std::to_string(weights[k]) +
                          " for code " + std::to_string(k));
    most = larger(most, weights[k]);
  }
  std::vector<std::uint64_t> grid(weights.size(), 1);
  if (most > 0) {
    // Above the smallest normal numbers the quotient is exact enough; below, all are as good as equal.
    for (std::size_t k = 0; k < grid.size(); ++k)
      grid[k] = static_cast<std::uint64_t>(weights[k] / most * 0x1p32 + 0.5);
  }
  std::uint64_t sum = 0;
  std::size_t largest = 0;
  for (std::size_t k = 0; k < grid.size(); ++k) {
    sum += grid[k];
    if (grid[k] > grid[largest]) largest = k;
  }
  // Every code gets 2, the rest is shared out in proportion; what rounding leaves goes to the most frequent code.
  const std::uint64_t shared = FrequencyTable::total - 2 * grid.size();
  FrequencyTable table;
  table.starts.resize(grid.size() + 1);
  std::uint64_t given = 0;
  std::vector<std::uint32_t> frequencies(grid.size());
  for (std::size_t k = 0; k < grid.size(); ++k) {
    const auto part = static_cast<std::uint32_t>(grid[k] * shared / sum);
    frequencies[k] = 2 + part;
    given += part;
  }
  frequencies[largest] += static_cast<std::uint32_t>(shared - given);
  for (std::size_t k = 0; k < grid.size(); ++k) table.starts[k + 1] = table.starts[k] + frequencies[k];
  return table;
}

/// Appends coded symbols to a text. The state is an interval [low, low + range) below 2^56 whose highest byte leaves it
/// when range falls below 2^48.
class RangeEncoder {
 public:
  explicit RangeEncoder(std::string& out) : out_(out) {}

  /// Appends a code; throws ArgumentError when it is not in the table.
  void put(const FrequencyTable& table, Code code) {
    if (code < 0 || code >= table.codes())
      throw ArgumentError("code " + std::to_string(code) + " is not in a table of " + std::to_string(table.codes()) +
                          " codes");
    const std::uint64_t unit = range_ >> 24;
    low_ += unit * table.starts[static_cast<std::size_t>(code)];
    range_ = unit * table.frequency(code);
    while (range_ < (std::uint64_t{1} << 48)) {
      emit();
      range_ <<= 8;
    }
  }

  /// Ends the text with as few bytes as tell the interval; the decoder takes zeros for what is not there.
  void finish() {
    // A multiple of 2^48 lies in every interval that wide.
    low_ = (low_ + ((std::uint64_t{1} << 48) - 1)) & ~((std::uint64_t{1} << 48) - 1);
    emit();
    flush(0);
    while (out_.size() > begin_ && out_.back() == '\0') out_.pop_back();
  }

 private:
  /// Moves the highest byte out. Bytes of 255 wait until it is known whether a carry runs through them.
  void emit() {
    const std::uint64_t carry = low_ >> 56, byte = (low_ >> 48) & 0xff;
    if (carry != 0 || byte != 0xff) {
      flush(carry);
      held_ = static_cast<std::uint8_t>(byte);
      holds_ = true;
    } else {
      ++waiting_;
    }
    low_ = (low_ & ((std::uint64_t{1} << 48) - 1)) << 8;
  }
  void flush(std::uint64_t carry) {
    if (holds_) out_ += static_cast<char>(held_ + carry);
    for (; waiting_ > 0; --waiting_) out_ += static_cast<char>(0xff + carry);
    holds_ = false;
  }

  std::string& out_;
  std::size_t begin_ = out_.size();
  std::uint64_t low_ = 0, range_ = std::uint64_t{1} << 56;
  std::uint64_t waiting_ = 0;
  std::uint8_t held_ = 0;
  bool holds_ = false;
};

/// Takes coded symbols off bytes. Any bytes decode to some codes: what tells whether they are the right ones is a
/// checksum around them.
class RangeDecoder {
 public:
  explicit RangeDecoder(std::span<const std::byte> bytes) : bytes_(bytes) {
    for (int i = 0; i < 7; ++i) shift();
  }

  Code take(const FrequencyTable& table) {
    const std::uint64_t unit = range_ >> 24;
    const std::uint64_t found = value_ / unit;
    const auto number = static_cast<std::uint32_t>(found < FrequencyTable::total ? found : FrequencyTable::total - 1);
    std::size_t low = 0, high = table.starts.size() - 1;
    while (high - low > 1) {
      const std::size_t middle = (low + high) / 2;
      if (table.starts[middle] <= number)
        low = middle;
      else
        high = middle;
    }
    value_ -= unit * table.starts[low];
    range_ = unit * (table.starts[low + 1] - table.starts[low]);
    while (range_ < (std::uint64_t{1} << 48)) {
      shift();
      range_ <<= 8;
    }
    return static_cast<Code>(low);
  }

 private:
  void shift() {
    value_ = (value_ << 8) | (next_ < bytes_.size() ? std::to_integer<std::uint64_t>(bytes_[next_]) : 0);
    ++next_;
  }

  std::span<const std::byte> bytes_;
  std::size_t next_ = 0;
  std::uint64_t value_ = 0, range_ = std::uint64_t{1} << 56;
};

}  // namespace kolmo::rvq
