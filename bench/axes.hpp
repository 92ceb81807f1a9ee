// SPDX-License-Identifier: Apache-2.0
//
// The shapes that the benchmarks of embedding operations run on, in one place: tables, dims, batch sizes,
// skew.
//
//   const Shape shape = kaggle(4096, 1.05);                  // Criteo Kaggle's 26 tables, dim 16
//   const auto stream = index_stream(shape, 64, seed);       // 64 batches of row ids, sample-major
//
// Ids are drawn from a power law of the given exponent, cut at the table's size, and their popularity ranks
// are spread over the table, so that no cache line or page holds two popular rows by design. bench/peers
// draws by the same formula.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <string>
#include <vector>

#include "fae/core/bags.hpp"
#include "fae/core/random.hpp"

namespace axes {

/// Rows of the 26 categorical fields of the Criteo Kaggle set: 33,762,577 in all.
inline const std::vector<std::uint64_t> kaggle_rows = {
    1460, 583,   10131227, 2202608, 305,  24,   12517, 633,     3,  93145, 5683,   8351593, 3194,
    27,   14992, 5461306,  10,      5652, 2173, 4,     7046547, 18, 15,    286181, 105,     142572};

/// Rows of the 26 categorical fields of the Criteo Terabyte set, hashed to at most 10 M: 54,063,992 in all.
inline const std::vector<std::uint64_t> terabyte_rows = {
    10000000, 39043, 17289, 7420, 20263, 3,  7120,     1543,     63,       10000000, 2953546, 403346, 10,
    2208,     11938, 155,   4,    976,   14, 10000000, 10000000, 10000000, 585935,   12972,   108,    36};

/// One workload.
struct Shape {
    std::string name;
    std::vector<std::uint64_t> tables;  ///< rows of each table; feature f looks up table f
    std::size_t dim = 16;
    std::size_t batch = 4096;  ///< samples
    std::size_t bag_size = 1;  ///< look-ups of a bag
    double exponent = 1.05;    ///< of the power law of popularity

    [[nodiscard]] std::uint64_t rows() const {
        return std::accumulate(tables.begin(), tables.end(), std::uint64_t{0});
    }
    [[nodiscard]] std::size_t bags() const { return batch * tables.size(); }
    [[nodiscard]] std::size_t lookups() const { return bags() * bag_size; }
    [[nodiscard]] std::string label() const {
        std::string zipf = std::to_string(exponent);
        return name + "/rows:" + std::to_string(rows()) + "/dim:" + std::to_string(dim) +
               "/batch:" + std::to_string(batch) + "/bag:" + std::to_string(bag_size) +
               "/zipf:" + zipf.substr(0, 4);
    }
};

inline Shape kaggle(std::size_t batch, double exponent) {
    return {"kaggle", kaggle_rows, 16, batch, 1, exponent};
}

inline Shape terabyte(std::size_t batch, double exponent) {
    return {"terabyte", terabyte_rows, 64, batch, 1, exponent};
}

/// One table of 4 M rows, 64 columns, 26 look-ups a bag.
inline Shape wide(std::size_t batch, double exponent) {
    return {"wide", {std::uint64_t{4} << 20}, 64, batch, 26, exponent};
}

/// A popularity rank in [0, rows): the power law on [1, rows + 1), inverted and rounded down.
inline std::uint64_t power_law_rank(double uniform, std::uint64_t rows, double exponent) {
    const double end = static_cast<double>(rows) + 1.0;
    const double x = std::pow(1.0 + uniform * (std::pow(end, 1.0 - exponent) - 1.0), 1.0 / (1.0 - exponent));
    return std::min(static_cast<std::uint64_t>(x), rows) - 1;
}

/// The step that spreads ranks over a table: rank -> rank * step mod rows is a bijection of [0, rows).
inline std::uint64_t spread_step(std::uint64_t rows) {
    std::uint64_t step = 2654435761u;
    while (std::gcd(step, rows) != 1) step += 2;
    return step % rows;
}

/// Row ids of `batches` batches of the shape, one batch after another, each sample-major.
inline std::vector<std::uint32_t> index_stream(const Shape& shape, std::size_t batches, std::uint64_t seed) {
    std::vector<std::uint32_t> values(batches * shape.lookups());
    std::uint64_t first = 0;
    for (std::size_t f = 0; f < shape.tables.size(); ++f) {
        const std::uint64_t rows = shape.tables[f];
        fae::Philox random(seed, f);
        const std::uint64_t step = spread_step(rows);
        for (std::size_t sample = 0; sample < batches * shape.batch; ++sample) {
            for (std::size_t i = 0; i < shape.bag_size; ++i) {
                const std::uint64_t rank = power_law_rank(random.uniform(), rows, shape.exponent);
                values[(sample * shape.tables.size() + f) * shape.bag_size + i] =
                    static_cast<std::uint32_t>(first + rank * step % rows);
            }
        }
        first += rows;
    }
    return values;
}

}  // namespace axes
