// SPDX-License-Identifier: Apache-2.0
//
// PopularityLaw: how the accesses of one synthetic table are spread over its popularity ranks (0 is the most
// popular), drawn from 64-bit uniforms so that couplings of the uniforms couple the ranks.
//
//   auto law = PopularityLaw::through(10'131'227, {{0.0001, 0.42}, {0.01, 0.67}, {0.1, 0.77}});
//   law.share(101'313) == 0.67                       // exactly as asked, and exact draws of that law
//   std::uint64_t rank = law.rank(uniform, [&] { return another_uniform(); });
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "fae/core/config.hpp"
#include "fae/core/error.hpp"
#include "fae/core/random.hpp"
#include "fae/core/zipf.hpp"

namespace fae::inline FAE_ABI {

/// A measured point of an access curve: the most popular `rows` (as a share of the table, rounded up to
/// whole rows) take `accesses` (as a share of all accesses of the table).
struct LawPoint {
    double rows = 0;
    double accesses = 0;
    friend bool operator==(const LawPoint&, const LawPoint&) = default;
};

/// A law over the ranks [0, rows) of a table: a Zipf law, or one that goes through measured
/// points.
class PopularityLaw {
  public:
    /// Zipf's law with exponent s >= 0, by rejection-inversion.
    [[nodiscard]] static PopularityLaw zipf(std::uint64_t rows, double s) {
        PopularityLaw law(rows);
        law.zipf_.emplace(rows, s);
        return law;
    }

    /// The law through `points` and (1, 1). Between two points it falls as a power of the rank, s = 1 up to
    /// the first, then the s >= 0 that continues the law without a step where there is one. Ranks are grouped
    /// into bins: single ranks up to 32, then 1/16 of a bin's first rank. Within a bin the law is flat, and
    /// that binned law is what is drawn, exactly. Points that round up to the same row: the last one counts.
    /// The law decreases unless the points do not (less than so many rows' share, then more).
    /// @throws ContractError unless rows and accesses of the points ascend strictly within (0, 1)
    [[nodiscard]] static PopularityLaw through(std::uint64_t rows, const std::vector<LawPoint>& points) {
        PopularityLaw law(rows);
        std::vector<Knot> knots;
        LawPoint before;
        for (const LawPoint& point : points) {
            require(point.rows > before.rows && point.accesses > before.accesses && point.rows < 1 &&
                        point.accesses < 1,
                    [&] {
                        return concat("an access point is (", point.rows, ", ", point.accesses,
                                      "), expected above (", before.rows, ", ", before.accesses,
                                      ") and below (1, 1)");
                    });
            before = point;
            const auto last = static_cast<std::uint64_t>(std::ceil(point.rows * static_cast<double>(rows)));
            if (last >= rows) break;
            if (!knots.empty() && knots.back().rows == last) knots.pop_back();
            knots.push_back({last, point.accesses});
        }
        knots.push_back({rows, 1.0});
        law.cut(knots);
        return law;
    }

    [[nodiscard]] std::uint64_t rows() const { return rows_; }

    /// The rank that belongs to `uniform`, 64 random bits; next() yields 64 more where a try is rejected.
    /// A larger uniform never gives a more popular rank (for Zipf: among first tries).
    /// @cost through(): one look-up and a short walk; zipf(): as Zipf::draw
    template <class Next>
    [[nodiscard]] std::uint64_t rank(std::uint64_t uniform, Next&& next) const {
        if (zipf_) {
            return zipf_->draw(to_unit(uniform), [&] { return to_unit(next()); }) - 1;
        }
        std::size_t bin = guide_[uniform >> guide_shift];
        while (bin + 1 < bins_.size() && bins_[bin + 1].begin <= uniform) ++bin;
        const Bin& b = bins_[bin];
        const double within = static_cast<double>(uniform - b.begin) * b.ranks_per_unit;
        return b.first + std::min(static_cast<std::uint64_t>(within), b.ranks - 1);
    }

    /// The share of all accesses that goes to the `top` most popular rows.
    [[nodiscard]] double share(std::uint64_t top) const {
        if (zipf_) return zipf_->cumulative(top);
        if (top >= rows_) return 1.0;
        const auto after =
            std::upper_bound(bins_.begin(), bins_.end(), top,
                             [](std::uint64_t value, const Bin& bin) { return value < bin.first; });
        const Bin& b = *(after - 1);
        const double width = mass(static_cast<std::size_t>(after - bins_.begin()) - 1);
        return to_share(b.begin) +
               width * (static_cast<double>(top - b.first) / static_cast<double>(b.ranks));
    }

    /// The probability of one rank.
    /// @pre rank < rows()
    [[nodiscard]] double probability(std::uint64_t rank) const {
        if (zipf_) return zipf_->probability(rank + 1);
        const auto after =
            std::upper_bound(bins_.begin(), bins_.end(), rank,
                             [](std::uint64_t value, const Bin& bin) { return value < bin.first; });
        const auto bin = static_cast<std::size_t>(after - bins_.begin()) - 1;
        return mass(bin) / static_cast<double>(bins_[bin].ranks);
    }

  private:
    struct Knot {
        std::uint64_t rows;  // the first `rows` ranks ...
        double accesses;     // ... take this share
    };
    struct Bin {
        std::uint64_t begin;    // the first uniform of the bin
        std::uint64_t first;    // its first rank
        std::uint64_t ranks;    // how many
        double ranks_per_unit;  // ranks / uniforms of the bin
    };
    static constexpr unsigned guide_bits = 9;
    static constexpr unsigned guide_shift = 64 - guide_bits;

    explicit PopularityLaw(std::uint64_t rows) : rows_(rows) {
        require(rows >= 1 && rows <= Zipf::max_n,
                [&] { return concat("a law over ", rows, " rows, expected 1 to ", Zipf::max_n); });
    }

    [[nodiscard]] static double to_share(std::uint64_t uniform) {
        return static_cast<double>(uniform) * 0x1p-64;
    }
    [[nodiscard]] double mass(std::size_t bin) const {
        const std::uint64_t end = bin + 1 < bins_.size() ? bins_[bin + 1].begin : 0;  // 0: 2^64, it wraps
        return bins_.size() == 1 ? 1.0 : to_share(end - bins_[bin].begin);
    }

    // The weight of ranks [begin, end) (from 0) where rank r weighs ((r + 1) / (origin + 1))^-s.
    [[nodiscard]] static double weight(std::uint64_t begin, std::uint64_t end, std::uint64_t origin,
                                       double s) {
        const double scale = static_cast<double>(origin) + 1.0;
        if (end - begin <= 4) {
            double sum = 0;
            for (std::uint64_t r = begin; r < end; ++r) {
                sum += std::pow((static_cast<double>(r) + 1.0) / scale, -s);
            }
            return sum;
        }
        const double low = (static_cast<double>(begin) + 0.5) / scale;
        const double log_ratio = std::log((static_cast<double>(end) + 0.5) / scale / low);
        return scale * std::pow(low, 1.0 - s) * detail::expm1_over((1.0 - s) * log_ratio) * log_ratio;
    }

    [[nodiscard]] static std::vector<std::uint64_t> edges(std::uint64_t begin, std::uint64_t end) {
        std::vector<std::uint64_t> all;
        for (std::uint64_t r = begin; r < end; r += std::max<std::uint64_t>(1, r / 16)) all.push_back(r);
        all.push_back(end);
        return all;
    }

    void cut(const std::vector<Knot>& knots) {
        std::vector<double> masses;
        double last_density = 0;  // of the rank before the segment; 0: there is none
        Knot before{0, 0.0};
        for (std::size_t k = 0; k < knots.size(); ++k) {
            const Knot& knot = knots[k];
            const std::vector<std::uint64_t> edge = edges(before.rows, knot.rows);
            const double segment = knot.accesses - before.accesses;
            // Room for the next segment: this one ends no lower than between both mean densities.
            double floor = 0;
            if (k + 1 < knots.size()) {
                const double mean = segment / static_cast<double>(knot.rows - before.rows);
                const double next = (knots[k + 1].accesses - knot.accesses) /
                                    static_cast<double>(knots[k + 1].rows - knot.rows);
                floor = std::sqrt(mean * next);
            }
            const double s = exponent(edge, segment, last_density, floor);
            const double unit = segment / total(edge, s);
            for (std::size_t i = 0; i + 1 < edge.size(); ++i) {
                bins_.push_back({0, edge[i], edge[i + 1] - edge[i], 0.0});
                masses.push_back(unit * weight(edge[i], edge[i + 1], edge[0], s));
            }
            last_density = masses.back() / static_cast<double>(bins_.back().ranks);
            before = knot;
        }
        place(masses);
    }

    [[nodiscard]] static double total(const std::vector<std::uint64_t>& edge, double s) {
        double sum = 0;
        for (std::size_t i = 0; i + 1 < edge.size(); ++i) sum += weight(edge[i], edge[i + 1], edge[0], s);
        return sum;
    }

    // The s of a segment: 1 for the first, else the one that starts at the density of the rank before (0 if
    // even that starts above it); at most the one that ends at density `floor`.
    [[nodiscard]] static double exponent(const std::vector<std::uint64_t>& edge, double segment,
                                         double last_density, double floor) {
        constexpr double steepest = 16;
        const auto largest = [&](auto&& holds) {
            double low = 0;
            double high = steepest;
            for (int step = 0; step < 60; ++step) {
                const double middle = 0.5 * (low + high);
                (holds(middle) ? low : high) = middle;
            }
            return low;
        };
        const double s = last_density == 0 ? 1.0 : largest([&](double trial) {
            return segment / total(edge, trial) <= last_density;
        });
        if (floor == 0) return s;
        const auto last = static_cast<double>(edge.back()) / (static_cast<double>(edge.front()) + 1.0);
        const double gentle = largest(
            [&](double trial) { return segment / total(edge, trial) * std::pow(last, -trial) >= floor; });
        return std::min(s, gentle);
    }

    // Turns the masses into first uniforms; every bin gets at least one.
    void place(const std::vector<double>& masses) {
        double sum = 0;
        for (std::size_t i = 1; i < bins_.size(); ++i) {
            sum += masses[i - 1];
            const auto begin = static_cast<std::uint64_t>(std::min(sum, 1.0 - 0x1p-53) * 0x1p64);
            bins_[i].begin = std::max(begin, bins_[i - 1].begin + 1);
        }
        for (std::size_t i = 0; i < bins_.size(); ++i) {
            bins_[i].ranks_per_unit = static_cast<double>(bins_[i].ranks) / (mass(i) * 0x1p64);
        }
        std::size_t bin = 0;
        for (std::size_t i = 0; i < guide_.size(); ++i) {
            const std::uint64_t uniform = std::uint64_t{i} << guide_shift;
            while (bin + 1 < bins_.size() && bins_[bin + 1].begin <= uniform) ++bin;
            guide_[i] = static_cast<std::uint16_t>(bin);
        }
    }

    std::uint64_t rows_;
    std::optional<Zipf> zipf_;
    std::vector<Bin> bins_;
    std::array<std::uint16_t, std::size_t{1} << guide_bits> guide_{};
};

}  // namespace fae::inline FAE_ABI
