#pragma once
// Models as named arrays and back, strictly. Tensors become arrays under their dotted names; other state (counters)
// too; options, the lengths of lists and the presence of optional parts become metadata:
//
//   option:dropout = 0.2     count:layers = 3     present:average = 1
//
// Reading accepts a file only when nothing is missing (but see Field::absent), nothing is left over, and every shape, element type and option
// agrees. A model that could not be read completely is left as it was.

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include <kolmo/ad/module.hpp>
#include <kolmo/io/option_text.hpp>
#include <kolmo/io/safetensors.hpp>

namespace kolmo::io {

namespace detail {

/// A bare tensor needs a name.
inline std::string array_name(const std::string& path) { return path.empty() ? "tensor" : path; }

inline std::vector<index_t> extents_of(const Shape& shape) { return {shape.begin(), shape.end()}; }

template <class X>
using StoredAs = typename std::conditional_t<std::is_enum_v<X>, std::underlying_type<X>, std::type_identity<X>>::type;

/// State that is no tensor, as an array of rank 0 or 1.
template <OptionValue X>
HostArray data_array(const X& x) {
  if constexpr (std::is_same_v<X, std::string>) {
    const std::vector<std::uint8_t> bytes(x.begin(), x.end());
    return HostArray(bytes);
  } else if constexpr (IsNumberList<X>::value) {
    using T = StoredAs<typename X::value_type>;
    HostArray array(dtype_of<T>, {static_cast<index_t>(x.size())});
    std::size_t i = 0;
    for (T& element : array.as<T>()) element = static_cast<T>(x[i++]);
    return array;
  } else {
    return HostArray::scalar(static_cast<StoredAs<X>>(x));
  }
}

class TreeWriter {
 public:
  NamedArrays result;

  template <class X>
  void member(const std::string& path, FieldKind kind, const X& x) {
    if constexpr (Module<X>) {
      X::fields(
          [&](Field field, const auto& part) { member(kolmo::detail::join_path(path, field.name), field.kind, part); },
          x);
    } else if constexpr (kolmo::detail::IsSequence<X>::value) {
      result.metadata["count:" + path] = std::to_string(x.size());
      for (std::size_t i = 0; i < x.size(); ++i) member(kolmo::detail::join_path(path, std::to_string(i)), kind, x[i]);
    } else if constexpr (kolmo::detail::IsOptional<X>::value) {
      result.metadata["present:" + path] = x.has_value() ? "1" : "0";
      if (x.has_value()) member(path, kind, *x);
    } else if constexpr (PlainTensor<X>) {
      if (!x.has_value())
        throw ArgumentError("field '" + array_name(path) +
                            "' has no values; give the model its shapes before saving it");
      result.add(array_name(path), HostArray(x.to_vector(), extents_of(x.shape())));
    } else {
      static_assert(OptionValue<X>,
                    "a field must be a tensor, a module, a list, an optional, a number, an enumeration or a text");
      if (kind == FieldKind::option)
        result.metadata["option:" + path] = option_text(x);
      else
        result.add(path, data_array(x));
    }
  }
};

/// Reads into a model, collecting everything that does not fit. With `adopt` lengths, shapes and options come from the
/// file; without, the file must agree with the model. An optional part declared as state always comes from the file.
class TreeReader {
 public:
  explicit TreeReader(const NamedArrays& named) : named_(named) {
    for (const auto& [name, array] : named.arrays)
      if (!arrays_.emplace(name, Entry{&array, false}).second) problem("twice in the file: " + name);
    for (const auto& [key, text] : named.metadata)
      if (is_structure(key)) texts_.emplace(key, false);
  }

  /// `absent` is what a text missing in the file would say, or null.
  template <class X>
  void member(const std::string& path, FieldKind kind, X& x, bool adopt, const char* absent = nullptr) {
    if constexpr (Module<X>) {
      const std::size_t before = problems_.size();
      X::fields(
          [&](Field field, auto& part) {
            member(kolmo::detail::join_path(path, field.name), field.kind, part, adopt, field.absent);
          },
          x);
      if constexpr (requires { x.validate(); }) {
        if (problems_.size() > before) return;
        try {
          x.validate();
        } catch (const Error& error) {
          problem("not a valid part '" + path + "': " + error.what());
        }
      }
    } else if constexpr (kolmo::detail::IsSequence<X>::value) {
      sequence(path, kind, x, adopt, absent);
    } else if constexpr (kolmo::detail::IsOptional<X>::value) {
      optional(path, kind, x, adopt, absent);
    } else if constexpr (PlainTensor<X>) {
      tensor(array_name(path), x, adopt);
    } else if (kind == FieldKind::option) {
      option_value(path, x, adopt, absent);
    } else {
      data(path, x);
    }
  }

  /// Throws IoError with everything that does not fit.
  void finish(const std::string& source) {
    for (const auto& [name, array] : named_.arrays)
      if (!arrays_.at(name).used) problem("unexpected: " + name + ", " + describe(array));
    for (const auto& [key, used] : texts_)
      if (!used) problem("unexpected: " + key + " = " + named_.metadata.at(key));
    if (problems_.empty()) return;
    std::string text = source + " does not fit the model; the model is unchanged:";
    for (std::size_t i = 0; i < problems_.size() && i < 40; ++i) text += "\n  " + problems_[i];
    if (problems_.size() > 40) text += "\n  and " + std::to_string(problems_.size() - 40) + " more";
    throw IoError(text);
  }

 private:
  struct Entry {
    const HostArray* array;
    bool used;
  };

  static constexpr std::size_t sequence_limit = 65536;

  static bool is_structure(std::string_view key) {
    return key.starts_with("option:") || key.starts_with("count:") || key.starts_with("present:");
  }
  static std::string describe(const HostArray& array) {
    return std::string(name_of(array.dtype)) + " " + shape_text(array.shape);
  }
  void problem(std::string text) { problems_.push_back(std::move(text)); }

  std::optional<std::string> text(const std::string& key, const char* absent) {
    const auto found = named_.metadata.find(key);
    if (found == named_.metadata.end()) return absent == nullptr ? std::nullopt : std::optional<std::string>(absent);
    texts_[key] = true;
    return found->second;
  }

  template <class X>
  void sequence(const std::string& path, FieldKind kind, X& x, bool adopt, const char* absent) {
    const std::optional<std::string> count = text("count:" + path, absent);
    std::size_t length = x.size();
    if (count && (!parse_whole(std::string_view(*count), length) || length > sequence_limit)) {
      problem("invalid: count:" + path + " = " + *count);
      return;
    }
    if constexpr (requires { x.resize(length); }) {
      if (adopt) {
        if (!count) {
          problem("missing: count:" + path);
          return;
        }
        x.clear();
        x.resize(length);
      }
    }
    if (length != x.size()) {
      problem("length of '" + path + "': the file has " + std::to_string(length) + ", the model " +
              std::to_string(x.size()));
      return;
    }
    for (std::size_t i = 0; i < x.size(); ++i)
      member(kolmo::detail::join_path(path, std::to_string(i)), kind, x[i], adopt);
  }

  template <class X>
  void optional(const std::string& path, FieldKind kind, X& x, bool adopt, const char* absent) {
    const std::optional<std::string> flag = text("present:" + path, absent);
    const bool from_file = adopt || kind == FieldKind::state;
    if (flag && *flag != "0" && *flag != "1") {
      problem("invalid: present:" + path + " = " + *flag);
      return;
    }
    if (!flag && from_file) {
      problem("missing: present:" + path);
      return;
    }
    const bool present = !flag ? x.has_value() : *flag == "1";
    if (present != x.has_value()) {
      if (!from_file) {
        problem(std::string("presence of '") + path + "': " + (present ? "only in the file" : "only in the model"));
        return;
      }
      if (present)
        x.emplace();
      else
        x.reset();
      adopt = true;
    }
    if (present) member(path, kind, *x, adopt);
  }

  const HostArray* take(const std::string& name, DType dtype, const std::string& expected) {
    const auto found = arrays_.find(name);
    if (found == arrays_.end()) {
      problem("missing: " + name + ", expected " + std::string(name_of(dtype)) + expected);
      return nullptr;
    }
    found->second.used = true;
    const HostArray& array = *found->second.array;
    if (array.dtype != dtype) {
      problem("element type: " + name + " is " + describe(array) + ", expected " + std::string(name_of(dtype)) +
              expected);
      return nullptr;
    }
    return &array;
  }

  template <class X>
  void tensor(const std::string& name, X& x, bool adopt) {
    using T = typename X::Scalar;
    const bool shape_known = !adopt && x.has_value();
    const HostArray* array = take(name, dtype_of<T>, shape_known ? " " + x.shape().to_string() : "");
    if (array == nullptr) return;
    if (array->shape.size() > static_cast<std::size_t>(max_rank)) {
      problem("shape: " + name + " is " + describe(*array) + ", a tensor has at most " + std::to_string(max_rank) +
              " axes");
      return;
    }
    const Shape shape(array->shape.begin(), array->shape.end());
    if (shape_known && !(shape == x.shape())) {
      problem("shape: " + name + " is " + describe(*array) + ", expected " + std::string(name_of(dtype_of<T>)) + " " +
              x.shape().to_string());
      return;
    }
    x = X::from(array->template as<T>(), shape);
  }

  template <class X>
  void option_value(const std::string& path, X& x, bool adopt, const char* absent) {
    const std::optional<std::string> given = text("option:" + path, absent);
    if (!given) {
      problem("missing: option:" + path + (adopt ? "" : ", expected " + option_text(x)));
    } else if (adopt) {
      if (!parse_option(*given, x)) problem("invalid: option:" + path + " = " + *given);
    } else if (*given != option_text(x)) {
      problem("option '" + path + "': the file has " + *given + ", the model " + option_text(x));
    }
  }

  template <class X>
  void data(const std::string& path, X& x) {
    static_assert(OptionValue<X>);
    if constexpr (std::is_same_v<X, std::string>) {
      if (const HostArray* array = take(path, DType::u8, " [n]")) {
        const auto bytes = array->as<std::uint8_t>();
        x.assign(bytes.begin(), bytes.end());
      }
    } else if constexpr (IsNumberList<X>::value) {
      using T = StoredAs<typename X::value_type>;
      if (const HostArray* array = take(path, dtype_of<T>, " [n]")) {
        x.clear();
        for (const T element : array->as<T>()) x.push_back(static_cast<typename X::value_type>(element));
      }
    } else {
      using T = StoredAs<X>;
      const HostArray* array = take(path, dtype_of<T>, " []");
      if (array == nullptr) return;
      if (!array->shape.empty())
        problem("shape: " + path + " is " + describe(*array) + ", expected a single number");
      else
        x = static_cast<X>(array->as<T>()[0]);
    }
  }

  const NamedArrays& named_;
  std::unordered_map<std::string, Entry> arrays_;
  std::map<std::string, bool> texts_;
  std::vector<std::string> problems_;
};

}  // namespace detail

/// Every tensor, state and option of a model. Throws ArgumentError for a tensor without values.
template <class M>
NamedArrays to_arrays(const M& model) {
  detail::TreeWriter writer;
  writer.member(std::string(), FieldKind::parameter, model);
  return std::move(writer.result);
}

/// Replaces the contents of a model by arrays that fit it exactly. Throws IoError that lists everything missing,
/// unexpected, of another shape or element type, and every option that differs; the model is then unchanged.
template <class M>
void from_arrays(M& model, const NamedArrays& arrays, const std::string& source = "the arrays") {
  M result = model;
  detail::TreeReader reader(arrays);
  reader.member(std::string(), FieldKind::parameter, result, false);
  reader.finish(source);
  model = std::move(result);
}

/// A model made of arrays, with its lengths, shapes and options from them. Throws IoError as above.
template <class M>
M model_from_arrays(const NamedArrays& arrays, const std::string& source = "the arrays") {
  M result{};
  detail::TreeReader reader(arrays);
  reader.member(std::string(), FieldKind::parameter, result, true);
  reader.finish(source);
  return result;
}

/// Writes a model as a safetensors file, atomically. `notes` are further metadata (command, seed, ...); their keys must
/// not start with "option:", "count:" or "present:". Throws IoError or ArgumentError.
template <class M>
void save_model(const std::filesystem::path& path, const M& model,
                const std::map<std::string, std::string>& notes = {}) {
  NamedArrays arrays = to_arrays(model);
  for (const auto& [key, text] : notes) {
    if (key.starts_with("option:") || key.starts_with("count:") || key.starts_with("present:"))
      throw ArgumentError("note '" + key + "': names with option:, count: and present: are reserved");
    arrays.metadata[key] = text;
  }
  save_safetensors(path, arrays);
}

/// Reads a model, with its lengths, shapes and options, from a file that save_model wrote. Throws IoError.
template <class M>
M load_model(const std::filesystem::path& path) {
  return model_from_arrays<M>(load_safetensors(path), path.string());
}

/// Reads weights into a model that must fit exactly. Throws IoError; the model is then unchanged.
template <class M>
void load_into(const std::filesystem::path& path, M& model) {
  from_arrays(model, load_safetensors(path), path.string());
}

}  // namespace kolmo::io
