#!/usr/bin/env python3
"""Rate and held-out error of FAISS's residual quantizer, as points for quantize_fields --peer.

    quantize_fields --set gaussian ... --save-vectors v
    python3 benchmarks/peers/rvq_rate_faiss.py --set gaussian --prefix v_gaussian --output peer.csv

Needs FAISS (Debian, Ubuntu: apt-get install python3-faiss). Not part of the build. Rows are added to a file that is
there already.
"""
import argparse
import os
import time

import faiss
import numpy

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--set", required=True, help="name of the set in the table")
parser.add_argument("--prefix", required=True, help="PREFIX_train.npy and PREFIX_held_out.npy")
parser.add_argument("--output", required=True, help="CSV of set, method, bits, mse")
parser.add_argument("--stages", type=int, default=8)
parser.add_argument("--bits", type=int, default=10, help="of a stage")
parser.add_argument("--threads", type=int, default=1)
parser.add_argument("--beams", type=int, nargs="+", default=[1, 5])
arguments = parser.parse_args()
faiss.omp_set_num_threads(arguments.threads)

train = numpy.load(arguments.prefix + "_train.npy").astype("float32")
held_out = numpy.load(arguments.prefix + "_held_out.npy").astype("float32")
dimension = train.shape[1]
new = not os.path.exists(arguments.output)
with open(arguments.output, "a") as out:
    if new:
        out.write("set,method,bits,mse\n")
    for beam in arguments.beams:
        whole = faiss.ResidualQuantizer(dimension, arguments.stages, arguments.bits)
        whole.max_beam_size = beam
        whole.train_type = faiss.ResidualQuantizer.Train_default
        begin = time.process_time()
        whole.train(train)
        print(f"beam {beam}: trained in {time.process_time() - begin:.1f} s of processor time", flush=True)
        tables = faiss.vector_to_array(whole.codebooks).reshape(arguments.stages, -1, dimension)
        for stages in range(1, arguments.stages + 1):
            part = faiss.ResidualQuantizer(dimension, stages, arguments.bits)
            part.max_beam_size = beam
            part.train_type |= faiss.ResidualQuantizer.Skip_codebook_tables
            faiss.copy_array_to_vector(tables[:stages].ravel(), part.codebooks)
            part.is_trained = True
            mse = ((part.decode(part.compute_codes(held_out)) - held_out) ** 2).mean()
            print(f"  {stages} stages: {mse:.5f}", flush=True)
            out.write(f"{arguments.set},FAISS beam {beam},{stages * arguments.bits / dimension},{mse}\n")
            out.flush()
        train_mse = ((whole.decode(whole.compute_codes(train)) - train) ** 2).mean()
        print(f"  on the training vectors: {train_mse:.5f}", flush=True)
