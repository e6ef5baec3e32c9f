// Residual encoding by plain tables.

#include <kolmo/backend/xtensor.hpp>
#include <kolmo/rvq/encode.hpp>

#include <limits>

#include "device.hpp"
#include "rvq_table_support.hpp"

using namespace kolmo;
using namespace kolmo::rvq;
using namespace kolmo_test;

namespace {

/// Stage by stage with plain loops.
template <class V>
std::vector<Code> by_definition(const std::vector<V>& tables, const V& x) {
  using T = typename V::Scalar;
  const index_t n = x.shape()[0], d = x.shape()[1];
  const auto stages = static_cast<index_t>(tables.size());
  auto residual = x.to_vector();
  std::vector<Code> codes(static_cast<std::size_t>(n * stages));
  for (index_t q = 0; q < stages; ++q) {
    const auto table = tables[static_cast<std::size_t>(q)].to_vector();
    const auto norms = half_squared_norms(tables[static_cast<std::size_t>(q)]).to_vector();
    for (index_t i = 0; i < n; ++i) {
      T best = -std::numeric_limits<T>::infinity();
      Code code = 0;
      for (std::size_t k = 0; k < norms.size(); ++k) {
        T s = -norms[k];
        for (index_t j = 0; j < d; ++j)
          s = kolmo::detail::multiply_add(residual[static_cast<std::size_t>(i * d + j)],
                                          table[k * static_cast<std::size_t>(d) + static_cast<std::size_t>(j)], s);
        if (!(s > best)) continue;
        best = s;
        code = static_cast<Code>(k);
      }
      codes[static_cast<std::size_t>(i * stages + q)] = code;
      for (index_t j = 0; j < d; ++j)
        residual[static_cast<std::size_t>(i * d + j)] -= table[static_cast<std::size_t>(code * d + j)];
    }
  }
  return codes;
}

}  // namespace

TEMPLATE_TEST_CASE("R23: residual codes are those of plain loops", "[device]", (Tensor<float, Cpu>), (Tensor<double, Cpu>),
                   (Tensor<float, CpuBlas>), (Tensor<float, TestDevice>)) {
  using V = TestType;
  for (const index_t d : {1, 6, 19}) {
    const auto tables = tables_of<V>({40, 1, 17, 64}, d);
    const V x = numbers<V>({150, d}, 1);
    const auto codes = encode_residual(tables, x);
    CHECK(codes.shape() == Shape{150, 4});
    CHECK(codes.to_vector() == by_definition(tables, x));
  }
}

TEST_CASE("codes of fewer stages are the first codes of more, and decoding adds codewords in their order") {
  using V = Tensor<float, Cpu>;
  const auto tables = tables_of<V>({30, 20, 10}, 5);
  const V x = numbers<V>({40, 5}, 2);
  const auto codes = encode_residual(tables, x);
  const auto two = encode_residual(std::vector<V>{tables[0], tables[1]}, x);
  CHECK(codes.view({40, 2}, codes.strides(), 0).to_vector() == two.to_vector());

  const auto sum = decode_residual(tables, codes).to_vector();
  const auto code = codes.to_vector();
  std::vector<float> expected(sum.size());
  for (std::size_t i = 0; i < 40; ++i)
    for (std::size_t q = 0; q < 3; ++q)
      for (std::size_t j = 0; j < 5; ++j)
        expected[i * 5 + j] += tables[q].to_vector()[static_cast<std::size_t>(code[i * 3 + q]) * 5 + j];
  CHECK(sum == expected);
  CHECK(decode_residual(tables, two).to_vector() ==
        decode_residual(std::vector<V>{tables[0], tables[1]}, two).to_vector());
}

TEST_CASE("a dropped stage adds nothing") {
  using V = Tensor<float, Cpu>;
  const auto tables = tables_of<V>({4, 4}, 3);
  const auto one = CodesOf<V>::from({2, -1, -1, -1}, {2, 2});
  const auto sum = decode_residual(tables, one).to_vector();
  const auto table = tables[0].to_vector();
  CHECK(sum == std::vector<float>{table[6], table[7], table[8], 0, 0, 0});
}

TEST_CASE("tables, vectors and codes that do not fit are named") {
  using V = Tensor<float, Cpu>;
  const auto tables = tables_of<V>({4, 7}, 3);
  CHECK_THROWS_WITH(encode_residual(tables, V::zeros({2, 4})), contains("[2, 4]"));
  CHECK_THROWS_WITH(encode_residual(std::vector<V>{}, V::zeros({2, 4})), contains("no tables"));
  CHECK_THROWS_WITH(encode_residual(std::vector<V>{V::zeros({4, 3}), V::zeros({4, 2})}, V::zeros({2, 3})),
                    contains("stage 1"));
  CHECK_THROWS_WITH(encode_residual(tables, V::full({2, 3}, std::numeric_limits<float>::quiet_NaN())),
                    contains("row 0"));
  CHECK_THROWS_WITH(decode_residual(tables, CodesOf<V>::from({3, 7}, {1, 2})),
                    contains("code 7 of vector 0 in stage 1"));
  CHECK_THROWS_WITH(decode_residual(tables, CodesOf<V>::from({3, 6, 0, -2}, {2, 2})), contains("code -2 of vector 1"));
  CHECK_THROWS_WITH(decode_residual(tables, CodesOf<V>::zeros({1, 3})), contains("at most 2"));
  CHECK(encode_residual(tables, V::zeros({0, 3})).shape() == Shape{0, 2});
}
