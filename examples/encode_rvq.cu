// encode_rvq.cpp on a GPU.
//
// without a GPU: --model none.safetensors --input none.npy --output none.rvq

#include "encode_rvq_main.hpp"

int main(int argc, char** argv) { return encode_rvq_program::main_program(argc, argv); }
