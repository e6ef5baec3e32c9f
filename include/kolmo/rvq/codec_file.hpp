#pragma once
// Codecs as files: checkpoints of kind "codec" or "field_codec" with the networks, the quantizer with all that its
// training remembers, and every option. What is read back is what was saved, whatever the defaults of this program are.

#include <filesystem>
#include <string_view>

#include <kolmo/rvq/codec.hpp>
#include <kolmo/rvq/field_codec.hpp>
#include <kolmo/rvq/model_file.hpp>

namespace kolmo::rvq {

inline constexpr std::string_view codec_kind = "codec";
inline constexpr std::string_view field_codec_kind = "field_codec";

/// Writes the codec atomically. Throws IoError, and ArgumentError for a reserved note.
template <PlainTensor V>
void save_codec(const std::filesystem::path& path, const Codec<V>& codec, const FileNotes& notes = {}) {
  detail::save_with_quantizer(path, codec_kind, codec, notes);
}
template <PlainTensor V>
void save_codec(const std::filesystem::path& path, const FieldCodec<V>& codec, const FileNotes& notes = {}) {
  detail::save_with_quantizer(path, field_codec_kind, codec, notes);
}

/// Reads a codec, with all its options, from a file of save_codec. Throws IoError that names what is missing, damaged
/// or does not fit.
template <PlainTensor V>
Codec<V> load_codec(const std::filesystem::path& path) {
  return detail::load_with_quantizer<Codec<V>>(path, codec_kind, "model");
}
template <PlainTensor V>
FieldCodec<V> load_field_codec(const std::filesystem::path& path) {
  return detail::load_with_quantizer<FieldCodec<V>>(path, field_codec_kind, "model");
}

}  // namespace kolmo::rvq
