// The codec as a whole: waves of any length to codes and back, offline and as a stream, rates, files.

#include <filesystem>

#include <kolmo/ad/transforms.hpp>
#include <kolmo/rvq/codec_file.hpp>
#include <kolmo/rvq/codec_stream.hpp>

#include "catch.hpp"

using namespace kolmo;
using kolmo_test::contains;

namespace {

using V = Tensor<float, Cpu>;

rvq::CodecOptions stacks(bool causal = true) {
  rvq::CodecOptions o = rvq::CodecOptions::seanet(4, 6);
  o.strides = {2, 3};
  o.causal = causal;
  return o;
}

/// Random kernels, and codebooks of the encoder's own vectors of noise.
rvq::Codec<V> codec_of(const rvq::CodecOptions& o, index_t stages = 3, index_t codes = 16) {
  rvq::Codec<V> codec(o, 16000, std::vector<index_t>(static_cast<std::size_t>(stages), codes));
  init(Key{5}, codec);
  std::vector<V> tables;
  for (index_t q = 0; q < stages; ++q)
    tables.push_back(nn::normal_values<V>(fold_in(Key{6}, static_cast<std::uint64_t>(q)), Shape{codes, o.latent}, 0,
                                          0.3 / static_cast<double>(1 << q)));
  codec.quantizer = rvq::quantizer_of_tables(tables);
  return codec;
}

double largest_difference(const V& a, const V& b) {
  REQUIRE((a.shape() == b.shape()));
  return a.size() == 0 ? 0.0 : static_cast<double>(norm_max(reshape(a - b, Shape{a.size()}), 0).item());
}

}  // namespace

TEST_CASE("R27: waves of any length come back with their length, by whole frames of codes") {
  const rvq::Codec<V> codec = codec_of(stacks());
  CHECK(codec.hop() == 6);
  for (const index_t samples : {1, 5, 6, 7, 50}) {
    const V wave = nn::normal_values<V>(Key{7}, Shape{2, samples});
    const auto encoded = rvq::encode(codec, wave);
    CHECK((encoded.codes.shape() == Shape{2, (samples + 5) / 6, 3}));
    CHECK(encoded.samples == samples);
    CHECK(encoded.stages.used == 3);
    const V back = rvq::decode(codec, encoded.codes, encoded.samples);
    CHECK((back.shape() == wave.shape()));
    CHECK((rvq::decode(codec, encoded.codes).shape() == Shape{2, (samples + 5) / 6 * 6}));
    // In evaluation the pass through everything is encoding and decoding.
    CHECK(largest_difference(rvq::pass_through(codec, wave, {.active = 3}).wave, back) <= 1e-6);
    // What is continued by zeros is the wave with zeros behind it.
    const V longer = pad(wave, 1, 0, (6 - samples % 6) % 6);
    CHECK(rvq::encode(codec, longer).codes.to_vector() == encoded.codes.to_vector());
  }
}

TEST_CASE("R27: a wave in a batch has the codes that it has alone") {
  const rvq::Codec<V> codec = codec_of(stacks(false));
  const V waves = nn::normal_values<V>(Key{8}, Shape{3, 61});
  const auto all = rvq::encode(codec, waves).codes;
  for (index_t b = 0; b < 3; ++b)
    CHECK(rvq::encode(codec, V(slice(waves, 0, b, b + 1).contiguous())).codes.to_vector() ==
          slice(all, 0, b, b + 1).contiguous().to_vector());
}

TEST_CASE("fewer stages decode the first columns, and rates are frames times bits") {
  const rvq::Codec<V> codec = codec_of(stacks());
  const V wave = nn::normal_values<V>(Key{9}, Shape{1, 60});
  const auto encoded = rvq::encode(codec, wave);
  const auto prefix = rvq::encode(codec, wave, {.stages = 2});
  CHECK(slice(encoded.codes, 2, 0, 2).contiguous().to_vector() == prefix.codes.to_vector());
  CHECK(largest_difference(rvq::decode(codec, encoded.codes, 60, 2), rvq::decode(codec, prefix.codes, 60)) == 0);
  CHECK(largest_difference(rvq::decode(codec, encoded.codes, 60, 2), rvq::decode(codec, encoded.codes, 60)) > 0);
  CHECK(codec.frame_rate() == Approx(16000 / 6.0));
  CHECK(rvq::bit_rate(codec) == Approx(16000 / 6.0 * 12));
  CHECK(rvq::bit_rate(codec, 1) == Approx(16000 / 6.0 * 4));
  CHECK_THROWS_AS(rvq::bit_rate(codec, 4), ArgumentError);
}

TEST_CASE("R27: codes and samples of a stream are those of the whole wave") {
  const rvq::Codec<V> codec = codec_of(stacks());
  const index_t samples = 64;
  const V wave = nn::normal_values<V>(Key{10}, Shape{1, samples});
  const auto whole = rvq::encode(codec, wave);
  const V back = rvq::decode(codec, whole.codes);
  for (const index_t piece : {1, 6, 17}) {
    rvq::CodecEncoderStream<V> in(codec);
    rvq::CodecDecoderStream<V> out(codec);
    std::vector<rvq::Code> codes;
    V decoded = V::zeros(Shape{1, 0});
    const auto add = [&](const rvq::CodesOf<V>& frames) {
      const auto values = frames.to_vector();
      codes.insert(codes.end(), values.begin(), values.end());
      decoded = concat(1, decoded, out.push(frames));
    };
    for (index_t t = 0; t < samples; t += piece)
      add(in.push(V(slice(wave, 1, t, std::min(samples, t + piece)).contiguous())));
    add(in.flush());
    CHECK(in.samples() == samples);
    CHECK(codes == whole.codes.to_vector());
    CHECK(largest_difference(decoded, back) <= 1e-5);
  }
  CHECK_THROWS_WITH(rvq::CodecEncoderStream<V>(codec_of(stacks(false))), contains("only causal ones"));
  CHECK_THROWS_WITH(rvq::CodecDecoderStream<V>(codec_of(stacks(false))), contains("only causal ones"));
}

TEST_CASE("several channels are waves [B, N, channels]") {
  rvq::CodecOptions o = stacks();
  o.audio_channels = 2;
  const rvq::Codec<V> codec = codec_of(o);
  const V wave = nn::normal_values<V>(Key{11}, Shape{1, 20, 2});
  const auto encoded = rvq::encode(codec, wave);
  CHECK((rvq::decode(codec, encoded.codes, 20).shape() == wave.shape()));
  CHECK_THROWS_WITH(rvq::encode(codec, V::zeros(Shape{1, 20})), contains("[batch, samples, 2]"));
}

TEST_CASE("gradients of a pass reach encoder and decoder through the quantizer, and EMA codebooks get none") {
  const rvq::Codec<V> codec = codec_of(stacks());
  const V wave = nn::normal_values<V>(Key{12}, Shape{2, 30});
  const auto gradient = grad(
      [&](const auto& c) {
        const auto pass = rvq::pass_through(c, wave, {.active = 3});
        return sum(square(pass.wave - wave)) + pass.quantized.commitment_loss;
      },
      codec);
  visit_parameters(
      [](const std::string& path, const V& g) {
        INFO(path);
        CHECK(path.find("codewords") == std::string::npos);
        CHECK(norm(g).item() > 0);
      },
      gradient);
}

TEST_CASE("a codec's file restores everything, options that are not the defaults too") {
  const auto path = std::filesystem::temp_directory_path() / "kolmo_test_codec.safetensors";
  rvq::CodecOptions o = rvq::CodecOptions::dac(4, 16, 6);
  o.strides = {3, 2};
  o.weight_norm = true;
  rvq::Codec<V> codec = codec_of(o);
  codec.sample_rate = 22050;
  codec.encoder.stages[0].units[1].first_activation.snake->frequency.mutable_data()[2] = 1.5f;
  rvq::save_codec(path, codec, {{"command", "test"}});
  const rvq::Codec<V> loaded = rvq::load_codec<V>(path);
  CHECK(loaded.options == o);
  CHECK(loaded.sample_rate == 22050);
  const V wave = nn::normal_values<V>(Key{13}, Shape{1, 47});
  const auto encoded = rvq::encode(codec, wave);
  CHECK(rvq::encode(loaded, wave).codes.to_vector() == encoded.codes.to_vector());
  CHECK(rvq::decode(loaded, encoded.codes, 47).to_vector() == rvq::decode(codec, encoded.codes, 47).to_vector());

  codec.options.latent_kernel = 5;
  CHECK_THROWS_WITH(rvq::save_codec(path, codec), contains("encoder does not fit the options: last.weight"));
  CHECK_THROWS_AS(rvq::load_codec<V>(path.string() + ".absent"), IoError);
  std::filesystem::remove(path);
}

TEST_CASE("codecs that do not fit together and waves or codes that do not exist are refused") {
  const rvq::Codec<V> codec = codec_of(stacks());
  CHECK_THROWS_WITH(rvq::encode(codec, V::zeros(Shape{1, 0})), contains("at least one sample"));
  CHECK_THROWS_AS(rvq::encode(codec, V::zeros(Shape{7})), ShapeError);
  CHECK_THROWS_WITH(rvq::encode(codec, V::full(Shape{1, 12}, std::numeric_limits<float>::quiet_NaN())),
                    contains("finite") || contains("NaN"));
  const auto codes = rvq::encode(codec, V::ones(Shape{1, 12})).codes;
  CHECK_THROWS_WITH(rvq::decode(codec, codes, 13), contains("up to 12 samples, given 13"));
  CHECK_THROWS_AS(rvq::decode(codec, codes, 12, 4), ArgumentError);
  CHECK_THROWS_AS(rvq::decode(codec, rvq::CodesOf<V>(codes + rvq::Code(1000))), ArgumentError);
  rvq::Codec<V> untrained(stacks(), 16000, {16});
  CHECK_THROWS_WITH(rvq::encode(untrained, V::ones(Shape{1, 12})), contains("no stage"));
  CHECK_THROWS_AS(rvq::Codec<V>(stacks(), 0, {16}), ArgumentError);
  rvq::Codec<V> wrong = codec;
  wrong.quantizer = rvq::ResidualQuantizer<V>(7, std::vector<index_t>{16});
  CHECK_THROWS_WITH(wrong.validate(), contains("vectors of 6 numbers, the quantizer takes 7"));
}
