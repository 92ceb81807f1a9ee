// SPDX-License-Identifier: Apache-2.0
//
// What a sampled profile claims of a hot set against all inputs, over thousands of seeded draws: uniform,
// skewed and measured popularity, ids by first appearance, and drift.
#include "fae/calibrate/coverage.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "fae/calibrate/calibrator.hpp"
#include "fae/core/threads.hpp"
#include "fae/core/zipf.hpp"
#include "fae/profile/profiler.hpp"
#include "support/placement_oracle.hpp"

namespace {

constexpr std::size_t features = 5;

/// `measured`: a tail as heavy as Criteo's: half of the look-ups by Zipf's law at 1.05, half at 0.6.
enum class Kind : std::uint8_t {
    uniform,
    zipf_06,
    zipf_10,
    zipf_16,
    measured,
    drift,
    first_appearance,
    jagged
};
constexpr Kind kinds[] = {Kind::uniform,  Kind::zipf_06, Kind::zipf_10,          Kind::zipf_16,
                          Kind::measured, Kind::drift,   Kind::first_appearance, Kind::jagged};

struct Population {
    fae::RowSpace space;
    oracle::Inputs inputs;
    std::vector<std::uint64_t> counts;

    [[nodiscard]] double served(const fae::HotSet& hot) const {
        std::uint64_t sum = 0;
        for (std::size_t r = 0; r < counts.size(); ++r) sum += hot.contains(r) ? counts[r] : 0;
        return static_cast<double>(sum) / static_cast<double>(inputs.values.size());
    }
    [[nodiscard]] double hot_inputs(const fae::HotSet& hot) const {
        const auto bags = inputs.bags();
        std::uint64_t sum = 0;
        for (std::size_t i = 0; i < bags.samples(); ++i) {
            bool all = true;
            for (std::size_t v = bags.begin(i * features); v < bags.begin((i + 1) * features); ++v) {
                all = all && hot.contains(bags.values()[v]);
            }
            sum += all ? 1u : 0u;
        }
        return static_cast<double>(sum) / static_cast<double>(bags.samples());
    }
    /// The largest share that any `rows` rows serve.
    [[nodiscard]] double best(std::uint64_t rows) const {
        std::vector<std::uint64_t> sorted = counts;
        std::sort(sorted.begin(), sorted.end(), std::greater<>());
        std::uint64_t sum = 0;
        for (std::size_t i = 0; i < sorted.size() && i < rows; ++i) sum += sorted[i];
        return static_cast<double>(sum) / static_cast<double>(inputs.values.size());
    }
};

Population make(Kind kind, std::size_t inputs, std::uint64_t rows, std::uint64_t seed) {
    Population made;
    std::vector<fae::TableSpec> tables(features, {rows, 16, ""});
    made.space = fae::RowSpace(tables);
    made.inputs.features = features;
    fae::Philox rng(seed, 41);
    const fae::Zipf heavy(rows, kind == Kind::uniform   ? 0.0
                                : kind == Kind::zipf_06 ? 0.6
                                : kind == Kind::zipf_16 ? 1.6
                                                        : 1.05);
    const fae::Zipf tail(rows, 0.6);
    std::vector<std::uint64_t> number(rows * features, std::numeric_limits<std::uint64_t>::max());
    std::vector<std::uint64_t> next(features, 0);
    if (kind == Kind::jagged) made.inputs.offsets.push_back(0);
    for (std::size_t i = 0; i < inputs; ++i) {
        const bool popular = rng.uniform() < 0.5;  // look-ups of one input go together
        for (std::size_t f = 0; f < features; ++f) {
            const std::size_t bag = kind == Kind::jagged ? static_cast<std::size_t>(rng.below(4)) : 1;
            for (std::size_t k = 0; k < bag; ++k) {
                std::uint64_t index = (kind == Kind::measured && !popular ? tail(rng) : heavy(rng)) - 1;
                if (popular && rng.uniform() < 0.3) index /= 4;
                if (kind == Kind::drift) index = (index + i * rows / inputs / 2) % rows;
                if (kind == Kind::first_appearance) {
                    std::uint64_t& named = number[f * rows + index];
                    if (named > rows) named = next[f]++;
                    index = named;
                }
                made.inputs.values.push_back(static_cast<std::uint32_t>(made.space.row(f, index)));
            }
            if (kind == Kind::jagged) made.inputs.offsets.push_back(made.inputs.values.size());
        }
    }
    made.counts = oracle::count_rows(made.space, made.inputs.bags());
    return made;
}

struct Draw {
    fae::AccessProfile<> profile;
    fae::HotSet hot;
    fae::CoverageSums chosen;
    fae::CoverageSums tried;
};

Draw draw(const Population& of, const fae::InputSampler& sampler, std::uint64_t rows) {
    const auto [choose, check] = sampler.split(0.5);
    fae::AccessProfiler<> profiler(of.space);
    profiler.add(fae::seq, of.inputs.bags(), choose);
    Draw made;
    made.profile = profiler.finish();
    fae::CalibrationOptions options;
    options.row_bytes = 1 << 12;
    options.budget_bytes = rows * options.row_bytes + fae::RankBitmap::bytes_for(of.space.rows());
    options.small_tables.bytes = 0;
    made.hot = fae::calibrate(fae::seq, made.profile, options).hot_set;
    made.chosen.add(fae::seq, made.hot, of.inputs.bags(), choose);
    made.tried.add(fae::seq, made.hot, of.inputs.bags(), check);
    return made;
}

bool inside(const fae::Interval& interval, double truth) {
    return interval.lower <= truth + 1e-12 && truth <= interval.upper + 1e-12;
}

}  // namespace

// Catches an interval taken from the sample that chose the set, a side forgotten, the first sample's inputs
// counted twice, and a best share that the best set exceeds: 2,400 draws, a tenth of them may fail.
TEST_CASE("coverage: what is said of a set chosen from a sample holds at 1 - delta, whatever the inputs") {
    constexpr double delta = 0.1;
    constexpr std::size_t inputs = 1200;
    for (const Kind kind : kinds) {
        const Population of = make(kind, inputs, 120, 7);
        int draws = 0;
        int failed = 0;
        double width = 0;
        double input_width = 0;
        double epsilon = 0;
        double best_gap = 0;
        for (std::uint64_t seed = 0; seed < 300; ++seed) {
            const std::uint64_t rows = 20 + 40 * (seed % 3);
            const auto sampler = seed % 2 == 0 ? fae::InputSampler::exact(inputs, 600, seed)
                                               : fae::InputSampler::bernoulli(0.5, seed);
            const Draw made = draw(of, sampler, rows);
            fae::CoverageOptions options;
            options.delta = delta;
            options.budget_rows = rows;
            const fae::CoverageStatement said =
                fae::coverage_statement(made.profile, made.hot, made.tried, options, &made.chosen);
            const double served = of.served(made.hot);
            const bool holds = inside(said.lookups, served) && of.best(rows) <= said.best + 1e-12 &&
                               inside(said.inputs, of.hot_inputs(made.hot)) &&
                               of.best(rows) - served <= said.epsilon() + 1e-12;
            ++draws;
            failed += holds ? 0 : 1;
            width = std::max(width, said.lookups.upper - said.lookups.lower);
            input_width = std::max(input_width, said.inputs.upper - said.inputs.lower);
            epsilon = std::max(epsilon, said.epsilon());
            best_gap = std::max(best_gap, said.best - of.best(rows));
            // Without a look at the first sample's inputs less is known of inputs, and nothing else changes.
            const auto blind = fae::coverage_statement(made.profile, made.hot, made.tried, options);
            REQUIRE(blind.inputs.lower <= said.inputs.lower + 1e-12);
            REQUIRE(blind.inputs.upper >= said.inputs.upper - 1e-12);
            REQUIRE(blind.lookups.lower == said.lookups.lower);
        }
        CAPTURE(static_cast<int>(kind));
        CHECK(failed <= delta * draws);
        CHECK(width < (kind == Kind::jagged ? 0.27 : 0.13));
        CHECK(input_width < 0.11);
        CHECK(epsilon < 0.31);
        CHECK(best_gap < 0.18);
    }
}

// Catches a variance that is not used: look-ups of an input differ less between inputs than they could.
TEST_CASE("coverage: of many inputs the interval comes within three times that of a normal law") {
    constexpr std::size_t inputs = 60000;
    const Population of = make(Kind::zipf_10, inputs, 400, 3);
    const Draw made = draw(of, fae::InputSampler::exact(inputs, 30000, 1), 400);
    const auto said = fae::coverage_statement(made.profile, made.hot, made.tried);
    const auto n = static_cast<double>(made.tried.inputs);
    const double mean = static_cast<double>(made.tried.hot_lookups) / n;
    const double deviation =
        std::sqrt(static_cast<double>(made.tried.hot_squares) / n - mean * mean) / features;
    const double rest = inputs - 15000;  // what the first sample leaves; its part is known
    const double error = deviation * std::sqrt((1 - n / rest) / n) * rest / inputs;
    const double normal = 2 * fae::student_quantile(1 - 0.05 / 6, 1e8) * error;
    CHECK(said.lookups.upper - said.lookups.lower > normal);
    CHECK(said.lookups.upper - said.lookups.lower < 3 * normal);
    CHECK(inside(said.lookups, of.served(made.hot)));
}

// Catches a statement about inputs to come that is made from the inputs at hand alone.
TEST_CASE("coverage: about a law, the statement holds for inputs that the law draws afterwards") {
    int failed = 0;
    constexpr int draws = 150;
    const Population law = make(Kind::measured, 60000, 120, 99);  // so many that they stand for the law
    for (int seed = 0; seed < draws; ++seed) {
        const auto number = static_cast<std::uint64_t>(seed);
        // A stream of inputs that the law drew, half of which are used in full.
        Population of;
        of.space = law.space;
        of.inputs.features = features;
        fae::Philox rng(number, 5);
        for (int i = 0; i < 800; ++i) {
            const auto input = static_cast<std::size_t>(rng.below(60000));
            for (std::size_t f = 0; f < features; ++f) {
                of.inputs.values.push_back(law.inputs.values[input * features + f]);
            }
        }
        const Draw made = draw(of, fae::InputSampler::exact(800, 800, number), 60);
        fae::CoverageOptions options;
        options.delta = 0.2;
        options.of_these_inputs = false;
        const auto said = fae::coverage_statement(made.profile, made.hot, made.tried, options, &made.chosen);
        CHECK(said.lookups.upper - said.lookups.lower > 0.01);
        CHECK(said.lookups.upper - said.lookups.lower < 0.15);
        failed += inside(said.lookups, law.served(made.hot)) && law.best(60) <= said.best &&
                          inside(said.inputs, law.hot_inputs(made.hot))
                      ? 0
                      : 1;
    }
    CHECK(failed <= 0.2 * draws);
}

// Catches samples that are no random draw being taken for one: a prefix of a drifting stream.
TEST_CASE("coverage: a prefix of a drifting stream proves nothing, a random sample does") {
    constexpr std::size_t inputs = 8000;
    constexpr std::size_t quarter = inputs / 4;
    const Population of = make(Kind::drift, inputs, 200, 5);
    const auto part = [&](std::size_t first, std::size_t last) {
        return fae::Bags<std::uint32_t>::fixed(
            {of.inputs.values.data() + first * features, (last - first) * features}, 1, features);
    };
    // The first quarter chooses, the second is tried on.
    fae::AccessProfiler<> profiler(of.space);
    profiler.add(fae::seq, part(0, quarter));
    profiler.add(fae::seq, part(quarter, inputs), fae::InputSampler::bernoulli(0, 1));
    const fae::AccessProfile<> profile = profiler.finish();
    fae::CalibrationOptions options;
    options.row_bytes = 1 << 12;
    options.budget_bytes = 150 * options.row_bytes;
    options.small_tables.bytes = 0;
    const fae::HotSet hot = fae::calibrate(fae::seq, profile, options).hot_set;
    fae::CoverageSums tried;
    tried.add(fae::seq, hot, part(0, quarter), fae::InputSampler::bernoulli(0, 1));
    tried.add(fae::seq, hot, part(quarter, 2 * quarter));
    tried.add(fae::seq, hot, part(2 * quarter, inputs), fae::InputSampler::bernoulli(0, 1));
    const auto prefix = fae::coverage_statement(profile, hot, tried);
    CHECK(prefix.lookups.lower > of.served(hot));
    const Draw random = draw(of, fae::InputSampler::exact(inputs, 2 * quarter, 3), 150);
    CHECK(inside(fae::coverage_statement(random.profile, random.hot, random.tried).lookups,
                 of.served(random.hot)));
}

// Catches sums that lose an input, take one that was not drawn, or depend on threads and cuts.
TEST_CASE("coverage: the sums are those of a plain loop, for every executor and every cut") {
    fae::Threads threads(3);
    for (const Kind kind : {Kind::zipf_10, Kind::jagged}) {
        const Population of = make(kind, 20000, 300, 2);
        const auto bags = of.inputs.bags();
        const fae::HotSet hot = fae::HotSet::from_predicate(fae::seq, of.space.rows(),
                                                            [](fae::RowId row) { return row % 3 != 0; });
        const auto sampler = fae::InputSampler::exact(20000, 4000, 9);
        fae::CoverageSums expected;
        for (std::size_t i = 0; i < bags.samples(); ++i) {
            const std::size_t first = bags.begin(i * features);
            const std::size_t last = bags.begin((i + 1) * features);
            expected.most_lookups = std::max<std::uint64_t>(expected.most_lookups, last - first);
            if (!sampler.draws(i)) continue;
            std::uint64_t served = 0;
            for (std::size_t v = first; v < last; ++v) served += hot.contains(bags.values()[v]) ? 1u : 0u;
            expected.inputs += 1;
            expected.hot_inputs += served == last - first ? 1u : 0u;
            expected.lookups += last - first;
            expected.hot_lookups += served;
            expected.hot_squares += served * served;
            expected.products += served * (last - first);
            expected.lookup_squares += (last - first) * (last - first);
        }
        fae::CoverageSums found;
        found.add(fae::par(threads), hot, bags, sampler);
        CHECK(found.inputs == 4000);
        CHECK(found.inputs == expected.inputs);
        CHECK(found.hot_inputs == expected.hot_inputs);
        CHECK(found.lookups == expected.lookups);
        CHECK(found.hot_lookups == expected.hot_lookups);
        CHECK(found.hot_squares == expected.hot_squares);
        CHECK(found.products == expected.products);
        CHECK(found.lookup_squares == expected.lookup_squares);
        CHECK(found.most_lookups == expected.most_lookups);
        if (kind == Kind::jagged) continue;
        fae::CoverageSums cut;
        for (std::size_t first = 0; first < 20000; first += 6007) {
            const std::size_t last = std::min<std::size_t>(20000, first + 6007);
            cut.add(fae::seq, hot,
                    fae::Bags<std::uint32_t>::fixed(
                        {of.inputs.values.data() + first * features, (last - first) * features}, 1, features),
                    sampler);
        }
        CHECK(cut.inputs_seen == 20000);
        CHECK(cut.hot_squares == expected.hot_squares);
        CHECK(cut.inputs == expected.inputs);
    }
}

// Catches a size that is not enough, and one that is beyond all reason: rows of nearly equal popularity, the
// hardest to tell apart, and skewed ones.
TEST_CASE("coverage: so many inputs drawn, the chosen set is within epsilon of the best") {
    constexpr std::size_t inputs = 12000;
    constexpr double delta = 0.2;
    constexpr std::uint64_t rows = 40;
    double closest = 0;
    for (const Kind kind : {Kind::uniform, Kind::zipf_06, Kind::zipf_10, Kind::zipf_16, Kind::drift}) {
        const Population of = make(kind, inputs, 16, 5);
        const double concentration = fae::row_concentration(of.space);
        CHECK(concentration == doctest::Approx(1.0 / features));
        const double best = of.best(rows);
        for (const double epsilon : {0.3, 0.12}) {
            const double wanted = fae::inputs_for_epsilon(epsilon, delta, rows, concentration, inputs);
            REQUIRE(wanted < inputs);
            int failed = 0;
            constexpr int draws = 60;
            for (int seed = 0; seed < draws; ++seed) {
                const auto sampler = fae::InputSampler::exact(inputs, static_cast<std::uint64_t>(wanted),
                                                              static_cast<std::uint64_t>(seed));
                fae::AccessProfiler<> profiler(of.space);
                profiler.add(fae::seq, of.inputs.bags(), sampler);
                fae::CalibrationOptions options;
                options.row_bytes = 1 << 12;
                options.budget_bytes = rows * options.row_bytes + 4000;
                options.small_tables.bytes = 0;
                const fae::HotSet hot = fae::calibrate(fae::seq, profiler.finish(), options).hot_set;
                REQUIRE(hot.size() == rows);
                const double regret = best - of.served(hot);
                failed += regret > epsilon ? 1 : 0;
                closest = std::max(closest, regret / epsilon);
            }
            CHECK(failed <= delta * draws);
        }
    }
    CHECK(closest > 0.1);
    CHECK(fae::inputs_for_epsilon(0.02, 0.05, 35496, 1.0 / 26, 39291958) < 4e6);
    CHECK(fae::inputs_for_epsilon(0.001, 0.05, 35496, 1.0 / 26, 39291958) == 39291958);
    CHECK(fae::row_concentration(fae::RowSpace({{9, 1, ""}, {9, 1, ""}}, {0, 0, 1})) ==
          doctest::Approx(5.0 / 9));
}

// Catches an interval that is wider than it was ordered.
TEST_CASE("coverage: so many inputs tried, the interval is as narrow as was asked for") {
    for (const double of : {2000.0, 1e6, fae::unlimited}) {
        for (const double half : {0.2, 0.05, 0.01, 0.001}) {
            const double n = fae::inputs_for_interval(half, 0.05, of);
            CAPTURE(of);
            CAPTURE(half);
            CHECK(n <= of);
            CHECK(fae::hoeffding_serfling(n, of, 0.05 / 4) <= half);
            if (n > 2) CHECK(fae::hoeffding_serfling(n - 2, of, 0.05 / 4) > half);
            // By the interval itself, of inputs that differ as much as they can.
            if (n > 1e6) continue;
            fae::CoverageSums sums;
            sums.inputs = static_cast<std::uint64_t>(n);
            sums.inputs_seen = sums.inputs;
            sums.most_lookups = 10;
            sums.lookups = sums.inputs * 10;
            sums.hot_lookups = sums.inputs / 2 * 10;
            sums.hot_squares = sums.inputs / 2 * 100;
            sums.products = sums.inputs / 2 * 100;
            sums.lookup_squares = sums.inputs * 100;
            const fae::Interval made = fae::detail::coverage_interval(sums, 0, 0, of, 0.05 / 2);
            CHECK(made.upper - made.estimate <= half + 1e-9);
            CHECK(made.estimate - made.lower <= half + 1e-9);
        }
    }
}

// Catches samples that overlap or are of other streams, and division by nothing.
TEST_CASE("coverage: no inputs, all inputs, and samples that do not fit") {
    const Population of = make(Kind::zipf_10, 300, 50, 1);
    const Draw all = draw(of, fae::InputSampler::exact(300, 300, 1).split(1).first, 40);
    // Half chose, the other half tried: everything is known of look-ups.
    const auto known = fae::coverage_statement(all.profile, all.hot, all.tried, {}, &all.chosen);
    CHECK(known.lookups.lower == doctest::Approx(of.served(all.hot)));
    CHECK(known.lookups.upper == doctest::Approx(of.served(all.hot)));
    CHECK(inside(known.inputs, of.hot_inputs(all.hot)));

    Draw none = draw(of, fae::InputSampler::bernoulli(0, 1), 40);
    const auto nothing = fae::coverage_statement(none.profile, none.hot, none.tried);
    CHECK(nothing.lookups.lower == 0);
    CHECK(nothing.lookups.upper == 1);
    CHECK(nothing.best == 1);
    CHECK(nothing.inputs.upper == 1);

    fae::AccessProfiler<> profiler(of.space);
    profiler.add(fae::seq, of.inputs.bags());
    const fae::AccessProfile<> exact = profiler.finish();
    fae::CoverageSums untried;
    untried.add(fae::seq, all.hot, of.inputs.bags(), fae::InputSampler::bernoulli(0, 1));
    const auto certain = fae::coverage_statement(exact, all.hot, untried);
    CHECK(certain.lookups.lower == doctest::Approx(of.served(all.hot)));
    CHECK(certain.lookups.upper == certain.lookups.lower);
    CHECK(certain.best == doctest::Approx(of.best(all.hot.size())));
    CHECK(certain.epsilon() < 0.2);

    CHECK_THROWS_AS((void)fae::coverage_statement(exact, all.hot, all.tried), fae::ContractError);
    CHECK_THROWS_AS((void)fae::coverage_statement(all.profile, all.hot, fae::CoverageSums()),
                    fae::ContractError);
    CHECK_THROWS_AS((void)fae::coverage_statement(all.profile, fae::HotSet::all(7), all.tried),
                    fae::ContractError);
    fae::CoverageOptions options;
    options.delta = 1;
    CHECK_THROWS_AS((void)fae::coverage_statement(all.profile, all.hot, all.tried, options),
                    fae::ContractError);
    fae::CoverageSums sums;
    CHECK_THROWS_AS(sums.add(fae::seq, all.hot, of.inputs.bags(), fae::InputSampler::exact(299, 3, 1)),
                    fae::ContractError);
    CHECK_THROWS_AS((void)fae::inputs_for_epsilon(0, 0.1, 5, 1), fae::ContractError);
    CHECK_THROWS_AS((void)fae::inputs_for_epsilon(0.1, 0.1, 5, 2), fae::ContractError);
    CHECK_THROWS_AS((void)fae::inputs_for_interval(0.1, 0), fae::ContractError);
}
