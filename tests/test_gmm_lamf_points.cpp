// The learned fitter with a transformer over the grid points as its initial network.

#include <kolmo/ad/transforms.hpp>
#include <kolmo/gmm/lamf_point_network.hpp>
#include <kolmo/gmm/lamf_train.hpp>
#include <kolmo/io/tree.hpp>

#include "catch.hpp"

using namespace kolmo;
using namespace kolmo::gmm;
using V = Tensor<double, Cpu>;

namespace {

LamfOptions small_options() {
  LamfOptions options;
  options.iterations = 2;
  options.init_width = 8;
  options.refine_width = 8;
  options.init_layers = options.refine_layers = 1;
  options.heads = 2;
  return options;
}

LamfInput<V> v5_input(index_t batch) {
  const auto set = make_v5<V>(Key{1}, batch, V5Options::training());
  return LamfSamples<V>(set, Grid{}).batch(std::vector<index_t>{0, 1, 2}).input;
}

}  // namespace

TEST_CASE("the fitter with a network over points is a fitter like the other, for every kind of positions") {
  auto options = small_options();
  const LamfInput<V> input = v5_input(3);
  std::vector<std::vector<double>> results;
  for (const auto positions : {nn::Positions::none, nn::Positions::sinusoidal, nn::Positions::learned}) {
    options.positions = positions;
    Lamf<V, PointNetwork<V>> model(options);
    init(Key{2}, model);
    CHECK_NOTHROW(model.validate());
    const auto loss = [&](const auto& m) { return sum(square(m(input))); };
    const auto gradient = value_and_grad(model, loss).gradient;
    // Along a random direction of all weights of the initial network, by dual numbers.
    auto direction = zeros_like(model);
    std::uint64_t i = 0;
    visit_parameters([&](const std::string&, V& x) { x = nn::normal_values<V>(Key{++i}, x.shape()); },
                     direction.init_network);
    double product = 0;
    visit_parameters([&](const std::string&, const V& g, const V& d) { product += dot(g, d).item(); }, gradient,
                     direction);
    CHECK(jvp(loss, model, direction).tangent.item() == Approx(product).epsilon(1e-10));
    CHECK((gradient.init_network.position_table.size() > 0) == (positions == nn::Positions::learned));
    results.push_back(model(input).to_vector());
    // From its arrays and back.
    const auto again = io::model_from_arrays<Lamf<V, PointNetwork<V>>>(io::to_arrays(model));
    CHECK(again(input).to_vector() == results.back());
  }
  CHECK(results[0] != results[1]);
  CHECK_THROWS_AS((io::model_from_arrays<Lamf<V, PointNetwork<V>>>(io::to_arrays(Lamf<V>(small_options())))), IoError);
  options.heads = 3;
  CHECK_THROWS_AS((Lamf<V, PointNetwork<V>>(options)), ArgumentError);
}
