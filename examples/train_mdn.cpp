// Trains the mixture density network, a start for EM, on generated densities and writes the best model.
//
// test: --train 256 --valid 64 --epochs 2 --seed 3 --width 32 --output mdn.safetensors --picture mdn.svg --restart
// test: --train 256 --valid 64 --epochs 2 --seed 3 --width 32 --output mdn.safetensors --picture mdn.svg --resume
// test: --recipe v1 --K 3 --residual 1 --width 16 --train 128 --valid 64 --batch_size 64 --epochs 1 --output mdn_v1.safetensors --restart

#include "training.hpp"

#include <kolmo/gmm/mdn_train.hpp>

namespace {

using namespace kolmo;
using training::V;

struct Program {
  training::Settings training;
  gmm::MdnOptions model;
  gmm::DensityDistance distance = gmm::DensityDistance::linf;
  double lambda_pdf = 3.0;
  double lambda_mom = 0.0;
  double alpha = 40.0;
  bool convex = false;
};

/// The published versions by their sizes and losses, on the centred densities and coordinates of this library.
Program recipe_v1() {
  Program p;
  p.training.law = gmm::TrainingLaw::v5;
  p.training.train = 80000;
  p.training.valid = 10000;
  p.training.epochs = 100;
  p.training.batch_size = 256;
  p.training.lr = 1e-3;
  p.training.warmup_epochs = 0;
  p.training.scheduler = training::Scheduler::none;
  p.training.weight_decay = 0;
  p.model = gmm::MdnOptions::v1();
  p.lambda_pdf = 0;
  return p;
}
Program recipe_v5() {
  Program p = recipe_v1();
  p.training.train = 150000;
  p.training.valid = 15000;
  p.training.batch_size = 512;
  p.training.lr = 1e-4;
  p.training.patience = 15;
  p.model = gmm::MdnOptions::v5();
  p.distance = gmm::DensityDistance::l2;
  p.lambda_pdf = 0.2;
  p.convex = true;
  return p;
}

const std::map<std::string, gmm::DensityDistance> distances{
    {"l2", gmm::DensityDistance::l2}, {"l1", gmm::DensityDistance::l1}, {"linf", gmm::DensityDistance::linf}};
const std::map<std::string, bool> forms{{"sum", false}, {"convex", true}};

}  // namespace

int main(int argc, char** argv) {
  const std::map<std::string, Program> recipes{{"default", Program{}}, {"v1", recipe_v1()}, {"v5", recipe_v5()}};
  std::string recipe = training::early_option(argc, argv, "--recipe", "default");
  Program program = recipes.contains(recipe) ? recipes.at(recipe) : Program{};
  CLI::App app{
      "Trains the mixture density network (MDN) on generated densities and writes the best model.\n"
      "A run that was interrupted, even killed, goes on with --resume and ends with the same bytes."};
  training::add_options(app, program.training);
  app.add_option("--recipe", recipe, "where the other options start; v1, v5: the published networks")
      ->check(CLI::IsMember({"default", "v1", "v5"}));
  auto* loss = app.add_option_group("Loss", "KL plus the weighted terms");
  training::add_choice(loss, "--pdf_loss", program.distance, distances,
                       "the density error that counts: mean square, mean, smooth maximum");
  loss->add_option("--lambda_pdf", program.lambda_pdf, "its weight")->check(CLI::NonNegativeNumber);
  loss->add_option("--alpha", program.alpha, "sharpness of the smooth maximum")->check(CLI::PositiveNumber);
  loss->add_option("--lambda_mom", program.lambda_mom, "weight of the squared errors of moments 1 to 4")
      ->check(CLI::NonNegativeNumber);
  training::add_choice(loss, "--loss_form", program.convex, forms,
                       "sum: KL + lambda_pdf d; convex: (1 - lambda_pdf) cross entropy + lambda_pdf L2");
  gmm::MdnOptions& m = program.model;
  auto* model = app.add_option_group("Model");
  model->add_option("--N", m.points, "grid points a density is read on")->check(CLI::Range(8, 100000));
  model->add_option("--K", m.components, "normals per mixture")->check(CLI::Range(1, gmm::max_components));
  model->add_option("--width", m.width, "of the hidden layers")->check(CLI::Range(1, 100000));
  model->add_option("--layers", m.layers, "hidden layers")->check(CLI::Range(1, 64));
  model->add_option("--layer_norm", m.layer_norm, "normalise before every layer but the first");
  model->add_option("--residual", m.residual, "add every layer to what it reads");
  model->add_option("--moments", m.moments, "the network also reads the third and fourth moment");
  model->add_option("--dropout", m.dropout, "while training")->check(CLI::Range(0.0, 0.99));
  model->add_option("--sigma_min", m.deviation_floor, "smallest deviation, in grid spacings")
      ->check(CLI::PositiveNumber);
  return training::run_program("train_mdn", app, argc, argv, program.training, [&] {
    const gmm::LamfTrainingLoss training_loss{
        gmm::mdn_loss(program.distance, program.lambda_pdf, program.lambda_mom, program.convex, program.alpha)};
    return training::train_model("train_mdn", gmm::Mdn<V>(program.model), training_loss, program.training, {});
  });
}
