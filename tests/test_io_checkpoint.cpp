// A checkpoint is loaded as it was saved or refused: every truncation, every flipped bit, every failing system call and
// every kill during a save.

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <kolmo/io/checkpoint.hpp>
#include <kolmo/io/checkpoint_keeper.hpp>
#include <string>
#include <vector>

#include "catch.hpp"
#include "io_support.hpp"

using namespace kolmo;
using namespace kolmo::io;
using namespace kolmo::io::test;
using Catch::Matchers::Contains;

namespace {

NamedArrays state_of(float value) {
  NamedArrays state;
  state.add("model.weight", HostArray(std::vector<float>{value, 2, 3, 4}, {2, 2}));
  state.add("adam.step", HostArray::scalar(std::int64_t{7}));
  state.add("key\x01", HostArray(std::vector<std::uint64_t>{1, 2}));
  state.add("odd", HostArray(std::vector<std::uint8_t>{1, 2, 3}));
  state.metadata["options"] = "{\"width\": 64}";
  return state;
}

}  // namespace

TEST_CASE("a checkpoint comes back with kind, step, metric and state") {
  TemporaryDirectory dir;
  const Checkpoint saved{"lamf", 1234, 0.1, state_of(1)};
  save_checkpoint(dir / "c", saved);
  CHECK(load_checkpoint(dir / "c", "lamf") == saved);
  CHECK(load_checkpoint(dir / "c", "") == saved);
  // Any safetensors reader opens it.
  CHECK(load_safetensors(dir / "c").at("model.weight").as<float>()[1] == 2.0f);
}

TEST_CASE("a checkpoint of another model, of a newer version or no checkpoint at all is refused by name") {
  const auto bytes = to_checkpoint_bytes({"lamf", 0, {}, state_of(1)});
  CHECK_THAT(error_of([&] { parse_checkpoint(bytes, "rvq"); }),
             Contains("'lamf'") && Contains("expected one of 'rvq'"));
  CHECK_THAT(error_of([&] { parse_checkpoint(to_safetensors(state_of(1)), "lamf", "x.st"); }),
             Contains("x.st") && Contains("'kolmo.version' is missing"));
  NamedArrays newer = parse_safetensors(bytes);
  newer.metadata["kolmo.version"] = "2";
  CHECK_THAT(error_of([&] { parse_checkpoint(to_safetensors(newer), "lamf"); }),
             Contains("'2' found") && Contains("reads 1 to 1"));
}

TEST_CASE("a checkpoint without any one of its fields is refused, and the field is named") {
  const NamedArrays whole = parse_safetensors(to_checkpoint_bytes({"lamf", 3, 1.5, state_of(1)}));
  for (const auto& [key, text] : whole.metadata) {
    NamedArrays part = whole;
    part.metadata.erase(key);
    const std::string message = error_of([&] { parse_checkpoint(to_safetensors(part), "lamf"); });
    CHECK(message != "no error");
  }
  NamedArrays unsummed = whole;
  unsummed.metadata.erase("kolmo.checksum");
  CHECK_THAT(error_of([&] { parse_checkpoint(to_safetensors(unsummed), "lamf"); }),
             Contains("'kolmo.checksum' is missing"));
}

TEST_CASE("reserved metadata and an empty kind are refused on saving") {
  NamedArrays state = state_of(1);
  CHECK_THROWS_AS(to_checkpoint_bytes({"", 0, {}, state}), ArgumentError);
  state.metadata["kolmo.step"] = "9";
  CHECK_THROWS_AS(to_checkpoint_bytes({"lamf", 0, {}, state}), ArgumentError);
}

TEST_CASE("every truncation of a checkpoint is detected") {
  const auto bytes = to_checkpoint_bytes({"lamf", 3, 1.5, state_of(1)});
  for (std::size_t length = 0; length < bytes.size(); ++length) {
    INFO(length);
    REQUIRE_THROWS_AS(parse_checkpoint(std::span(bytes).first(length), ""), IoError);
  }
}

TEST_CASE("every flipped bit of a checkpoint is detected") {
  auto bytes = to_checkpoint_bytes({"lamf", 3, 1.5, state_of(1)});
  for (std::size_t bit = 0; bit < 8 * bytes.size(); ++bit) {
    const auto mask = static_cast<std::byte>(1u << (bit % 8));
    bytes[bit / 8] ^= mask;
    INFO(bit);
    REQUIRE_THROWS_AS(parse_checkpoint(bytes, ""), IoError);
    bytes[bit / 8] ^= mask;
  }
  CHECK_NOTHROW(parse_checkpoint(bytes, ""));
}

TEST_CASE("every changed byte of a checkpoint is detected") {
  NamedArrays small;
  small.add("w", HostArray(std::vector<float>{1, 2}));
  auto bytes = to_checkpoint_bytes({"m", 0, {}, small});
  for (std::size_t at = 0; at < bytes.size(); ++at) {
    for (unsigned change = 1; change < 256; ++change) {
      bytes[at] ^= static_cast<std::byte>(change);
      bool refused = false;
      try {
        parse_checkpoint(bytes, "");
      } catch (const IoError&) {
        refused = true;
      }
      if (!refused) FAIL("byte " << at << " change " << change);
      bytes[at] ^= static_cast<std::byte>(change);
    }
  }
  SUCCEED();
}

TEST_CASE("damage to an array's data is reported with the array's name") {
  auto bytes = to_checkpoint_bytes({"lamf", 3, 1.5, state_of(1)});
  bytes.back() ^= std::byte{1};
  CHECK_THAT(error_of([&] { parse_checkpoint(bytes, "lamf", "run/last"); }),
             Contains("run/last: array 'odd' does not match"));
}

TEST_CASE("the 64-bit hash sees length, order and every bit") {
  std::vector<std::byte> data(100);
  std::vector<std::uint64_t> seen{hash64({})};
  for (std::size_t length = 1; length <= data.size(); ++length) seen.push_back(hash64(std::span(data).first(length)));
  for (std::size_t bit = 0; bit < 8 * data.size(); ++bit) {
    data[bit / 8] ^= static_cast<std::byte>(1u << (bit % 8));
    seen.push_back(hash64(data));
    data[bit / 8] ^= static_cast<std::byte>(1u << (bit % 8));
  }
  std::sort(seen.begin(), seen.end());
  CHECK(std::adjacent_find(seen.begin(), seen.end()) == seen.end());
}

TEST_CASE("CRC-32 and Adler-32 give the published check values") {
  CHECK(crc32(io::detail::as_bytes("123456789")) == 0xcbf43926u);
  CHECK(crc32(io::detail::as_bytes("456789"), crc32(io::detail::as_bytes("123"))) == 0xcbf43926u);
  CHECK(adler32(io::detail::as_bytes("Wikipedia")) == 0x11e60398u);
  CHECK(adler32(std::vector<std::byte>(1000000, std::byte{0xff})) == 0x3843e1beu);
}

TEST_CASE("the keeper keeps the last and the best") {
  TemporaryDirectory dir;
  CheckpointKeeper<> keeper(dir / "run", "toy", RunStart::fresh);
  CHECK_FALSE(keeper.load_last());
  CHECK(keeper.save(1, state_of(1), 0.5));
  CHECK_FALSE(keeper.save(2, state_of(2), 0.7));
  CHECK_FALSE(keeper.save(3, state_of(3), std::nan("")));
  CHECK_FALSE(keeper.save(4, state_of(4)));
  CHECK(keeper.load_last()->step == 4);
  CHECK(keeper.load_best()->step == 1);

  CHECK_THAT(error_of([&] { CheckpointKeeper<>(dir / "run", "toy", RunStart::fresh); }), Contains("exists; resume"));
  CHECK_THAT(error_of([&] { CheckpointKeeper<>(dir / "run", "other", RunStart::resume); }), Contains("'toy'"));
  CheckpointKeeper<> resumed(dir / "run", "toy", RunStart::resume);
  CHECK(resumed.best_metric() == 0.5);
  CHECK_FALSE(resumed.save(5, state_of(5), 0.5));
  CHECK(resumed.save(6, state_of(6), 0.25));
  CHECK(resumed.load_best()->state == state_of(6));
}

TEST_CASE("whichever system call fails in the keeper, last and best stay loadable and a retry succeeds") {
  FaultyCalls::longest_write = 512;
  for (int n = 1;; ++n) {
    TemporaryDirectory dir;
    CheckpointKeeper<FaultyCalls> keeper(dir.path(), "toy", RunStart::fresh);
    FaultyCalls::arm(0, EIO);
    keeper.save(1, state_of(1), 0.5);
    FaultyCalls::arm(n, EIO);
    bool failed = false;
    try {
      keeper.save(2, state_of(2), 0.25);
    } catch (const IoError&) {
      failed = true;
    }
    const int calls = FaultyCalls::calls;
    FaultyCalls::arm(0, EIO);
    INFO("call " << n);
    const auto last = keeper.load_last();
    const auto best = keeper.load_best();
    REQUIRE(last);
    REQUIRE(best);
    CHECK((last->step == 2 || (failed && last->step == 1)));
    CHECK((best->step == 2 || (failed && best->step == 1)));
    CHECK(dir.files().size() == 2);
    keeper.save(2, state_of(2), 0.25);
    CHECK(keeper.load_last()->step == 2);
    CHECK(keeper.load_best()->step == 2);
    if (calls < n) break;
  }
  FaultyCalls::longest_write = 7;
}

TEST_CASE("a run killed at random moments resumes every time and ends with the same bytes") {
  // Each step appends to the state by a fixed rule; checkpoints are saved after every step.
  const auto train = [](const std::filesystem::path& directory) {
    CheckpointKeeper<> keeper(directory, "toy", RunStart::resume);
    float value = 1;
    std::int64_t step = 0;
    if (const auto last = keeper.load_last()) {
      value = last->state.at("model.weight").as<float>()[0];
      step = last->step;
    }
    while (step < 500) {
      value = value * 1.25f - 0.5f;
      ++step;
      keeper.save(step, state_of(value), std::fabs(static_cast<double>(step) - 400.0));
    }
    return 0;
  };
  TemporaryDirectory dir;
  REQUIRE(train(dir / "reference") == 0);
  std::filesystem::create_directories(dir / "killed");
  int kills = 0, inside_a_save = 0;
  std::uint64_t random = 12345;
  for (int run = 0; run < 150; ++run) {
    const pid_t pid = ::fork();
    if (pid == 0) ::_exit(train(dir / "killed"));
    random = random * 6364136223846793005ull + 1442695040888963407ull;
    ::usleep(static_cast<useconds_t>(500 + (random >> 33) % 10000));
    ::kill(pid, SIGKILL);
    int status = 0;
    ::waitpid(pid, &status, 0);
    if (!WIFSIGNALED(status)) {
      REQUIRE(WEXITSTATUS(status) == 0);
      break;
    }
    ++kills;
    for (const auto& entry : std::filesystem::directory_iterator(dir / "killed")) {
      inside_a_save += entry.path().extension() == ".tmp" ? 1 : 0;
    }
  }
  UNSCOPED_INFO(kills << " kills, " << inside_a_save << " inside a save");
  CHECK(kills > 5);
  REQUIRE(train(dir / "killed") == 0);
  for (const char* name : {"last.safetensors", "best.safetensors"}) {
    CHECK(read_file(dir / "killed" / name) == read_file(dir / "reference" / name));
  }
  CHECK(load_checkpoint(dir / "killed" / "best.safetensors", "toy").step == 400);
}
