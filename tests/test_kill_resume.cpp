// A training run killed by SIGKILL at random moments, also in the middle of a save: every resume succeeds, and the
// checkpoints, the log and the final model have the bytes of a run that nobody disturbed.
//
// The program starts itself as the process to be killed.

#include "catch.hpp"
#include "io_support.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <thread>

#include <kolmo/backend/cpu.hpp>
#include <kolmo/nn/mlp.hpp>
#include <kolmo/ops/reduce.hpp>
#include <kolmo/optim/adam.hpp>
#include <kolmo/optim/callbacks.hpp>
#include <kolmo/optim/samples.hpp>
#include <kolmo/optim/schedules.hpp>
#include <kolmo/optim/train.hpp>

using namespace kolmo;
using Ten = Tensor<float, Cpu>;
using Net = nn::Mlp<Ten>;

namespace {

constexpr index_t epochs = 12;

struct SquaredError {
  auto operator()(const auto& model, const auto& batch, const nn::Pass& pass) const {
    const auto& [x, y] = batch;
    return mean(square(model(x, pass) - y));
  }
};

/// The run that is killed: saves after every step.
void train_in(const std::filesystem::path& directory) {
  const Ten x = nn::normal_values<Ten>(Key{1}, Shape{64, 4});
  const optim::Samples<Ten, Ten> data(x, sum(sin(x), {-1}, true));
  Net net({.inputs = 4, .hidden = {16, 16}, .outputs = 1, .layer_norm = true, .dropout = 0.1});
  nn::init(Key{2}, net);
  const auto optimiser = optim::adamw({.weight_decay = 1e-3});
  optim::TrainOptions options;
  options.epochs = epochs;
  options.batch = 8;
  options.shards = 2;
  options.clip_norm = 1;
  options.ema_decay = 0.95;
  options.early_stopping = optim::EarlyStopping{.patience = 0};
  options.schedule = optim::warm_up_cosine({.learning_rate = 5e-3, .warm_up = 2, .epochs = epochs});
  options.key = Key{3};
  optim::Checkpoint checkpoint(directory, "regression",
                               {.every_steps = 1, .keep_best = true, .start = io::RunStart::resume});
  optim::CsvLog log(directory / "log.csv", {.start = io::RunStart::resume});
  auto state = optim::start_training(net, optimiser, options);
  checkpoint.resume(state, options);
  const auto result = optim::train(state, optimiser, data, SquaredError{}, options, log, checkpoint);
  if (result.status != optim::TrainStatus::finished) throw Error("the training did not finish");
  io::save_model(directory / "model.safetensors", *state.best.model);
}

/// Starts this program as a training process.
pid_t start_training_process(const std::filesystem::path& directory, int threads) {
  const std::string place = "KOLMO_TEST_DIRECTORY=" + directory.string();
  const std::string count = "KOLMO_TEST_THREADS=" + std::to_string(threads);
  const std::string output = directory.string() + ".output";
  std::vector<char*> environment;
  for (char** variable = environ; *variable != nullptr; ++variable) environment.push_back(*variable);
  environment.push_back(const_cast<char*>(place.c_str()));
  environment.push_back(const_cast<char*>(count.c_str()));
  environment.push_back(nullptr);
  char program[] = "/proc/self/exe", name[] = "the process to be killed";
  char* arguments[] = {program, name, nullptr};
  const pid_t child = ::fork();
  if (child != 0) return child;
  // Only calls that are safe between fork and exec.
  const int file = ::open(output.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0666);
  ::dup2(file, 1);
  ::dup2(file, 2);
  ::execve("/proc/self/exe", arguments, environment.data());
  ::_exit(99);
}

int wait_for(pid_t child) {
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return status;
}

/// Bytes of every file of a run.
std::map<std::string, std::vector<std::byte>> contents(const std::filesystem::path& directory) {
  std::map<std::string, std::vector<std::byte>> files;
  for (const auto& entry : std::filesystem::directory_iterator(directory))
    files[entry.path().filename().string()] = io::read_file(entry.path());
  return files;
}

void kill_and_resume(int wanted) {
  const io::test::TemporaryDirectory place;
  std::filesystem::create_directory(place / "whole");
  const auto begin = std::chrono::steady_clock::now();
  REQUIRE(wait_for(start_training_process(place / "whole", 1)) == 0);
  const double duration = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  const auto expected = contents(place / "whole");
  REQUIRE(expected.size() == 4);
  REQUIRE(expected.at("log.csv").size() > 100);

  int kills = 0, runs = 0;
  std::uint64_t draws = 0;
  while (kills < wanted) {
    const auto directory = place / ("run" + std::to_string(runs++));
    std::filesystem::create_directory(directory);
    for (int attempt = 0;; ++attempt) {
      REQUIRE(attempt < 1000);
      const pid_t child = start_training_process(directory, 1 + attempt % 2);
      REQUIRE(child > 0);
      const double delay = kills < wanted ? 0.5 * duration * uniform<double>(Key{4}, draws++) : 1e9;
      const auto start = std::chrono::steady_clock::now();
      int status = 0;
      pid_t ended = 0;
      while ((ended = ::waitpid(child, &status, WNOHANG)) == 0 &&
             std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() < delay)
        std::this_thread::sleep_for(std::chrono::microseconds(200));
      if (ended == 0) {
        ::kill(child, SIGKILL);
        status = wait_for(child);
      }
      if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) {
        ++kills;
        continue;
      }
      INFO(io::read_text_file(directory.string() + ".output"));
      REQUIRE(status == 0);
      break;
    }
    const auto found = contents(directory);
    REQUIRE(found.size() == expected.size());
    for (const auto& [name, bytes] : expected) {
      INFO(name << " after " << kills << " kills");
      REQUIRE((found.at(name) == bytes));
    }
    std::filesystem::remove_all(directory);
  }
  CHECK(kills >= wanted);
}

}  // namespace

TEST_CASE("the process to be killed", "[.]") {
  const char* directory = std::getenv("KOLMO_TEST_DIRECTORY");
  if (directory == nullptr) return;
  threads::set_count(std::atoi(std::getenv("KOLMO_TEST_THREADS")));
  train_in(directory);
}

TEST_CASE("twenty kills at random moments lose nothing") { kill_and_resume(20); }

TEST_CASE("five hundred kills at random moments lose nothing", "[long]") { kill_and_resume(500); }
