// Makes trajectories of the Kolmogorov flow: the data set on which score networks are trained.
//
// test: --size 32 --coarsen 2 --steps 4 --discard 2 --trajectories 3 --seed 1 --output fv.npy --picture fv.png --animation fv_frames.png --begin-again
// test: --scheme spectral --size 32 --coarsen 1 --steps 3 --discard 0 --trajectories 2 --precision double --save initial --output spectral.npy --begin-again

#include "simulate_kolmogorov_main.hpp"

int main(int argc, char** argv) { return simulate_kolmogorov_program::main_program(argc, argv); }
