// Trains the learned mixture fitter on generated densities and writes the best model.
//
// test: --train 256 --valid 64 --epochs 2 --seed 3 --output tiny.safetensors --log tiny.csv --picture tiny.svg --restart
// test: --train 256 --valid 64 --epochs 2 --seed 3 --output tiny.safetensors --log tiny.csv --picture tiny.svg --resume
// test: --recipe v4 --K 3 --T 2 --train 128 --valid 64 --epochs 1 --init_hidden_dim 16 --refine_hidden_dim 16 --output v4.safetensors --restart
// test: --init_net points --init_hidden_dim 16 --N 32 --T 2 --train 64 --valid 16 --epochs 1 --output points.safetensors --restart

#include "training.hpp"

#include <kolmo/gmm/lamf_point_network.hpp>

namespace {

using namespace kolmo;
using training::V;

enum class InitialNetwork { mlp, points };

struct Program {
  training::Settings training;
  gmm::LamfOptions model;
  gmm::LamfTrainingLoss loss;
  InitialNetwork network = InitialNetwork::mlp;
};

/// The model card of the fourth version, in the coordinates and with the features and data of its program.
Program recipe_v4() {
  Program p;
  p.training.epochs = 50;
  p.training.law = gmm::TrainingLaw::original;
  p.training.lr = 1e-3;
  p.training.warmup_epochs = 5;
  p.training.schedule_unit = optim::ScheduleUnit::epoch;
  p.training.weight_decay = 1e-3;
  p.model.dropout = 0.2;
  p.model.deviation_floor = 0.01;
  p.model.deviation_largest = 5.0;
  p.model.coordinates = gmm::Coordinates::absolute;
  p.model.features = gmm::LamfFeatures::card;
  p.model.share_blend = true;
  p.model.ordered = false;
  p.loss.terms.convex = true;
  p.loss.terms.l2 = 0.2;
  return p;
}

/// Half the card's widths and four refinements: the polish of a fit costs less than what the rest would gain.
Program recipe_default() {
  Program p;
  p.model.iterations = 4;
  p.model.init_width = 128;
  p.model.refine_width = 64;
  p.loss.terms.soft_max = 3.0;
  p.loss.terms.alpha = 40.0;
  return p;
}

const std::map<std::string, gmm::Supervision> supervisions{{"final_only", gmm::Supervision::final_only},
                                                           {"linear", gmm::Supervision::linear},
                                                           {"uniform", gmm::Supervision::uniform}};
const std::map<std::string, gmm::Coordinates> coordinates{{"standardised", gmm::Coordinates::standardised},
                                                          {"relative", gmm::Coordinates::relative},
                                                          {"absolute", gmm::Coordinates::absolute}};
const std::map<std::string, gmm::LamfFeatures> features{{"extended", gmm::LamfFeatures::extended},
                                                        {"card", gmm::LamfFeatures::card}};
const std::map<std::string, nn::Positions> positions{
    {"none", nn::Positions::none}, {"sinusoidal", nn::Positions::sinusoidal}, {"learned", nn::Positions::learned}};
const std::map<std::string, InitialNetwork> networks{{"mlp", InitialNetwork::mlp}, {"points", InitialNetwork::points}};
const std::map<std::string, bool> forms{{"sum", false}, {"convex", true}};
const std::map<std::string, bool> squares{{"mean", false}, {"integral", true}};

void add_loss_options(CLI::App& app, gmm::LamfTrainingLoss& loss) {
  auto* group = app.add_option_group("Loss", "KL plus the weighted terms");
  group->add_option("--lambda_pdf", loss.terms.l2, "weight of the mean squared density error")
      ->check(CLI::NonNegativeNumber);
  group
      ->add_option(
          "--lambda_pdf_ramp",
          [&loss](const CLI::results_t& text) {
            return CLI::detail::lexical_cast(text[0], loss.l2_ramp.first) &&
                   CLI::detail::lexical_cast(text[1], loss.l2_ramp.last);
          },
          "epochs FIRST LAST between which lambda_pdf grows from 0; 0 0: none")
      ->expected(2);
  group->add_option("--lambda_linf", loss.terms.soft_max, "weight of the smooth largest density error")
      ->check(CLI::NonNegativeNumber);
  group
      ->add_option(
          "--lambda_linf_ramp",
          [&loss](const CLI::results_t& text) {
            return CLI::detail::lexical_cast(text[0], loss.soft_max_ramp.first) &&
                   CLI::detail::lexical_cast(text[1], loss.soft_max_ramp.last);
          },
          "epochs FIRST LAST between which lambda_linf grows from 0; 0 0: none")
      ->expected(2);
  group->add_option("--alpha", loss.terms.alpha, "sharpness of the smooth maximum")->check(CLI::PositiveNumber);
  group->add_option("--lambda_topk", loss.terms.top, "weight of the mean of the largest errors")
      ->check(CLI::NonNegativeNumber);
  group->add_option("--topk", loss.terms.top_count, "how many of them")->check(CLI::Range(1, 100000));
  group->add_option("--lambda_mom", loss.terms.moments, "weight of the squared errors of moments 1 to 4")
      ->check(CLI::NonNegativeNumber);
  training::add_choice(group, "--loss_form", loss.terms.convex, forms,
                       "sum: KL + lambda_pdf L2; convex: (1 - lambda_pdf) cross entropy + lambda_pdf L2");
  training::add_choice(group, "--l2_form", loss.terms.l2_integral, squares,
                       "mean: the mean of the squared errors; integral: their sum times the spacing");
  training::add_choice(group, "--eta_schedule", loss.supervision, supervisions, "which iterations count");
  group->add_option("--eta_switch", loss.linear_from, "epoch from which eta is linear; 0: never")
      ->check(CLI::NonNegativeNumber);
}

void add_model_options(CLI::App& app, Program& program) {
  gmm::LamfOptions& m = program.model;
  auto* group = app.add_option_group("Model");
  group->add_option("--N", m.points, "grid points a density is read on")->check(CLI::Range(8, 100000));
  group->add_option("--K", m.components, "normals per mixture")->check(CLI::Range(1, gmm::max_components));
  group->add_option("--T", m.iterations, "refinements")->check(CLI::Range(0, 1000));
  group->add_option("--z_min", m.first_point, "first point of the grid of the training densities");
  group->add_option("--z_max", m.last_point, "last point");
  training::add_choice(group, "--coordinates", m.coordinates, coordinates,
                       "a density is seen at (z - mean) / sd, z - mean, or z");
  training::add_choice(group, "--features", m.features, features, "what the networks read");
  training::add_choice(group, "--init_net", program.network, networks,
                       "the initial network: a perceptron, or a transformer over the points");
  training::add_choice(group, "--positions", m.positions, positions, "points: how a point knows its place");
  group->add_option("--init_hidden_dim", m.init_width, "width of the initial network")->check(CLI::Range(1, 100000));
  group->add_option("--init_num_layers", m.init_layers, "its hidden layers")->check(CLI::Range(1, 64));
  group->add_option("--refine_hidden_dim", m.refine_width, "width of the update network")->check(CLI::Range(1, 100000));
  group->add_option("--refine_num_layers", m.refine_layers, "its hidden layers")->check(CLI::Range(1, 64));
  group->add_option("--share_refine_weights", m.share_refine_weights, "one update network for all iterations");
  group->add_option("--share_blend", m.share_blend, "one temperature and one blend for all iterations");
  group->add_option("--sort_means", m.ordered, "after every iteration, not only after the last");
  group->add_option("--dropout", m.dropout, "in the initial network, while training")->check(CLI::Range(0.0, 0.99));
  group->add_option("--sigma_min", m.deviation_floor, "smallest deviation; standardised: in grid spacings")
      ->check(CLI::PositiveNumber);
  group->add_option("--sigma_max", m.deviation_largest, "largest deviation; standardised: in those of the density")
      ->check(CLI::PositiveNumber);
  group->add_option("--pi_min", m.least_weight, "smallest weight after the initial network")
      ->check(CLI::Range(0.0, 1.0));
  group->add_option("--corr_scale", m.correction_scale, "bound of the corrections")->check(CLI::NonNegativeNumber);
}

std::map<std::string, std::string> choices(const Program& p) {
  return {{"init_net", training::name_of(networks, p.network)}};
}

}  // namespace

int main(int argc, char** argv) {
  const std::map<std::string, Program> recipes{{"default", recipe_default()}, {"v4", recipe_v4()}};
  std::string recipe = training::early_option(argc, argv, "--recipe", "default");
  Program program = recipes.contains(recipe) ? recipes.at(recipe) : Program{};
  CLI::App app{
      "Trains the learned mixture fitter (LAMF) on generated densities and writes the best model.\n"
      "A run that was interrupted, even killed, goes on with --resume and ends with the same bytes."};
  training::add_options(app, program.training);
  app.add_option("--recipe", recipe, "where the other options start; v4: the published model card")
      ->check(CLI::IsMember({"default", "v4"}));
  add_loss_options(app, program.loss);
  add_model_options(app, program);
  return training::run_program("train_lamf", app, argc, argv, program.training, [&] {
    if (program.network == InitialNetwork::points)
      return training::train_model("train_lamf", gmm::Lamf<V, gmm::PointNetwork<V>>(program.model), program.loss,
                                   program.training, choices(program));
    return training::train_model("train_lamf", gmm::Lamf<V>(program.model), program.loss, program.training,
                                 choices(program));
  });
}
