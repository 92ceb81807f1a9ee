// SPDX-License-Identifier: Apache-2.0
//
// prepare: the static pass in one call.
#include "fae/io/prepare.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "fae/core/threads.hpp"
#include "fae/io/synthetic.hpp"

using namespace fae;

namespace {

const SyntheticSource& source() {
    static const SyntheticSource small(synthetic_small(), 1);
    return small;
}

template <class T>
std::vector<T> copied(Span<const T> values) {
    return {values.begin(), values.end()};
}

// What training sees of a packed data set.
struct Seen {
    std::vector<std::uint32_t> hot;
    std::vector<std::uint32_t> cold;
    std::vector<std::uint8_t> hot_labels;
    std::vector<std::uint64_t> counts;
    std::size_t validation = 0;
    std::size_t test = 0;
    Provenance provenance;

    explicit Seen(const PackedDataset& data)
        : hot(copied(data.hot().bags.values())),
          cold(copied(data.cold().bags.values())),
          hot_labels(copied(data.hot().labels)),
          counts(copied(data.hot_counts())),
          validation(data.validation().inputs()),
          test(data.test().inputs()),
          provenance(data.provenance()) {}
    friend bool operator==(const Seen&, const Seen&) = default;
};

}  // namespace

// Catches: a step that is left out, gets another budget or row size than the provenance says, or sees other
// inputs than the ones to train on.
TEST_CASE("prepare: is profile, calibrate, classify and pack, one after the other") {
    const Dataset train = source().generate(seq, 0, 3000);
    const auto by_hand = [&] {
        const RowSpace space = train.shape.row_space(8);
        AccessProfiler<> profiler(space);
        profiler.add(seq, train.bags());
        const AccessProfile<> profile = profiler.finish();
        CalibrationOptions options;
        options.budget_bytes = 30'000;
        options.row_bytes = 48;  // 8 weights, 1 accumulator, padded to 16 bytes
        Calibration calibration = calibrate(seq, profile, options);
        std::vector<std::uint64_t> counts = slot_counts(seq, profile, calibration.hot_set);
        Classification classes = classify(seq, calibration.hot_set, space, train.bags());
        Provenance provenance;
        provenance.fingerprint = train.fingerprint;
        provenance.budget_bytes = 30'000;
        provenance.row_bytes = 48;
        provenance.seed = 5;
        provenance.dim = 8;
        provenance.source = "by hand";
        provenance.optimizer = "rowwise-adagrad";
        provenance.cutoffs = calibration.report.cutoffs.front();
        return pack(seq, train, source().generate(seq, 3000, 200), source().generate(seq, 3200, 100),
                    std::move(calibration.hot_set), std::move(classes), std::move(counts), provenance);
    };
    const PackedDataset data =
        prepare(seq, train, source().generate(seq, 3000, 200), source().generate(seq, 3200, 100),
                {30'000, 8, OptimizerKind::rowwise_adagrad, 1.0, 5, "by hand"});
    CHECK(Seen(data) == Seen(by_hand()));
    CHECK(data.hot().inputs() > 0);
    CHECK(data.cold().inputs() > 0);
    CHECK(data.row_space().dim() == 8);
    CHECK(data.row_space().rows() == data.hot_set().rows());
}

// Catches: a profile of all inputs where a sample was asked for, or a sample that the seed does not decide.
TEST_CASE("prepare: a sample is drawn by the seed, and decides the hot rows alone") {
    const Dataset train = source().generate(seq, 0, 3000);
    const auto sampled = [&](double sample, std::uint64_t seed) {
        return Seen(prepare(seq, train, {}, {40'000, 16, OptimizerKind::sgd, sample, seed, {}}));
    };
    const Seen tenth = sampled(0.1, 1);
    CHECK(tenth == sampled(0.1, 1));
    CHECK(tenth.counts != sampled(0.1, 2).counts);
    CHECK(tenth.counts != sampled(1.0, 1).counts);
    CHECK(tenth.hot.size() + tenth.cold.size() == train.values.size());
}

// Catches: a step whose result depends on which thread did what.
TEST_CASE("prepare: equal for every number of threads") {
    const Dataset train = source().generate(seq, 0, 20'000);
    const Seen one = Seen(prepare(seq, train, {}, {.budget_bytes = 64 << 10}));
    for (const std::size_t count : {2u, 3u, 8u}) {
        Threads threads(count);
        CHECK(Seen(prepare(par(threads), train, {}, {.budget_bytes = 64 << 10})) == one);
    }
}

// Catches: a share that is taken as something else.
TEST_CASE("prepare: refuses a sample that is not more than 0 and at most 1") {
    const Dataset train = source().generate(seq, 0, 10);
    for (const double sample : {0.0, -0.5, 1.5}) {
        CHECK_THROWS_AS((void)prepare(seq, train, {}, {.budget_bytes = 1024, .sample = sample}),
                        ContractError);
    }
}
