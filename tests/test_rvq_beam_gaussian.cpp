// Beams on normal vectors in 64 dimensions at the rate of the reference, 1.25 bit per dimension.

#include <kolmo/backend/eigen.hpp>
#include <kolmo/rvq/train_tables.hpp>

#include "catch.hpp"
#include "rvq_data.hpp"

using namespace kolmo;
using namespace kolmo::rvq;

namespace {

using V = Tensor<float, Cpu>;

double mean_error(const std::vector<V>& tables, const V& x, index_t beam) {
  double sum = 0;
  for (const float e : squared_errors(tables, x, encode_residual(tables, x, beam)).to_vector()) sum += e;
  return sum / static_cast<double>(x.size());
}

}  // namespace

TEST_CASE("R25: on held-out normal vectors of 64 dimensions a wider beam leaves less", "[long]") {
  const V x = kolmo_test::g64<float>(100000, Key{1}), held_out = kolmo_test::g64<float>(20000, Key{2});
  const auto tables = train_tables(x, std::vector<index_t>(8, 1024), TrainTablesOptions{}, Key{3}).tables;
  double before = mean_error(tables, held_out, 1);
  CHECK(before <= 0.264);
  for (const index_t beam : {2, 4, 5, 8}) {
    const double error = mean_error(tables, held_out, beam);
    INFO("beam " << beam << ": " << error);
    CHECK(error < before);
    if (beam == 5) CHECK(error <= 0.2334);
    before = error;
  }
}
