// Event files for TensorBoard, read back by a decoder of TFRecords and protocol buffers that shares nothing with the
// writer.

#include "catch.hpp"
#include "io_support.hpp"

#include <cstring>
#include <map>
#include <set>

#include <kolmo/backend/eigen.hpp>
#include <kolmo/io/tensorboard.hpp>
#include <kolmo/nn/layers.hpp>
#include <kolmo/ops/reduce.hpp>
#include <kolmo/optim/samples.hpp>
#include <kolmo/optim/sgd.hpp>
#include <kolmo/optim/tensorboard_log.hpp>
#include <kolmo/optim/train.hpp>

using namespace kolmo;
using kolmo::io::test::FaultyCalls;
using kolmo::io::test::TemporaryDirectory;
using kolmo_test::contains;
using Ten = Tensor<float, Cpu>;

namespace {

/// Castagnoli's polynomial, bit by bit.
std::uint32_t slow_crc32c(std::string_view bytes) {
  std::uint32_t c = 0xffffffffu;
  for (const char byte : bytes) {
    c ^= static_cast<unsigned char>(byte);
    for (int bit = 0; bit < 8; ++bit) c = (c & 1u) != 0 ? (c >> 1) ^ 0x82f63b78u : c >> 1;
  }
  return ~c;
}
std::uint32_t masked(std::string_view bytes) {
  const std::uint32_t c = slow_crc32c(bytes);
  return ((c >> 15) | (c << 17)) + 0xa282ead8u;
}
template <class T>
T number_at(std::string_view bytes, std::size_t place) {
  T value;
  REQUIRE(place + sizeof(T) <= bytes.size());
  std::memcpy(&value, bytes.data() + place, sizeof(T));
  return value;
}

/// Fields of a message: numbers as their bits, the rest as bytes.
using Message = std::multimap<std::uint64_t, std::string>;
Message decode(std::string_view bytes) {
  Message message;
  std::size_t at = 0;
  const auto varint = [&] {
    std::uint64_t value = 0;
    for (int shift = 0;; shift += 7) {
      REQUIRE(at < bytes.size());
      const auto byte = static_cast<unsigned char>(bytes[at++]);
      value |= static_cast<std::uint64_t>(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
  };
  while (at < bytes.size()) {
    const std::uint64_t key = varint();
    std::size_t length = 0;
    std::string value;
    if (key % 8 == 0) {
      value = std::to_string(varint());
    } else {
      length = key % 8 == 1 ? 8 : key % 8 == 5 ? 4 : varint();
      REQUIRE(at + length <= bytes.size());
      value = bytes.substr(at, length);
      at += length;
    }
    message.emplace(key / 8, value);
  }
  return message;
}
const std::string& field(const Message& message, std::uint64_t number) {
  REQUIRE(message.count(number) == 1);
  return message.find(number)->second;
}

/// The events of a file; a last record that is not complete is left out.
std::vector<Message> events(const std::filesystem::path& path) {
  const std::string bytes = io::read_text_file(path);
  std::vector<Message> result;
  std::size_t at = 0;
  while (at + 12 <= bytes.size()) {
    const auto length = static_cast<std::size_t>(number_at<std::uint64_t>(bytes, at));
    REQUIRE(number_at<std::uint32_t>(bytes, at + 8) == masked(std::string_view(bytes).substr(at, 8)));
    if (at + 16 + length > bytes.size()) break;
    const std::string_view data = std::string_view(bytes).substr(at + 12, length);
    REQUIRE(number_at<std::uint32_t>(bytes, at + 12 + length) == masked(data));
    result.push_back(decode(data));
    at += 16 + length;
  }
  return result;
}
std::int64_t step_of(const Message& event) { return event.count(2) == 0 ? 0 : std::stoll(field(event, 2)); }

/// The scalars of a folder as TensorBoard shows them: files in the order of their names, steps from a start on dropped.
std::map<std::string, std::map<std::int64_t, float>> scalars(const std::filesystem::path& folder) {
  std::set<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) files.insert(entry.path());
  std::map<std::string, std::map<std::int64_t, float>> shown;
  for (const auto& file : files)
    for (const Message& event : events(file)) {
      if (event.count(7) == 1) {
        CHECK(field(decode(field(event, 7)), 1) == "1");
        for (auto& [tag, points] : shown) points.erase(points.lower_bound(step_of(event)), points.end());
      }
      if (event.count(5) == 0) continue;
      const Message summary = decode(field(event, 5));
      for (const auto& [number, bytes] : summary) {
        const Message value = decode(bytes);
        if (value.count(2) == 0) continue;
        auto& points = shown[field(value, 1)];
        CHECK(points.count(step_of(event)) == 0);
        points[step_of(event)] = number_at<float>(field(value, 2), 0);
      }
    }
  return shown;
}

}  // namespace

TEST_CASE("CRC-32C has the check value of its definition") {
  CHECK(io::crc32c(io::detail::as_bytes("123456789")) == 0xe3069283u);
  CHECK(io::crc32c({}) == 0);
  std::string text;
  for (int i = 0; i < 100; ++i) {
    text += static_cast<char>(i * 37);
    CHECK(io::crc32c(io::detail::as_bytes(text)) == slow_crc32c(text));
  }
}

TEST_CASE("an event file holds its version, scalars, a picture and a text") {
  const TemporaryDirectory dir;
  double time = 1700000000.25;
  io::TensorBoard<> board(dir / "run", [&] { return time += 1; });
  CHECK(board.path().filename().string() == "events.out.tfevents.1700000001.kolmo");
  board.scalars(1, {{"loss/train", 0.5}, {"loss/valid", 0.25}});
  io::Image image(3, 2, {10, 20, 30});
  board.picture("sample", 300, image);
  board.text("settings", 5000000000, "**batch** 64");
  board.sync();

  const auto all = events(board.path());
  REQUIRE(all.size() == 4);
  CHECK(number_at<double>(field(all[0], 1), 0) == 1700000002.25);
  CHECK(field(all[0], 3) == "brain.Event:2");
  CHECK(step_of(all[1]) == 1);
  CHECK(scalars(dir / "run") == std::map<std::string, std::map<std::int64_t, float>>{{"loss/train", {{1, 0.5f}}},
                                                                                     {"loss/valid", {{1, 0.25f}}}});
  const Message picture = decode(field(decode(field(all[2], 5)), 1));
  CHECK(step_of(all[2]) == 300);
  CHECK(field(picture, 1) == "sample");
  const Message encoded = decode(field(picture, 4));
  CHECK(field(encoded, 1) == "2");
  CHECK(field(encoded, 2) == "3");
  CHECK(field(encoded, 3) == "3");
  CHECK(field(encoded, 4) == io::to_png(image));
  const Message text = decode(field(decode(field(all[3], 5)), 1));
  CHECK(step_of(all[3]) == 5000000000);
  CHECK(field(decode(field(decode(field(text, 9)), 1)), 1) == "text");
  const Message tensor = decode(field(text, 8));
  CHECK(field(tensor, 1) == "7");
  CHECK(field(tensor, 8) == "**batch** 64");
  CHECK(field(decode(field(decode(field(tensor, 2)), 2)), 1) == "1");
}

TEST_CASE("a run that continues repeats no step, and a fresh one does not mix with another") {
  const TemporaryDirectory dir;
  const auto clock = [] { return 1700000000.0; };
  {
    io::TensorBoard<> board(dir / "run", clock);
    for (int step = 1; step <= 5; ++step) board.scalar("loss", step, step);
  }
  CHECK_THROWS_WITH(io::TensorBoard<>(dir / "run", clock), contains("holds the events of another run"));
  // Killed in the middle of a record.
  const auto first = dir / "run" / "events.out.tfevents.1700000000.kolmo";
  std::filesystem::resize_file(first, std::filesystem::file_size(first) - 3);
  {
    auto board = io::TensorBoard<>::resume(dir / "run", 3, clock);
    CHECK(board.path().filename().string() == "events.out.tfevents.1700000001.kolmo");
    for (int step = 4; step <= 6; ++step) board.scalar("loss", step, -step);
  }
  CHECK(scalars(dir / "run")["loss"] ==
        std::map<std::int64_t, float>{{1, 1.0f}, {2, 2.0f}, {3, 3.0f}, {4, -4.0f}, {5, -5.0f}, {6, -6.0f}});
  // Nothing to go on with: a run begins.
  auto board = io::TensorBoard<>::resume(dir / "other", 3, clock);
  CHECK(events(board.path()).size() == 1);
}

TEST_CASE("a record that cannot be written is an error and leaves the file as it was") {
  const TemporaryDirectory dir;
  FaultyCalls::arm(0, ENOSPC);
  io::TensorBoard<FaultyCalls> board(dir / "run", [] { return 1700000000.0; });
  board.scalar("loss", 1, 1);
  FaultyCalls::arm(3, ENOSPC);
  CHECK_THROWS_AS(board.scalar("loss", 2, 2), IoError);
  FaultyCalls::arm(0, ENOSPC);
  board.scalar("loss", 3, 3);
  CHECK(scalars(dir / "run")["loss"] == std::map<std::int64_t, float>{{1, 1.0f}, {3, 3.0f}});
  io::write_atomically(dir / "file", "x");
  CHECK_THROWS_AS(io::TensorBoard<>(dir / "file"), IoError);
}

namespace {

struct SquaredError {
  auto operator()(const auto& model, const auto& batch) const { return mean(square(model(batch))); }
};
struct StopAt {
  index_t step;
  bool on_step(auto& info) const { return info.step != step; }
};

}  // namespace

TEST_CASE("training writes its curves and what the hook adds, also when it was stopped within an epoch") {
  const TemporaryDirectory dir;
  const optim::Samples<Ten> data(Ten::ones({12, 2}));
  const optim::Sgd sgd({.learning_rate = 0.1});
  optim::TrainOptions options;
  options.epochs = 4;
  options.batch = 4;
  nn::Linear<Ten> model(2, 1);
  nn::init(Key{1}, model);
  const auto hook = [](auto& board, auto& info) { board.scalar("hook", info.step, static_cast<double>(info.epoch)); };
  const auto run = [&](const char* folder, auto& state, io::RunStart start, index_t stop) {
    optim::TensorBoardLog log(dir / folder, {.every_steps = 1, .hook_every = 2, .start = start}, hook);
    optim::train(state, sgd, data, SquaredError{}, options, log, StopAt{stop});
  };
  auto whole = optim::start_training(model, sgd, options), parts = whole;
  run("whole", whole, io::RunStart::fresh, 0);
  const auto expected = scalars(dir / "whole");
  CHECK(expected.size() == 6);
  CHECK(expected.at("loss/train").size() == 12);
  CHECK(expected.at("loss/metric").size() == 4);
  CHECK(expected.at("train/learning_rate").at(7) == 0.1f);
  CHECK(expected.at("train/gradient_norm").at(1) > 0);
  CHECK(expected.at("hook") == std::map<std::int64_t, float>{{6, 2.0f}, {12, 4.0f}});

  run("parts", parts, io::RunStart::fresh, 5);
  auto earlier = parts;
  run("parts", parts, io::RunStart::resume, 9);
  // The checkpoint is older than the events: those after it are dropped.
  run("parts", earlier, io::RunStart::resume, 0);
  CHECK(scalars(dir / "parts") == expected);
  CHECK_THROWS_AS(run("parts", parts, io::RunStart::fresh, 0), IoError);
  CHECK_THROWS_AS(optim::TensorBoardLog<>(dir / "x", {.every_steps = -1}), ArgumentError);
}
