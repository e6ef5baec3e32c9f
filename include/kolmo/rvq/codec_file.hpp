#pragma once
// Codecs as files: checkpoints of kind "codec" or "field_codec" with the networks, the quantizer with all that its
// training remembers, and every option. What is read back is what was saved, whatever the defaults of this program are.

#include <filesystem>
#include <map>
#include <string>

#include <kolmo/io/checkpoint.hpp>
#include <kolmo/io/tree.hpp>
#include <kolmo/rvq/codec.hpp>
#include <kolmo/rvq/field_codec.hpp>

namespace kolmo::rvq {

inline constexpr std::string_view codec_kind = "codec";
inline constexpr std::string_view field_codec_kind = "field_codec";

/// Further texts of a file, such as the command. Their names must not start with "kolmo.", "option:", "count:" or
/// "present:".
using FileNotes = std::map<std::string, std::string>;

namespace detail {

/// The step of the file is the number of completed steps of the model's quantizer.
template <class M>
void save_with_quantizer(const std::filesystem::path& path, std::string_view kind, const M& model,
                         const FileNotes& notes) {
  model.validate();
  io::Checkpoint file;
  file.kind = kind;
  file.step = model.quantizer.steps_completed;
  file.state = io::to_arrays(model);
  for (const auto& [name, text] : notes) {
    if (name.starts_with("option:") || name.starts_with("count:") || name.starts_with("present:"))
      throw ArgumentError("note '" + name + "': names with option:, count: and present: are reserved");
    file.state.metadata[name] = text;
  }
  io::save_checkpoint(path, file);
}

template <class M>
M load_with_quantizer(const std::filesystem::path& path, std::string_view kind) {
  const io::Checkpoint file = io::load_checkpoint(path, kind);
  auto result = io::model_from_arrays<M>(file.state, path.string());
  if (result.quantizer.steps_completed != file.step)
    throw IoError(path.string() + ": the file is of step " + std::to_string(file.step) + ", the model in it of " +
                  std::to_string(result.quantizer.steps_completed));
  return result;
}

}  // namespace detail

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
  return detail::load_with_quantizer<Codec<V>>(path, codec_kind);
}
template <PlainTensor V>
FieldCodec<V> load_field_codec(const std::filesystem::path& path) {
  return detail::load_with_quantizer<FieldCodec<V>>(path, field_codec_kind);
}

}  // namespace kolmo::rvq
