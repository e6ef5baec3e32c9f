// Encoder and decoder stacks of the codec: sizes, lengths, causality from end to end.

#include <kolmo/ad/transforms.hpp>
#include <kolmo/rvq/codec_blocks.hpp>

#include "catch.hpp"
#include "expect_op_checks.hpp"

using namespace kolmo;
using kolmo_test::contains;
using kolmo_test::Numbers;

namespace {

using V = Tensor<double, Cpu>;

V random_tensor(const Shape& shape, std::uint64_t seed) {
  const std::vector<double> values = Numbers(seed).vector(static_cast<std::size_t>(shape.size()));
  return V::from(std::span<const double>(values), shape);
}

rvq::CodecOptions small(bool dac) {
  rvq::CodecOptions o = dac ? rvq::CodecOptions::dac(4, 16, 6) : rvq::CodecOptions::seanet(4, 6);
  o.strides = {2, 3};
  o.causal = true;
  return o;
}

}  // namespace

TEST_CASE("the stacks of rvq.md 5.2 have their published numbers of parameters and products") {
  rvq::CodecOptions dac = rvq::CodecOptions::dac(64, 1536, 1024);
  dac.weight_norm = true;
  dac.strides = {2, 4, 8, 8};
  const rvq::CodecSize large = rvq::codec_size(dac);
  CHECK(large.encoder == 22307968);
  CHECK(large.decoder == 54102722);
  // 31 and 69 GMAC for a second at 44.1 kHz.
  CHECK(static_cast<double>(large.encoder_products) * 44100 / 512 == Approx(31e9).epsilon(0.02));
  CHECK(static_cast<double>(large.decoder_products) * 44100 / 512 == Approx(69e9).epsilon(0.02));

  // With the projections of 8 stages: 0.685 M and 2.54 M.
  const auto quantizer = [](index_t codes) { return 8 * (2 * 64 * 8 + 8 + 64 + codes * 8); };
  const rvq::CodecSize tiny = rvq::codec_size(rvq::CodecOptions::dac(8, 128, 64));
  CHECK(tiny.encoder + tiny.decoder + quantizer(256) == 684561);
  CHECK(static_cast<double>(tiny.encoder_products) * 50 == Approx(0.19e9).epsilon(0.03));
  CHECK(static_cast<double>(tiny.decoder_products) * 50 == Approx(0.19e9).epsilon(0.03));
  const rvq::CodecSize middle = rvq::codec_size(rvq::CodecOptions::dac(16, 256, 64));
  CHECK(middle.encoder + middle.decoder + quantizer(1024) == 2539937);
  CHECK(rvq::codec_size(rvq::CodecOptions::seanet(16, 64)).encoder == 783880);
  CHECK(rvq::codec_size(rvq::CodecOptions::seanet(16, 64)).decoder == 783817);
  CHECK(rvq::codec_size(rvq::CodecOptions::seanet(8, 64)).encoder == 224932);
  CHECK(rvq::codec_size(rvq::CodecOptions::seanet(8, 64)).decoder == 224869);

  for (const bool snake : {false, true})
    for (const bool wide : {false, true}) {
      rvq::CodecOptions o = small(snake);
      o.weight_norm = o.shortcut_convolution = wide;
      CHECK(parameter_count(rvq::Encoder<V>(o)) == rvq::codec_size(o).encoder);
      CHECK(parameter_count(rvq::Decoder<V>(o)) == rvq::codec_size(o).decoder);
    }
}

TEST_CASE("R30: a causal encoder's frame has no gradient from any later sample, and one from its own hop") {
  for (const bool dac : {false, true}) {
    const rvq::CodecOptions o = small(dac);
    rvq::Encoder<V> encoder(o);
    init(Key{1}, encoder);
    const index_t hop = o.hop(), frames = 6;
    const V x = random_tensor({1, frames * hop, 1}, 2);
    for (const index_t frame : {0, 2, 5}) {
      const auto g =
          grad([&](const auto& wave) { return sum(slice(encoder(wave), 1, frame, frame + 1)); }, x).to_vector();
      for (index_t t = (frame + 1) * hop; t < frames * hop; ++t) CHECK(g[static_cast<std::size_t>(t)] == 0.0);
      for (index_t t = frame * hop; t < (frame + 1) * hop; ++t) CHECK(g[static_cast<std::size_t>(t)] != 0.0);
    }
  }
}

TEST_CASE("R30: end to end a causal codec's sample before the frame of t does not depend on sample t") {
  for (const bool dac : {false, true}) {
    const rvq::CodecOptions o = small(dac);
    rvq::Encoder<V> encoder(o);
    rvq::Decoder<V> decoder(o);
    init(Key{1}, encoder);
    init(Key{2}, decoder);
    const index_t hop = o.hop(), points = 5 * hop;
    const V x = random_tensor({1, points, 1}, 3);
    const auto whole = decoder(encoder(x)).to_vector();
    for (const index_t t : {index_t{0}, hop - 1, 2 * hop, 3 * hop + 1}) {
      V changed = x;
      changed.mutable_data()[t] += 1;
      const auto other = decoder(encoder(changed)).to_vector();
      const index_t begin = t - t % hop;
      for (index_t i = 0; i < begin; ++i)
        CHECK(other[static_cast<std::size_t>(i)] == whole[static_cast<std::size_t>(i)]);
      CHECK(other[static_cast<std::size_t>(begin)] != whole[static_cast<std::size_t>(begin)]);
    }
  }
}

TEST_CASE("a centred codec reads both sides, and lengths are the same for all kinds") {
  rvq::CodecOptions o = small(true);
  o.causal = false;
  rvq::Encoder<V> encoder(o);
  rvq::Decoder<V> decoder(o);
  init(Key{1}, encoder);
  init(Key{2}, decoder);
  for (const index_t points : {1, 5, 6, 7, 40}) {
    const V z = encoder(random_tensor({2, points, 1}, 4));
    CHECK((z.shape() == Shape{2, (points + 5) / 6, 6}));
    CHECK((decoder(z).shape() == Shape{2, (points + 5) / 6 * 6, 1}));
  }
  const V x = random_tensor({1, 36, 1}, 5);
  const auto g = grad([&](const auto& wave) { return sum(slice(encoder(wave), 1, 2, 3)); }, x).to_vector();
  CHECK(g[18] != 0);
  for (const double y : decoder(encoder(x) * 1000.0).to_vector()) CHECK(std::abs(y) <= 1);
}

TEST_CASE("gradients reach every parameter of the stacks") {
  rvq::CodecOptions o = small(true);
  o.weight_norm = true;
  rvq::Encoder<V> encoder(o);
  rvq::Decoder<V> decoder(o);
  init(Key{1}, encoder);
  init(Key{2}, decoder);
  const V x = random_tensor({1, 12, 1}, 6);
  const auto gradient = grad([&](const auto& d) { return sum(square(d(encoder(x)))); }, decoder);
  visit_parameters(
      [](const std::string& path, const V& g) {
        INFO(path);
        CHECK(norm(g).item() > 0);
      },
      gradient);
  const double loss = sum(square(decoder(encoder(x)))).item(), step = 1e-6;
  rvq::Decoder<V> moved = decoder;
  moved.stages[0].units[1].first_activation.snake->frequency.mutable_data()[1] += step;
  CHECK((sum(square(moved(encoder(x)))).item() - loss) / step ==
        Approx(gradient.stages[0].units[1].first_activation.snake->frequency.to_vector()[1]).epsilon(1e-3));
}

TEST_CASE("options that make no codec are refused with the option's name") {
  rvq::CodecOptions o;
  o.strides = {};
  CHECK_THROWS_WITH(rvq::Encoder<V>(o), contains("number of strides"));
  o = {};
  o.narrowing = 3;
  CHECK_THROWS_WITH(rvq::Encoder<V>(o), contains("divisor of the 16 channels"));
  o = {};
  o.decoder_channels = 24;
  CHECK_THROWS_WITH(rvq::Decoder<V>(o), contains("multiple of 32"));
  o = {};
  o.latent = 0;
  CHECK_THROWS_AS(rvq::codec_size(o), ArgumentError);
  o = {};
  o.dilations = {1, 0};
  CHECK_THROWS_WITH(o.validate(), contains("dilation must be at least 1"));
}
