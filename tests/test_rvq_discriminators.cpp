// Discriminators: sizes of the published ones, what they see, and folded convolutions.

#include <kolmo/ad/transforms.hpp>
#include <kolmo/nn/init.hpp>
#include <kolmo/rvq/discriminators/discriminators.hpp>

#include "catch.hpp"

using namespace kolmo;
using namespace kolmo::rvq;
using kolmo_test::contains;

namespace {

using Ten = Tensor<double, Cpu>;

double distance(const Ten& a, const Ten& b) {
  REQUIRE(a.shape() == b.shape());
  const auto x = a.to_vector(), y = b.to_vector();
  double worst = 0;
  for (std::size_t i = 0; i < x.size(); ++i) worst = std::max(worst, std::abs(x[i] - y[i]));
  return worst;
}

Ten values(std::uint64_t seed, const Shape& shape) { return nn::normal_values<Ten>(Key{seed}, shape); }

/// Parameters without the gains of weight normalisation, which published counts leave out.
template <class M>
index_t plain_parameters(const M& model) {
  index_t count = 0;
  visit_parameters(
      [&](const std::string& path, const auto& x) {
        if (path.find("gain") == std::string::npos) count += x.size();
      },
      model);
  return count;
}

}  // namespace

TEST_CASE("A folded convolution is the convolution, and so are its derivatives") {
  struct Case {
    index_t in, out, rows, columns, stride, dilation, fold;
  };
  for (const Case& c :
       {Case{2, 3, 3, 9, 1, 1, 4}, Case{3, 4, 3, 9, 2, 2, 4}, Case{2, 1, 3, 3, 1, 1, 8}, Case{1, 2, 2, 5, 2, 1, 2}}) {
    const Ten x = values(1, Shape{2, 7, 16, c.in}), w = values(2, Shape{c.out, c.in, c.rows, c.columns}),
              b = values(3, Shape{c.out});
    ConvOptions options;
    options.stride[1] = c.stride;
    options.dilation[0] = c.dilation;
    const Ten direct = conv2d(x, w, b, options, fn::Tanh{});
    CHECK(distance(folded_conv2d(x, w, b, options, c.fold, fn::Tanh{}), direct) < 1e-13);
    const Ten weights = values(4, direct.shape());
    const auto by_field = [&](const auto& f) {
      return grad([&](const auto& v) { return sum(f(v, w, b) * weights); }, x);
    };
    const auto by_kernel = [&](const auto& f) {
      return grad([&](const auto& v) { return sum(f(x, v, b) * weights); }, w);
    };
    const auto by_bias = [&](const auto& f) {
      return grad([&](const auto& v) { return sum(f(x, w, v) * weights); }, b);
    };
    const auto plain = [&](const auto& f, const auto& k, const auto& s) {
      return conv2d(f, k, s, options, fn::Tanh{});
    };
    const auto folded = [&](const auto& f, const auto& k, const auto& s) {
      return folded_conv2d(f, k, s, options, c.fold, fn::Tanh{});
    };
    CHECK(distance(by_field(folded), by_field(plain)) < 1e-12);
    CHECK(distance(by_kernel(folded), by_kernel(plain)) < 1e-12);
    CHECK(distance(by_bias(folded), by_bias(plain)) < 1e-12);
  }
  const Ten x = values(1, Shape{1, 4, 18, 2}), w = values(2, Shape{2, 2, 3, 9}), b = Ten::zeros(Shape{2});
  CHECK_THROWS_WITH(folded_conv2d(x, w, b, {}, 4), contains("fold"));
  CHECK_THROWS_AS(folded_conv2d(x, w, b, {}, 2), ArgumentError);
  CHECK_THROWS_AS(folded_conv2d(x, w, b, {.padding = Padding::circular}, 6), ArgumentError);
}

TEST_CASE("The published discriminators have 0.094 million parameters per spectrum and 8.22 million per period") {
  using Small = Tensor<float, Cpu>;
  CHECK(plain_parameters(StftDiscriminator<Small>(1024, 32)) == 94337);
  const PeriodDiscriminator<Small> period(7, 32);
  CHECK(plain_parameters(period) == 8218433);
  CHECK(parameter_count(period) - plain_parameters(period) == 32 + 128 + 512 + 2 * 1024 + 1);
  // Five bands like the one spectrum, and one score of all.
  CHECK(plain_parameters(BandDiscriminator<Small>(1024, 32)) == 5 * (94337 - 289) + 289);
  // The parameters are the same for every window and period.
  CHECK(parameter_count(StftDiscriminator<Small>(256, 8)) == parameter_count(StftDiscriminator<Small>(2048, 8)));
  CHECK(parameter_count(PeriodDiscriminator<Small>(2, 4)) == parameter_count(PeriodDiscriminator<Small>(11, 4)));
}

TEST_CASE("Discriminators give a score and the activations of the layers before it") {
  Discriminators<Ten> all(
      {.windows = {64, 128}, .band_windows = {128}, .filters = 2, .periods = {3}, .period_width = 1});
  init(Key{5}, all);
  const auto judged = all(values(6, Shape{2, 512}));
  REQUIRE(judged.size() == 4);
  for (const std::size_t i : {0u, 1u, 3u}) CHECK(judged[i].features.size() == 5);
  // Windows of 64 with hops of 16: 29 of them; the width 32 is halved three times.
  CHECK(judged[0].score.shape() == Shape{2, 29, 4, 1});
  CHECK(judged[0].features[0].shape() == Shape{2, 29, 32, 2});
  CHECK(judged[1].score.shape() == Shape{2, 13, 8, 1});
  // 171 rows of 3 samples, a third of them after each of four layers.
  CHECK(judged[3].score.shape() == Shape{2, 3, 3, 1});
  // 65 bins in bands of 6, 10, 16, 16 and 17, each halved three times upwards and joined.
  CHECK(judged[2].features.size() == 25);
  CHECK(judged[2].features[20].shape() == Shape{2, 13, 17, 2});
  CHECK(judged[2].score.shape() == Shape{2, 13, 1 + 2 + 2 + 2 + 3, 1});
}

TEST_CASE("A period discriminator compares samples a period apart and no others") {
  PeriodDiscriminator<Ten> discriminator(5, 1);
  init(Key{7}, discriminator);
  const Ten x = values(8, Shape{1, 200});
  const Ten gradient = grad(
      [&](const auto& w) {
        const auto score = discriminator(w).score;  // [1, rows, 5, 1]
        return sum(slice(score, 2, 1, 2));
      },
      x);
  const auto g = gradient.to_vector();
  for (std::size_t t = 0; t < g.size(); ++t) CHECK((g[t] != 0) == (t % 5 == 1));
}

TEST_CASE("Every layer of a band sees its band and no other") {
  BandDiscriminator<Ten> discriminator(128, 1);
  init(Key{21}, discriminator);
  // A tone in the middle of the fourth band, windows of a whole number of its periods: the others see nothing.
  std::vector<double> tone;
  for (int t = 0; t < 512; ++t) tone.push_back(std::sin(2 * 3.14159265358979323846 * 40 * t / 128));
  const auto judged = discriminator(Ten::from(std::span<const double>(tone), Shape{1, 512}));
  const auto silent = discriminator(Ten::zeros(Shape{1, 512}));
  for (std::size_t i = 0; i < 25; ++i) CHECK((distance(judged.features[i], silent.features[i]) > 1e-6) == (i / 5 == 3));
}

TEST_CASE("Scores follow their gradients with respect to waves and parameters") {
  for (const bool level : {false, true}) {
    Discriminators<Ten> all({.windows = {64}, .filters = 3, .periods = {3}, .period_width = 1, .level_waves = level});
    init(Key{9}, all);
    const Ten x = values(10, Shape{2, 200}), dx = values(11, Shape{2, 200});
    const auto loss = [](const auto& d, const auto& w) {
      const auto judged = d(w);
      return sum(square(judged[0].score)) + sum(square(judged[1].score)) + sum(square(judged[0].features[2]));
    };
    const double h = 1e-6;
    const double difference = (loss(all, x + dx * h).item() - loss(all, x - dx * h).item()) / (2 * h);
    const Ten gradient = grad([&](const auto& w) { return loss(all, w); }, x);
    CHECK(dot(gradient, dx).item() == Approx(difference).epsilon(1e-6));
    const auto slopes = grad([&](const auto& d) { return loss(d, x); }, all);
    Discriminators<Ten> up = all, down = all;
    Ten& a = up.spectra[0].layers[1].gain;
    Ten& b = down.spectra[0].layers[1].gain;
    a = a + h;
    b = b - h;
    CHECK(sum(slopes.spectra[0].layers[1].gain).item() ==
          Approx((loss(up, x).item() - loss(down, x).item()) / (2 * h)).epsilon(1e-5));
  }
}

TEST_CASE("Leveled waves have no mean and a peak of 0.8") {
  const Ten y = leveled(values(12, Shape{3, 50}) * 7.0 + 2.0);
  for (const double m : mean(y, {1}).to_vector()) CHECK(std::abs(m) < 1e-15);
  for (const double m : max(abs(y), 1).to_vector()) CHECK(m == Approx(0.8));
  CHECK(distance(leveled(Ten::full(Shape{1, 9}, 3.0)), Ten::zeros(Shape{1, 9})) == 0);
}

TEST_CASE("Discriminators refuse what they cannot judge") {
  Discriminators<Ten> all({.windows = {128}, .filters = 2});
  init(Key{13}, all);
  CHECK_THROWS_AS(all(values(14, Shape{1, 100})), ArgumentError);
  CHECK_THROWS_WITH(all(values(14, Shape{1, 100})), contains("128") && contains("100"));
  CHECK_THROWS_AS(Discriminators<Ten>({.windows = {}, .periods = {}}), ArgumentError);
  CHECK_THROWS_AS(Discriminators<Ten>({.windows = {100}}), ArgumentError);
  CHECK_THROWS_AS(Discriminators<Ten>({.windows = {64}, .filters = 0}), ArgumentError);
  CHECK_THROWS_AS(Discriminators<Ten>({.windows = {}, .periods = {0}}), ArgumentError);
}
