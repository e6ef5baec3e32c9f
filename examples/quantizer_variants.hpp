#pragma once
// The quantizers that quantizer_variants compares, each trained on plain vectors: a function returns how it encodes and
// decodes. All are given the same number of steps; none is tuned for one of the data sets.

#include <functional>
#include <vector>

#include <kolmo/backend/cpu.hpp>
#include <kolmo/optim/adam.hpp>
#include <kolmo/rvq/encode.hpp>
#include <kolmo/rvq/fsq.hpp>
#include <kolmo/rvq/grouped.hpp>
#include <kolmo/rvq/lfq.hpp>
#include <kolmo/rvq/qinco_training.hpp>
#include <kolmo/rvq/simvq.hpp>
#include <kolmo/rvq/train_tables.hpp>

namespace variants {

namespace rvq = kolmo::rvq;
namespace nn = kolmo::nn;
using kolmo::index_t;
using kolmo::Key;
using kolmo::Shape;
using Vectors = kolmo::Tensor<float, kolmo::Cpu>;  // [n, d]
using Codes = rvq::CodesOf<Vectors>;               // [n, stages]

/// A trained quantizer.
struct Coder {
  std::function<Codes(const Vectors&)> encode;
  std::function<Vectors(const Codes&)> decode;
  std::vector<index_t> counts;  ///< codes of every stage
};

struct Settings {
  std::vector<index_t> codes;  ///< of every stage; their logarithms sum to the rate
  index_t steps = 1000, batch = 1024;
  Key key;
};

/// Random rows of the training set.
inline Vectors batch_of(const Vectors& data, const Settings& settings, index_t step) {
  const Key key = fold_in(settings.key, static_cast<std::uint64_t>(step));
  std::vector<index_t> rows;
  for (index_t i = 0; i < settings.batch; ++i)
    rows.push_back(integer_below(key, static_cast<std::uint64_t>(i), data.shape()[0]));
  return take(data, kolmo::Tensor<index_t, kolmo::Cpu>::from(rows));
}

/// Adam with a learning rate that falls to zero, on batches of the data.
template <class Model, class Loss>
void fit(Model& model, const Vectors& data, const Settings& settings, double learning_rate, const Loss& loss) {
  const auto optimiser = kolmo::optim::adam();
  const kolmo::optim::Cosine schedule{.learning_rate = learning_rate, .first = 0, .period = settings.steps};
  auto moments = optimiser.init(model);
  for (index_t step = 0; step < settings.steps; ++step) {
    const Vectors x = batch_of(data, settings, step);
    const auto result = value_and_grad(model, [&](const auto& m) { return loss(m, x); });
    optimiser.step(model, result.gradient, moments, schedule(step));
  }
}

inline Coder coder_of_tables(std::vector<Vectors> tables, index_t beam = 1) {
  std::vector<index_t> counts;
  for (const Vectors& table : tables) counts.push_back(table.shape()[0]);
  return {[=](const Vectors& x) { return rvq::encode_residual(tables, x, beam); },
          [=](const Codes& codes) { return rvq::decode_residual(tables, codes); }, counts};
}

inline Coder residual_tables(const Vectors& data, const Settings& settings, index_t beam = 1) {
  return coder_of_tables(rvq::train_tables(data, settings.codes, {.beam = beam, .on_stage = {}}, settings.key).tables,
                         beam);
}

inline Coder residual_trained(const Vectors& data, const Settings& settings, rvq::CodebookTraining how) {
  const rvq::ResidualQuantizer<Vectors> start(data.shape()[1], settings.codes, {.training = how},
                                              {.trained_updates = 1});
  auto training = rvq::start_training(start, {.batch = settings.batch, .learning_rate = 3e-3, .window = settings.steps},
                                      settings.key);
  rvq::train(training, data, settings.steps);
  return coder_of_tables(rvq::decode_tables(training.quantizer));
}

/// One group of components for each stage of the others, so that the rates agree.
inline Coder grouped(const Vectors& data, const Settings& settings) {
  const index_t groups = static_cast<index_t>(settings.codes.size());
  const rvq::GroupedQuantizer<Vectors> start(data.shape()[1], groups, {settings.codes[0]}, {}, {.trained_updates = 1});
  auto training = rvq::start_training(start, {.batch = settings.batch, .window = settings.steps}, settings.key);
  rvq::train(training, data, settings.steps);
  const auto quantizer = training.quantizer();
  return {[=](const Vectors& x) {
            return rvq::encode(quantizer, x).reshaped(Shape{x.shape()[0], groups});
          },
          [=](const Codes& codes) {
            return rvq::decode(quantizer, codes.reshaped(Shape{codes.shape()[0], groups, 1}));
          },
          settings.codes};
}

inline Coder simvq(const Vectors& data, const Settings& settings) {
  rvq::SimVq<Vectors> quantizer(settings.key, data.shape()[1], settings.codes[0],
                                static_cast<index_t>(settings.codes.size()));
  rvq::scale_to(quantizer, batch_of(data, settings, settings.steps));
  fit(quantizer, data, settings, 1e-2,
      [](const auto& q, const Vectors& x) { return rvq::quantize(q, x).codebook_loss; });
  return coder_of_tables(rvq::bake(quantizer));
}

/// A quantizer without codebook between two learned linear layers.
template <class V>
struct LinearFsq {
  nn::Linear<V> in, out;
  rvq::FiniteScalarQuantizer<V> inner;

  static void fields(auto&& f, auto&... s) {
    f(kolmo::submodule("in"), s.in...);
    f(kolmo::submodule("out"), s.out...);
    f(kolmo::submodule("inner"), s.inner...);
  }
  template <class U>
  using Rebind = LinearFsq<U>;
};

inline Coder fsq(const Vectors& data, const Settings& settings, std::vector<index_t> levels) {
  const index_t d = data.shape()[1], channels = static_cast<index_t>(levels.size());
  LinearFsq<Vectors> model{nn::Linear<Vectors>(d, channels), nn::Linear<Vectors>(channels, d),
                           rvq::FiniteScalarQuantizer<Vectors>(std::move(levels))};
  const auto [first, second] = split(settings.key);
  init(first, model.in, nn::Start::normal);
  init(second, model.out, nn::Start::normal);
  fit(model, data, settings, 1e-2, [](const auto& m, const Vectors& x) {
    const auto quantized = rvq::quantize(m.inner, m.in(x));
    return mean(square(m.out(quantized.output) - x));
  });
  return {[=](const Vectors& x) { return rvq::encode(model.inner, Vectors(model.in(x))); },
          [=](const Codes& codes) { return Vectors(model.out(rvq::decode(model.inner, codes))); },
          {model.inner.codes()}};
}

inline Coder lfq(const Vectors& data, const Settings& settings, index_t bits) {
  const index_t group = bits % 8 == 0 ? 8 : bits % 5 == 0 ? 5 : bits % 4 == 0 ? 4 : bits % 3 == 0 ? 3 : 1;
  rvq::LookupFreeQuantizer<Vectors> quantizer(data.shape()[1], {.bits = bits, .group_bits = group});
  init(settings.key, quantizer);
  fit(quantizer, data, settings, 1e-2, [](const auto& q, const Vectors& x) {
    const auto quantized = rvq::quantize(q, x);
    return mean(square(quantized.output - x)) + quantized.commitment_loss * 0.25 + quantized.entropy_loss * 0.02;
  });
  return {[=](const Vectors& x) { return rvq::encode(quantizer, x); },
          [=](const Codes& codes) { return rvq::decode(quantizer, codes); },
          {quantizer.codes()}};
}

inline Coder qinco(const Vectors& data, const Settings& settings) {
  const auto tables = rvq::train_tables(data, settings.codes, {}, settings.key).tables;
  const double deviation = std::sqrt(static_cast<double>(mean(square(data)).item()));
  const rvq::QincoEncodeOptions encoding{.preselection = 32};
  auto training = rvq::start_training(rvq::Qinco<Vectors>(settings.key, tables, deviation, {.hidden = 64, .blocks = 2}),
                                      settings.key);
  rvq::train(training, data,
             {.steps = settings.steps, .batch = settings.batch / 2, .learning_rate = 2e-3, .encoding = encoding});
  const auto quantizer = training.quantizer;
  return {[=](const Vectors& x) { return rvq::encode(quantizer, x, encoding); },
          [=](const Codes& codes) { return rvq::decode(quantizer, codes); }, settings.codes};
}

}  // namespace variants
