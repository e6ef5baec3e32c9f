#pragma once
// Codes as bits: ceil(log2 K) of them for a code of a stage with K codewords, lowest bit first, without gaps; the last
// byte is filled up with zeros. Frame-major order (all stages of a row, then the next row) has the least delay;
// stage-major order (all rows of a stage, then the next stage) can be cut anywhere and then decodes to fewer stages.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <kolmo/error.hpp>
#include <kolmo/io/deflate.hpp>
#include <kolmo/rvq/code.hpp>

namespace kolmo::rvq {

enum class CodeOrder { frame_major = 0, stage_major = 1 };

/// Bits of a code below `codes`: ceil(log2 codes), but at least one. Throws ArgumentError unless 1 <= codes <= 2^31.
inline int code_bits(index_t codes) {
  if (codes < 1 || codes > (index_t{1} << 31))
    throw ArgumentError("code_bits: a stage has 1 to 2^31 codes, given " + std::to_string(codes));
  int bits = 1;
  while ((index_t{1} << bits) < codes) ++bits;
  return bits;
}

/// Bits of a row of codes, 1 to 31 for each stage. Throws ArgumentError for others, and without a stage.
inline index_t row_bits(std::span<const int> bits) {
  if (bits.empty()) throw ArgumentError("row_bits: codes have at least one stage, given none");
  index_t sum = 0;
  for (std::size_t q = 0; q < bits.size(); ++q) {
    if (bits[q] < 1 || bits[q] > 31)
      throw ArgumentError("row_bits: a code has 1 to 31 bits, given " + std::to_string(bits[q]) + " for stage " +
                          std::to_string(q));
    sum += bits[q];
  }
  return sum;
}

/// Bytes of `rows` rows of codes: ceil(rows * row_bits / 8).
inline index_t packed_size(index_t rows, std::span<const int> bits) { return (rows * row_bits(bits) + 7) / 8; }

namespace detail {

/// Takes bits off bytes, lowest first. The caller asks for no more than there are.
class CodeBitReader {
 public:
  explicit CodeBitReader(std::span<const std::byte> bytes) : bytes_(bytes) {}
  std::uint32_t take(int count) {
    while (filled_ < count) {
      held_ |= std::to_integer<std::uint64_t>(bytes_[next_++]) << filled_;
      filled_ += 8;
    }
    const auto value = static_cast<std::uint32_t>(held_ & ((std::uint64_t{1} << count) - 1));
    held_ >>= count;
    filled_ -= count;
    return value;
  }
  /// What fills up the last byte that was begun.
  std::uint64_t rest() const { return held_; }

 private:
  std::span<const std::byte> bytes_;
  std::size_t next_ = 0;
  std::uint64_t held_ = 0;
  int filled_ = 0;
};

inline index_t rows_of_codes(std::size_t count, std::size_t stages, const char* name) {
  if (stages == 0 || count % stages != 0)
    throw ShapeError(std::string(name) + ": " + std::to_string(count) + " codes are no rows of " +
                     std::to_string(stages) + " stages");
  return static_cast<index_t>(count / stages);
}

/// Throws ArgumentError unless `code` fits into `bits` bits.
inline void check_code(Code code, int bits, std::size_t row, std::size_t stage) {
  if (code >= 0 && static_cast<std::int64_t>(code) < (std::int64_t{1} << bits)) return;
  throw ArgumentError(
      "row " + std::to_string(row) + ", stage " + std::to_string(stage) + ": code " + std::to_string(code) +
      (code == -1 ? " stands for a dropped stage or a masked vector and cannot be stored; store fewer stages or rows"
                  : " is not in [0, 2^" + std::to_string(bits) + ")"));
}

}  // namespace detail

/// The bytes of codes [rows, stages], packed_size of them. Throws ShapeError when they are no whole rows, ArgumentError
/// for a code that does not fit into its bits, -1 among them.
inline std::string pack_codes(std::span<const Code> codes, std::span<const int> bits, CodeOrder order) {
  const std::size_t stages = bits.size();
  const index_t bits_of_row = row_bits(bits);
  const auto rows = static_cast<std::size_t>(detail::rows_of_codes(codes.size(), stages, "pack_codes"));
  std::string out;
  out.reserve(static_cast<std::size_t>((static_cast<index_t>(rows) * bits_of_row + 7) / 8));
  io::detail::BitWriter writer(out);
  const auto put = [&](std::size_t row, std::size_t stage) {
    const Code code = codes[row * stages + stage];
    detail::check_code(code, bits[stage], row, stage);
    writer.put(static_cast<std::uint32_t>(code), bits[stage]);
  };
  if (order == CodeOrder::frame_major) {
    for (std::size_t row = 0; row < rows; ++row)
      for (std::size_t stage = 0; stage < stages; ++stage) put(row, stage);
  } else {
    for (std::size_t stage = 0; stage < stages; ++stage)
      for (std::size_t row = 0; row < rows; ++row) put(row, stage);
  }
  writer.flush();
  return out;
}

/// The codes [rows, stages] in bytes that pack_codes has made. Throws IoError when their number is not packed_size or
/// the last byte is not filled up with zeros.
inline std::vector<Code> unpack_codes(std::span<const std::byte> bytes, index_t rows, std::span<const int> bits,
                                      CodeOrder order) {
  const index_t size = packed_size(rows, bits);
  if (static_cast<index_t>(bytes.size()) != size)
    throw IoError(std::to_string(rows) + " rows of codes have " + std::to_string(size) + " bytes, given " +
                  std::to_string(bytes.size()));
  const std::size_t stages = bits.size(), count = static_cast<std::size_t>(rows);
  std::vector<Code> codes(count * stages);
  detail::CodeBitReader reader(bytes);
  if (order == CodeOrder::frame_major) {
    for (std::size_t row = 0; row < count; ++row)
      for (std::size_t stage = 0; stage < stages; ++stage)
        codes[row * stages + stage] = static_cast<Code>(reader.take(bits[stage]));
  } else {
    for (std::size_t stage = 0; stage < stages; ++stage)
      for (std::size_t row = 0; row < count; ++row)
        codes[row * stages + stage] = static_cast<Code>(reader.take(bits[stage]));
  }
  if (reader.rest() != 0) throw IoError("the last byte of the codes is not filled up with zeros");
  return codes;
}

/// The codes in the first bytes of stage-major ones. The rows are those whose first stage is there; codes that are
/// missing are -1, which decodes to nothing. Throws IoError for more bytes than packed_size.
inline std::vector<Code> unpack_prefix(std::span<const std::byte> bytes, index_t rows, std::span<const int> bits) {
  const index_t size = packed_size(rows, bits);
  if (static_cast<index_t>(bytes.size()) == size) return unpack_codes(bytes, rows, bits, CodeOrder::stage_major);
  if (static_cast<index_t>(bytes.size()) > size)
    throw IoError(std::to_string(rows) + " rows of codes have " + std::to_string(size) + " bytes, given " +
                  std::to_string(bytes.size()));
  index_t left = 8 * static_cast<index_t>(bytes.size());
  const std::size_t stages = bits.size();
  const index_t kept = smaller(rows, left / bits[0]);
  std::vector<Code> codes(static_cast<std::size_t>(kept) * stages, -1);
  detail::CodeBitReader reader(bytes);
  for (std::size_t stage = 0; stage < stages; ++stage) {
    for (index_t row = 0; row < rows; ++row, left -= bits[stage]) {
      // Codes of later stages may have fewer bits than the one that was cut off.
      if (left < bits[stage]) return codes;
      codes[static_cast<std::size_t>(row) * stages + stage] = static_cast<Code>(reader.take(bits[stage]));
    }
  }
  return codes;
}

}  // namespace kolmo::rvq
