// The program train_lamf, run as a user runs it: its recipes, its log and picture, and going on after an interruption.
// program: train_lamf

#include "catch.hpp"
#include "io_support.hpp"
#include "program.hpp"

#include <sys/wait.h>

#include <cmath>
#include <cstdlib>

#include <kolmo/backend/cpu.hpp>
#include <kolmo/gmm/lamf_fit.hpp>
#include <kolmo/io/csv.hpp>

using namespace kolmo;
using kolmo::io::test::TemporaryDirectory;
using kolmo_test::contains;

namespace {

/// A folder and runs of the program in it.
struct Workshop : kolmo_test::ProgramRuns {

  /// A run that is killed after a short while, if it has not ended by then.
  void killed(const std::string& arguments) const {
    const std::string command = "cd '" + (folder / "").string() + "' && { '" KOLMO_PROGRAM "' " + arguments +
                                " & child=$!; sleep 0.3; kill -9 $child; wait $child; } >out.txt 2>&1";
    const int status = std::system(command.c_str());
    REQUIRE(WIFEXITED(status));
  }
  gmm::Lamf<Tensor<float, Cpu>> model(const std::string& name) const {
    return gmm::load_lamf<Tensor<float, Cpu>>(folder / name);
  }
  std::map<std::string, std::string> notes(const std::string& name) const {
    return io::load_safetensors(folder / name).metadata;
  }
};

const std::string tiny = "--valid 64 --init_hidden_dim 16 --refine_hidden_dim 16 --threads 1 ";

/// Columns of a log by name.
std::map<std::string, std::vector<double>> columns(const std::string& csv) {
  std::map<std::string, std::vector<double>> result;
  std::vector<std::string> names;
  io::CsvReader reader(csv);
  io::CsvRow row;
  while (reader.next(row)) {
    if (names.empty())
      names.assign(row.fields.begin(), row.fields.end());
    else
      for (std::size_t i = 0; i < names.size(); ++i) result[names[i]].push_back(std::stod(std::string(row.fields[i])));
  }
  return result;
}

}  // namespace

TEST_CASE("G-12, G-13: the log has the columns of the model card and of the review, and its terms add up to the loss") {
  const Workshop train_lamf;
  const auto result = train_lamf(tiny + "--train 128 " +
                                 "--epochs 3 --output m.safetensors --log m.csv --picture m.svg --lambda_pdf 0.5 "
                                 "--lambda_pdf_ramp 1 3 --lambda_linf 2 --lambda_topk 0.1 --lambda_mom 0.01");
  CAPTURE(result.err);
  REQUIRE(result.code == 0);
  auto log = columns(train_lamf.read("m.csv"));
  for (const char* name :
       {"epoch",    "skipped",   "learning_rate", "train_ce",  "val_ce",         "val_pdf_linf", "val_cdf_linf",
        "val_kl",   "sigma_min", "sigma_median",  "sigma_max", "share_at_floor", "peak_min",     "peak_mean",
        "peak_max", "w_min",     "w_sum_min",     "w_sum_max", "area_min",       "area_mean",    "area_max"}) {
    CAPTURE(name);
    CHECK(log.at(name).size() == 3);
  }
  for (std::size_t i = 0; i < 3; ++i) {
    CHECK(log["val_loss"][i] == Approx(log["loss_main"][i] + log["loss_pdf"][i] + log["loss_l1"][i] +
                                       log["loss_linf"][i] + log["loss_topk"][i] + log["loss_mom"][i])
                                    .epsilon(1e-12));
    CHECK(log["metric"][i] == log["val_pdf_linf"][i]);
    CHECK(log["skipped"][i] == 0);
  }
  CHECK(log["loss_pdf"][0] == 0);
  CHECK(log["loss_pdf"][1] > 0);
  CHECK(log["loss_mom"][0] > 0);
  CHECK_THAT(train_lamf.read("m.svg"), contains("</svg>") && contains("validation"));
}

TEST_CASE("a run that is resumed keeps its log and picture and ends with the same model") {
  const Workshop train_lamf;
  const std::string options =
      tiny + "--train 2048 --T 2 --scheduler_type plateau --ema_decay 0.9 --dropout 0.1 --eta_switch 2 ";
  REQUIRE(train_lamf(options + "--epochs 4 --output whole.safetensors --picture whole.svg").code == 0);
  // Killed by the clock at some step of some epoch, then resumed.
  train_lamf.killed(options + "--epochs 4 --output part.safetensors --picture part.svg --checkpoint_every 1");
  std::filesystem::remove(train_lamf.folder / "part.safetensors");
  const auto resumed =
      train_lamf(options + "--epochs 4 --output part.safetensors --picture part.svg --checkpoint_every 1 --resume");
  CAPTURE(resumed.err);
  REQUIRE(resumed.code == 0);
  CHECK(train_lamf.read("part.safetensors") == train_lamf.read("whole.safetensors"));
  auto whole = columns(train_lamf.read("whole.safetensors.run/log.csv")),
       part = columns(train_lamf.read("part.safetensors.run/log.csv"));
  whole.erase("seconds");
  part.erase("seconds");
  CHECK(part == whole);
  CHECK(part["epoch"] == std::vector<double>{1, 2, 3, 4});
  CHECK(train_lamf.has("part.svg"));
}

TEST_CASE("the recipe of the model card sets every option that the card names, and options change it") {
  const Workshop train_lamf;
  REQUIRE(train_lamf("--recipe v4 --train 64 --valid 32 --epochs 1 --output v4.safetensors --quiet").code == 0);
  const auto model = train_lamf.model("v4.safetensors");
  const gmm::LamfOptions& o = model.options;
  CHECK(o.points == 96);
  CHECK(o.components == 5);
  CHECK(o.iterations == 6);
  CHECK(o.init_width == 256);
  CHECK(o.init_layers == 3);
  CHECK(o.refine_width == 128);
  CHECK(o.refine_layers == 2);
  CHECK(o.share_refine_weights);
  CHECK(o.dropout == 0.2);
  CHECK(o.deviation_floor == 0.01);
  CHECK(o.deviation_largest == 5);
  CHECK(o.least_weight == 0);
  CHECK(o.correction_scale == 0.5);
  CHECK(o.coordinates == gmm::Coordinates::absolute);
  // The published count has heads of their own for four kinds of outputs, which is the same number of weights.
  CHECK(parameter_count(model) == 229908);
  auto notes = train_lamf.notes("v4.safetensors");
  const std::map<std::string, std::string> card{{"lr", "0.001"},        {"batch", "64"},
                                                {"warmup_epochs", "5"}, {"scheduler_type", "cosine"},
                                                {"lambda_pdf", "0.2"},  {"weight_decay", "0.001"},
                                                {"clip_norm", "1"},     {"patience", "20"},
                                                {"lambda_mom", "0"},    {"lambda_linf", "0"},
                                                {"lambda_topk", "0"},   {"convex", "1"},
                                                {"supervision", "0"},   {"seed", "42"},
                                                {"ema_decay", "0"}};
  for (const auto& [name, text] : card) {
    CAPTURE(name);
    CHECK(notes["train:" + name] == text);
  }
  REQUIRE(
      train_lamf("--recipe=v4 --sigma_min 0.1 --pi_min 0.01 --share_refine_weights false --T 2 --train 64 --valid 32 "
                 "--epochs 1 --output other.safetensors --quiet")
          .code == 0);
  const auto other = train_lamf.model("other.safetensors");
  CHECK(other.options.deviation_floor == 0.1);
  CHECK(other.options.least_weight == 0.01);
  CHECK(other.later_refine_networks.size() == 1);
  CHECK(other.options.deviation_largest == 5);
}

TEST_CASE("any number of components and points trains with the same command") {
  const Workshop train_lamf;
  for (const char* k : {"2", "8"}) {
    const std::string name = std::string("k") + k + ".safetensors";
    REQUIRE(train_lamf(tiny + "--train 128 --epochs 1 --N 64 --K " + k + " --output " + name).code == 0);
    CHECK(std::to_string(train_lamf.model(name).options.components) == k);
  }
}

TEST_CASE("a training that breaks its weights does not end with a model") {
  const Workshop train_lamf;
  const auto result =
      train_lamf(tiny + "--train 128 --epochs 2 --T 2 --lr 1e30 --output m.safetensors --log m.csv --picture m.svg");
  CAPTURE(result.err);
  CHECK(result.code == 1);
  CHECK_THAT(result.err, contains("no epoch had a finite validation error"));
  CHECK_FALSE(train_lamf.has("m.safetensors"));
  CHECK(train_lamf.has("m.svg"));
  CHECK_THAT(train_lamf.read("m.csv"), contains("inf"));
}

TEST_CASE("wrong arguments end with 2, runs that cannot begin with 1, and both say why") {
  const Workshop train_lamf;
  for (const auto& [arguments, message] : std::vector<std::pair<std::string, std::string>>{
           {"--output m.safetensors --recipe v3", "--recipe"},
           {"--output m.safetensors --eta_schedule last", "--eta_schedule"},
           {"--output m.safetensors --scheduler_type exp", "--scheduler_type"},
           {"--output m.safetensors --sigma_min 0", "--sigma_min"},
           {"--epochs 1", "--output"}}) {
    const auto result = train_lamf(arguments);
    CAPTURE(arguments);
    CHECK(result.code == 2);
    CHECK_THAT(result.out + result.err, contains(message));
  }
  for (const auto& [arguments, message] : std::vector<std::pair<std::string, std::string>>{
           {tiny + "--train 128 --output m.safetensors --picture m.jpg", "must end in .svg or .png"},
           {tiny + "--train 128 --output m.safetensors --log ./m.safetensors", "--log and --output are the same file"},
           {tiny + "--train 128 --output m.svg --picture ./m.svg", "--output and --picture are the same file"},
           {tiny + "--train 128 --output m.safetensors --log m.svg --picture m.svg", "--log and --picture are the same"},
           {tiny + "--train 128 --output m.safetensors --picture nowhere/m.svg", "the folder nowhere does not exist"},
           {tiny + "--train 128 --output m.safetensors --batch_size 1000", "makes no batch of 1000"},
           {tiny + "--train 128 --output m.safetensors --K 5 --pi_min 0.3", "do not sum to one"},
           {tiny + "--train 128 --output m.safetensors --coordinates absolute --sigma_min 6 --sigma_max 5",
            "must be below"},
           {tiny + "--train 128 --output m.safetensors --z_min 3 --z_max 1", "the grid from 3"}}) {
    const auto result = train_lamf(arguments);
    CAPTURE(arguments);
    CHECK(result.code == 1);
    CHECK_THAT(result.err, contains(message));
  }
}
