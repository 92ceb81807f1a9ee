#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The DLRM training step (SGD) in PyTorch, three ways, on the shapes and the law of ids of bench/cuda/dlrm_bench.cu.

  hybrid  26 EmbeddingBags (sparse gradients) on the CPU, the MLPs on the GPU
  bags    26 EmbeddingBags on the GPU
  graph   one fused table on the GPU, the whole step in a CUDA graph

    torch_dlrm.py --out torch.json                      # everything
    torch_dlrm.py --variants graph --batches 4096       # a part
    torch_dlrm.py --ours hot.json                       # and the ratio to our benchmark's JSON of the same machine

Data is in memory already; copies of the inputs to the GPU are timed. Medians over repetitions, with the least and the
most. Needs torch and a CUDA device.
"""
import argparse
import json
import statistics
import time

import torch
from torch import nn

KAGGLE = [1460, 583, 10131227, 2202608, 305, 24, 12517, 633, 3, 93145, 5683, 8351593, 3194,
          27, 14992, 5461306, 10, 5652, 2173, 4, 7046547, 18, 15, 286181, 105, 142572]
TERABYTE = [10000000, 39043, 17289, 7420, 20263, 3, 7120, 1543, 63, 10000000, 2953546, 403346, 10,
            2208, 11938, 155, 4, 976, 14, 10000000, 10000000, 10000000, 585935, 12972, 108, 36]
MODELS = {
    "rmc2": dict(rows=KAGGLE, dim=16, bottom=[512, 256, 64, 16], top=[512, 256, 1]),
    "rmc3": dict(rows=TERABYTE, dim=64, bottom=[512, 256, 64], top=[512, 512, 256, 1]),
}


def mlp(widths, last_relu):
    layers = []
    for i, (a, b) in enumerate(zip(widths, widths[1:])):
        layers.append(nn.Linear(a, b))
        if last_relu or i + 2 < len(widths):
            layers.append(nn.ReLU())
    return nn.Sequential(*layers)


class Dense(nn.Module):
    """Bottom MLP, dot interaction, top MLP; the logit."""

    def __init__(self, dim, bottom, top, features=26, dense=13):
        super().__init__()
        self.bottom = mlp([dense] + bottom, True)
        self.top = mlp([dim + (features + 1) * features // 2] + top, False)
        rows, columns = torch.tril_indices(features + 1, features + 1, offset=-1)
        self.register_buffer("pairs", rows * (features + 1) + columns)

    def forward(self, dense, pooled):
        x = self.bottom(dense)
        vectors = torch.cat([x.unsqueeze(1), pooled], dim=1)
        products = torch.bmm(vectors, vectors.transpose(1, 2)).flatten(1)
        return self.top(torch.cat([x, products.index_select(1, self.pairs)], dim=1)).squeeze(1)


def power_law(rows, count, exponent, generator):
    """Row ids: a power law on [1, rows + 1), inverted and rounded down, ranks spread over the table."""
    u = torch.rand(count, generator=generator, dtype=torch.float64)
    x = (1 + u * ((rows + 1.0) ** (1 - exponent) - 1)) ** (1 / (1 - exponent))
    rank = x.long().clamp(1, rows) - 1
    step = 2654435761
    while _gcd(step, rows) != 1:
        step += 2
    return rank * (step % rows) % rows


def _gcd(a, b):
    while b:
        a, b = b, a % b
    return a


class Data:
    def __init__(self, model, batch, count, exponent):
        g = torch.Generator().manual_seed(7)
        ids = torch.stack([power_law(r, batch * count, exponent, g) for r in model["rows"]], dim=1)
        self.ids = ids.view(count, batch, 26).pin_memory()
        self.dense = torch.rand(count, batch, 13, generator=g).pin_memory()
        self.labels = (torch.rand(count, batch, generator=g) < 0.25).float().pin_memory()

    def __getitem__(self, i):
        i %= self.ids.shape[0]
        return self.dense[i], self.ids[i], self.labels[i]


def tables(model, device):
    """26 EmbeddingBags. All rows of a table begin alike: drawing 3.3e9 numbers on the host takes longer than the rest."""
    return nn.ModuleList(
        nn.EmbeddingBag(rows, model["dim"], mode="sum", sparse=True,
                        _weight=torch.full((rows, model["dim"]), rows ** -0.5, device=device))
        for rows in model["rows"])


def one_table(model, device):
    return torch.empty(sum(model["rows"]), model["dim"], device=device).uniform_(-1e-3, 1e-3)


def eager_step(model, data, bags):
    """hybrid and bags: the tables say where."""
    where = bags[0].weight.device
    dense_model = Dense(model["dim"], model["bottom"], model["top"]).cuda()
    optimizers = [torch.optim.SGD(m.parameters(), lr=1e-3) for m in (bags, dense_model)]
    loss_of = nn.BCEWithLogitsLoss()
    offsets = torch.arange(data.ids.shape[1], device=where)

    def step(i):
        dense, ids, labels = data[i]
        dense, labels = dense.cuda(non_blocking=True), labels.cuda(non_blocking=True)
        ids = ids.to(where, non_blocking=True)
        pooled = torch.stack([bag(ids[:, f], offsets) for f, bag in enumerate(bags)], dim=1).cuda()
        for optimizer in optimizers:
            optimizer.zero_grad(set_to_none=True)
        loss_of(dense_model(dense, pooled), labels).backward()
        for optimizer in optimizers:
            optimizer.step()

    return step


def graph_step(model, data, weight):
    """One fused table; gradients of rows by index_add into the table; everything but the input copies in one graph."""
    offsets = torch.tensor([0] + model["rows"][:-1]).cumsum(0).cuda()
    dense_model = Dense(model["dim"], model["bottom"], model["top"]).cuda()
    optimizer = torch.optim.SGD(dense_model.parameters(), lr=1e-3, foreach=True)
    loss_of = nn.BCEWithLogitsLoss()
    inputs = [t.cuda() for t in data[0]]

    def work():
        rows = inputs[1] + offsets
        pooled = weight[rows].requires_grad_(True)
        optimizer.zero_grad(set_to_none=False)
        loss_of(dense_model(inputs[0], pooled), inputs[2]).backward()
        optimizer.step()
        weight.index_add_(0, rows.flatten(), pooled.grad.flatten(0, 1), alpha=-1e-3)

    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            work()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        work()

    def step(i):
        for to, source in zip(inputs, data[i]):
            to.copy_(source, non_blocking=True)
        graph.replay()

    return step


# How a step is made, how its rows are, and where.
VARIANTS = {"hybrid": (eager_step, tables, "cpu"), "bags": (eager_step, tables, "cuda"),
            "graph": (graph_step, one_table, "cuda")}


def measure(step, steps, repetitions):
    for i in range(min(steps, 8)):
        step(i)
    torch.cuda.synchronize()
    times = []
    for r in range(repetitions):
        start = time.perf_counter()
        for i in range(steps):
            step(r * steps + i)
        torch.cuda.synchronize()
        times.append((time.perf_counter() - start) / steps)
    return times


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS), choices=list(VARIANTS))
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=list(MODELS))
    parser.add_argument("--batches", nargs="+", type=int, default=[1024, 4096, 16384])
    parser.add_argument("--precisions", nargs="+", default=["fp32", "tf32"], choices=["fp32", "tf32"])
    parser.add_argument("--zipf", type=float, default=1.15)
    parser.add_argument("--seconds", type=float, default=1.0, help="about how long one measurement takes")
    parser.add_argument("--out", help="where the JSON goes")
    parser.add_argument("--ours", help="JSON of bench/cuda/dlrm_bench; prints the ratio of each shape")
    arguments = parser.parse_args()

    results = []
    for name in arguments.models:
        model = MODELS[name]
        data = {batch: Data(model, batch, max(4, min(64, 131072 // batch)), arguments.zipf) for batch in arguments.batches}
        for variant in arguments.variants:
            make, rows_of, where = VARIANTS[variant]
            rows = rows_of(model, where)
            for batch in arguments.batches:
                for precision in arguments.precisions:
                    if variant == "hybrid" and precision == "tf32" and "fp32" in arguments.precisions:
                        continue  # the host's part decides
                    torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
                    step = make(model, data[batch], rows)
                    once = statistics.median(measure(step, 1, 3))
                    steps = max(1, min(200, int(arguments.seconds / 7 / once)))
                    times = measure(step, steps, 7)
                    median = statistics.median(times)
                    results.append(dict(model=name, batch=batch, variant=variant, precision=precision,
                                        step_ms=median * 1e3, least_ms=min(times) * 1e3, most_ms=max(times) * 1e3,
                                        samples_per_second=batch / median, steps=steps, repetitions=7))
                    print("{model} {batch:6d} {variant:7s} {precision} {step_ms:9.3f} ms [{least_ms:.3f}, "
                          "{most_ms:.3f}] {samples_per_second:12.0f} samples/s".format(**results[-1]), flush=True)
                    del step
            del rows
            torch.cuda.empty_cache()
    document = dict(gpu=torch.cuda.get_device_name(), torch=torch.__version__, cuda=torch.version.cuda,
                    zipf=arguments.zipf, results=results)
    if arguments.out:
        with open(arguments.out, "w", encoding="utf-8") as file:
            json.dump(document, file, indent=1)
    if arguments.ours:
        compare(arguments.ours, results)


def compare(path, results):
    """Our samples a second over those of the fastest variant, for each model and batch."""
    with open(path, encoding="utf-8") as file:
        ours = {b["run_name"]: b["items_per_second"] for b in json.load(file)["benchmarks"]
                if b.get("aggregate_name") == "median"}
    for model, batch in sorted({(r["model"], r["batch"]) for r in results}):
        fastest = max((r for r in results if (r["model"], r["batch"]) == (model, batch)),
                      key=lambda r: r["samples_per_second"])
        start = f"dlrm/hot_step/cuda/model:{model}/precision:tf32/batch:{batch}/"
        mine = next((rate for run, rate in ours.items() if run.startswith(start)), None)
        if mine:
            print(f"{model} {batch}: ours {mine:.4g}, {fastest['variant']} {fastest['precision']} "
                  f"{fastest['samples_per_second']:.4g} samples/s, ratio {mine / fastest['samples_per_second']:.2f}")


if __name__ == "__main__":
    main()
