#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs benchmarks and writes what they said to bench/results/<name>.json, from which the README's table is made.

    python3 bench/publish.py                # all of them, with the release preset's programs
    python3 bench/publish.py parse count    # some
    python3 bench/publish.py --measured measured      # what bench/measure_gpu.sh left, from a machine with a GPU
    cmake -D ROOT=. -D WRITE=ON -P cmake/check_results.cmake      # then the table

A result holds the machine, date, commit and command, and figures; a figure holds what was measured, its value with the
single runs behind it, and what is asked of it. The tree must be clean but for results and the README, so that the
commit names what ran. `torch` needs a Python with torch: --python.
"""
import argparse
import datetime
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def output_of(*command):
    return subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True, text=True).stdout


def figure(what, runs, unit, asked, digits, worst=statistics.median):
    """A figure of several runs: their median, or the worst of them where each must hold."""
    value = worst(runs)
    return {"what": what, "value": value, "shown": f"{value:,.{digits}f} {unit}".strip(), "asked": asked,
            "runs": [float(f"{run:.6g}") for run in runs]}


class GoogleBenchmark:
    """Figures from counters of a program of bench/: rows of (what, filter, counter, factor, unit, asked, digits, worst).

    All runs that the filter finds count."""

    def __init__(self, title, program, rows, repetitions=5):
        self.title, self.program, self.rows, self.repetitions = title, program, rows, repetitions

    def command(self, options):
        wanted = "|".join(dict.fromkeys(row[1] for row in self.rows))
        return [f"{options.build}/bench/{self.program}_bench", f"--benchmark_filter={wanted}",
                f"--benchmark_repetitions={self.repetitions}", "--benchmark_format=json"]

    def figures(self, options):
        said = json.loads(output_of(*self.command(options)))
        runs = [run for run in said["benchmarks"] if run["run_type"] == "iteration"]
        bad = [run["name"] for run in runs if run.get("error_occurred")]
        if bad:
            sys.exit(f"{self.program}: wrong result in {bad[0]}")
        made = []
        for what, wanted, counter, factor, unit, asked, digits, worst in self.rows:
            values = [run[counter] * factor for run in runs if re.search(wanted, run["name"]) and counter in run]
            if not values:
                sys.exit(f"{self.program}: no run of {wanted} has {counter}")
            made.append(figure(what, values, unit, asked, digits, worst))
        return made


class Torch:
    title = "embedding bags beside PyTorch's"
    asked = {"forward": "≥ 4", "backward": "≥ 10"}
    names = {"forward": "forward", "backward": "index, backward and SGD"}

    def command(self, options):
        return [options.python, "bench/peers/torch_cpu.py", "--bench", f"{options.build}/bench/ops/embedding_bag_bench",
                "--rounds", "3", "--json", "OUT"]

    def figures(self, options):
        with tempfile.NamedTemporaryFile(suffix=".json") as out:
            output_of(*[out.name if word == "OUT" else word for word in self.command(options)])
            said = json.load(open(out.name, encoding="utf-8"))
        made = []
        for one in said["figures"]:
            shape = re.sub(r"/rows:[0-9]+|/bag:1(?=/)", "", one["shape"]).replace("/", ", ").replace(":", " ")
            threads = "1 thread" if one["threads"] == 1 else f"{one['threads']} threads"
            line = figure(f"{self.names[one['direction']]}, {shape}, {threads}: times PyTorch {said['torch']}",
                          one["ratios"], "x", self.asked[one["direction"]], 1)
            line["fae_Mlookups"] = round(one["fae_Mlookups"], 1)
            line["torch_Mlookups"] = round(one[f"torch_{one['torch_faster_way']}_Mlookups"], 1)
            made.append(line)
        return made


class Preparation:
    """profile + calibrate + classify + pack beside one training epoch, by the demo's synthetic command line."""
    title = "preparation beside training"

    def command(self, options):
        return [f"{options.build}/examples/train_dlrm", "--synthetic", "kaggle", "--inputs", "200000", "--model", "rmc2",
                "--budget", "64MiB", "--epochs", "1", "--json", "OUT"]

    def figures(self, options):
        shares = []
        for _ in range(3):
            with tempfile.NamedTemporaryFile(suffix=".json") as out:
                output_of(*[out.name if word == "OUT" else word for word in self.command(options)])
                seconds = json.load(open(out.name, encoding="utf-8"))["seconds"]
            parts = [seconds[part] for part in ("profile", "calibrate", "classify", "pack")]
            shares.append(100 * sum(parts) / seconds["train"])
        return [figure("profile, calibrate, classify and pack, of one epoch of rmc2 (200,000 inputs)", shares, "%",
                       "≤ 5 %", 1)]


def furthest(values):
    return max(values, key=abs)


def share(what, name, wanted):
    return (f"{what}, {name}", wanted, "peak_share", 100, "% of the peak", "≥ 60 %", 0, statistics.median)


KAGGLE = r"kaggle/.*/batch:4096/.*/zipf:1.05"
WIDE = r"wide/.*/zipf:1.05"
COUNT = r"count/spread-ids/bits:32/cpu/threads:1/kaggle/zipf:1.05"
CLASSIFY = r"classify/tables/cpu/threads:1"
PLAN = r"plan/tables/MiB:256/cpu/threads:1/kaggle/measured/.*/batch:{}/"
FORECAST = r"forecast/%s/"
LEARNING = r"learning/adagrad/lr:0.02/epochs:1/batch:1024/decay:0/"

PUBLICATIONS = {
    "parse": GoogleBenchmark("Criteo text to columns", "io/criteo", [
        ("parse Criteo text with log(1 + x), one core", r"parse/columns_and_log", "bytes_per_second", 1e-6, "MB/s",
         "≥ 300", 0, statistics.median)]),
    "count": GoogleBenchmark("counting at Kaggle's row counts", "profile/profiler", [
        ("count inputs of 26 look-ups, one core", COUNT, "items_per_second", 1e-6, "M inputs/s", "≥ 5", 1,
         statistics.median),
        ("profile", COUNT, "profile_bytes_a_row", 1, "B a row", "≤ 4", 1, max)]),
    "classify": GoogleBenchmark("classifying at Kaggle's row counts", "classify/inputs", [
        ("classify inputs of 26 look-ups, one core, slowest of the budgets 16 MiB to 1 GiB", CLASSIFY,
         "items_per_second", 1e-6, "M inputs/s", "≥ 8", 1, min),
        ("hot membership", CLASSIFY, "index_bits_a_row", 1, "bits a row", "≤ 1.5", 2, max)], repetitions=3),
    "sketch": GoogleBenchmark("heavy hitters in fixed memory", "profile/sketch", [
        ("sketch look-ups in 16 MiB, Kaggle's tables, one core", r"sketch/update/cpu/threads:1/MiB:16/kaggle/zipf:1.05",
         "items_per_second", 1e-6, "M look-ups/s", "≥ 20", 1, statistics.median),
        ("memory after a billion different keys, of the 16 MiB granted",
         r"sketch/distinct/cpu/MiB:16/keys:1000000000", "bytes", 100 / 2**24, "%", "≤ 100 %", 1, max)], repetitions=1),
    "input_selection": GoogleBenchmark("hot inputs by choosing rows for them", "io/input_selection", [
        row for name, wanted, sizes in (
            ("Kaggle-shaped inputs", r"select-inputs/cpu/kaggle/.*KiB:{}/threads:1/", (8, 16, 32, 64)),
            ("Criteo's first lines", r"select-inputs/cpu/criteo/.*KiB:{}/threads:1/", (0.125, 0.5, 1)))
        for size in sizes for row in (
            (f"{name}, {size} MiB: hot inputs over those by count order", wanted.format(int(size * 1024)), "gain", 1, "x",
             "≥ 1", 2, min),
            (f"{name}, {size} MiB: hot inputs", wanted.format(int(size * 1024)), "hot_inputs", 100, "%", "", 1, min),
            (f"{name}, {size} MiB: of inputs that the rows were not chosen for, over count order",
             wanted.format(int(size * 1024)), "new_gain", 1, "x", "", 2, min))],
        repetitions=1),
    "embedding_bag": GoogleBenchmark("embedding bags beside plain gather and scatter", "ops/embedding_bag", [
        share("forward, one core", "Kaggle's tables, dim 16", f"^embedding_bag/forward/cpu/{KAGGLE}"),
        share("forward, one core", "26 rows a bag, dim 64", f"^embedding_bag/forward/cpu/{WIDE}"),
        share("fused backward and SGD, one core", "Kaggle's tables, dim 16",
              f"^embedding_bag/backward_step/sgd/cpu/{KAGGLE}"),
        share("fused backward and SGD, one core", "26 rows a bag, dim 64",
              f"^embedding_bag/backward_step/sgd/cpu/{WIDE}")]),
    "planning": GoogleBenchmark("planning a look-ahead window at Kaggle's row counts", "table/lookahead", [
        row for batch in (1024, 4096, 16384) for row in (
            (f"plan inputs of 26 look-ups, measured skew, 256 MiB, batch {batch:,}, one core", PLAN.format(batch),
             "items_per_second", 1e-6, "M inputs/s", "≥ 5", 1, statistics.median),
            (f"memory of the planner beside the hot set, batch {batch:,}", PLAN.format(batch), "planner_bytes", 2**-20, "MiB",
             "", 1, max))] + [
        ("hot membership of the planner", PLAN.format(4096), "index_bits_a_row", 1, "bits a row", "≤ 1.5", 2, max)],
        repetitions=3),
    "torch_cpu": Torch(),
    "learning": GoogleBenchmark("what training learns", "models/learning", [
        ("AUC short of Bayes, synthetic small, 1 M inputs, Adagrad 0.02, one epoch, worst of five seeds, both orders",
         LEARNING, "bayes_gap", 1, "", "≤ 0.01", 4, max),
        ("AUC of order fae short of shuffled, furthest of five seeds", LEARNING, "order_loss", 1, "", "within 0.002", 4,
         furthest),
        ("hot inputs there, least of five seeds", LEARNING, "hot_inputs", 100, "%", "40 to 60 %", 0, min)],
        repetitions=1),
    "preparation": Preparation(),
    "forecast": GoogleBenchmark("what the advisor predicts of a step beside what it takes", "advise/forecast", [
        (f"predicted over measured seconds of a step, {model}, every placement, budgets of 4 to 256 MiB: furthest off",
         FORECAST % model, "off", 100, "%", "≤ 25 %", 1, max) for model in ("small", "rmc2")], repetitions=1),
}


class HotStep:
    """Our step with all rows in device memory beside PyTorch's three ways (bench/peers/torch_dlrm.py), of one machine."""
    title = "the hot step beside PyTorch's"
    part = "hot_step"
    aims = {("rmc2", "tf32", 1024): "≥ 10", ("rmc2", "tf32", 4096): "≥ 20", ("rmc2", "tf32", 16384): "≥ 30"}
    ways = {"graph": "in a CUDA graph", "bags": "with 26 bags on the GPU", "hybrid": "with 26 bags on the host"}

    def figures(self, folder):
        ours = json.load(open(os.path.join(folder, "hot_step.json"), encoding="utf-8"))["benchmarks"]
        torch = json.load(open(os.path.join(folder, "torch_dlrm.json"), encoding="utf-8"))
        made = []
        cases = dict.fromkeys((peer["model"], peer["precision"], peer["batch"]) for peer in torch["results"])
        for model, precision, batch in cases:
            wanted = f"/model:{model}/precision:{precision}/batch:{batch}/"
            run = {one["aggregate_name"]: one for one in ours if wanted in one["name"] and "aggregate_name" in one}
            rate = run["median"]["items_per_second"]
            shape = f"{model}, {precision}, batch {batch:,}"
            line = figure(f"hot step, {shape}", [rate * 1e-6], "M samples/s",
                          self.aims.get((model, precision, batch), ""), 1)
            line["spread"] = round(run["cv"]["real_time"], 4)
            made.append(line)
            # The host's part decides how fast the hybrid is, so that has been timed in one precision.
            peers = {peer["variant"]: peer for peer in torch["results"]
                     if (peer["model"], peer["batch"]) == (model, batch) and
                     (peer["precision"] == precision or peer["variant"] == "hybrid")}
            fastest = max(peers, key=lambda variant: peers[variant]["samples_per_second"])
            for variant, peer in peers.items():
                if variant != fastest and precision != "tf32":
                    continue
                line = figure(f"times PyTorch {torch['torch']} {self.ways[variant]}, {shape}",
                              [rate / peer["samples_per_second"]], "x",
                              "≥ 3.5" if (variant, precision) == (fastest, "tf32") else "", 2)
                line["samples_per_second"] = round(peer["samples_per_second"])
                line["step_ms"] = [round(peer[part], 4) for part in ("least_ms", "step_ms", "most_ms")]
                made.append(line)
        return made


class Fae:
    """Epochs of rmc2 under each placement: the time of the others over that of static."""
    title = "FAE on one GPU"
    part = "fae"
    asked = {"reference": "≥ 2.34", "all_home": "≥ 1.52", "all_slots": ""}

    def figures(self, folder):
        runs = json.load(open(os.path.join(folder, "fae.json"), encoding="utf-8"))
        made = []
        for run in runs:
            of_static = next(one for one in runs if one["placement"] == "static" and one["skew"] == run["skew"] and
                             one["batch"] == run["batch"])
            seconds = statistics.median(of_static["seconds"])
            case = f"{run['skew']}, h = {run['h']:.2f}, batch {run['batch']:,}"
            if run["placement"] == "static":
                line = figure(f"static, {case}: share of what h predicts", [run["predicted_static"] / seconds], "",
                              "≥ 0.9" if run["skew"] == "measured skew" else "", 2)
                line["seconds"] = run["seconds"]
            else:
                asked = self.asked[run["placement"]] if run["skew"] == "zipf 1.1" else ""
                line = figure(f"{run['placement']} over static, {case}", [one / seconds for one in run["seconds"]], "x",
                              asked, 2)
            made.append(line)
        return made


class Lookahead:
    """Epochs in the plain shuffled order: the share of all_slots' speed that look-ahead reaches, and how often the others'."""
    title = "look-ahead on one GPU, plain shuffled order"
    part = "lookahead"
    asked = {("rmc2, sgd", 256): "≥ 0.8", ("rmc2, sgd", 64): "≥ 0.6", ("rmc3, sgd", 1024): "≥ 0.7"}

    def figures(self, folder):
        runs = []
        for name in ("lookahead", "lookahead_rowwise", "lookahead_rmc3"):
            path = os.path.join(folder, f"{name}.json")
            if os.path.exists(path):
                runs += json.load(open(path, encoding="utf-8"))
        digests = {}
        for run in runs:
            case = (run["of"], run["batch"], len(run["seconds"]))  # fewer epochs end in another digest
            if digests.setdefault(case, run["digest"]) != run["digest"]:
                sys.exit(f"lookahead: digests differ for {case[0]}, batch {case[1]}")
        seconds = lambda run: statistics.median(run["seconds"])
        made = []
        for run in runs:
            if run["placement"] != "lookahead":
                continue
            here = f"{run['of']}, {run['budget_MiB']} MiB, batch {run['batch']:,}"
            others = {one["placement"]: one for one in runs
                      if (one["of"], one["batch"]) == (run["of"], run["batch"]) and one["placement"] != "lookahead"}
            line = figure(f"look-ahead over all_slots, {here}", [seconds(others["all_slots"]) / one for one in run["seconds"]],
                          "", self.asked.get((run["of"], run["budget_MiB"]), ""), 2)
            line["samples_per_second"] = round(run["inputs"] / seconds(run))
            line["planning_us_a_batch"] = round(run["planning_us"], 1)
            for way in ("rows_in", "rows_out"):
                line[f"{way}_M_per_s"] = round(run[way] / seconds(run) * 1e-6, 2)
                line[f"{way}_GBs"] = round(run[way] * run["record_bytes"] / seconds(run) * 1e-9, 3)
            line["zero_copy_share"] = round(run["zero_copy_rows"] / max(run["rows_in"] + run["rows_out"], 1), 3)
            line["row_ns"] = {part: round(ns, 2) for part, ns in run["row_ns"].items()}
            line["waited_s"] = {cause: round(waited, 4) for cause, waited in run["waited"].items()}
            line["longest_pole"] = self.longest_pole(run, seconds(run))
            made.append(line)
            hybrid = self.torch_hybrid(folder, run)
            if hybrid is not None:
                made.append(figure(f"look-ahead over PyTorch's hybrid, {here}", [run["inputs"] / one / hybrid for one in run["seconds"]],
                                   "x", "≥ 60" if run["budget_MiB"] == 256 else "", 1))
            made += [figure(f"{name} over look-ahead, {here}", [seconds(other) / one for one in run["seconds"]], "x",
                            "≥ 10" if name == "reference" else "", 2)
                     for name, other in others.items() if name != "all_slots"]
        plain = {run["batch"]: run for run in runs if (run["of"], run["placement"], run["budget_MiB"]) == ("rmc2, sgd", "lookahead", 256)}
        made += [figure(f"row-wise Adagrad's time over SGD's, look-ahead, 256 MiB, batch {run['batch']:,}",
                        [one / seconds(plain[run["batch"]]) for one in run["seconds"]], "x", "≤ 1.15", 2)
                 for run in runs if run["of"].endswith("Adagrad") and run["placement"] == "lookahead" and run["batch"] in plain]
        return made

    @staticmethod
    def longest_pole(run, seconds):
        """What an epoch waits for: the step, unless training waited for rows; then planning, or the rows' way."""
        if run["waited"]["rows"] < 0.05 * seconds:
            return "step"
        planning = run["planning_us"] * 1e-6 * run["inputs"] / run["batch"]
        return "planning" if planning > 0.8 * seconds else "rows on their way, or loading"

    @staticmethod
    def torch_hybrid(folder, run):
        """Samples/s of PyTorch's hybrid step at this shape and batch, where it has been measured beside."""
        path = os.path.join(folder, "torch_dlrm.json")
        if not os.path.exists(path) or not run["of"].endswith("sgd"):
            return None
        return next((peer["samples_per_second"] for peer in json.load(open(path, encoding="utf-8"))["results"]
                     if (peer["variant"], peer["model"], peer["batch"]) == ("hybrid", run["of"].split(",")[0], run["batch"])), None)


class Soak:
    title = "a soak of the look-ahead placement on the GPU"
    part = "lookahead_soak"

    def figures(self, folder):
        said = json.load(open(os.path.join(folder, f"{self.part}.json"), encoding="utf-8"))
        if len(set(said["digests"])) != 1:
            sys.exit("lookahead_soak: digests differ")
        line = figure(f"{said['batches']:,} batches of {said['batch']}, row-wise Adagrad, a window of {said['window']:,} slots",
                      [said["seconds"]], "s", "≤ 240", 1)
        line.update({key: said[key] for key in ("seconds_all_slots", "rows_in", "rows_out", "announced_bytes", "waited")})
        return [line] + [figure(f"memory of the {where} at the end over that at a tenth", [said[where][2] / said[where][1]], "x",
                                "1", 4) for where in ("device", "process")]


class DeviceForecast:
    """What the advisor predicts of a step, from a probe of this GPU, over what it takes: each batch's furthest."""
    title = "what the advisor predicts of a step on one GPU beside what it takes"
    part = "forecast"

    def figures(self, folder):
        points = json.load(open(os.path.join(folder, "forecast.json"), encoding="utf-8"))
        made = []
        for batch in dict.fromkeys(point["batch"] for point in points):
            here = [point for point in points if point["batch"] == batch]
            line = figure(f"predicted over measured seconds of a step on the GPU, rmc2, batch {batch:,}, "
                          f"{len(here)} points: furthest off", [100 * abs(point["ratio"] - 1) for point in here], "%", "≤ 25 %", 1, max)
            line["points"] = here
            made.append(line)
        return made


class Counting:
    title = "counting and classifying on the GPU"
    part = "profile"
    rows = [("count look-ups on the GPU, Kaggle's tables", r"^count/cuda/kaggle/.*/batch:1048576/"),
            ("classify look-ups on the GPU, Kaggle's tables", r"^classify/cuda/kaggle/.*/batch:1048576/")]

    def figures(self, folder):
        said = json.load(open(os.path.join(folder, "profile.json"), encoding="utf-8"))["benchmarks"]
        return [figure(what, [one["items_per_second"] * 1e-9 for one in said if re.search(wanted, one["name"])],
                       "G look-ups/s", "≥ 0.5", 1) for what, wanted in self.rows]


class Sketch:
    title = "heavy hitters in fixed memory on the GPU"
    part = "sketch"

    def figures(self, folder):
        said = json.load(open(os.path.join(folder, "sketch.json"), encoding="utf-8"))["benchmarks"]
        return [figure(f"sketch look-ups on the GPU in {size} MiB, Kaggle's tables",
                       [one["items_per_second"] * 1e-9 for one in said if f"/MiB:{size}/" in one["name"]],
                       "G look-ups/s", "≥ 1", 1) for size in (16, 64, 256)]


class Synchronisation:
    title = "synchronisation of 256 MiB of 64-byte rows"
    part = "synchronise"

    def figures(self, folder):
        said = json.load(open(os.path.join(folder, "synchronise.json"), encoding="utf-8"))["benchmarks"]
        made = []
        for one in said:
            way = "to the device" if "/up/" in one["name"] else "to the homes"
            changed = float(re.search(r"changed:([0-9.]+)", one["name"]).group(1))
            line = figure(f"256 MiB of rows {way}, {changed:.0%} changed: over the larger of link and host rate",
                          [one["of_bound"]], "x", "≤ 1.2" if changed == 1 else "", 2)
            line["milliseconds"] = round(one["real_time"], 3)
            made.append(line)
        return made


class DeviceBags:
    """Embedding bags on the GPU: ours alone, by bench/cuda; or beside cuEmbed's, where somebody who has its headers left
    both sides' times of one run there as beside_cuembed.json."""
    title = "embedding bags on the GPU"
    part = "embedding_bag"
    beside = "beside_cuembed.json"
    how = ("Both sides in one program and one run: batches by the same law as bench/cuda/embedding_bag_bench.cu, a dozen "
           "calls over four batches in a CUDA graph, medians; cuEmbed is version 0.2. Its time for an update is that of its "
           "sort (with the numbers of the bags, as its own benchmark counts it), compression and backward pass (over a gradient "
           "that is not cleared), and of 3 times the bytes of the different rows at the rate of a copy within the device's "
           "memory; ours updates the rows")
    kinds = {"forward": "forward", "update": "index, backward and SGD", "prepared": "backward and SGD, index prepared"}
    asked = {"forward": ("≥ 1.1", "≥ 1", ""), "update": ("≤ 0.60", "≤ 0.70", "≤ 0.65"),
             "prepared": ("≤ 0.36", "≤ 0.55", "≤ 0.25")}

    def figures(self, folder):
        read = lambda name: json.load(open(os.path.join(folder, name), encoding="utf-8"))
        return self.ratios(read(self.beside)) if self.is_beside(folder) else self.ours(read("embedding_bag.json"))

    def is_beside(self, folder):
        return os.path.exists(os.path.join(folder, self.beside))

    def ours(self, said):
        bad = [run["name"] for run in said["benchmarks"] if run.get("error_occurred")]
        if bad:
            sys.exit(f"embedding_bag: wrong result in {bad[0]}")
        return [figure(f"{run['name'].split('/cuda')[0]} on the GPU, {shape.group(1)}", [run["median_us"]], "us", "", 1)
                for run in said["benchmarks"] if (shape := re.search(r"/cuda/(.*/zipf:[0-9.]+)", run["name"]))]

    def ratios(self, said):
        made = []
        for kind, what in self.kinds.items():
            rows = []
            for one in said["shapes"]:
                dim = int(re.search(r"/dim:([0-9]+)", one["shape"]).group(1))
                applied = 3e-3 * one["rows"] * dim * 4 / said["copy_GBs"]
                theirs = one["cuembed_forward_us"] if kind == "forward" else \
                    one["cuembed_sort_us"] + one["cuembed_backward_us"] + applied
                fae = one[f"fae_{kind}_us"]
                rows.append({"shape": one["shape"], "fae_us": fae, "cuembed_us": round(theirs, 2),
                             "ratio": round(theirs / fae if kind == "forward" else fae / theirs, 3)})
            tables = [row["ratio"] for row in rows if row["shape"].startswith("table/")]
            ratio = "cuEmbed's time over ours" if kind == "forward" else "our time over cuEmbed's"
            mean, each, kaggle = self.asked[kind]
            line = figure(f"{what} on the GPU, geometric mean of {len(tables)} shapes: {ratio}", tables, "x", mean, 3,
                          statistics.geometric_mean)
            line["rows"] = rows
            worst = min if kind == "forward" else max
            made += [line, figure(f"{what} on the GPU, worst of {len(tables)} shapes: {ratio}", tables, "x", each, 3, worst)]
            for row in rows:
                if row["shape"].startswith("kaggle/"):
                    batch = int(re.search(r"/batch:([0-9]+)", row["shape"]).group(1))
                    made.append(figure(f"{what} on the GPU, Kaggle's tables, batch {batch:,}: {ratio}", [row["ratio"]], "x",
                                       kaggle, 3))
        return made


MEASURED = {"gpu_hot_step": HotStep(), "gpu_embedding_bag": DeviceBags(), "gpu_fae": Fae(), "gpu_lookahead": Lookahead(),
            "gpu_soak": Soak(), "gpu_forecast": DeviceForecast(), "gpu_counting": Counting(),
            "gpu_sketch": Sketch(), "gpu_synchronisation": Synchronisation()}


def measured_machine(folder, build):
    """The machine of bench/measure_gpu.sh's folder; the programs were built here."""
    lines = lambda name: open(os.path.join(folder, name), encoding="utf-8").read().splitlines()
    gpu, driver, clock, most_clock, memory_clock = lines("gpu.txt")
    cpu, cores, memory = lines("host.txt")
    return {**machine(build), "gpu": f"{gpu}, driver {driver}, {clock} of {most_clock}, memory {memory_clock}", "cpu": cpu,
            "cores": int(cores), "memory_GiB": int(memory)}


def publish_measured(folder, build, commit):
    for name, of in MEASURED.items():
        beside = isinstance(of, DeviceBags) and of.is_beside(folder)
        if not beside and not os.path.exists(os.path.join(folder, f"{of.part}.json")):
            continue
        command = f"FAE_MEASURE={of.part} bash bench/measure_gpu.sh {build} measured"
        write(name, {"title": of.title + " beside cuEmbed's" if beside else of.title,
                     **({"how": of.how} if beside else {}),
                     "date": open(os.path.join(folder, "date.txt"), encoding="utf-8").read().strip(), "commit": commit,
                     "command": f"a program with cuEmbed's headers; ours alone: {command}" if beside else command,
                     "machine": measured_machine(folder, build), "figures": of.figures(folder)})


def write(name, result):
    path = os.path.join(ROOT, "bench", "results", f"{name}.json")
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as out:
        json.dump(result, out, indent=1, ensure_ascii=False)
        out.write("\n")
    for line in result["figures"]:
        print(f"{name}: {line['what']}: {line['shown']} (asked {line['asked']})", flush=True)


def machine(build):
    """The processor, the system, and what compiled the programs."""
    cpu = open("/proc/cpuinfo", encoding="utf-8").read()
    field = lambda name: re.search(rf"^{name}\s*: (.*)$", cpu, re.MULTILINE).group(1)
    cache = open(os.path.join(ROOT, build, "CMakeCache.txt"), encoding="utf-8").read()
    entry = lambda name: (re.search(rf"^{name}:\w+=(.*)$", cache, re.MULTILINE) or [None, ""])[1]
    flags = f"{entry('CMAKE_CXX_FLAGS')} {entry('CMAKE_CXX_FLAGS_RELEASE')}".split()
    if entry("FAE_NATIVE") == "ON":
        flags.append("-march=native")
    widest = next((name for name in ("avx512f", "avx2", "sse2") if name in field("flags").split()), "")
    return {"cpu": f"{field('model name')} (family {field('cpu family')}, model {field('model')}, {widest})",
            "cores": os.cpu_count(),
            "memory_GiB": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
            "compiler": output_of(entry("CMAKE_CXX_COMPILER"), "--version").splitlines()[0],
            "flags": " ".join(flags)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(PUBLICATIONS))
    parser.add_argument("--build", default="build/release")
    parser.add_argument("--python", default=sys.executable, help="a Python with torch")
    parser.add_argument("--measured", metavar="FOLDER", help="publish what bench/measure_gpu.sh left there")
    options = parser.parse_args()
    unknown = [name for name in options.names if name not in PUBLICATIONS]
    if unknown:
        parser.error(f"nothing is called {unknown[0]}")
    changed = [line for line in output_of("git", "status", "--porcelain").splitlines()
               if not line[3:].startswith(("bench/results/", "README.md"))]
    if changed:
        sys.exit(f"commit first: {changed[0]}")
    commit = output_of("git", "rev-parse", "--short=12", "HEAD").strip()
    if options.measured:
        return publish_measured(options.measured, options.build, commit)
    for name in options.names or PUBLICATIONS:
        of = PUBLICATIONS[name]
        command = of.command(options)
        if command[0] == options.python:
            command = ["python3", *command[1:]]
        result = {"title": of.title, "date": datetime.date.today().isoformat(), "commit": commit,
                  "command": " ".join(command), "machine": machine(options.build), "figures": of.figures(options)}
        write(name, result)


if __name__ == "__main__":
    main()
