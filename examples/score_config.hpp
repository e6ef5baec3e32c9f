#pragma once
// The configuration of a score model and its training: a JSON object with the names of the field's training scripts.
// Missing names have the defaults of the system; the configuration in use is written beside the model.

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include <kolmo/io/number_text.hpp>
#include <kolmo/optim/schedules.hpp>
#include <kolmo/score/schedule.hpp>

#include "config_file.hpp"

namespace score_program {

using namespace kolmo;
using namespace config_file;

/// The systems the programs know. Lorenz: vectors; the others: fields on a grid.
enum class System { lorenz, kolmogorov, wake };

inline const char* name_of(System system) {
  return system == System::lorenz ? "lorenz" : system == System::kolmogorov ? "kolmogorov" : "wake";
}
inline System system_by_name(const std::string& name) {
  for (const System system : {System::lorenz, System::kolmogorov, System::wake})
    if (name == name_of(system)) return system;
  throw ArgumentError("no system is called '" + name + "'; there are lorenz, kolmogorov and wake");
}

struct Config {
  index_t window = 5;                    ///< frames that the network sees at once, odd
  index_t embedding = 64;                ///< features of the time
  std::vector<index_t> hidden_channels;  ///< U-Net: of each level; lorenz: of each hidden layer
  std::vector<index_t> hidden_blocks;    ///< U-Net: residual blocks of each level; lorenz: empty
  index_t kernel_size = 3;               ///< of the convolutions
  std::string activation = "silu";       ///< relu, elu, gelu, selu, silu
  std::string padding = "circular";      ///< zeros, circular, reflect, replicate
  index_t epochs = 4096;                 ///< an epoch visits every trajectory once
  index_t batch_size = 32;
  std::string optimizer = "AdamW";   ///< AdamW only
  double learning_rate = 2e-4;       ///< of the first epoch
  double weight_decay = 1e-3;        ///< decoupled
  std::string scheduler = "linear";  ///< linear, cosine, exponential, constant
  std::string windows = "one";       ///< one random window per trajectory and epoch, or all of them
  double ema_decay = 0;              ///< moving average of the weights, kept instead of the last; 0: none
  double grad_clip = 0;              ///< largest norm of the gradient; 0: none
  std::string schedule = "cos";      ///< of the noise: cos, lin, exp
  double eta = 1e-3;                 ///< noise left at t = 0

  friend bool operator==(const Config&, const Config&) = default;

  /// Calls f(name, member) for everything.
  template <class C, class F>
  static void visit(C& c, const F& f) {
    f("window", c.window);
    f("embedding", c.embedding);
    f("hidden_channels", c.hidden_channels);
    f("hidden_blocks", c.hidden_blocks);
    f("kernel_size", c.kernel_size);
    f("activation", c.activation);
    f("padding", c.padding);
    f("epochs", c.epochs);
    f("batch_size", c.batch_size);
    f("optimizer", c.optimizer);
    f("learning_rate", c.learning_rate);
    f("weight_decay", c.weight_decay);
    f("scheduler", c.scheduler);
    f("windows", c.windows);
    f("ema_decay", c.ema_decay);
    f("grad_clip", c.grad_clip);
    f("schedule", c.schedule);
    f("eta", c.eta);
  }

  /// The published recipes.
  static Config of(System system) {
    Config c;
    if (system == System::lorenz) {
      c.embedding = 32;
      c.hidden_channels = {256, 256, 256, 256, 256};
      c.batch_size = 64;
      c.learning_rate = 1e-3;
    } else {
      c.hidden_channels = {96, 192, 384};
      c.hidden_blocks = {3, 3, 3};
    }
    if (system == System::wake) {
      c.padding = "reflect";
      c.scheduler = "cosine";
      c.learning_rate = 1e-4;
      c.batch_size = 4;
    }
    return c;
  }

  /// Throws ArgumentError that names the entry.
  void check(System system) const {
    const auto positive = [&](const char* name, index_t value) {
      if (value < 1) config_file::refuse(std::string(name) + " must be at least 1, given " + std::to_string(value));
    };
    positive("window", window);
    positive("embedding", embedding);
    positive("kernel_size", kernel_size);
    positive("batch_size", batch_size);
    if (epochs < 0) config_file::refuse("epochs must not be negative, given " + std::to_string(epochs));
    if (window % 2 == 0)
      config_file::refuse(
          "window is " + std::to_string(window) +
          "; it must be odd, 2 k + 1 frames: networks for even windows cannot be composed over a trajectory");
    if (kernel_size % 2 == 0) config_file::refuse("kernel_size must be odd, given " + std::to_string(kernel_size));
    if (hidden_channels.empty()) config_file::refuse("hidden_channels is empty; give the width of every level");
    for (const index_t width : hidden_channels)
      if (width < 2) config_file::refuse("hidden_channels must be at least 2, given " + std::to_string(width));
    if (system == System::lorenz ? !hidden_blocks.empty() : hidden_blocks.size() != hidden_channels.size())
      config_file::refuse("hidden_blocks has " + std::to_string(hidden_blocks.size()) + " entries, expected " +
                          (system == System::lorenz
                               ? "none for lorenz"
                               : std::to_string(hidden_channels.size()) + ", one for each of hidden_channels"));
    for (const index_t blocks : hidden_blocks) positive("hidden_blocks", blocks);
    config_file::require_one_of("activation", activation, {"relu", "elu", "gelu", "selu", "silu"});
    config_file::require_one_of("padding", padding, {"zeros", "circular", "reflect", "replicate"});
    config_file::require_one_of("optimizer", optimizer, {"AdamW"});
    config_file::require_one_of("scheduler", scheduler, {"linear", "cosine", "exponential", "constant"});
    config_file::require_one_of("windows", windows, {"one", "all"});
    config_file::require_one_of("schedule", schedule, {"cos", "lin", "exp"});
    if (!(learning_rate > 0))
      config_file::refuse("learning_rate must be positive, given " + io::to_text(learning_rate));
    if (!(weight_decay >= 0))
      config_file::refuse("weight_decay must not be negative, given " + io::to_text(weight_decay));
    if (!(ema_decay >= 0 && ema_decay < 1))
      config_file::refuse("ema_decay must be in [0, 1), given " + io::to_text(ema_decay));
    if (!(grad_clip >= 0)) config_file::refuse("grad_clip must not be negative, given " + io::to_text(grad_clip));
    noise_schedule().check();
  }

  score::Schedule noise_schedule() const {
    return score::Schedule::from_settings({{"schedule", schedule}, {"process", "vp"}, {"eta", io::to_text(eta)}});
  }

  /// Learning rate of an epoch counted from 1; the last epoch of the linear one still learns, with lr / epochs.
  std::function<double(index_t)> learning_rates() const {
    const index_t length = larger<index_t>(epochs, 1);
    if (scheduler == "linear")
      return optim::Linear{learning_rate, learning_rate / static_cast<double>(length), 1, length};
    if (scheduler == "cosine") return optim::Cosine{learning_rate, 0, 1, length};
    if (scheduler == "exponential") return optim::GaussianDecay{learning_rate, 7, 1, length};
    return optim::Constant{learning_rate};
  }
};

}  // namespace score_program
