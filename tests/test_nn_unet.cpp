// The U-Net of score networks: sizes and multiply-adds of the published networks, the fused block against its
// definition, checkpointing, odd grids, 1-D fields, and files.

#include <kolmo/ad/transforms.hpp>
#include <kolmo/backend/cpu.hpp>
#include <kolmo/io/tree.hpp>
#include <kolmo/ops/reduce.hpp>
#include <kolmo/score/score_unet.hpp>

#include "catch.hpp"

using namespace kolmo;
using Ten = Tensor<double, Cpu>;
using Net = score::ScoreUNet<Ten>;

namespace {

score::ScoreUNetOptions published(index_t window, const std::vector<index_t>& channels, index_t blocks = 3,
                                  index_t context = 1) {
  return {.channels = 2 * window,
          .context = context,
          .embedding = 64,
          .hidden_channels = channels,
          .hidden_blocks = std::vector<index_t>(channels.size(), blocks),
          .padding = Padding::circular,
          .activation = nn::ActivationKind::silu};
}

score::ScoreUNetOptions small(Padding padding, int spatial = 2) {
  return {.channels = 2,
          .context = 1,
          .embedding = 4,
          .hidden_channels = {4, 6},
          .hidden_blocks = {1, 1},
          .padding = padding,
          .activation = nn::ActivationKind::silu,
          .spatial = spatial};
}

template <class V = Ten>
score::ScoreUNet<V> drawn(const score::ScoreUNetOptions& options) {
  score::ScoreUNet<V> net(options);
  init(Key{3}, net);
  return net;
}

Ten numbers(std::uint64_t seed, const Shape& shape) { return nn::uniform_values<Ten>(Key{seed}, shape, -1, 1); }

double distance(const Ten& a, const Ten& b) {
  REQUIRE(a.shape() == b.shape());
  const auto x = a.to_vector(), y = b.to_vector();
  double worst = 0;
  for (std::size_t i = 0; i < x.size(); ++i) worst = std::max(worst, std::abs(x[i] - y[i]));
  return worst;
}

/// The largest difference between two models of one structure.
double model_distance(const Net& a, const Net& b) {
  double worst = 0;
  visit_parameters([&](const std::string&, const Ten& x, const Ten& y) { worst = std::max(worst, distance(x, y)); }, a,
                   b);
  return worst;
}

}  // namespace

TEST_CASE("the published networks have the published numbers of parameters") {
  const auto count = [](const score::ScoreUNetOptions& o) { return parameter_count(Net(o)); };
  CHECK(count(published(5, {96, 192, 384})) == 22874922);
  CHECK(count(published(3, {96, 192, 384})) == 22868006);
  CHECK(count(published(5, {64, 128, 256})) == 10244746);
  CHECK(count(published(3, {64, 128, 256})) == 10240134);
  CHECK(count(published(3, {32, 64, 128})) == 2625766);
  CHECK(count(published(16, {64, 128, 256}, 2, 2)) == 7114080);
  CHECK(count(published(5, {96, 192, 384}, 3, 2)) == 22875786);
  auto global = published(1, {64});
  global.channels = 3;
  global.context = 0;
  global.embedding = 32;
  global.spatial = 1;
  CHECK(count(global) == 178787);
}

TEST_CASE("the parts of the Kolmogorov network have the published sizes") {
  const Net net(published(5, {96, 192, 384}));
  CHECK(parameter_count(net.embedding) == 24896);
  const auto& levels = net.network.levels;
  CHECK(parameter_count(levels[0].head) == 9600);
  CHECK(parameter_count(levels[1].head) == 166080);
  CHECK(parameter_count(levels[2].head) == 663936);
  CHECK(parameter_count(levels[0].descent[0]) == 172320);
  CHECK(parameter_count(levels[1].ascent[2]) == 676416);
  CHECK(parameter_count(levels[2].ascent[1]) == 2679936);
  CHECK(parameter_count(levels[2].tail) == 663744);
  CHECK(parameter_count(levels[1].tail) == 165984);
  CHECK(parameter_count(levels[0].tail) == 8650);
}

TEST_CASE("multiply-adds of the published networks") {
  const auto count = [](const score::ScoreUNetOptions& o) { return Net(o).network.multiply_adds({64, 64}); };
  CHECK(count(published(5, {96, 192, 384})) == 14003601408);
  CHECK(count(published(3, {96, 192, 384})) == 13975289856);
  CHECK(count(published(5, {64, 128, 256})) == 6240337920);
  CHECK(count(published(3, {64, 128, 256})) == 6221463552);
  CHECK(count(published(3, {32, 64, 128})) == 1563033600);
  const Net net(published(5, {96, 192, 384}));
  const auto& levels = net.network.levels;
  CHECK(levels[0].head.multiply_adds({1, 64, 64, 11}) == 38928384);
  CHECK(levels[1].descent[0].first.multiply_adds({1, 32, 32, 192}) == 339738624);
  CHECK(levels[1].head.multiply_adds({1, 64, 64, 96}) == 169869312);
  CHECK(levels[2].tail.multiply_adds({1, 32, 32, 384}) == 679477248);
  CHECK(levels[0].tail.multiply_adds({1, 64, 64, 96}) == 35389440);
}

TEST_CASE("the fused block is its definition, in value, in all gradients, and checkpointed") {
  nn::ModulatedBlock<Ten> block(5, 3, {3, 3}, Padding::circular);
  init(Key{1}, block);
  const Ten x = numbers(1, {2, 4, 5, 5}), e = numbers(2, {2, 3}), u = numbers(3, {2, 4, 5, 5});
  const auto composed = [&](const auto& b, const auto& field, const auto& embedding) {
    const auto m = b.projection(embedding);
    return field + b.second(b.first(nn::channel_norm(field, m), fn::Silu{}));
  };
  for (const bool again : {false, true}) {
    const auto fused = [&](const auto& b, const auto& field, const auto& embedding) {
      return b(field, embedding, nn::ActivationKind::silu, again);
    };
    CHECK(distance(fused(block, x, e), composed(block, x, e)) < 1e-13);
    const auto compare = [&](const auto& gradient_of) {
      CHECK(distance(gradient_of(fused), gradient_of(composed)) < 1e-12);
    };
    compare([&](const auto& f) { return grad([&](const auto& s) { return sum(u * f(block, s, e)); }, x); });
    compare([&](const auto& f) { return grad([&](const auto& s) { return sum(u * f(block, x, s)); }, e); });
    const auto of_model = [&](const auto& f) {
      return value_and_grad(block, [&](const auto& b) { return sum(u * f(b, x, e)); }).gradient;
    };
    const auto a = of_model(fused), b = of_model(composed);
    visit_parameters([](const std::string&, const Ten& p, const Ten& q) { CHECK(distance(p, q) < 1e-12); }, a, b);
  }
}

TEST_CASE("tangents, gradients and second derivatives of the network agree with each other") {
  for (const int spatial : {1, 2}) {
    const Net net = drawn(small(spatial == 1 ? Padding::zeros : Padding::circular, spatial));
    const Shape shape = spatial == 1 ? Shape{2, 2, 7} : Shape{2, 2, 5, 6};
    Shape beside = shape.without(0);
    beside[0] = 1;
    const Ten x = numbers(1, shape), dx = numbers(2, shape), u = numbers(3, shape), t = Ten::from({0.2, 0.7}),
              c = numbers(4, beside);
    const auto f = [&](const auto& s) { return net(s, t, c); };
    auto pullback = vjp(f, x);
    CHECK(distance(pullback.value(), f(x)) < 1e-14);
    const Ten forward = jvp(f, x, dx).tangent;
    CHECK(sum(u * forward).item() == Approx(sum(pullback.pull(u) * dx).item()).epsilon(1e-11));
    const double h = 1e-4;
    const Ten central = (f(x + h * dx) - f(x - h * dx)) / (2 * h);
    CHECK(distance(central, forward) < 1e-6);
  }
}

TEST_CASE("checkpointing per block changes no gradient") {
  const auto options = small(Padding::reflect);
  auto again = options;
  again.checkpoint = nn::UNetCheckpoint::block;
  Net other(again);
  init(Key{3}, other);
  const Net net = drawn(options);
  const Ten x = numbers(1, {2, 2, 7, 9}), c = numbers(2, {1, 7, 9});
  const auto loss = [&](const auto& model) { return sum(square(model(x, 0.3, c))); };
  const auto plain = value_and_grad(net, loss), less = value_and_grad(other, loss);
  CHECK(plain.value.item() == less.value.item());
  CHECK(model_distance(plain.gradient, less.gradient) < 1e-12);
}

TEST_CASE("any grid: an odd field keeps its size, and its corner does not depend on cut points") {
  const auto options = small(Padding::reflect);
  const Net net = drawn(options);
  for (const Shape& grid : {Shape{7, 9}, Shape{8, 9}, Shape{4, 4}}) {
    const Ten x = numbers(1, {1, 2, grid[0], grid[1]}), c = numbers(2, {1, grid[0], grid[1]});
    CHECK(net(x, 0.5, c).shape() == x.shape());
  }
  auto three = options;
  three.stride = 3;
  const Ten x = numbers(1, {1, 2, 7, 8}), c = numbers(2, {1, 7, 8});
  CHECK(drawn(three)(x, 0.5, c).shape() == x.shape());
}

TEST_CASE("a circular network commutes with shifts by its coarsest cell") {
  const Net net = drawn(small(Padding::circular));
  const Ten x = numbers(1, {1, 2, 6, 8}), c = numbers(2, {1, 6, 8});
  const auto shifted = [](const Ten& f) {
    const Ten rows = concat(-2, slice(f, -2, 2), slice(f, -2, 0, 2));
    return concat(-1, slice(rows, -1, 4), slice(rows, -1, 0, 4));
  };
  CHECK(distance(net(shifted(x), 0.4, shifted(c)), shifted(net(x, 0.4, c))) < 1e-13);
}

TEST_CASE("times and contexts, shared or per field, and any leading axes") {
  const Net net = drawn(small(Padding::circular));
  const Ten x = numbers(1, {2, 3, 2, 4, 6}), t = Ten::from({0.2, 0.8}), c = numbers(2, {1, 4, 6});
  const Ten y = net(x, t, c);
  const Ten flat = reshape(x, {6, 2, 4, 6});
  CHECK(distance(reshape(y, {6, 2, 4, 6}), net(flat, Ten::from({0.2, 0.2, 0.2, 0.8, 0.8, 0.8}), c)) == 0);
  CHECK(distance(at(at(y, 0, 1), 0, 2), at(net(slice(flat, 0, 5, 6), 0.8, c), 0, 0)) < 1e-13);
  CHECK(distance(at(at(y, 0, 1), 0, 2), net(at(flat, 0, 5), 0.8, c)) < 1e-13);
  const Ten batched = broadcast_to(c, {2, 3, 1, 4, 6});
  CHECK(distance(net(x, t, batched), y) == 0);
}

TEST_CASE("the local network sees the forcing sin(4 X) along the last axis, or given fields") {
  auto options = small(Padding::circular);
  options.context = 0;
  score::LocalScoreUNet<Ten> net(options, 8);
  init(Key{3}, net);
  REQUIRE(net.condition.shape() == Shape{1, 8, 8});
  CHECK(at(at(at(net.condition, 0, 0), 0, 5), 0, 2).item() == Approx(std::sin(4 * 2 * M_PI / 8 * 2.5)).epsilon(1e-14));
  const Ten x = numbers(1, {2, 2, 8, 8});
  CHECK(distance(net(x, 0.4), net.score(x, 0.4, net.condition)) == 0);
  const score::LocalScoreUNet<Ten> wake(options, numbers(5, {2, 7, 9}));
  CHECK(wake.score.context_channels() == 2);
  CHECK(wake(numbers(6, {1, 2, 7, 9}), 0.1).shape() == Shape{1, 2, 7, 9});
  const auto read = io::model_from_arrays<score::LocalScoreUNet<Ten>>(io::to_arrays(net));
  CHECK(distance(read(x, 0.4), net(x, 0.4)) == 0);
  CHECK(grad([&](const auto& s) { return sum(net(s, 0.4)); }, x).shape() == x.shape());
}

TEST_CASE("what does not fit is refused") {
  const Net net = drawn(small(Padding::circular));
  const Ten c = numbers(2, {1, 4, 6});
  CHECK_THROWS_AS(net(numbers(1, {1, 3, 4, 6}), 0.5, c), ShapeError);
  CHECK_THROWS_AS(net(numbers(1, {1, 2, 4, 6}), 0.5), ShapeError);
  CHECK_THROWS_AS(net(numbers(1, {1, 2, 4, 5}), 0.5, c), ShapeError);
  CHECK_THROWS_AS(net(numbers(1, {2, 2, 4, 6}), Ten::zeros({3}), c), ShapeError);
  auto options = small(Padding::circular);
  options.kernel = 2;
  CHECK_THROWS_AS(Net(options), ArgumentError);
  options = small(Padding::circular);
  options.hidden_blocks = {1};
  CHECK_THROWS_AS(Net(options), ArgumentError);
  options = small(Padding::circular);
  options.spatial = 3;
  CHECK_THROWS_AS(Net(options), ArgumentError);
  CHECK_THROWS_AS(score::LocalScoreUNet<Ten>(small(Padding::circular), numbers(1, {4, 4})), ShapeError);
}
