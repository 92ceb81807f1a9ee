#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""PyTorch's nn.EmbeddingBag(mode="sum", sparse=True) against fae's embedding bags, on the CPU, in one run.

    python3 bench/peers/torch_cpu.py                        # 1 and 2 threads, all shapes
    python3 bench/peers/torch_cpu.py --threads 1 --json torch.json

Needs torch and numpy, and fae's own benchmark (bench/ops/embedding_bag_bench of the release preset). The two take
turns, round by round, each in a process of its own and with equally many threads; figures are medians of the rounds,
ratios are medians of each round's ratio. Both sides draw row ids by the law of bench/axes.hpp, from other random
numbers. One thread is timed in processor time, several are in wall time:

    forward    one call for the bags of a batch
    backward   from the gradients of the bags to updated weights: fae's row index and backward_step with SGD; torch's
               backward and torch.optim.SGD on sparse gradients

torch gets its tables in two ways, and the faster one counts: one module a table, as the DLRM of its makers does, and
one module over all tables laid end to end.
"""
import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import time

KAGGLE_ROWS = [1460, 583, 10131227, 2202608, 305, 24, 12517, 633, 3, 93145, 5683, 8351593, 3194,
               27, 14992, 5461306, 10, 5652, 2173, 4, 7046547, 18, 15, 286181, 105, 142572]

# name, tables, dim, batch, look-ups of a bag, exponent of popularity: the shapes that embedding_bag_bench runs.
SHAPES = [
    ("kaggle", KAGGLE_ROWS, 16, 4096, 1, 1.05),
    ("kaggle", KAGGLE_ROWS, 16, 16384, 1, 1.05),
    ("wide", [4 << 20], 64, 4096, 26, 1.05),
]


def label(shape):
    name, tables, dim, batch, bag, exponent = shape
    return f"{name}/rows:{sum(tables)}/dim:{dim}/batch:{batch}/bag:{bag}/zipf:{exponent:.2f}"


def spread_step(rows):
    """The step that spreads ranks over a table, as in bench/axes.hpp."""
    step = 2654435761
    while math.gcd(step, rows) != 1:
        step += 2
    return step % rows


def index_stream(shape, batches, numpy):
    """Row indices of each table: a list of arrays [batches, batch, bag]."""
    _, tables, _, batch, bag, exponent = shape
    random = numpy.random.default_rng(1)
    streams = []
    for rows in tables:
        uniform = random.random((batches, batch, bag))
        x = (1.0 + uniform * ((rows + 1.0) ** (1.0 - exponent) - 1.0)) ** (1.0 / (1.0 - exponent))
        rank = numpy.minimum(x.astype(numpy.uint64), rows) - numpy.uint64(1)
        streams.append((rank * numpy.uint64(spread_step(rows)) % numpy.uint64(rows)).astype(numpy.int64))
    return streams


def run_torch(shape, threads, seconds, merged):
    """Median seconds of torch's forward and of its backward with the step."""
    import numpy
    import torch

    torch.set_num_threads(threads)
    _, tables, dim, batch, bag, _ = shape
    batches = 48
    streams = index_stream(shape, batches, numpy)
    if merged:
        firsts = numpy.concatenate([[0], numpy.cumsum(tables)[:-1]])
        together = numpy.stack([s + f for s, f in zip(streams, firsts)], axis=2)
        streams = [together.reshape(batches, batch * len(tables), bag)]
        tables = [sum(tables)]
    # Bags are the rows of a matrix of indices, torch's shortest way for bags of one size.
    inputs = [[torch.from_numpy(s[b]) for s in streams] for b in range(batches)]
    modules = [torch.nn.EmbeddingBag(rows, dim, mode="sum", sparse=True, _weight=torch.zeros(rows, dim))
               for rows in tables]
    gradients = [torch.randn(inputs[0][m].shape[0], dim) for m in range(len(modules))]
    optimizer = torch.optim.SGD([p for m in modules for p in m.parameters()], lr=1e-6)

    clock = time.process_time if threads == 1 else time.perf_counter

    def step(b):
        begin = clock()
        pooled = [module(values) for module, values in zip(modules, inputs[b])]
        middle = clock()
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(pooled, gradients)
        optimizer.step()
        return middle - begin, clock() - middle

    # What the first step does is known: the weights were zero.
    step(0)
    touched = torch.zeros(tables[0], dtype=torch.float64)
    touched.index_add_(0, inputs[0][0].flatten(), gradients[0][:, 0].double().repeat_interleave(bag))
    if not torch.allclose(modules[0].weight.detach()[:, 0].double(), -1e-6 * touched, rtol=1e-3, atol=1e-9):
        sys.exit("torch's step does not give the expected weights")

    times = []
    end = time.perf_counter() + seconds
    while len(times) < 5 or time.perf_counter() < end:
        times.append(step(len(times) % batches))
    return {"forward": statistics.median(t[0] for t in times), "backward": statistics.median(t[1] for t in times)}


def run_apart(arguments):
    """The output of this program, run by itself, or of another, read as JSON."""
    done = subprocess.run(arguments, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    if done.returncode != 0:
        sys.exit(f"failed: {' '.join(arguments)}")
    return json.loads(done.stdout)


def run_fae(bench, shape, threads, seconds):
    """Look-ups in a second of fae's forward and of its index, backward and step."""
    said = run_apart([bench, "--benchmark_format=json", f"--benchmark_min_time={seconds}",
                      f"--benchmark_filter=^embedding_bag/step/cpu/{label(shape)}/threads:{threads}/real_time$"])
    runs = said["benchmarks"]
    if len(runs) != 1 or runs[0].get("error_occurred"):
        sys.exit(f"embedding_bag_bench has no good run of {label(shape)} with {threads} threads")
    return {"forward": runs[0]["forward_Mlookups"] * 1e6, "backward": runs[0]["backward_Mlookups"] * 1e6}


def compare(arguments, shape, threads):
    """The figures of one shape: Mlookups of both sides, and fae's over torch's."""
    index = SHAPES.index(shape)
    lookups = len(shape[1]) * shape[3] * shape[4]
    ways = ["tables", "merged"] if len(shape[1]) > 1 else ["tables"]
    rates = {}
    for _ in range(arguments.rounds):
        for way in ways:
            took = run_apart([sys.executable, os.path.abspath(__file__), "--torch", way, "--shape", str(index),
                              "--threads", str(threads), "--seconds", str(arguments.seconds)])
            for direction in ("forward", "backward"):
                rates.setdefault((way, direction), []).append(lookups / took[direction])
        ours = run_fae(arguments.bench, shape, threads, arguments.seconds)
        for direction in ("forward", "backward"):
            rates.setdefault(("fae", direction), []).append(ours[direction])
    figures = []
    for direction in ("forward", "backward"):
        best = max(ways, key=lambda way: statistics.median(rates[way, direction]))
        ratios = [a / b for a, b in zip(rates["fae", direction], rates[best, direction])]
        figure = {"direction": direction, "shape": label(shape), "threads": threads,
                  "fae_Mlookups": statistics.median(rates["fae", direction]) / 1e6,
                  "ratio": statistics.median(ratios), "ratios": ratios, "torch_faster_way": best}
        for way in ways:
            figure[f"torch_{way}_Mlookups"] = statistics.median(rates[way, direction]) / 1e6
        figures.append(figure)
    return figures


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bench", default="build/release/bench/ops/embedding_bag_bench", help="fae's benchmark")
    parser.add_argument("--threads", default="1,2", help="thread counts, by commas")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0, help="of each side in a round")
    parser.add_argument("--json", help="writes the figures there")
    parser.add_argument("--shape", type=int, help="one shape only, by its number")
    parser.add_argument("--torch", choices=["tables", "merged"], help="torch alone, once: prints its seconds as JSON")
    arguments = parser.parse_args()
    shapes = SHAPES if arguments.shape is None else [SHAPES[arguments.shape]]
    thread_counts = [int(count) for count in arguments.threads.split(",")]
    if arguments.torch:
        print(json.dumps(run_torch(shapes[0], thread_counts[0], arguments.seconds, arguments.torch == "merged")))
        return
    import torch

    print(f"torch {torch.__version__}; Mlookups in a second")
    print(f"{'':62}{'threads':>8}{'torch':>9}{'fae':>9}{'ratio':>8}")
    figures = []
    for shape in shapes:
        for threads in thread_counts:
            for figure in compare(arguments, shape, threads):
                figures.append(figure)
                torch_rate = figure[f"torch_{figure['torch_faster_way']}_Mlookups"]
                print(f"{figure['direction']:9}{figure['shape']:53}{threads:8}{torch_rate:9.1f}"
                      f"{figure['fae_Mlookups']:9.1f}{figure['ratio']:8.1f}", flush=True)
    if arguments.json:
        with open(arguments.json, "w", encoding="utf-8") as out:
            json.dump({"torch": torch.__version__, "rounds": arguments.rounds, "figures": figures}, out, indent=1)
            out.write("\n")


if __name__ == "__main__":
    main()
