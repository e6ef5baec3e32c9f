// train_score.cpp on a GPU.
//
// without a GPU: --system lorenz --data none.npy --output none.safetensors

#include "train_score_main.hpp"

int main(int argc, char** argv) { return train_score_program::main_program(argc, argv); }
