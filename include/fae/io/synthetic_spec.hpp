// SPDX-License-Identifier: Apache-2.0
//
// SyntheticSpec: what a synthetic data set is drawn from, and the presets.
//
//   SyntheticSpec spec = synthetic_kaggle();                 // Criteo Kaggle's tables and measured skew
//   spec = with_zipf(spec, 1.05);                            // Zipf's law for every table instead
//   spec = with_max_rows(spec, 100'000);                     // each cardinality min(card, N)
//   SyntheticSource source(spec, seed);                      // synthetic.hpp
//
// What the kaggle preset is fitted to, and what is assumed. The fit is to an access table measured on 20,000
// real inputs whose ids were popularity ranks over the full set: shares of accesses for the top 0.01, 0.1, 1
// and 10 % of rows of the five largest tables, of all 26 together (tables of up to 1,000 rows wholly hot),
// and the share of inputs whose 26 rows are all hot: 0, 0, 2.7 and 31.2 %. Independent features of those
// shares would make 0.1 and 8 %, so features are coupled: the large tables strongly (0.8), the others mildly
// (0.3), which gives 2.8 and 31 %. Of the ten tables of 1,001 to 300,000 rows only the mean is known; they
// are spread around it (log-odds +-2.5 at the two smallest shares, +-2, +-1.5), which the figures at 1 % and
// 10 % together ask for; which column is how skewed is an assumption.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "fae/core/config.hpp"
#include "fae/core/error.hpp"
#include "fae/io/synthetic_law.hpp"

namespace fae::inline FAE_ABI {

/// One table: how many rows, and how its accesses are spread over them.
struct SyntheticTable {
    std::uint64_t rows = 0;
    std::string name;
    std::optional<double> zipf;    ///< the exponent of Zipf's law; not set: the law through `points`
    std::vector<LawPoint> points;  ///< as PopularityLaw::through
};

/// One sparse feature: one look-up an input.
struct SyntheticFeature {
    std::uint32_t table = 0;  ///< features may share a table
    double coupling = 0;      ///< 0 to 0.99, as Coupling: how much its rarity goes with the other features'
};

/// One dense feature: log(1 + count), the count a rounded-down log-normal.
struct SyntheticDense {
    double zero_share = 0.3;  ///< share of zeros, above 0 and below 1
    double spread = 1.5;      ///< standard deviation of the count's logarithm
    double weight = 0;        ///< on the label, in units of one sparse feature's
};

/// All that a synthetic data set is drawn from, but the seed.
struct SyntheticSpec {
    std::string name;
    std::vector<SyntheticTable> tables;
    std::vector<SyntheticFeature> features;
    std::vector<SyntheticDense> dense;
    double drift = 0;             ///< share of each table's ranks that pass to another row per million inputs
    double positive_rate = 0.25;  ///< expected share of labels 1 (at input 0: drift moves it)
    double logit_spread = 1.4;    ///< standard deviation of the true logit; 1.4: a Bayes AUC of about 0.81
    bool scatter_rows = true;     ///< row ids are a seeded permutation of ranks; false: row id = rank
};

namespace detail {
inline constexpr std::array<double, 4> access_rows{0.0001, 0.001, 0.01, 0.1};
using AccessCurve = std::array<double, 4>;

/// Shares are rounded to 1e-6, so that a spec is the same whatever compiler and processor computed it.
[[nodiscard]] inline std::vector<LawPoint> access_points(const AccessCurve& accesses) {
    std::vector<LawPoint> points;
    for (std::size_t i = 0; i < accesses.size(); ++i) {
        points.push_back({access_rows[i], std::round(accesses[i] * 1e6) / 1e6});
    }
    return points;
}

/// Measured curves by table size: the mean of the tables of 1,001 to 300,000 rows, then C4, C16, C21, C12,
/// C3.
struct SizedCurve {
    double rows;
    AccessCurve accesses;
};
inline constexpr std::array<SizedCurve, 6> sized_curves{{{286'181, {0.2342, 0.3710, 0.5952, 0.8546}},
                                                         {2'202'608, {0.44, 0.63, 0.82, 0.93}},
                                                         {5'461'306, {0.45, 0.61, 0.75, 0.85}},
                                                         {7'046'547, {0.44, 0.59, 0.71, 0.81}},
                                                         {8'351'593, {0.43, 0.58, 0.69, 0.78}},
                                                         {10'131'227, {0.42, 0.56, 0.67, 0.77}}}};

/// The curve of a table of so many rows: interpolated in the logarithm of the size, constant outside.
[[nodiscard]] inline AccessCurve access_curve(std::uint64_t rows) {
    const auto size = static_cast<double>(rows);
    if (size <= sized_curves.front().rows) return sized_curves.front().accesses;
    for (std::size_t i = 1; i < sized_curves.size(); ++i) {
        const SizedCurve& low = sized_curves[i - 1];
        const SizedCurve& high = sized_curves[i];
        if (size > high.rows) continue;
        const double part = std::log(size / low.rows) / std::log(high.rows / low.rows);
        AccessCurve curve{};
        for (std::size_t p = 0; p < curve.size(); ++p) {
            curve[p] = std::fma(part, high.accesses[p] - low.accesses[p], low.accesses[p]);
        }
        return curve;
    }
    return sized_curves.back().accesses;
}

/// "C1" for column 0.
[[nodiscard]] inline std::string column_name(std::size_t column) {
    std::string name("C");
    name += std::to_string(column + 1);
    return name;
}

/// 13 dense features, from few zeros to many; four of them matter to the label.
[[nodiscard]] inline std::vector<SyntheticDense> criteo_dense() {
    std::vector<SyntheticDense> dense;
    for (int i = 0; i < 13; ++i) {
        dense.push_back({(i + 1) / 20.0, (i + 10) / 10.0, 0.0});
    }
    dense[0].weight = 1.0;
    dense[3].weight = -0.75;
    dense[6].weight = 0.5;
    dense[10].weight = -0.5;
    return dense;
}

/// One feature a table, named C1 on, drawn from the curve of the table's size.
[[nodiscard]] inline SyntheticSpec criteo_shaped(std::string name, const std::vector<std::uint64_t>& rows) {
    constexpr std::uint64_t large = 1'000'000;
    SyntheticSpec spec;
    spec.name = std::move(name);
    for (std::size_t t = 0; t < rows.size(); ++t) {
        spec.tables.push_back({rows[t], column_name(t), std::nullopt, access_points(access_curve(rows[t]))});
        spec.features.push_back({static_cast<std::uint32_t>(t), rows[t] >= large ? 0.8 : 0.3});
    }
    spec.dense = criteo_dense();
    return spec;
}
}  // namespace detail

/// Criteo Kaggle: 26 tables of 33,762,577 rows together, 13 dense features; skew and coupling as measured.
[[nodiscard]] inline SyntheticSpec synthetic_kaggle() {
    SyntheticSpec spec =
        detail::criteo_shaped("kaggle", {1460,  583,  10131227, 2202608, 305, 24,     12517,   633,   3,
                                         93145, 5683, 8351593,  3194,    27,  14992,  5461306, 10,    5652,
                                         2173,  4,    7046547,  18,      15,  286181, 105,     142572});
    // Log-odds spread over the ten middle tables, least skewed first, shifted so that the means are kept.
    constexpr std::array<std::size_t, 10> columns{13, 11, 7, 18, 15, 10, 24, 26, 1, 19};
    constexpr detail::AccessCurve spread{2.5, 2.5, 2.0, 1.5};
    std::array<detail::AccessCurve, 10> curve{};
    for (std::size_t p = 0; p < spread.size(); ++p) {
        const double mean = detail::sized_curves.front().accesses[p];
        double low = -20;
        double high = 20;
        for (int step = 0; step < 60; ++step) {
            const double centre = 0.5 * (low + high);
            double sum = 0;
            for (std::size_t i = 0; i < columns.size(); ++i) {
                const double odds = spread[p] * (2.0 * static_cast<double>(i) / 9.0 - 1.0);
                curve[i][p] = 1.0 / (1.0 + std::exp(-(centre + odds)));
                sum += curve[i][p];
            }
            (sum < 10 * mean ? low : high) = centre;
        }
    }
    for (std::size_t i = 0; i < columns.size(); ++i) {
        spec.tables[columns[i] - 1].points = detail::access_points(curve[i]);
    }
    return spec;
}

/// Criteo Terabyte at 40 M ids a table: 26 tables, 13 dense features; skew by table size as Kaggle's.
[[nodiscard]] inline SyntheticSpec synthetic_terabyte() {
    return detail::criteo_shaped("terabyte",
                                 {40000000, 39060,    17295,    7424,     20265,  3,     7122, 1543, 63,
                                  40000000, 3067956,  405282,   10,       2209,   11938, 155,  4,    976,
                                  14,       40000000, 40000000, 40000000, 590152, 12973, 108,  36});
}

/// 26 tables of 10 to 1,000 rows under Zipf's law with s = 1.2, 13 dense features, so that one epoch of a
/// million inputs teaches a DLRM (13-64-16, 64-1, dim 16) to within 0.01 of the Bayes AUC.
[[nodiscard]] inline SyntheticSpec synthetic_small() {
    SyntheticSpec spec;
    spec.name = "small";
    for (std::uint32_t t = 0; t < 26; ++t) {
        const double rows = 10.0 * std::pow(100.0, (t / 25.0) * (t / 25.0));
        spec.tables.push_back(
            {static_cast<std::uint64_t>(std::lround(rows)), detail::column_name(t), 1.2, {}});
        spec.features.push_back({t, 0.3});
    }
    spec.dense = detail::criteo_dense();
    for (SyntheticDense& dense : spec.dense) dense.weight *= 1.5;
    return spec;
}

/// The spec with Zipf's law of exponent s for every table.
/// @throws ContractError unless s is finite and not negative
[[nodiscard]] inline SyntheticSpec with_zipf(SyntheticSpec spec, double s) {
    require(std::isfinite(s) && s >= 0, [&] { return concat("s is ", s, ", expected 0 or more"); });
    for (SyntheticTable& table : spec.tables) table.zipf = s;
    return spec;
}

/// The spec with at most `rows` rows a table. A law through points keeps its shares of the smaller table.
/// @throws ContractError if rows is 0
[[nodiscard]] inline SyntheticSpec with_max_rows(SyntheticSpec spec, std::uint64_t rows) {
    require(rows >= 1, [] { return std::string("0 rows a table, expected at least 1"); });
    for (SyntheticTable& table : spec.tables) table.rows = std::min(table.rows, rows);
    return spec;
}

}  // namespace fae::inline FAE_ABI
