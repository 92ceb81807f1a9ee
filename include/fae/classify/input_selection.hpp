// SPDX-License-Identifier: Apache-2.0
//
// calibrate_inputs: the hot set that makes most inputs hot. calibrate() takes the rows that are looked up
// most; but an input is hot only if all of its rows are, and a row that completes no input is wasted on it.
//
//   InputSelection made = calibrate_inputs(par(threads), profile, data.bags(), options);
//   made.hot_set, made.hot_inputs                       // never fewer than made.hot_inputs_by_count
//
// Choosing m rows that complete most inputs is hard (it holds the densest subgraph), so this is a heuristic,
// with a guarantee beside it: the set of count order is tried too, and the better one returned.
//
// What is left out is chosen by price. Each row costs one place, shared equally by the inputs that need it,
// so the price of an input is the sum of 1 / (inputs that still need the row) over its rows; all prices add
// up to the rows in use. Round by round the dearest inputs are given up until the rows that the others need
// fit: that is the dual of the selection problem, in which the places' prices are shared among those who use
// them, with equal shares in place of the best ones. Then places that are free go to the rows that complete
// most inputs which miss no other row, the dearest of the inputs are given up again to make room for cheaper
// ones as long as that wins, and what is still free goes by count.
//
// The set is chosen for these inputs. On others of the same law it may do less for inputs than count order
// where most rows were seen a few times only (bench/io/input_selection_bench.cpp has both); a static
// placement trains on the inputs that it was chosen for.
#pragma once

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

#include "fae/calibrate/calibrator.hpp"
#include "fae/calibrate/hot_set.hpp"
#include "fae/classify/input_share.hpp"
#include "fae/core/bags.hpp"
#include "fae/core/config.hpp"
#include "fae/core/error.hpp"
#include "fae/core/exec.hpp"
#include "fae/core/random.hpp"
#include "fae/core/rank_bitmap.hpp"
#include "fae/core/row_space.hpp"
#include "fae/core/span.hpp"
#include "fae/core/types.hpp"
#include "fae/memory/buffer.hpp"
#include "fae/memory/space.hpp"
#include "fae/profile/access_profile.hpp"
#include "fae/profile/counter.hpp"

namespace fae::inline FAE_ABI {

/// A hot set chosen for inputs.
struct InputSelection {
    HotSet hot_set;
    std::uint64_t inputs = 0;                ///< that it was chosen from
    std::uint64_t hot_inputs = 0;            ///< of those, by this set
    std::uint64_t hot_inputs_by_count = 0;   ///< by calibrate()'s set of the same budget
    std::uint64_t lookups = 0;               ///< that were profiled
    std::uint64_t hot_lookups = 0;           ///< of those, by this set
    std::uint64_t hot_lookups_by_count = 0;  ///< by calibrate()'s
    std::uint64_t hot_bytes = 0;             ///< rows and index
};

namespace detail {

/// Which inputs are kept, and how many look-ups of kept inputs each row has. A row is in use if it has one.
template <Executor E, IndexType Index>
class KeptInputs {
  public:
    KeptInputs(const E& exec, const Bags<Index>& bags, std::uint64_t rows)
        : exec_(&exec),
          bags_(bags),
          inputs_(bags.samples()),
          needs_(static_cast<std::size_t>(rows)),
          gains_(static_cast<std::size_t>(rows)),
          kept_(inputs_),
          price_(inputs_) {}

    [[nodiscard]] std::uint64_t kept() const { return static_cast<std::uint64_t>(kept_count_); }
    [[nodiscard]] std::uint64_t rows_in_use() const { return static_cast<std::uint64_t>(used_); }
    [[nodiscard]] bool in_use(std::uint64_t row) const { return needs_[static_cast<std::size_t>(row)] != 0; }

    /// Keeps exactly the inputs all of whose rows are in `is_hot`.
    template <class IsHot>
    void keep_hot(const IsHot& is_hot) {
        std::vector<std::uint8_t> kept(inputs_);
        for_inputs([&](std::size_t input, Change&) {
            bool hot = true;
            for (std::size_t i = begin(input); hot && i < end(input); ++i) hot = is_hot(bags_.values()[i]);
            kept[input] = hot ? 1 : 0;
        });
        keep(std::move(kept));
    }

    /// Which inputs are kept, to come back to.
    [[nodiscard]] std::vector<std::uint8_t> state() const { return kept_; }
    /// Keeps these inputs and no other.
    void keep(std::vector<std::uint8_t> kept) {
        kept_ = std::move(kept);
        std::fill(needs_.begin(), needs_.end(), 0u);
        kept_count_ = used_ = 0;
        for_inputs([&](std::size_t input, Change& mine) {
            if (kept_[input] != 0) take(input, mine);
        });
    }

    /// Gives up the dearest inputs round by round, until at most `rows` rows are in use.
    void give_up(std::uint64_t rows) {
        while (rows_in_use() > rows) {
            // Inputs whose prices add up to no more than the rows to be freed cannot free more.
            const std::uint64_t step = rows_in_use() / 3 + 1;
            give_up_dearest(std::min(rows_in_use() - rows, step));
        }
    }

    /// Gives up the dearest inputs whose prices add up to about `rows`; at least one.
    void give_up_dearest(std::uint64_t rows) {
        struct Bin {
            std::uint64_t inputs = 0;
            std::uint64_t price = 0;  // in whole parts, so that sums do not depend on their order
        };
        constexpr double parts_of_one = 1 << 16;
        const std::size_t step = std::max(grain, ceil_div<std::size_t>(inputs_, 64));
        std::vector<std::vector<Bin>> pieces(ceil_div(inputs_, step));
        for_chunks(*exec_, inputs_, step, [&](std::size_t first, std::size_t last) {
            std::vector<Bin>& bins = pieces[first / step];
            bins.resize(bin_count);
            for (std::size_t input = first; input < last; ++input) {
                if (kept_[input] == 0) continue;
                float price = 0;
                for (std::size_t i = begin(input); i < end(input); ++i) {
                    price += 1.0F / static_cast<float>(needs_[static_cast<std::size_t>(bags_.values()[i])]);
                }
                price_[input] = price;
                Bin& bin = bins[bin_of(price)];
                ++bin.inputs;
                bin.price += static_cast<std::uint64_t>(static_cast<double>(price) * parts_of_one);
            }
        });
        // The bins from `least` on in full; of the one below, in which prices are nearly equal, a share.
        auto left = static_cast<double>(rows) * parts_of_one;
        std::size_t least = bin_count;
        double share = 0;
        for (bool any = false; least > 0; --least) {
            Bin bin;
            for (const std::vector<Bin>& bins : pieces) {
                bin.inputs += bins[least - 1].inputs;
                bin.price += bins[least - 1].price;
            }
            if (static_cast<double>(bin.price) > left) {
                share = left / static_cast<double>(bin.price);
                if (!any) share = std::max(share, 2.0 / static_cast<double>(bin.inputs + 1));
                break;
            }
            left -= static_cast<double>(bin.price);
            any = any || bin.inputs != 0;
        }
        const std::uint64_t before = kept();
        const auto drop = [&](double part) {
            for_inputs([&](std::size_t input, Change& mine) {
                if (kept_[input] == 0) return;
                const std::size_t bin = bin_of(price_[input]);
                if (bin + 1 < least || (bin + 1 == least && to_unit(mix64(input)) >= part)) return;
                kept_[input] = 0;
                give_back(input, mine);
            });
        };
        drop(share);
        if (kept() == before) drop(1);
    }

    /// Puts at most `places` more rows in use: those that complete most inputs which miss no other row, as
    /// long as there are such inputs. Inputs that miss nothing are kept too.
    void complete(std::uint64_t places) {
        for (bool more = true; more;) {
            std::fill(gains_.begin(), gains_.end(), 0u);
            for_inputs([&](std::size_t input, Change&) {
                if (kept_[input] != 0) return;
                const std::uint64_t row = missing(input);
                if (row < several) add_to(gains_[static_cast<std::size_t>(row)], 1);
            });
            std::vector<std::pair<std::uint32_t, std::uint64_t>> best;  // complement of the gain, row
            for (std::size_t row = 0; row < gains_.size(); ++row) {
                if (gains_[row] != 0) best.emplace_back(~gains_[row], row);
            }
            if (best.size() > places) {
                std::nth_element(best.begin(), best.begin() + static_cast<std::ptrdiff_t>(places),
                                 best.end());
                for (std::size_t i = static_cast<std::size_t>(places); i < best.size(); ++i) {
                    gains_[static_cast<std::size_t>(best[i].second)] = 0;
                }
                best.resize(static_cast<std::size_t>(places));
            }
            // First who is completed, then what that puts in use: no answer depends on the order of inputs.
            for_inputs([&](std::size_t input, Change&) {
                if (kept_[input] != 0) return;
                const std::uint64_t row = missing(input);
                const bool completed =
                    row == nothing || (row < several && gains_[static_cast<std::size_t>(row)] != 0);
                if (completed) kept_[input] = 2;
            });
            for_inputs([&](std::size_t input, Change& mine) {
                if (kept_[input] != 2) return;
                kept_[input] = 1;
                take(input, mine);
            });
            places -= best.size();
            more = !best.empty() && places != 0;
        }
    }

  private:
    static constexpr std::size_t grain = 16384;
    // Bins of prices: a 32nd of an octave each, from 2^-32 on.
    static constexpr std::size_t bin_count = 48 * 32;
    static constexpr std::uint64_t nothing = std::numeric_limits<std::uint64_t>::max();
    static constexpr std::uint64_t several = nothing - 1;

    [[nodiscard]] static std::size_t bin_of(float price) {
        const std::uint32_t bits = std::bit_cast<std::uint32_t>(price) >> 18;  // exponent and five more bits
        constexpr std::uint32_t lowest = (127 - 32) * 32;
        return bits < lowest ? 0 : std::min<std::size_t>(bits - lowest, bin_count - 1);
    }
    [[nodiscard]] std::size_t begin(std::size_t input) const { return bags_.begin(input * bags_.features()); }
    [[nodiscard]] std::size_t end(std::size_t input) const {
        return bags_.begin((input + 1) * bags_.features());
    }

    // What a task has changed of the rows in use and the inputs kept.
    struct Change {
        std::int64_t rows = 0;
        std::int64_t inputs = 0;
    };
    template <class F>
    void for_inputs(F&& f) {
        std::vector<Change> changes(ceil_div(inputs_, grain));
        for_chunks(*exec_, inputs_, grain, [&](std::size_t first, std::size_t last) {
            Change mine;
            for (std::size_t input = first; input < last; ++input) f(input, mine);
            changes[first / grain] = mine;
        });
        for (const Change& change : changes) {
            used_ += change.rows;
            kept_count_ += change.inputs;
        }
    }

    // Adds (modulo 2^32) and gives what was there.
    std::uint32_t add_to(std::uint32_t& to, std::uint32_t what) const {
        if (exec_->concurrency() > 1) {
            return std::atomic_ref<std::uint32_t>(to).fetch_add(what, std::memory_order_relaxed);
        }
        const std::uint32_t before = to;
        to += what;
        return before;
    }
    void take(std::size_t input, Change& mine) {
        ++mine.inputs;
        for (std::size_t i = begin(input); i < end(input); ++i) {
            if (add_to(needs_[static_cast<std::size_t>(bags_.values()[i])], 1) == 0) ++mine.rows;
        }
    }
    void give_back(std::size_t input, Change& mine) {
        --mine.inputs;
        for (std::size_t i = begin(input); i < end(input); ++i) {
            if (add_to(needs_[static_cast<std::size_t>(bags_.values()[i])], ~std::uint32_t{0}) == 1) {
                --mine.rows;
            }
        }
    }
    // The one row of the input that is not in use, or `nothing`, or `several`.
    [[nodiscard]] std::uint64_t missing(std::size_t input) const {
        std::uint64_t row = nothing;
        for (std::size_t i = begin(input); i < end(input); ++i) {
            const std::uint64_t value = bags_.values()[i];
            if (needs_[static_cast<std::size_t>(value)] != 0 || value == row) continue;
            if (row != nothing) return several;
            row = value;
        }
        return row;
    }

    const E* exec_;
    Bags<Index> bags_;
    std::size_t inputs_;
    Buffer<std::uint32_t, PageSpace> needs_;
    Buffer<std::uint32_t, PageSpace> gains_;
    std::vector<std::uint8_t> kept_;
    std::vector<float> price_;
    std::int64_t kept_count_ = 0;
    std::int64_t used_ = 0;
};

/// The `places` rows of most look-ups that are not in use, as marks; ties by row.
template <IndexType Index, Executor E, class Count>
[[nodiscard]] std::vector<std::uint64_t> next_by_count(const KeptInputs<E, Index>& kept,
                                                       Span<const Count> counts, std::uint64_t places) {
    std::vector<std::pair<Count, std::uint64_t>> rest;  // complement of the count, row
    for (std::size_t row = 0; places != 0 && row < counts.size(); ++row) {
        if (counts[row] != 0 && !kept.in_use(row)) rest.emplace_back(static_cast<Count>(~counts[row]), row);
    }
    if (rest.size() > places) {
        std::nth_element(rest.begin(), rest.begin() + static_cast<std::ptrdiff_t>(places), rest.end());
        rest.resize(static_cast<std::size_t>(places));
    }
    std::vector<std::uint64_t> rows;
    for (const auto& [count, row] : rest) rows.push_back(row);
    std::sort(rows.begin(), rows.end());
    return rows;
}

template <Executor E, class Count>
[[nodiscard]] std::uint64_t profiled_lookups(const E& exec, const AccessProfile<Count>& profile,
                                             const HotSet& hot) {
    std::uint64_t sum = 0;
    for (const std::uint64_t count : slot_counts(exec, profile, hot)) sum += count;
    return sum;
}

}  // namespace detail

/// Chooses the hot rows of one row space so that most of these inputs are hot. Never fewer than with
/// calibrate()'s set of the same budget: where the search finds no better set, it is that set. Rows never
/// looked up are not chosen, those of small tables included. Sets of several budgets do not nest.
/// @param profile  of these inputs or others of the row space: gives count order, and what is not needed by
///                 inputs is filled by it
/// @pre    each value is a row of the profile's row space (FAE_CHECKED)
/// @units  bytes of the fast tier
/// @exec   seq, par: equal results
/// @cost   about 25 passes over the inputs that are still kept, one counter a look-up, and twice as many over
/// 6
///         bytes an input; memory: 8 bytes a row, 7 an input, 16 a row that completes an input
/// @throws ContractError as calibrate; if the bags have other features than the row space, or 2^32 look-ups
/// @source the selection problem: Rhys, Management Science 17(3), 1970; Balinski, the same; its hardness at a
///         given size: Feige, Peleg, Kortsarz, The Dense k-Subgraph Problem, Algorithmica 29, 2001; giving up
///         the worst: Charikar, APPROX 2000, section 4
template <Executor E, class Count, IndexType Index>
[[nodiscard]] InputSelection calibrate_inputs(const E& exec, const AccessProfile<Count>& profile,
                                              const Bags<Index>& bags, const CalibrationOptions& options) {
    const RowSpace& space = profile.space();
    require(bags.features() == space.features() || bags.size() == 0, [&] {
        return concat("the batch has ", bags.features(), " features, expected ", space.features());
    });
    require(bags.lookups() < std::numeric_limits<std::uint32_t>::max(),
            [&] { return concat("there are ", bags.lookups(), " look-ups, expected less than 2^32 - 1"); });
    if constexpr (checked) detail::check_rows(exec, space, bags);
    CalibrationOptions exact = options;
    exact.selection = Selection::exact;
    Calibration by_count = calibrate(exec, profile, exact);

    InputSelection made;
    made.inputs = bags.samples();
    made.lookups = profile.accesses();
    made.hot_inputs_by_count = input_share(exec, by_count.hot_set, space, bags).hot;
    made.hot_lookups_by_count = by_count.report.hot_lookups;
    const auto use_count_order = [&] {
        made.hot_set = std::move(by_count.hot_set);
        made.hot_inputs = made.hot_inputs_by_count;
        made.hot_lookups = made.hot_lookups_by_count;
        made.hot_bytes = by_count.report.hot_bytes();
    };
    const std::uint64_t index = RankBitmap::bytes_for(space.rows());
    const std::uint64_t places =
        options.budget_bytes < index ? 0 : (options.budget_bytes - index) / options.row_bytes;
    if (places == 0 || made.hot_inputs_by_count == made.inputs) {
        use_count_order();
        return made;
    }
    {
        detail::KeptInputs<E, Index> kept(exec, bags, space.rows());
        const auto complete = [&] { kept.complete(places - kept.rows_in_use()); };
        const HotSet::Ref hot = by_count.hot_set.ref();
        kept.keep_hot([&](std::uint64_t row) { return hot.contains(row); });
        if (kept.rows_in_use() <= places) complete();
        std::uint64_t best = kept.rows_in_use() <= places ? kept.kept() : 0;
        std::vector<std::uint8_t> state = kept.state();
        kept.keep_hot([](std::uint64_t) { return true; });
        kept.give_up(places);
        complete();
        if (kept.kept() < best) kept.keep(state);
        // Make room for cheaper inputs as long as that wins.
        constexpr int most_tries = 4;
        for (int i = 0; i < most_tries && kept.rows_in_use() != 0; ++i) {
            best = kept.kept();
            state = kept.state();
            kept.give_up_dearest(kept.rows_in_use() / 20 + 1);
            complete();
            if (kept.kept() > best) continue;
            kept.keep(std::move(state));
            break;
        }
        const std::vector<std::uint64_t> fill =
            detail::next_by_count(kept, profile.counts(), places - kept.rows_in_use());
        std::vector<std::uint64_t> rows;
        for (std::uint64_t row = 0; row < space.rows(); ++row) {
            if (kept.in_use(row)) rows.push_back(row);
        }
        const auto middle = static_cast<std::ptrdiff_t>(rows.size());
        rows.insert(rows.end(), fill.begin(), fill.end());
        std::inplace_merge(rows.begin(), rows.begin() + middle, rows.end());
        made.hot_set = HotSet::from_rows(exec, space.rows(), Span<const std::uint64_t>(rows));
    }
    made.hot_inputs = input_share(exec, made.hot_set, space, bags).hot;
    if (made.hot_inputs <= made.hot_inputs_by_count) {
        use_count_order();
        return made;
    }
    made.hot_lookups = detail::profiled_lookups(exec, profile, made.hot_set);
    made.hot_bytes = made.hot_set.size() * options.row_bytes + made.hot_set.index_bytes();
    return made;
}

}  // namespace fae::inline FAE_ABI
