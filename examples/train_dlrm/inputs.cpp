// SPDX-License-Identifier: Apache-2.0
#include "inputs.hpp"

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

#include "fae/core/random.hpp"
#include "fae/io/criteo.hpp"
#include "fae/io/gzip.hpp"
#include "fae/io/movielens.hpp"
#include "fae/io/splits.hpp"
#include "fae/io/synthetic.hpp"
#include "fae/io/synthetic_order.hpp"
#include "watched_file.hpp"

namespace train_dlrm {

namespace {

// Leaves the first `inputs` inputs, in place.
void truncate(fae::Dataset& data, std::size_t inputs) {
    const std::size_t bags = inputs * data.shape.features();
    const std::size_t lookups = data.offsets.empty() ? bags : static_cast<std::size_t>(data.offsets[bags]);
    data.labels.resize(inputs);
    data.dense.resize(inputs * data.shape.dense_features);
    data.values.resize(lookups);
    if (!data.offsets.empty()) data.offsets.resize(bags + 1);
}

// A log is cut in file order: its last inputs are for validation.
template <class Format>
void read_logs(const Executor& exec, const Options& options, Inputs& inputs) {
    fae::TextReader<Format> reader(reading_of(options));
    reader.append(exec, fae::GzipSource<WatchedFile>(options.data), inputs.train);
    if (!options.test.empty()) reader.append(exec, fae::GzipSource<WatchedFile>(options.test), inputs.test);
    if (options.test.empty()) {
        reader.finish(exec, {&inputs.train});
    } else {
        reader.finish(exec, {&inputs.train, &inputs.test});
    }
    inputs.fingerprint = fae::mix64(inputs.train.fingerprint ^ fae::mix64(inputs.test.fingerprint));
    inputs.malformed = reader.report().malformed;
    if (reader.report().first_malformed) inputs.first_malformed = reader.report().first_malformed->what();
    const std::uint64_t all = inputs.train.inputs();
    const std::uint64_t train = all - held_out(all, options.validation.value_or(Options::default_validation));
    inputs.validation = fae::slice(inputs.train, {train, all});
    truncate(inputs.train, static_cast<std::size_t>(train));
}

// Generated inputs have no order that matters, so validation inputs are drawn.
void generate(const Executor& exec, const Options& options, Inputs& inputs) {
    const std::uint64_t seed = options.seed.value_or(Options::default_seed);
    const fae::SyntheticSource source(synthetic_of(options), seed);
    const fae::HeldOut split(options.inputs, options.validation.value_or(Options::default_validation), seed);
    inputs.fingerprint = source.fingerprint(0, options.inputs);
    inputs.train = source.generate(exec, split.kept());
    inputs.validation = source.generate(exec, split.held());
}

}  // namespace

std::uint64_t held_out(std::uint64_t inputs, double share) {
    return static_cast<std::uint64_t>(std::llround(share * static_cast<double>(inputs)));
}

fae::ReadOptions reading_of(const Options& options) {
    fae::ReadOptions reading;
    reading.skip_malformed = options.skip_malformed;
    reading.vocabulary.max_rows = options.max_rows.value_or(0);
    reading.vocabulary.kind = options.vocabulary.value_or("first-seen") == "hash"
                                  ? fae::VocabularyKind::hash
                                  : fae::VocabularyKind::first_seen;
    return reading;
}

fae::SyntheticSpec synthetic_of(const Options& options) {
    fae::SyntheticSpec spec = options.synthetic == "kaggle"     ? fae::synthetic_kaggle()
                              : options.synthetic == "terabyte" ? fae::synthetic_terabyte()
                                                                : fae::synthetic_small();
    if (options.zipf) spec = fae::with_zipf(std::move(spec), *options.zipf);
    if (options.max_rows) spec = fae::with_max_rows(std::move(spec), *options.max_rows);
    return spec;
}

std::string source_name(const Options& options) {
    return options.synthetic.empty()
               ? options.data
               : "synthetic " + options.synthetic + ", " + std::to_string(options.inputs) + " inputs";
}

Inputs read_inputs(const Executor& exec, const Options& options) {
    Inputs inputs;
    inputs.source = source_name(options);
    if (!options.synthetic.empty()) {
        generate(exec, options, inputs);
    } else {
        if (options.format == "criteo") {
            read_logs<fae::CriteoFormat>(exec, options, inputs);
        } else {
            read_logs<fae::MovieLensFormat>(exec, options, inputs);
        }
    }
    return inputs;
}

}  // namespace train_dlrm
