// SPDX-License-Identifier: Apache-2.0
//
// An asynchronous executor of look-ahead plans without a device: a planner, one that reads leaving slots, one
// that writes them home, one that reads rows at home, one that fills slots, and one that does steps. Each
// goes as soon as what the plan names is done, and no order beyond that is kept. Rows are numbers that a step
// mixes.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "fae/core/exec.hpp"
#include "fae/core/random.hpp"
#include "fae/table/lookahead_planner.hpp"
#include "support/lookahead_oracle.hpp"

namespace fae_test {

/// What a step makes of a row's value at one look-up: the order of changes shows, and so does a lost one.
inline std::uint64_t changed(std::uint64_t value, std::uint64_t step, std::size_t position) {
    return fae::mix64(value ^ fae::mix64(step * 1000003 + position));
}

/// The rows' values after all batches, in plain order.
inline std::vector<std::uint64_t> train_rows(const LookaheadCase& c) {
    std::vector<std::uint64_t> values(c.rows);
    for (std::uint64_t row = 0; row < c.rows; ++row) values[row] = row;
    for (std::size_t step = 0; step < c.batches.size(); ++step) {
        for (std::size_t i = 0; i < c.batches[step].size(); ++i) {
            std::uint64_t& value = values[c.batches[step][i]];
            value = changed(value, step, i);
        }
    }
    return values;
}

/// What an executor may leave out, to see that it must not.
struct Ignored {
    bool steps_before_leave = false;
    bool steps_before_bring = false;
    bool homes_before_bring = false;
    bool homes_before_direct = false;
    bool leave_before_bring = false;  ///< slots are read before they are filled
    bool lookahead = false;           ///< the planner waits for nobody
};

/// The state that the workers share: how far each has come, and the two tiers.
class Simulation {
  public:
    enum Worker { plan, leave, write_home, gather, fill, step, workers };

    explicit Simulation(const LookaheadCase& c, Ignored ignored = {})
        : case_(&c),
          hot_(c.hot_set()),
          planner_(hot_, c.options),
          ignored_(ignored),
          places_(static_cast<std::size_t>(ignored.lookahead ? c.batches.size() : c.options.lookahead + 1)),
          home_(c.rows),
          slots_(static_cast<std::size_t>(planner_.slots()), ~std::uint64_t{0}) {
        for (std::uint64_t row = 0; row < c.rows; ++row) home_[row] = row;
        for (std::size_t s = 0; s < c.hot.size(); ++s) slots_[s] = c.hot[s];
        for (Place& place : places_) place.plan.reserve(c.options);
    }

    [[nodiscard]] std::uint64_t batches() const { return case_->batches.size(); }
    /// True if what a worker's plan number `n` has to wait for is done.
    /// @param done  how many plans each worker has done
    template <class Done>
    [[nodiscard]] bool ready(Worker worker, std::uint64_t n, const Done& done) {
        if (n == batches()) return false;
        const std::uint64_t ahead = case_->options.lookahead;
        if (worker == plan) {
            return ignored_.lookahead || n < ahead ||
                   (done(step) >= n - ahead && done(write_home) >= n - ahead);
        }
        if (done(plan) <= n) return false;
        const fae::LookaheadWaits& waits = place(n).plan.waits;
        switch (worker) {
            case leave:
                return ignored_.steps_before_leave || done(step) >= waits.steps_before_leave;
            case write_home:
                return done(leave) > n;
            case gather:
                return (ignored_.steps_before_bring || done(step) >= waits.steps_before_bring) &&
                       (ignored_.homes_before_bring || done(write_home) >= waits.homes_before_bring);
            case fill:
                return done(gather) > n && (ignored_.leave_before_bring || done(leave) > n);
            default:
                return done(fill) > n &&
                       (ignored_.homes_before_direct || done(write_home) >= waits.homes_before_direct);
        }
    }

    /// Does a worker's part of plan `n`.
    void work(Worker worker, std::uint64_t n) {
        Place& p = place(n);
        switch (worker) {
            case plan: {
                const Batch& batch = case_->batches[static_cast<std::size_t>(n)];
                p.located.resize(batch.size());
                planner_.push(fae::seq, lookups_of(batch), fae::Span<std::uint32_t>(p.located), p.plan);
                return;
            }
            case leave:
                p.leaving.clear();
                for (const auto& move : p.plan.leave) p.leaving.push_back(slots_[move.slot]);
                return;
            case write_home:
                for (std::size_t i = 0; i < p.leaving.size(); ++i) home_[p.plan.leave[i].row] = p.leaving[i];
                return;
            case gather:
                p.coming.clear();
                for (const auto& move : p.plan.bring) p.coming.push_back(home_[move.row]);
                return;
            case fill:
                for (std::size_t i = 0; i < p.coming.size(); ++i) slots_[p.plan.bring[i].slot] = p.coming[i];
                return;
            default:
                for (std::size_t i = 0; i < p.located.size(); ++i) {
                    const std::uint32_t at = fae::position_of(p.located[i]);
                    std::uint64_t& value = fae::is_fast(p.located[i]) ? slots_[at] : home_[at];
                    value = changed(value, n, i);
                }
        }
    }

    /// The rows' values once all is done.
    [[nodiscard]] std::vector<std::uint64_t> values() const {
        std::vector<std::uint64_t> values = home_;
        for (std::uint64_t row = 0; row < case_->rows; ++row) {
            if (const fae::Location at = planner_.locate(row); at.fast) values[row] = slots_[at.position];
        }
        return values;
    }

  private:
    struct Place {
        fae::LookaheadPlan plan;
        std::vector<std::uint32_t> located;
        std::vector<std::uint64_t> leaving;
        std::vector<std::uint64_t> coming;
    };
    [[nodiscard]] Place& place(std::uint64_t n) {
        return places_[static_cast<std::size_t>(n % places_.size())];
    }

    const LookaheadCase* case_;
    fae::HotSet hot_;
    fae::LookaheadPlanner planner_;
    Ignored ignored_;
    std::vector<Place> places_;
    std::vector<std::uint64_t> home_;
    std::vector<std::uint64_t> slots_;
};

/// Runs a case on one thread in an order that a seed draws: whoever may go next, with odds that differ by a
/// thousand, so that some runs have a slow writer, others a planner far ahead.
inline std::vector<std::uint64_t> run_in_random_order(const LookaheadCase& c, std::uint64_t seed,
                                                      Ignored ignored = {}) {
    Simulation simulation(c, ignored);
    fae::Philox random(seed, 5);
    std::uint64_t done[Simulation::workers] = {};
    std::uint64_t odds[Simulation::workers];
    for (std::uint64_t& odd : odds) odd = random.below(2) == 0 ? 1 : 1000;
    const auto count = [&](Simulation::Worker worker) { return done[worker]; };
    while (done[Simulation::step] < simulation.batches() ||
           done[Simulation::write_home] < simulation.batches()) {
        std::uint64_t total = 0;
        std::uint64_t weight[Simulation::workers];
        for (int w = 0; w < Simulation::workers; ++w) {
            const auto worker = static_cast<Simulation::Worker>(w);
            weight[w] = simulation.ready(worker, done[w], count) ? odds[w] : 0;
            total += weight[w];
        }
        REQUIRE(total != 0);  // else everybody waits for somebody
        std::uint64_t draw = random.below(total);
        int w = 0;
        while (draw >= weight[w]) draw -= weight[w++];
        simulation.work(static_cast<Simulation::Worker>(w), done[w]);
        ++done[w];
    }
    return simulation.values();
}

}  // namespace fae_test
