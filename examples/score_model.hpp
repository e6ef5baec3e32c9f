#pragma once
// Files of score models: the network and the normaliser as tensors; system, configuration, noise schedule and grid as
// notes. What a sampler needs stands in the file, so that nothing of it can be mixed up with another model's.

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <kolmo/io/tree.hpp>
#include <kolmo/score/markov.hpp>
#include <kolmo/score/normaliser.hpp>
#include <kolmo/score/score_net.hpp>
#include <kolmo/score/score_unet.hpp>

#include "score_data.hpp"

namespace score_program {

/// The networks of vectors and of fields.
using VectorNetwork = score::ScoreNet<V>;
using FieldNetwork = score::LocalScoreUNet<V>;

/// A network with the units of its data.
template <class Tn, class Net>
struct ScoreModel {
  Net network;
  score::Normaliser<Tn> normaliser;

  static void fields(auto&& f, auto&... s) {
    f(submodule("network"), s.network...);
    f(submodule("normaliser"), s.normaliser...);
  }
  template <class U>
  using Rebind = ScoreModel<U, RebindTo<U, Net>>;
};

/// What a model is for.
struct ModelDescription {
  System system = System::lorenz;
  Config config;
  index_t channels = 0;        ///< of one frame
  std::vector<index_t> space;  ///< grid points along each axis of space; none for lorenz

  index_t order() const { return config.window / 2; }
  score::Schedule schedule() const { return config.noise_schedule(); }

  std::map<std::string, std::string> notes() const {
    std::map<std::string, std::string> result{{"score:system", name_of(system)},
                                              {"score:config", io::to_json(to_json(config))},
                                              {"score:channels", std::to_string(channels)},
                                              {"score:space", io::to_json(to_value(space))}};
    for (const auto& [name, text] : schedule().settings()) result["score:noise:" + name] = text;
    return result;
  }

  /// Throws IoError when the notes are not those of a score model, or contradict each other.
  static ModelDescription from_notes(const std::map<std::string, std::string>& notes, const std::string& source) {
    const auto text_of = [&](const std::string& name) -> const std::string& {
      const auto found = notes.find(name);
      if (found == notes.end())
        throw IoError(source + " is no score model: it has no note '" + name + "'; make one with train_score");
      return found->second;
    };
    ModelDescription d;
    try {
      d.system = system_by_name(text_of("score:system"));
      d.config = Config::of(d.system);
      read_config(io::parse_json(text_of("score:config")), d.config, "configuration");
      d.config.check(d.system);
      std::map<std::string, std::string> noise;
      for (const auto& [name, text] : notes)
        if (name.starts_with("score:noise:")) noise[name.substr(12)] = text;
      if (!(score::Schedule::from_settings(noise) == d.schedule()))
        throw ArgumentError("the noise schedule of the file is not that of its configuration");
      if (!from_value(io::parse_json(text_of("score:channels")), d.channels) ||
          !from_value(io::parse_json(text_of("score:space")), d.space))
        throw ArgumentError("score:channels or score:space is no number or list");
    } catch (const ArgumentError& error) {
      throw IoError(source + ": " + error.what());
    }
    return d;
  }
};

inline Padding padding_of(const std::string& name) {
  if (name == "circular") return Padding::circular;
  if (name == "reflect") return Padding::reflect;
  if (name == "replicate") return Padding::replicate;
  return Padding::zeros;
}

/// Zero weights, for windows of frames of `channels` components.
inline VectorNetwork vector_network(const Config& config, index_t channels) {
  return VectorNetwork({.features = config.window * channels,
                        .context = 0,
                        .embedding = config.embedding,
                        .hidden = config.hidden_channels,
                        .activation = nn::activation_of(config.activation)});
}
inline FieldNetwork field_network(const Config& config, index_t channels, const V& condition, bool checkpointing) {
  score::ScoreUNetOptions options;
  options.channels = config.window * channels;
  options.embedding = config.embedding;
  options.hidden_channels = config.hidden_channels;
  options.hidden_blocks = config.hidden_blocks;
  options.kernel = config.kernel_size;
  options.padding = padding_of(config.padding);
  options.activation = nn::activation_of(config.activation);
  options.checkpoint = checkpointing ? nn::UNetCheckpoint::block : nn::UNetCheckpoint::none;
  return FieldNetwork(options, condition);
}

/// What a network of the wake is told of its surroundings, [2, ny, nx]: 1 in the fluid and 0 in the body, and 1 in the
/// first column, where the flow comes in.
inline V wake_condition(const Geometry& geometry, index_t ny, index_t nx) {
  std::vector<float> fields;
  for (index_t j = 0; j < ny; ++j)
    for (index_t i = 0; i < nx; ++i) {
      const double x = geometry.first_x + geometry.spacing * static_cast<double>(i) - geometry.body_x;
      const double y = geometry.first_y + geometry.spacing * static_cast<double>(j) - geometry.body_y;
      fields.push_back(x * x + y * y < geometry.body_radius * geometry.body_radius ? 0.f : 1.f);
    }
  for (index_t j = 0; j < ny; ++j)
    for (index_t i = 0; i < nx; ++i) fields.push_back(i == 0 ? 1.f : 0.f);
  return V::from(std::span<const float>(fields), Shape{2, ny, nx});
}

/// The noise in trajectories (B, L, C, space...), whatever estimates it: what samples and guides is compiled once for
/// all networks.
class NoiseEstimator {
 public:
  template <class Estimator>
  static NoiseEstimator of(Estimator estimator) {
    return NoiseEstimator(std::make_shared<const Estimator>(std::move(estimator)));
  }

  V operator()(const V& x, double t) const { return value_(x, t); }
  Var<V> operator()(const Var<V>& x, double t) const { return recorded_(x, t); }
  Jet<V> operator()(const Jet<V>& x, double t) const { return forward_(x, t); }

 private:
  template <class Estimator>
  explicit NoiseEstimator(std::shared_ptr<const Estimator> eps)
      : value_([eps](const V& x, double t) { return V((*eps)(x, t)); }),
        recorded_([eps](const Var<V>& x, double t) { return Var<V>((*eps)(x, t)); }),
        forward_([eps](const Jet<V>& x, double t) { return Jet<V>((*eps)(x, t)); }) {}

  std::function<V(const V&, double)> value_;
  std::function<Var<V>(const Var<V>&, double)> recorded_;
  std::function<Jet<V>(const Jet<V>&, double)> forward_;
};

/// A model as the prior of trajectories.
struct TrajectoryPrior {
  ModelDescription description;
  score::Normaliser<V> normaliser;
  NoiseEstimator noise;
};

/// The model in a file as the prior of trajectories of any length, `windows` of them in the network at once, which
/// bounds the memory; 0: all. Throws IoError.
inline TrajectoryPrior load_prior(const std::string& path, index_t windows) {
  const io::NamedArrays arrays = io::load_safetensors(path);
  const ModelDescription description = ModelDescription::from_notes(arrays.metadata, path);
  const auto composed = [&](const auto& model) {
    return TrajectoryPrior{description, model.normaliser,
                           NoiseEstimator::of(score::MarkovScore(model.network, description.order(), 1,
                                                                 score::FoldRule::symmetrical, windows))};
  };
  return description.system == System::lorenz
             ? composed(io::model_from_arrays<ScoreModel<V, VectorNetwork>>(arrays, path))
             : composed(io::model_from_arrays<ScoreModel<V, FieldNetwork>>(arrays, path));
}

/// Where samplers begin that need not see t = 1: where the noise is `rho` times the signal, or at t = 1 if it never is.
inline double start_time(const score::Schedule& schedule, double rho = 50) {
  return schedule.time_of_rho(smaller(rho, schedule.rho(1)));
}

}  // namespace score_program
