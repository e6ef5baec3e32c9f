#pragma once
// A residual quantizer as a file: a checkpoint of kind "rvq" with every codebook, count, age and flag, all options, and
// the steps completed. What is read back is what was saved, whatever the defaults of this program are.

#include <filesystem>
#include <map>
#include <string>

#include <kolmo/io/checkpoint.hpp>
#include <kolmo/io/tree.hpp>
#include <kolmo/rvq/stages.hpp>

namespace kolmo::rvq {

inline constexpr std::string_view quantizer_kind = "rvq";

/// Writes the quantizer atomically; its step is the number of completed steps. `notes` are further texts, such as the
/// command; their names must not start with "kolmo.", "option:", "count:" or "present:". Throws IoError, ArgumentError.
template <PlainTensor V>
void save_quantizer(const std::filesystem::path& path, const ResidualQuantizer<V>& quantizer,
                    const std::map<std::string, std::string>& notes = {}) {
  quantizer.validate();
  io::Checkpoint file;
  file.kind = quantizer_kind;
  file.step = quantizer.steps_completed;
  file.state = io::to_arrays(quantizer);
  for (const auto& [name, text] : notes) {
    if (name.starts_with("option:") || name.starts_with("count:") || name.starts_with("present:"))
      throw ArgumentError("note '" + name + "': names with option:, count: and present: are reserved");
    file.state.metadata[name] = text;
  }
  io::save_checkpoint(path, file);
}

/// Reads a quantizer, with all its options, from a file of save_quantizer. Throws IoError that names what is missing,
/// damaged or does not fit.
template <PlainTensor V>
ResidualQuantizer<V> load_quantizer(const std::filesystem::path& path) {
  const io::Checkpoint file = io::load_checkpoint(path, quantizer_kind);
  auto result = io::model_from_arrays<ResidualQuantizer<V>>(file.state, path.string());
  if (result.steps_completed != file.step)
    throw IoError(path.string() + ": the file is of step " + std::to_string(file.step) + ", the quantizer in it of " +
                  std::to_string(result.steps_completed));
  return result;
}

}  // namespace kolmo::rvq
