// Models as files: exact round trips, and refusal of everything that does not fit, with the model left as it was.

#include "catch.hpp"
#include "io_support.hpp"

#include <kolmo/backend/cpu.hpp>
#include <kolmo/backend/fake_device.hpp>
#include <kolmo/io/tree.hpp>
#include <kolmo/nn/mlp.hpp>
#include <kolmo/nn/sequential.hpp>

using namespace kolmo;
using kolmo_test::contains;
using Ten = Tensor<float, Cpu>;

namespace {

enum class Padding : std::uint8_t { zeros, circular };

template <class V>
struct Everything {
  V weight;
  V counts;
  index_t steps = 0;
  double best = 0;
  std::vector<std::uint32_t> history;
  std::string remark;
  Padding padding = Padding::zeros;
  double rate = 0.1;
  bool flag = false;
  std::string name;
  std::vector<double> schedule;
  std::optional<nn::Linear<V>> head;

  static void fields(auto&& f, auto&... s) {
    f(param("weight"), s.weight...);
    f(state("counts"), s.counts...);
    f(state("steps"), s.steps...);
    f(state("best"), s.best...);
    f(state("history"), s.history...);
    f(state("remark"), s.remark...);
    f(option("padding"), s.padding...);
    f(option("rate"), s.rate...);
    f(option("flag"), s.flag...);
    f(option("name"), s.name...);
    f(option("schedule"), s.schedule...);
    f(submodule("head"), s.head...);
  }
  template <class U>
  using Rebind = Everything<U>;
};

Everything<Ten> everything() {
  Everything<Ten> x;
  x.weight = Ten::from({1.f, -2.f, 3.f, 0.1f}, Shape{2, 2});
  x.counts = Ten::from({5.f}, Shape{1});
  x.steps = 1234567890123;
  x.best = 0.1;
  x.history = {7, 8};
  x.remark = "a \"b\"\n";
  x.padding = Padding::circular;
  x.rate = 0.30000000000000004;
  x.flag = true;
  x.name = "n";
  x.schedule = {1e-300, 2.5, 3};
  x.head = nn::Linear<Ten>(2, 1);
  return x;
}

nn::Mlp<Ten> network(index_t width = 4) {
  nn::Mlp<Ten> mlp({.inputs = 3, .hidden = {width, width}, .outputs = 2, .layer_norm = true, .dropout = 0.25});
  nn::init(Key{1}, mlp);
  return mlp;
}

}  // namespace

TEST_CASE("every kind of field survives the way through arrays exactly") {
  const auto original = everything();
  const auto copy = io::model_from_arrays<Everything<Ten>>(io::to_arrays(original));
  CHECK(copy.weight.to_vector() == original.weight.to_vector());
  CHECK(copy.weight.shape() == original.weight.shape());
  CHECK(copy.counts.to_vector() == original.counts.to_vector());
  CHECK(copy.steps == original.steps);
  CHECK(copy.best == original.best);
  CHECK(copy.history == original.history);
  CHECK(copy.remark == original.remark);
  CHECK(copy.padding == original.padding);
  CHECK(copy.rate == original.rate);
  CHECK(copy.flag == original.flag);
  CHECK(copy.name == original.name);
  CHECK(copy.schedule == original.schedule);
  REQUIRE(copy.head.has_value());
  CHECK(copy.head->weight.shape() == Shape{2, 1});
  CHECK(io::to_arrays(copy) == io::to_arrays(original));
}

TEST_CASE("a model saved to a file is loaded with its structure, options and bits") {
  const io::test::TemporaryDirectory directory;
  const auto path = directory.path() / "model.safetensors";
  const auto original = network();
  io::save_model(path, original, {{"seed", "1"}});
  const auto loaded = io::load_model<nn::Mlp<Ten>>(path);
  CHECK(io::to_arrays(loaded) == io::to_arrays(original));
  const Ten x = Ten::ones(Shape{2, 3});
  CHECK(loaded(x).to_vector() == original(x).to_vector());
  CHECK(io::load_safetensors(path).metadata.at("seed") == "1");
  CHECK_THROWS_AS(io::save_model(path, original, {{"option:x", "1"}}), ArgumentError);

  auto other = network();
  other.layers[0].bias = Ten::ones(Shape{4});
  io::load_into(path, other);
  CHECK(io::to_arrays(other) == io::to_arrays(original));
}

TEST_CASE("models of a sequence and of a device are saved under the same names") {
  auto sequence = nn::sequential(nn::Linear<Ten>(2, 3), nn::Relu<Ten>{}, nn::LayerNorm<Ten>(3));
  nn::init(Key{3}, sequence);
  const auto arrays = io::to_arrays(sequence);
  CHECK(arrays.find("0.weight") != nullptr);
  CHECK(arrays.find("2.bias") != nullptr);
  CHECK(arrays.metadata.at("option:2.epsilon") == "1e-05");
  const auto bare = io::to_arrays(Ten::ones(Shape{2}));
  CHECK(io::model_from_arrays<Ten>(bare).to_vector() == std::vector<float>{1, 1});

  using Device = Tensor<float, FakeDevice>;
  nn::Linear<Device> linear(2, 2);
  nn::init(Key{5}, linear);
  nn::Linear<Ten> host(2, 2);
  nn::init(Key{5}, host);
  CHECK(io::to_arrays(linear) == io::to_arrays(host));
}

TEST_CASE("arrays that do not fit are refused with a complete list and the model stays as it was") {
  auto model = network();
  const auto before = io::to_arrays(model);
  const auto refused = [&](const io::NamedArrays& arrays, const std::string& text) {
    CHECK_THROWS_WITH(io::from_arrays(model, arrays, "file.safetensors"),
                      contains(text) && contains("file.safetensors"));
    CHECK_THROWS_AS(io::from_arrays(model, arrays), IoError);
    CHECK(io::to_arrays(model) == before);
  };

  SECTION("each array missing in turn") {
    for (std::size_t i = 0; i < before.arrays.size(); ++i) {
      auto arrays = before;
      arrays.arrays.erase(arrays.arrays.begin() + static_cast<std::ptrdiff_t>(i));
      refused(arrays, "missing: " + before.arrays[i].first + ", expected f32 [");
    }
  }
  SECTION("each option, count and flag missing in turn") {
    for (const auto& [key, text] : before.metadata) {
      if (key.starts_with("count:")) continue;
      auto arrays = before;
      arrays.metadata.erase(key);
      refused(arrays, "missing: " + key);
    }
  }
  SECTION("an unexpected array and an unexpected option") {
    auto arrays = before;
    arrays.add("layers.9.weight", io::HostArray::scalar(1.f));
    arrays.metadata["option:width"] = "3";
    refused(arrays, "unexpected: layers.9.weight, f32 []");
    refused(arrays, "unexpected: option:width = 3");
  }
  SECTION("another shape") {
    refused(io::to_arrays(network(5)), "shape: layers.0.weight is f32 [3, 5], expected f32 [3, 4]");
  }
  SECTION("another element type") {
    auto arrays = before;
    for (auto& [name, array] : arrays.arrays)
      if (name == "layers.1.bias") array = io::HostArray(array.convert<double>(), array.shape);
    refused(arrays, "element type: layers.1.bias is f64 [4], expected f32 [4]");
  }
  SECTION("another option") {
    auto other = network();
    other.dropout = 0.5;
    refused(io::to_arrays(other), "option 'dropout': the file has 0.5, the model 0.25");
  }
  SECTION("another number of layers") {
    nn::Mlp<Ten> other({.inputs = 3, .hidden = {4}, .outputs = 2});
    refused(io::to_arrays(other), "length of 'layers': the file has 2, the model 3");
  }
}

TEST_CASE("a file whose parts do not make a model is refused") {
  const auto good = io::to_arrays(network());
  SECTION("norms without layers") {
    auto arrays = good;
    arrays.metadata["option:hidden_blocks"] = "7";
    CHECK_THROWS_WITH(io::model_from_arrays<nn::Mlp<Ten>>(arrays), contains("do not make 7 hidden blocks"));
  }
  SECTION("a length that cannot be") {
    for (const char* text : {"-1", "99999999999", "x", "", "3 "}) {
      auto arrays = good;
      arrays.metadata["count:layers"] = text;
      CHECK_THROWS_WITH(io::model_from_arrays<nn::Mlp<Ten>>(arrays), contains("count:layers"));
    }
  }
  SECTION("an option that is no number") {
    auto arrays = good;
    arrays.metadata["option:dropout"] = "0.5x";
    CHECK_THROWS_WITH(io::model_from_arrays<nn::Mlp<Ten>>(arrays), contains("invalid: option:dropout = 0.5x"));
  }
  SECTION("a bias of another width") {
    auto arrays = good;
    for (auto& [name, array] : arrays.arrays)
      if (name == "layers.1.bias") array = io::HostArray(std::vector<float>{1, 2});
    CHECK_THROWS_WITH(io::model_from_arrays<nn::Mlp<Ten>>(arrays), contains("bias [out], given [4, 4] and [2]"));
  }
}

namespace {

/// A model that got an option, a list and an optional part after its first files were written.
template <class V>
struct Grown {
  V weight;
  double rate = 0.5;
  std::vector<nn::Linear<V>> more;
  std::optional<nn::Linear<V>> head;

  static void fields(auto&& f, auto&... s) {
    f(param("weight"), s.weight...);
    f(option("rate", "0.25"), s.rate...);
    f(submodule("more", "0"), s.more...);
    f(submodule("head", "0"), s.head...);
  }
  template <class U>
  using Rebind = Grown<U>;
};

}  // namespace

TEST_CASE("a file from before an option existed means what the model says that its absence means") {
  io::NamedArrays old;
  old.add("weight", io::HostArray(std::vector<float>{1, 2}));
  const auto model = io::model_from_arrays<Grown<Ten>>(old);
  CHECK(model.rate == 0.25);
  CHECK(model.more.empty());
  CHECK(!model.head);
  // An existing model takes the file only if it means the same.
  Grown<Ten> same = model, other = model;
  other.rate = 0.5;
  CHECK_NOTHROW(io::from_arrays(same, old));
  CHECK_THROWS_WITH(io::from_arrays(other, old), contains("option 'rate': the file has 0.25, the model 0.5"));
  other = model;
  other.more.emplace_back(1, 1);
  CHECK_THROWS_AS(io::from_arrays(other, old), IoError);
  // What is in the file counts.
  io::NamedArrays later = io::to_arrays(model);
  later.metadata["option:rate"] = "0.125";
  CHECK(io::model_from_arrays<Grown<Ten>>(later).rate == 0.125);
}

TEST_CASE("options are written as text that reads back exactly, or not at all") {
  double number = 0;
  CHECK(io::parse_option(io::option_text(0.1), number));
  CHECK(number == 0.1);
  std::vector<index_t> list{9};
  CHECK(io::parse_option(io::option_text(std::vector<index_t>{1, -2}), list));
  CHECK(list == std::vector<index_t>{1, -2});
  CHECK(io::parse_option(std::string_view("[]"), list));
  CHECK(list.empty());
  for (const char* text : {"[1, ", "[1,2]", "1", "[1, ]", "[, 1]", "[1 2]"}) CHECK_FALSE(io::parse_option(text, list));
  bool flag = false;
  CHECK_FALSE(io::parse_option("true", flag));
  int integer = 0;
  CHECK_FALSE(io::parse_option("3.5", integer));
}
