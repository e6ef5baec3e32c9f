// Streams of the causal codec stacks: pieces of any size against the whole wave.

#include <kolmo/nn/init.hpp>
#include <kolmo/rvq/stack_stream.hpp>

#include "catch.hpp"

using namespace kolmo;
using kolmo_test::contains;

namespace {

using V = Tensor<float, Cpu>;

rvq::CodecOptions options(bool dac) {
  rvq::CodecOptions o = dac ? rvq::CodecOptions::dac(4, 16, 6) : rvq::CodecOptions::seanet(4, 6);
  o.strides = {2, 4};
  o.causal = true;
  o.weight_norm = o.shortcut_convolution = dac;
  o.audio_channels = dac ? 2 : 1;
  return o;
}

double largest_difference(const V& a, const V& b) {
  REQUIRE((a.shape() == b.shape()));
  double largest = 0;
  const auto x = a.to_vector(), y = b.to_vector();
  for (std::size_t i = 0; i < x.size(); ++i)
    largest = std::max(largest, std::abs(static_cast<double>(x[i]) - static_cast<double>(y[i])));
  return largest;
}

}  // namespace

TEST_CASE("R27: pieces of one sample, of one frame and of any size give the frames of the whole wave") {
  for (const bool dac : {false, true}) {
    const rvq::CodecOptions o = options(dac);
    rvq::Encoder<V> encoder(o);
    rvq::Decoder<V> decoder(o);
    init(Key{1}, encoder);
    init(Key{2}, decoder);
    const index_t frames = 9, points = frames * o.hop();
    const V wave = nn::normal_values<V>(Key{3}, Shape{2, points, o.audio_channels});
    const V latent = encoder(wave), back = decoder(latent);
    for (const index_t piece : {index_t{1}, index_t{3}, o.hop(), index_t{29}, points}) {
      INFO("dac " << dac << " piece " << piece);
      rvq::EncoderStream<V> in(encoder, 2);
      std::vector<V> parts;
      for (index_t t = 0; t < points; t += piece)
        parts.push_back(in.push(slice(wave, 1, t, std::min(points, t + piece))));
      V joined = parts[0];
      for (std::size_t i = 1; i < parts.size(); ++i) joined = concat(1, joined, parts[i]);
      CHECK(largest_difference(joined, latent) <= 1e-5);
      CHECK(in.flush().size() == 0);

      rvq::DecoderStream<V> out(decoder, 2);
      const index_t step = (piece + o.hop() - 1) / o.hop();
      V samples = out.push(slice(latent, 1, 0, step));
      for (index_t f = step; f < frames; f += step)
        samples = concat(1, samples, out.push(slice(latent, 1, f, std::min(frames, f + step))));
      CHECK(largest_difference(samples, back) <= 1e-5);
    }
  }
}

TEST_CASE("R27: flushing gives the frame of the samples that wait, continued by zeros") {
  const rvq::CodecOptions o = options(false);
  rvq::Encoder<V> encoder(o);
  init(Key{1}, encoder);
  const V wave = nn::normal_values<V>(Key{4}, Shape{1, 21, 1});
  rvq::EncoderStream<V> stream(encoder);
  const V first = stream.push(wave);
  REQUIRE((first.shape() == Shape{1, 2, 6}));
  CHECK(stream.pending() == 5);
  const V last = stream.flush();
  CHECK(stream.pending() == 0);
  CHECK(largest_difference(concat(1, first, last), encoder(pad(wave, 1, 0, 3))) <= 1e-5);
}

TEST_CASE("stacks that are not causal, and pieces of another shape, are refused") {
  rvq::CodecOptions o = options(false);
  rvq::EncoderStream<V> stream(rvq::Encoder<V>(o), 2);
  CHECK_THROWS_WITH(stream.push(V::zeros(Shape{1, 8, 1})), contains("[2, points, 1]"));
  CHECK_THROWS_AS(stream.push(V::zeros(Shape{2, 8})), ShapeError);
  CHECK_THROWS_AS(rvq::EncoderStream<V>(rvq::Encoder<V>(o), 0), ArgumentError);
  o.causal = false;
  CHECK_THROWS_WITH(rvq::EncoderStream<V>(rvq::Encoder<V>(o)), contains("only causal ones can be streamed"));
  CHECK_THROWS_WITH(rvq::DecoderStream<V>(rvq::Decoder<V>(o)), contains("only causal ones can be streamed"));
}
