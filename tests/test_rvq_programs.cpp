// The programs around a residual quantizer: codes out of vectors, vectors out of codes, and what is in a model; their
// numbers against plain loops over the files they write.
//
// program: encode_rvq decode_rvq inspect_rvq

#include <kolmo/core/random.hpp>
#include <kolmo/io/csv.hpp>
#include <kolmo/io/npy.hpp>
#include <kolmo/io/npz.hpp>
#include <kolmo/rvq/bitstream.hpp>
#include <kolmo/rvq/inference.hpp>
#include <kolmo/rvq/model_file.hpp>

#include <cmath>
#include <limits>

#include "program.hpp"

namespace {

using kolmo::Cpu;
using kolmo::index_t;
using kolmo_test::contains;
using kolmo_test::ProgramRuns;
namespace io = kolmo::io;
namespace rvq = kolmo::rvq;
using Vectors = kolmo::Tensor<float, Cpu>;

constexpr index_t count = 3000, d = 5;

/// Vectors around 40 centres.
std::vector<float> vectors_of(std::uint64_t seed) {
  std::vector<float> x;
  for (index_t i = 0; i < count; ++i) {
    const index_t centre = kolmo::integer_below(kolmo::Key{seed}, static_cast<std::uint64_t>(i), 40);
    for (index_t j = 0; j < d; ++j)
      x.push_back(
          static_cast<float>(2 * kolmo::normal<double>(kolmo::Key{1}, static_cast<std::uint64_t>(centre * d + j)) +
                             0.5 * kolmo::normal<double>(kolmo::Key{seed + 1}, static_cast<std::uint64_t>(i * d + j))));
  }
  return x;
}

/// Tables of random codewords whose size falls from stage to stage, as that of residuals does.
rvq::ResidualQuantizer<Vectors> quantizer_of(const std::vector<index_t>& codes, std::uint64_t seed = 7) {
  std::vector<Vectors> tables;
  double size = 2;
  for (std::size_t q = 0; q < codes.size(); ++q, size *= 0.6) {
    std::vector<float> values;
    for (index_t i = 0; i < codes[q] * d; ++i)
      values.push_back(
          static_cast<float>(size * kolmo::normal<double>(kolmo::Key{seed + q}, static_cast<std::uint64_t>(i))));
    tables.push_back(Vectors::from(std::span<const float>(values), {codes[q], d}));
  }
  return rvq::quantizer_of_tables(tables);
}

/// A folder with model.rvqm and x.npy [3000, 5].
struct Folder : ProgramRuns {
  explicit Folder(const std::vector<index_t>& codes = {32, 32, 32}) {
    rvq::save_quantizer(folder / "model.rvqm", quantizer_of(codes));
    io::save_npy(folder / "x.npy", io::HostArray(vectors_of(3), {count, d}));
  }
  io::HostArray array(const std::string& name) const { return io::load_npy(folder / name); }
  void succeeds(const Result& result) const {
    INFO(result.err);
    REQUIRE(result.code == 0);
  }
  void fails(const Result& result, int code, const std::string& why) const {
    CHECK(result.code == code);
    CHECK_THAT(result.err, contains(why));
  }
};

/// The number that follows `before` in a text.
double number_after(const std::string& text, const std::string& before) {
  const std::size_t at = text.find(before);
  REQUIRE(at != std::string::npos);
  return std::strtod(text.c_str() + at + before.size(), nullptr);
}

}  // namespace

TEST_CASE("R26: codes and codebooks on disk reproduce the reported MSE, utilisation and perplexity") {
  const Folder run;
  const auto encoded = run("--model model.rvqm --input x.npy --output codes.npy");
  run.succeeds(encoded);
  const auto shown = run.of(
      "inspect_rvq", "--model model.rvqm --input x.npy --codebooks books.npy --table table.csv --picture use.png");
  run.succeeds(shown);
  CHECK(run.has("use.png"));

  // From the files alone, by loops in double.
  const io::HostArray codes_file = run.array("codes.npy"), books_file = run.array("books.npy");
  REQUIRE(codes_file.shape == std::vector<index_t>{count, 3});
  REQUIRE(books_file.shape == std::vector<index_t>{3, 32, d});
  const auto codes = codes_file.convert<std::size_t>();
  const auto books = books_file.convert<double>(), x = run.array("x.npy").convert<double>();
  const auto read = io::parse_numeric_csv(run.read("table.csv"));
  double error[3] = {}, hits[3][32] = {};
  for (std::size_t i = 0; i < static_cast<std::size_t>(count); ++i) {
    double left[d];
    for (std::size_t j = 0; j < d; ++j) left[j] = x[i * d + j];
    for (std::size_t q = 0; q < 3; ++q) {
      hits[q][codes[i * 3 + q]] += 1;
      for (std::size_t j = 0; j < d; ++j) {
        left[j] -= books[(q * 32 + codes[i * 3 + q]) * d + j];
        error[q] += left[j] * left[j] / static_cast<double>(count * d);
      }
    }
  }
  CHECK(number_after(encoded.out, "MSE ") == Approx(error[2]).epsilon(1e-6));
  CHECK(number_after(shown.out, "MSE with 3 stages ") == Approx(error[2]).epsilon(1e-6));
  for (std::size_t q = 0; q < 3; ++q) {
    double used = 0, entropy = 0;
    for (const double h : hits[q]) {
      if (h == 0) continue;
      used += 1.0 / 32;
      entropy -= h / static_cast<double>(count) * std::log2(h / static_cast<double>(count));
    }
    const std::string line = encoded.out.substr(encoded.out.find("stage " + std::to_string(q)));
    CHECK(number_after(line, "used ") == Approx(100 * used).epsilon(1e-4));
    CHECK(number_after(line, "perplexity ") == Approx(std::exp2(entropy)).epsilon(1e-7));
    const auto value = [&](const std::string& name) { return read.column(name)[q]; };
    CHECK(value("mse") == Approx(error[q]).epsilon(1e-6));
    CHECK(value("used") == Approx(used).epsilon(1e-12));
    CHECK(value("perplexity") == Approx(std::exp2(entropy)).epsilon(1e-10));
  }
}

TEST_CASE("Decoding adds up the codewords, of all stages or the first ones") {
  const Folder run;
  run.succeeds(run("--model model.rvqm --input x.npy --output codes.npy"));
  const auto codes = run.array("codes.npy").convert<std::size_t>();
  const auto model = quantizer_of({32, 32, 32});
  for (const std::size_t stages : {1u, 2u, 3u}) {
    run.succeeds(
        run.of("decode_rvq", "--model model.rvqm --input codes.npy --output y.npy --stages " + std::to_string(stages)));
    const auto y = run.array("y.npy").convert<float>();
    for (std::size_t i = 0; i < static_cast<std::size_t>(count * d); i += 7) {
      float sum = 0;
      for (std::size_t q = 0; q < stages; ++q)
        sum += model.stages[q].book.codewords.to_vector()[codes[i / d * 3 + q] * d + i % d];
      REQUIRE(y[i] == sum);
    }
  }
}

TEST_CASE("Packed codes are those of the array, in every layout, and decode to the same vectors") {
  const Folder run({32, 5, 100});
  run.succeeds(run("--model model.rvqm --input x.npy --output codes.npy"));
  run.succeeds(run.of("decode_rvq", "--model model.rvqm --input codes.npy --output y.npy"));
  for (const std::string layout : {"frames", "stages", "coded"}) {
    const auto encoded = run("--model model.rvqm --input x.npy --output codes.rvq --packet 500 --layout " + layout);
    run.succeeds(encoded);
    CHECK_THAT(encoded.out, contains("15 bits a vector"));
    if (layout != "coded") {
      const auto stream = rvq::load_code_stream(run.folder / "codes.rvq");
      CHECK(stream.codes().to_vector() == run.array("codes.npy").convert<rvq::Code>());
      CHECK(stream.header.bits == std::vector<int>{5, 3, 7});
      // 3000 vectors of 15 bits in 6 packets, each with 2 bytes for its length.
      CHECK(run.read("codes.rvq").size() == 45 + 6 * (2 + 938));
    }
    run.succeeds(run.of("decode_rvq", "--model model.rvqm --input codes.rvq --output z.npy"));
    CHECK(run.read("z.npy") == run.read("y.npy"));
  }
}

TEST_CASE("A packed file that is cut decodes when its stages follow each other, and is refused otherwise") {
  const Folder run;
  for (const std::string layout : {"stages", "frames"}) {
    run.succeeds(run("--model model.rvqm --input x.npy --output codes.rvq --packet 65535 --layout " + layout));
    run.write("cut.rvq", run.read("codes.rvq").substr(0, 45 + 2 + count * 5 / 8 * 2));
    const auto result = run.of("decode_rvq", "--model model.rvqm --input cut.rvq --output y.npy");
    if (layout == "frames") {
      run.fails(result, 1, "cut off after 0 of 3000 rows");
      continue;
    }
    run.succeeds(result);
    CHECK_THAT(result.err, contains("is cut off"));
    run.succeeds(run.of("decode_rvq", "--model model.rvqm --input codes.rvq --output two.npy --stages 2"));
    CHECK(run.read("y.npy") == run.read("two.npy"));
  }
}

TEST_CASE("Codes depend neither on threads nor on the shape, and fewer stages are the first ones") {
  const Folder run;
  run.succeeds(run("--model model.rvqm --input x.npy --output codes.npy --threads 1"));
  run.succeeds(run("--model model.rvqm --input x.npy --output more.npy --threads 3"));
  CHECK(run.read("codes.npy") == run.read("more.npy"));
  io::save_npy(run.folder / "cube.npy", io::HostArray(vectors_of(3), {count / 10, 10, d}));
  run.succeeds(run("--model model.rvqm --input cube.npy --output cube_codes.npy --stages 2"));
  const auto cube = run.array("cube_codes.npy"), all = run.array("codes.npy");
  CHECK(cube.shape == std::vector<index_t>{count / 10, 10, 2});
  const auto two = cube.convert<int>(), three = all.convert<int>();
  for (std::size_t i = 0; i < two.size(); ++i) REQUIRE(two[i] == three[i / 2 * 3 + i % 2]);
  run.succeeds(run.of("decode_rvq", "--model model.rvqm --input cube_codes.npy --output y.npy"));
  CHECK(run.array("y.npy").shape == std::vector<index_t>{count / 10, 10, d});
}

TEST_CASE("No vectors have no codes") {
  const Folder run;
  io::save_npy(run.folder / "none.npy", io::HostArray(std::vector<float>(), {0, d}));
  run.succeeds(run("--model model.rvqm --input none.npy --output c.npy"));
  CHECK(run.array("c.npy").shape == std::vector<index_t>{0, 3});
  run.succeeds(run("--model model.rvqm --input none.npy --output c.rvq"));
  for (const std::string codes : {"c.npy", "c.rvq"}) {
    run.succeeds(run.of("decode_rvq", "--model model.rvqm --output y.npy --input " + codes));
    CHECK(run.array("y.npy").shape == std::vector<index_t>{0, d});
  }
  run.fails(run.of("inspect_rvq", "--model model.rvqm --input none.npy"), 2, "holds no vectors");
}

TEST_CASE("A beam finds codes of a smaller error") {
  const Folder run;
  const auto greedy = run("--model model.rvqm --input x.npy --output a.npy");
  const auto beam = run("--model model.rvqm --input x.npy --output b.npy --beam 4");
  run.succeeds(beam);
  CHECK(number_after(beam.out, "MSE ") < number_after(greedy.out, "MSE "));
}

TEST_CASE("Stages that are not trained are not used, and said so") {
  const Folder run;
  auto model = quantizer_of({32, 32, 32});
  model.stages[2].book.updates = 99;
  rvq::save_quantizer(run.folder / "two.rvqm", model);
  const auto result = run("--model two.rvqm --input x.npy --output codes.npy --stages 3");
  run.succeeds(result);
  CHECK_THAT(result.err, contains("3 stages requested, 2 used"));
  CHECK(run.array("codes.npy").shape == std::vector<index_t>{count, 2});
  run.succeeds(run.of("inspect_rvq", "--model two.rvqm --codebooks books.npy"));
  CHECK(run.array("books.npy").shape == std::vector<index_t>{2, 32, d});
  run.succeeds(run("--model model.rvqm --input x.npy --output codes.npy"));
  run.fails(run.of("decode_rvq", "--model two.rvqm --input codes.npy --output y.npy"), 2,
            "codes of 3 stages, the model has 2 that are trained");
  model.stages[0].book.updates = 0;
  rvq::save_quantizer(run.folder / "none.rvqm", model);
  run.fails(run("--model none.rvqm --input x.npy --output codes.npy"), 2, "no stage of this quantizer is trained");
}

TEST_CASE("inspect_rvq shows a model without vectors, and stages of different sizes in an archive") {
  const Folder run({8, 16});
  const auto shown = run.of("inspect_rvq", "--model model.rvqm --codebooks books.npz --table t.csv --picture p.svg");
  run.succeeds(shown);
  CHECK_THAT(shown.out, contains("vectors [5], 2 stages, 2 trained"));
  const auto books = io::load_npz(run.folder / "books.npz");
  CHECK(books.at("stage_1").convert<float>() == quantizer_of({8, 16}).stages[1].book.codewords.to_vector());
  run.fails(run.of("inspect_rvq", "--model model.rvqm --codebooks books.npy"), 2, "give FILE.npz");
}

TEST_CASE("encode_rvq refuses vectors that have no codes, naming them") {
  const Folder run;
  auto x = vectors_of(3);
  x[2345 * d + 2] = std::numeric_limits<float>::quiet_NaN();
  io::save_npy(run.folder / "nan.npy", io::HostArray(x, {count, d}));
  run.fails(run("--model model.rvqm --input nan.npy --output c.npy"), 2, "vector 2345 of nan.npy holds a NaN");
  CHECK_FALSE(run.has("c.npy"));
  io::save_npy(run.folder / "wide.npy", io::HostArray(std::vector<float>(12), {2, 6}));
  run.fails(run("--model model.rvqm --input wide.npy --output c.npy"), 2, "the model quantizes vectors [..., 5]");
  io::save_npy(run.folder / "flat.npy", io::HostArray(std::vector<float>(5), {5}));
  run.fails(run("--model model.rvqm --input flat.npy --output c.npy"), 2, "has shape [5]");
  run.fails(run("--model model.rvqm --input x.npy --output c.txt"), 2, "ends in .npy or .rvq");
  run.fails(run("--model model.rvqm --input x.npy --output x.npy"), 2, "choose another");
  run.fails(run("--model model.rvqm --input x.npy --output none/c.npy"), 1, "does not exist");
  run.fails(run("--model model.rvqm --input x.npy --output c.npy --layout stages"), 2, "packed codes");
  run.fails(run("--model model.rvqm --input x.npy --output c.npy --stages 4"), 2, "1 to 3");
  run.fails(run("--model none.rvqm --input x.npy --output c.npy"), 1, "none.rvqm");
  run.fails(run("--model x.npy --input x.npy --output c.npy"), 1, "x.npy");
  run.fails(run("--model model.rvqm --input model.rvqm --output c.npy"), 1, "model.rvqm");
  run.fails(run("--model model.rvqm --output c.npy"), 2, "--input");
}

TEST_CASE("decode_rvq refuses codes that do not exist, damaged files and those of another model") {
  const Folder run;
  const auto decode = [&](const std::string& input) {
    return run.of("decode_rvq", "--model model.rvqm --input " + input + " --output y.npy");
  };
  io::save_npy(run.folder / "c.npy", io::HostArray(std::vector<std::int32_t>{0, 1, 2, 3, 32, 5}, {2, 3}));
  run.fails(decode("c.npy"), 2, "the code 32 of vector 1 in stage 1");
  io::save_npy(run.folder / "c.npy", io::HostArray(std::vector<std::int32_t>(8), {2, 4}));
  run.fails(decode("c.npy"), 2, "has codes of 4 stages, the model has 3");
  io::save_npy(run.folder / "c.npy", io::HostArray(std::vector<float>{0.5f, 1, 2}, {1, 3}));
  run.fails(decode("c.npy"), 2, "not representable");
  // -1 stands for none.
  io::save_npy(run.folder / "c.npy", io::HostArray(std::vector<std::int32_t>{-1, -1, -1}, {1, 3}));
  run.succeeds(decode("c.npy"));
  CHECK(run.array("y.npy").convert<float>() == std::vector<float>(d, 0.0f));

  run.succeeds(run("--model model.rvqm --input x.npy --output c.rvq"));
  std::string bytes = run.read("c.rvq");
  bytes[1000] = static_cast<char>(bytes[1000] ^ 4);
  run.write("damaged.rvq", bytes);
  run.fails(decode("damaged.rvq"), 1, "the codes are damaged");
  rvq::save_quantizer(run.folder / "other.rvqm", quantizer_of({32, 32, 32}, 8));
  run.fails(run.of("decode_rvq", "--model other.rvqm --input c.rvq --output y.npy"), 1, "coded by another model");
  run.fails(run.of("decode_rvq", "--model model.rvqm --input c.rvq --output y.npy --stages 4"), 2, "codes of 3 stages");
  run.fails(run.of("inspect_rvq", "--model model.rvqm --picture p.pdf"), 2, "pdf");
  run.fails(run.of("inspect_rvq", "--model model.rvqm --table model.rvqm"), 2, "is read and cannot be written");
}
