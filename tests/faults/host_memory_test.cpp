// SPDX-License-Identifier: Apache-2.0
//
// No memory left, at every point of the way from inputs to a trained step: every k-th allocation fails, of
// the heap and of pages. Objects stay what they were, nothing leaks, no file is left half written.
#include <doctest/doctest.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "fae/core/threads.hpp"
#include "fae/io/fae_file.hpp"
#include "support/compare.hpp"
#include "support/failing_memory.hpp"
#include "support/kernels.hpp"
#include "support/law.hpp"
#include "support/temporary_folder.hpp"

using namespace fae;
using fae_test::equal;
using fae_test::for_each_failure;
using fae_test::live_allocations;

namespace {

fae_test::LawCase small_case() {
    fae_test::LawCase c;
    c.inputs = 90;
    c.validation_inputs = 10;
    c.batch = 8;
    c.budget_share = 0.5;
    c.optimizer = OptimizerKind::adagrad;
    return c;
}

CalibrationOptions options_of(const fae_test::LawCase& c, const RowSpace& space) {
    CalibrationOptions options;
    options.row_bytes = row_layout(c.dim, state_size(c.optimizer, c.dim)).bytes();
    options.budget_bytes = space.rows() * options.row_bytes / 2;
    return options;
}

}  // namespace

// Catches memory that cannot fail: the cases below would then pass whatever the library does.
TEST_CASE("faults: the k-th call of new, of aligned new and of mmap fails, and only that") {
    const fae_test::FailingCall failing(2);
    CHECK_NOTHROW(std::make_unique<int>(1));
    CHECK_THROWS_AS(std::vector<int>(100), std::bad_alloc);
    CHECK_NOTHROW(std::vector<int>(100));
    CHECK(failing.has_failed());
    fae_test::calls_left = 1;
    CHECK_THROWS_AS(Buffer<float>(100), std::bad_alloc);
    fae_test::calls_left = 1;
    CHECK_THROWS_AS((Buffer<float, PageSpace>(100)), std::bad_alloc);
}

// Catches a batch that is half counted, and a profiler that is of no use once it has failed.
TEST_CASE("faults: a profiler that found no memory has counted nothing of the batch and goes on") {
    const fae_test::LawCase c = small_case();
    const Dataset data = fae_test::random_dataset(c, c.inputs, 1);
    const RowSpace space = data.shape.row_space(c.dim);
    AccessProfiler<> twice(space);
    twice.add(seq, data.bags());
    twice.add(seq, data.bags());
    const AccessProfile<> expected = twice.finish();
    for_each_failure([] {}, [](bool) {});  // what doctest keeps for itself is there from here on
    const InputSampler all;
    const InputSampler some = InputSampler::bernoulli(0.5, 3);
    for (const InputSampler& sampler : {all, some}) {
        AccessProfiler<> drawn(space);
        drawn.add(seq, data.bags(), sampler);
        const AccessProfile<> expected_drawn = drawn.finish();
        const long before = live_allocations;
        long failures = 0;
        {
            std::optional<AccessProfiler<>> profiler(std::in_place, space);
            failures =
                for_each_failure([&] { profiler->add(seq, data.bags(), sampler); },
                                 [&](bool failed) {
                                     if (failed) {
                                         REQUIRE(profiler->inputs_seen() == 0);
                                         profiler->add(seq, data.bags(), sampler);
                                     }
                                     REQUIRE(equal(profiler->finish().counts(), expected_drawn.counts()));
                                 });
        }
        const long after = live_allocations;
        CHECK(after == before);
        CHECK(failures > 0);
    }
    // finish(): all that was counted is there for another try.
    AccessProfiler<> profiler(space);
    const auto count_twice = [&] {
        while (profiler.inputs_seen() < 2 * c.inputs) profiler.add(seq, data.bags());
    };
    std::optional<AccessProfile<>> profile;
    CHECK(for_each_failure(
              [&] {
                  count_twice();
                  profile = profiler.finish();
              },
              [&](bool failed) {
                  if (failed) {
                      count_twice();
                      profile = profiler.finish();
                  }
                  REQUIRE(equal(profile->counts(), expected.counts()));
                  profile.reset();
              }) > 3);
}

// Catches what leaks where one of several results could not be made, and sources that are changed.
TEST_CASE("faults: calibration, classification and packing leak nothing and change nothing") {
    const fae_test::LawCase c = small_case();
    Threads threads(2);
    const auto exec = par(threads);
    for (const std::size_t most_per_bag : {1u, 3u}) {
        fae_test::LawCase shape = c;
        shape.most_per_bag = most_per_bag;
        const Dataset data = fae_test::random_dataset(shape, c.inputs, 1);
        const RowSpace space = data.shape.row_space(c.dim);
        AccessProfiler<> profiler(space);
        profiler.add(exec, data.bags());
        const AccessProfile<> profile = profiler.finish();
        const CalibrationOptions options = options_of(c, space);
        const Calibration expected = calibrate(exec, profile, options);
        const Classification expected_classes = classify(exec, expected.hot_set, space, data.bags());
        const long before = live_allocations;
        CHECK(for_each_failure([&] { static_cast<void>(calibrate(exec, profile, options)); },
                               [&](bool) { REQUIRE(live_allocations == before); }) > 0);
        CHECK(
            for_each_failure([&] { static_cast<void>(classify(exec, expected.hot_set, space, data.bags())); },
                             [&](bool) { REQUIRE(live_allocations == before); }) > 0);
        CHECK(calibrate(exec, profile, options).hot_set.size() == expected.hot_set.size());
        CHECK(equal(classify(exec, expected.hot_set, space, data.bags()).hot_slots,
                    expected_classes.hot_slots));
        // From inputs to what a run is trained on, in one go.
        CHECK(for_each_failure([&] { static_cast<void>(fae_test::prepare(shape)); },
                               [&](bool) { REQUIRE(live_allocations == before); }) > 10);
    }
}

// Catches a file that is half written, one that is lost although it was whole, a name that is left behind.
TEST_CASE("faults: a packed file is the old one or the new one, and nothing is left beside it") {
    const fae_test::LawCase old_case = small_case();
    fae_test::LawCase new_case = old_case;
    new_case.inputs = 70;
    const PackedDataset old_data = fae_test::prepare(old_case);
    const PackedDataset new_data = fae_test::prepare(new_case);
    const TemporaryFolder folder;
    const std::string path = folder / "train.fae";
    write_fae_file(seq, path, old_data);
    const std::string old_bytes = read_bytes(path);
    write_fae_file(seq, path, new_data);
    const std::string new_bytes = read_bytes(path);
    write_bytes(path, old_bytes);
    const long before = live_allocations;
    CHECK(for_each_failure([&] { write_fae_file(seq, path, new_data); },
                           [&](bool failed) {
                               REQUIRE(live_allocations == before);
                               const std::string bytes = read_bytes(path);
                               REQUIRE((bytes == new_bytes || (failed && bytes == old_bytes)));
                               REQUIRE(folder.files() == 1);
                               if (bytes == new_bytes) write_bytes(path, old_bytes);
                           }) > 0);
    write_bytes(path, old_bytes);
    const long opened_before = live_allocations;
    CHECK(for_each_failure([&] { static_cast<void>(open_fae_file(seq, path)); },
                           [&](bool) { REQUIRE(live_allocations == opened_before); }) > 0);
}

// Catches a table or model that leaks what it had; rows that moved twice or by half; a step that was half
// done.
TEST_CASE("faults: a table and a step that found no memory end as if they had found it, once they do") {
    const fae_test::LawCase c = small_case();
    const PackedDataset data = fae_test::prepare(c);
    REQUIRE(data.hot().inputs() >= c.batch);
    REQUIRE(data.cold().inputs() >= c.batch);
    using Table = HotColdTable<float, StaticPlacement<>>;
    const RowSpace space = data.shape().row_space(c.dim);
    const auto batch_of = [&](BatchLoader& loader, bool hot) {
        return loader.load_range(seq, hot ? data.hot() : data.cold(), 0, c.batch);
    };
    std::string expected;
    std::string expected_fresh;
    {
        Table table(space, c.optimizer, static_placement(data.hot_set()));
        table.initialise(seq, 1);
        Dlrm<float> model(c.shape(), c.batch, 1, c.optimizer);
        expected_fresh = weights_digest(seq, table, model);
        DlrmTrainer<StaticPlacement<>> trainer(table, model);
        BatchLoader loader(data);
        trainer.step(seq, 0, batch_of(loader, false), 0.1f);
        table.synchronise(seq, Heat::hot);
        trainer.step(seq, 1, batch_of(loader, true), 0.1f);
        expected = weights_digest(seq, table, model);
    }
    const long before = live_allocations;
    CHECK(for_each_failure(
              [&] {
                  Table table(space, c.optimizer, static_placement(data.hot_set()));
                  table.initialise(seq, 1);
                  const Dlrm<float> model(c.shape(), c.batch, 1, c.optimizer);
                  static_cast<void>(weights_digest(seq, table, model));
              },
              [&](bool) { REQUIRE(live_allocations == before); }) > 0);

    for (long call = 1;; ++call) {
        CAPTURE(call);
        bool reached = false;
        {
            Table table(space, c.optimizer, static_placement(data.hot_set()));
            table.initialise(seq, 1);
            Dlrm<float> model(c.shape(), c.batch, 1, c.optimizer);
            DlrmTrainer<StaticPlacement<>> trainer(table, model);
            BatchLoader loader(data);
            // Each part is tried again where it failed, as a host would.
            const auto try_twice = [&](auto&& part) {
                try {
                    part();
                } catch (const std::bad_alloc&) {
                    reached = true;
                    part();
                }
            };
            {
                const fae_test::FailingCall failing(call);
                try_twice([&] { trainer.step(seq, 0, batch_of(loader, false), 0.1f); });
                try_twice([&] { table.synchronise(seq, Heat::hot); });
                try_twice([&] { trainer.step(seq, 1, batch_of(loader, true), 0.1f); });
                reached = reached || failing.has_failed();
            }
            REQUIRE(weights_digest(seq, table, model) == expected);
        }
        REQUIRE(live_allocations == before);
        if (!reached) {
            CHECK(call > 2);
            break;
        }
    }
    CHECK(expected_fresh != expected);
}

// Catches a checkpoint that claims to be whole and is not.
TEST_CASE("faults: a checkpoint that has a digest is whole") {
    const fae_test::LawCase c = small_case();
    const RowSpace space({{40, c.dim, ""}, {7, c.dim, ""}, {300, c.dim, ""}});
    HotColdTable<float, AllHome<>> table(space, c.optimizer, all_home);
    table.initialise(seq, 1);
    Dlrm<float> model(c.shape(), c.batch, 1, c.optimizer);
    HotColdTable<float, AllHome<>> other(space, c.optimizer, all_home);
    Dlrm<float> other_model(c.shape(), c.batch, 2, c.optimizer);
    const TemporaryFolder folder;
    const std::string path = folder / "run";
    save_checkpoint(seq, path, table, model);
    const std::string expected = weights_digest(seq, table, model);
    const long before = live_allocations;
    CHECK(for_each_failure(
              [&] { save_checkpoint(seq, path, table, model); },
              [&](bool failed) {
                  REQUIRE(live_allocations == before);
                  if (std::filesystem::exists(std::filesystem::path(path) / "weights_digest.txt")) {
                      load_checkpoint(seq, path, other, other_model);
                      REQUIRE(weights_digest(seq, other, other_model) == expected);
                  } else {
                      REQUIRE(failed);
                  }
                  for (const auto& entry : std::filesystem::directory_iterator(path)) {
                      REQUIRE(entry.path().filename().string().find(".tmp-") == std::string::npos);
                  }
              }) > 0);
    CHECK(for_each_failure([&] { load_checkpoint(seq, path, other, other_model); },
                           [&](bool) { REQUIRE(live_allocations == before); }) > 0);
    CHECK(weights_digest(seq, other, other_model) == expected);
}
