#pragma once
// A residual quantizer as a file: a checkpoint of kind "rvq" with every codebook, count, age and flag, all options, and
// the steps completed. What is read back is what was saved, whatever the defaults of this program are.

#include <filesystem>
#include <map>
#include <string>
#include <string_view>

#include <kolmo/io/checkpoint.hpp>
#include <kolmo/io/tree.hpp>
#include <kolmo/rvq/stages.hpp>

namespace kolmo::rvq {

inline constexpr std::string_view quantizer_kind = "rvq";

/// Further texts of a file, such as the command. Their names must not start with "kolmo.", "option:", "count:" or
/// "present:".
using FileNotes = std::map<std::string, std::string>;

namespace detail {

/// The quantizer of a model: itself, or the one inside.
template <class M>
const auto& quantizer_of(const M& model) {
  if constexpr (requires { model.quantizer; })
    return model.quantizer;
  else
    return model;
}

/// The step of the file is the number of completed steps of the model's quantizer.
template <class M>
void save_with_quantizer(const std::filesystem::path& path, std::string_view kind, const M& model,
                         const FileNotes& notes) {
  model.validate();
  io::Checkpoint file;
  file.kind = kind;
  file.step = quantizer_of(model).steps_completed;
  file.state = io::to_arrays(model);
  for (const auto& [name, text] : notes) {
    if (name.starts_with("option:") || name.starts_with("count:") || name.starts_with("present:"))
      throw ArgumentError("note '" + name + "': names with option:, count: and present: are reserved");
    file.state.metadata[name] = text;
  }
  io::save_checkpoint(path, file);
}

template <class M>
M load_with_quantizer(const std::filesystem::path& path, std::string_view kind, const std::string& what) {
  const io::Checkpoint file = io::load_checkpoint(path, kind);
  auto result = io::model_from_arrays<M>(file.state, path.string());
  const auto completed = quantizer_of(result).steps_completed;
  if (completed != file.step)
    throw IoError(path.string() + ": the file is of step " + std::to_string(file.step) + ", the " + what +
                  " in it of " + std::to_string(completed));
  return result;
}

}  // namespace detail

/// Writes the quantizer atomically; its step is the number of completed steps. Throws IoError, and ArgumentError for a
/// reserved note.
template <PlainTensor V>
void save_quantizer(const std::filesystem::path& path, const ResidualQuantizer<V>& quantizer,
                    const FileNotes& notes = {}) {
  detail::save_with_quantizer(path, quantizer_kind, quantizer, notes);
}

/// Reads a quantizer, with all its options, from a file of save_quantizer. Throws IoError that names what is missing,
/// damaged or does not fit.
template <PlainTensor V>
ResidualQuantizer<V> load_quantizer(const std::filesystem::path& path) {
  return detail::load_with_quantizer<ResidualQuantizer<V>>(path, quantizer_kind, "quantizer");
}

}  // namespace kolmo::rvq
