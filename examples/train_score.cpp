// Trains the score network of a dynamical system: Lorenz-63, the Kolmogorov flow, or the wake of a cylinder.

#include "train_score_main.hpp"

int main(int argc, char** argv) { return train_score_program::main_program(argc, argv); }
