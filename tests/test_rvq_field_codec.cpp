// The codec of plane fields: shapes, symmetry, training, files.

#include <filesystem>

#include <kolmo/rvq/codec_file.hpp>
#include <kolmo/rvq/field_training.hpp>

#include "catch.hpp"

using namespace kolmo;
using kolmo_test::contains;

namespace {

using V = Tensor<float, Cpu>;

/// Sums of a few waves with random phases: [count, n, n].
V waves(index_t count, index_t n, std::uint64_t seed) {
  std::vector<float> values;
  for (index_t b = 0; b < count; ++b) {
    const auto phase = [&](std::uint64_t k) {
      return 6.2831853 * uniform<double>(fold_in(Key{seed}, static_cast<std::uint64_t>(b)), k);
    };
    for (index_t i = 0; i < n; ++i)
      for (index_t j = 0; j < n; ++j) {
        const double y = 6.2831853 * static_cast<double>(i) / static_cast<double>(n),
                     x = 6.2831853 * static_cast<double>(j) / static_cast<double>(n);
        values.push_back(static_cast<float>(3 + 2 * std::sin(x + phase(0)) + std::sin(2 * y + x + phase(1))));
      }
  }
  return V::from(std::span<const float>(values), Shape{count, n, n});
}

rvq::FieldCodec<V> small_codec(const V& fields, index_t channels = 1) {
  rvq::FieldCodecOptions o;
  o.channels = channels;
  o.width = 8;
  o.latent = 4;
  rvq::CodebookOptions book;
  book.start_vectors_per_code = 8;
  rvq::QuantizerOptions settings;
  settings.trained_updates = 5;
  rvq::FieldCodec<V> codec(o, {16, 16}, book, settings);
  init(Key{1}, codec);
  rvq::standardise(codec, fields);
  return codec;
}

V rolled(const V& x, int axis, index_t shift) {
  const index_t n = x.shape()[axis];
  return concat(axis, slice(x, axis, n - shift, n), slice(x, axis, 0, n - shift));
}

}  // namespace

TEST_CASE("training lowers the error of fields, encoding and decoding give what the pass gives, and files keep it") {
  const V fields = waves(8, 16, 1);
  auto training = rvq::start_training(small_codec(fields), {.learning_rate = 3e-3, .steps = 40}, Key{2});
  double first = 0, last = 0;
  for (int step = 0; step < 40; ++step) {
    const auto report = rvq::training_step(training, fields);
    CHECK(report.step == step + 1);
    CHECK(report.active == 2);
    CHECK_FALSE(report.skipped);
    (step == 0 ? first : last) = report.error;
  }
  CHECK(first > 0.5);
  CHECK(last < 0.6 * first);
  const rvq::FieldCodec<V>& codec = training.codec;
  for (const auto& stage : codec.quantizer.stages) CHECK(stage.book.updates == 40);

  const auto encoded = rvq::encode(codec, fields);
  REQUIRE((encoded.codes.shape() == Shape{8, 4, 4, 2}));
  const V back = rvq::decode(codec, encoded.codes);
  REQUIRE((back.shape() == fields.shape()));
  const auto pass = rvq::pass_through(codec, fields, {.active = 2});
  CHECK(
      norm_max(flatten(pass.reconstruction.reshaped(fields.shape()) * codec.deviation + codec.mean - back), 0).item() <
      1e-5f);
  const double variance = static_cast<double>(square(codec.deviation).item());
  CHECK(static_cast<double>(mean(square(back - fields)).item()) / variance < first);

  const auto path = std::filesystem::temp_directory_path() / "kolmo_test_field_codec.safetensors";
  rvq::save_codec(path, codec);
  const auto loaded = rvq::load_field_codec<V>(path);
  CHECK(rvq::decode(loaded, rvq::encode(loaded, fields).codes).to_vector() == back.to_vector());
  CHECK_THROWS_WITH(rvq::load_codec<V>(path), contains("field_codec"));
  std::filesystem::remove(path);
}

TEST_CASE("a periodic field that is shifted by whole squares has shifted codes") {
  const V fields = waves(2, 24, 3);
  auto training = rvq::start_training(small_codec(fields), {}, Key{3});
  for (int step = 0; step < 6; ++step) rvq::training_step(training, fields);
  const auto& codec = training.codec;
  const auto codes = rvq::encode(codec, fields).codes;
  const auto moved = rvq::encode(codec, rolled(rolled(fields, 1, 8), 2, 4)).codes;
  const auto expected = concat(1, slice(codes, 1, 4, 6), slice(codes, 1, 0, 4));
  const auto both = concat(2, slice(expected, 2, 5, 6), slice(expected, 2, 0, 5));
  // The convolutions round in another order: nearly all codes agree.
  const auto a = moved.to_vector(), b = both.to_vector();
  std::size_t equal = 0;
  for (std::size_t i = 0; i < a.size(); ++i) equal += a[i] == b[i] ? 1 : 0;
  CHECK(equal >= a.size() * 98 / 100);
}

TEST_CASE("rates of a field codec are bits of a square over its points; several channels share the codes") {
  const V fields = waves(2, 16, 4);
  const rvq::FieldCodec<V> codec = small_codec(fields);
  CHECK(rvq::bits_per_point(codec) == Approx(8.0 / 16));
  CHECK(rvq::bits_per_point(codec, 1) == Approx(4.0 / 16));
  CHECK(static_cast<double>(codec.mean.item()) == Approx(3).margin(1e-3));
  CHECK(static_cast<double>(codec.deviation.item()) == Approx(std::sqrt(2.5)).epsilon(1e-3));
  const V both = stack(3, fields, fields * 2.0f);
  auto training = rvq::start_training(small_codec(both, 2), {}, Key{5});
  for (int step = 0; step < 6; ++step) rvq::training_step(training, both);
  const auto encoded = rvq::encode(training.codec, both);
  CHECK((encoded.codes.shape() == Shape{2, 4, 4, 2}));
  CHECK((rvq::decode(training.codec, encoded.codes, 1).shape() == both.shape()));
}

TEST_CASE("fields that the squares do not divide, and codes that are none, are refused") {
  const V fields = waves(2, 16, 6);
  rvq::FieldCodec<V> codec = small_codec(fields);
  CHECK_THROWS_WITH(rvq::encode(codec, V::zeros(Shape{1, 18, 16})), contains("multiples of 4"));
  CHECK_THROWS_AS(rvq::encode(codec, V::zeros(Shape{16, 16})), ShapeError);
  CHECK_THROWS_WITH(rvq::encode(codec, fields), contains("no stage"));
  CHECK_THROWS_AS(rvq::decode(codec, rvq::CodesOf<V>::zeros(Shape{4, 4, 2})), ShapeError);
  CHECK_THROWS_AS(rvq::bits_per_point(codec, 3), ArgumentError);
  rvq::FieldCodecOptions o;
  o.levels = 0;
  CHECK_THROWS_WITH(rvq::FieldCodec<V>(o, {16}), contains("levels must be 1 to 6"));
  codec.mean = V::zeros(Shape{2});
  CHECK_THROWS_AS(codec.validate(), ShapeError);
}
