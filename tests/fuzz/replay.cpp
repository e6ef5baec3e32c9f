// Runs a fuzz target without libFuzzer: on every file of a folder, on each of its truncations and single-bit flips, and
// on mutations drawn from a fixed seed, so that a failure can be repeated. Ends by a crash or an exception, as
// libFuzzer does.

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

using Bytes = std::vector<std::uint8_t>;

constexpr std::size_t mutations_per_file = 20000;
constexpr std::size_t exhaustive_bytes = 4096;  // longer files are cut and flipped at evenly spaced places

class Generator {
 public:
  std::size_t below(std::size_t bound) {
    state_ ^= state_ << 13;
    state_ ^= state_ >> 7;
    state_ ^= state_ << 17;
    return static_cast<std::size_t>(state_ % bound);
  }

 private:
  std::uint64_t state_ = 0x9e3779b97f4a7c15u;
};

void run(const Bytes& bytes) { LLVMFuzzerTestOneInput(bytes.data(), bytes.size()); }

Bytes mutate(Bytes bytes, Generator& generator) {
  static constexpr std::uint8_t interesting[] = {0, 1, 9, 10, 13, 32, 34, 44, 45, 48, 57, 92, 123, 125, 127, 128, 255};
  const std::size_t edits = 1 + generator.below(8);
  for (std::size_t edit = 0; edit < edits && !bytes.empty(); ++edit) {
    const std::size_t at = generator.below(bytes.size());
    const auto place = bytes.begin() + static_cast<std::ptrdiff_t>(at);
    const std::size_t length = std::min(1 + generator.below(16), bytes.size() - at);
    switch (generator.below(5)) {
      case 0:
        *place = static_cast<std::uint8_t>(generator.below(256));
        break;
      case 1:
        *place = interesting[generator.below(std::size(interesting))];
        break;
      case 2:
        bytes.erase(place, place + static_cast<std::ptrdiff_t>(length));
        break;
      case 3: {
        const Bytes copy(place, place + static_cast<std::ptrdiff_t>(length));
        const std::size_t to = generator.below(bytes.size() + 1);
        bytes.insert(bytes.begin() + static_cast<std::ptrdiff_t>(to), copy.begin(), copy.end());
        break;
      }
      default:
        std::fill(place, place + static_cast<std::ptrdiff_t>(length),
                  generator.below(2) ? std::uint8_t{255} : std::uint8_t{0});
    }
  }
  return bytes;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: %s FOLDER-OF-VALID-FILES\n", argv[0]);
    return 2;
  }
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(argv[1])) files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  if (files.empty()) {
    std::fprintf(stderr, "%s is empty; put small valid files there to start from\n", argv[1]);
    return 1;
  }

  Generator generator;
  std::size_t cases = 0;
  for (const auto& file : files) {
    std::ifstream stream(file, std::ios::binary);
    const Bytes bytes((std::istreambuf_iterator<char>(stream)), std::istreambuf_iterator<char>());
    run(bytes);
    const std::size_t step = 1 + bytes.size() / exhaustive_bytes;
    for (std::size_t i = 0; i < bytes.size(); i += step) {
      run(Bytes(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(i)));
      for (int bit = 0; bit < 8; ++bit) {
        Bytes flipped = bytes;
        flipped[i] = static_cast<std::uint8_t>(flipped[i] ^ (1u << bit));
        run(flipped);
      }
      cases += 9;
    }
    for (std::size_t i = 0; i < mutations_per_file; ++i) run(mutate(bytes, generator));
    cases += 1 + mutations_per_file;
  }
  std::printf("%zu files, %zu cases\n", files.size(), cases);
  return 0;
}
