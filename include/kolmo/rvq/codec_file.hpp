#pragma once
// A codec as a file: a checkpoint of kind "codec" with both stacks, the quantizer with all that its training remembers,
// and every option. What is read back is what was saved, whatever the defaults of this program are.

#include <filesystem>
#include <map>
#include <string>

#include <kolmo/io/checkpoint.hpp>
#include <kolmo/io/tree.hpp>
#include <kolmo/rvq/codec.hpp>

namespace kolmo::rvq {

inline constexpr std::string_view codec_kind = "codec";

/// Writes the codec atomically; its step is the number of completed steps of the quantizer. `notes` are further texts,
/// such as the command; their names must not start with "kolmo.", "option:", "count:" or "present:". Throws IoError,
/// ArgumentError.
template <PlainTensor V>
void save_codec(const std::filesystem::path& path, const Codec<V>& codec,
                const std::map<std::string, std::string>& notes = {}) {
  codec.validate();
  io::Checkpoint file;
  file.kind = codec_kind;
  file.step = codec.quantizer.steps_completed;
  file.state = io::to_arrays(codec);
  for (const auto& [name, text] : notes) {
    if (name.starts_with("option:") || name.starts_with("count:") || name.starts_with("present:"))
      throw ArgumentError("note '" + name + "': names with option:, count: and present: are reserved");
    file.state.metadata[name] = text;
  }
  io::save_checkpoint(path, file);
}

/// Reads a codec, with all its options, from a file of save_codec. Throws IoError that names what is missing, damaged
/// or does not fit.
template <PlainTensor V>
Codec<V> load_codec(const std::filesystem::path& path) {
  const io::Checkpoint file = io::load_checkpoint(path, codec_kind);
  auto result = io::model_from_arrays<Codec<V>>(file.state, path.string());
  if (result.quantizer.steps_completed != file.step)
    throw IoError(path.string() + ": the file is of step " + std::to_string(file.step) + ", the codec in it of " +
                  std::to_string(result.quantizer.steps_completed));
  return result;
}

}  // namespace kolmo::rvq
