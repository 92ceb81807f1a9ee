// SPDX-License-Identifier: Apache-2.0
#include "input_aware.hpp"

#include <algorithm>
#include <cstddef>
#include <optional>

#include "../train_dlrm/console.hpp"
#include "fae/calibrate/calibrator.hpp"
#include "fae/classify/input_selection.hpp"
#include "fae/classify/input_share.hpp"
#include "fae/core/bags.hpp"
#include "fae/core/random.hpp"
#include "fae/core/row_space.hpp"
#include "fae/profile/profiler.hpp"
#include "fae/profile/sampled.hpp"

namespace advise {

namespace {

using Profile = fae::AccessProfile<>;

// Look-ups of inputs, one a feature.
struct Inputs {
    std::vector<std::uint32_t> values;
    std::size_t features = 1;

    [[nodiscard]] fae::Bags<std::uint32_t> bags() const {
        return fae::Bags<std::uint32_t>::fixed(values, 1, features);
    }
    [[nodiscard]] std::uint64_t count() const { return values.size() / features; }
};

}  // namespace

std::vector<InputAware> input_aware(const Executor& exec, const InputStream& stream,
                                    const fae::AccessProfile<>& profile, std::uint64_t row_bytes,
                                    const std::vector<std::uint64_t>& budgets, std::uint64_t seed) {
    const fae::RowSpace& space = profile.space();
    const std::uint64_t all = stream.inputs();
    const bool from_all = all <= most_chosen_from;
    const std::uint64_t drawn = std::min(all, most_chosen_from + most_chosen_from / 4);
    const auto sampler = fae::InputSampler::exact(all, drawn, seed);
    // Four of five are chosen from, the fifth held out, in the order of the file.
    Inputs chosen{{}, space.features()};
    Inputs held{{}, space.features()};
    Inputs both{{}, space.features()};
    std::uint64_t input = 0;
    std::uint64_t taken = 0;
    stream.for_blocks(exec, 0, all, "choose", [&](const fae::Bags<std::uint32_t>& bags) {
        const std::size_t width = space.features();
        for (std::size_t i = 0; i < bags.samples(); ++i, ++input) {
            if (!sampler.draws(input)) continue;
            const std::uint32_t* const from = bags.values().data() + i * width;
            std::vector<std::uint32_t>& to =
                fae::mix64(seed ^ fae::mix64(taken++)) % 5 == 0 ? held.values : chosen.values;
            to.insert(to.end(), from, from + width);
            if (from_all) both.values.insert(both.values.end(), from, from + width);
        }
    });
    std::optional<Profile> of_chosen;
    if (from_all) {
        // Neither set may have seen what it is tried on.
        fae::AccessProfiler<> profiler(space);
        profiler.add(exec, chosen.bags());
        of_chosen = profiler.finish();
    }
    std::vector<InputAware> found;
    for (const std::uint64_t budget : budgets) {
        train_dlrm::stop_if_interrupted();
        fae::CalibrationOptions options;
        options.budget_bytes = budget;
        options.row_bytes = row_bytes;
        InputAware one;
        const Profile& known = from_all ? *of_chosen : profile;
        const fae::InputSelection tried = fae::calibrate_inputs(exec, known, chosen.bags(), options);
        const fae::HotSet by_count = fae::calibrate(exec, known, options).hot_set;
        one.held_out = held.count();
        one.held_out_hot_inputs = fae::input_share(exec, tried.hot_set, space, held.bags()).hot;
        one.held_out_hot_inputs_by_count = fae::input_share(exec, by_count, space, held.bags()).hot;
        const auto take = [&](const fae::InputSelection& made) {
            one.chosen_from = made.inputs;
            one.hot_inputs = made.hot_inputs;
            one.hot_inputs_by_count = made.hot_inputs_by_count;
        };
        if (from_all) {
            take(fae::calibrate_inputs(exec, profile, both.bags(), options));
        } else {
            take(tried);
        }
        found.push_back(one);
    }
    return found;
}

}  // namespace advise
