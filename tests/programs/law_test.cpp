// SPDX-License-Identifier: Apache-2.0
//
// The law through the program: equal weights_digest for every placement and thread count, and equal to a
// plain-loop trainer that knows no table, tier or scheduler. This is a covering part of the cross; all of it,
// some thousand runs, is tests/programs/law_cross.sh.
#include "support/law.hpp"

#include <cstdint>
#include <string>
#include <vector>

#include "fae/core/exec.hpp"
#include "fae/io/fae_file.hpp"
#include "fae/schedule/batch_loader.hpp"
#include "fae/schedule/batch_scheduler.hpp"
#include "support/train_dlrm.hpp"

using namespace fae;
using namespace fae_test;

namespace {

const std::string small_set = "--synthetic small --inputs 700 --zipf 2.5 --model small --batch 32";
const std::vector<std::string> optimizers{"sgd", "adagrad", "rowwise-adagrad"};
const std::vector<std::string> placements{"all-home",
                                          "all-slots",
                                          "static",
                                          "lookahead",
                                          "lookahead --window 0",
                                          "lookahead --window 40% --lookahead 64",
                                          "lookahead --window 100% --lookahead 1"};

OptimizerKind kind_of(const std::string& name) {
    if (name == "adagrad") return OptimizerKind::adagrad;
    return name == "sgd" ? OptimizerKind::sgd : OptimizerKind::rowwise_adagrad;
}

}  // namespace

// Catches: any arithmetic that depends on the tier or the thread, any order that depends on the placement, in
// what the program makes of its options. Every placement meets every thread count, and both meet every other
// value.
TEST_CASE("train_dlrm: equal digests for every placement and 1 to 8 threads") {
    unsigned run = 0;
    for (const std::string& optimizer : optimizers) {
        for (const std::string budget : {"0", "1%", "10%", "100%"}) {
            for (const std::string order :
                 {"--order fae --rate 1", "--order fae --rate 25", "--order fae --rate 100",
                  "--order fae --rate adaptive", "--order shuffled"}) {
                const unsigned epochs = 1 + run / static_cast<unsigned>(placements.size()) % 2;
                const std::string options = small_set + " --optimizer " + optimizer + " --budget " + budget +
                                            " " + order + " --epochs " + std::to_string(epochs);
                CAPTURE(options);
                std::string expected;
                for (const std::string& placement : placements) {
                    const unsigned threads = 1 + run++ % 8;
                    CAPTURE(placement);
                    CAPTURE(threads);
                    const nlohmann::json json =
                        figures(options, "--placement", placement, "--threads", threads);
                    if (expected.empty()) expected = json["weights_digest"];
                    CHECK(json["weights_digest"] == expected);
                    // A hundredth buys hot inputs, and a tenth leaves cold ones.
                    CHECK((json["hot_inputs"] > 0) == (budget != "0"));
                    CHECK((json["hot_inputs"] == json["inputs"]) == (budget == "100%"));
                }
            }
        }
    }
}

TEST_CASE("train_dlrm: equal digests for 1 to 8 threads on hot and cold batches of several slices") {
    for (const std::string& optimizer : optimizers) {
        const std::string options =
            "--synthetic small --inputs 1500 --max-rows 40 --zipf 2.5 --model small --batch 300 --budget 20% "
            "--order fae --optimizer " +
            optimizer;
        const nlohmann::json one = figures(options, "--threads 1");
        CHECK(one["hot_inputs"] > 300);
        CHECK(one["hot_inputs"] < 1050);
        for (int threads = 2; threads <= 8; ++threads) {
            CAPTURE(threads);
            CHECK(digest(options, "--threads", threads) == one["weights_digest"]);
        }
    }
}

// Catches: hot rows chosen for inputs that a placement's slots, prefix or order take for others.
TEST_CASE("train_dlrm: equal digests for every placement with hot rows that were chosen for inputs") {
    for (const std::string order : {"shuffled", "fae"}) {
        const std::string run = small_set + " --hot-rows inputs --epochs 2 --budget 8KiB --order " + order;
        std::string digest;
        for (const std::string& placement : placements) {
            CAPTURE(placement);
            const nlohmann::json found = figures(run, "--placement", placement);
            if (digest.empty()) digest = found["weights_digest"];
            CHECK(found["weights_digest"] == digest);
            CHECK(found["hot_inputs"] > 0);
            CHECK(found["hot_inputs"] < found["inputs"]);
        }
    }
}

// Catches: what all placements of the program could get wrong together. The packed file says what was trained
// in which order; the plain trainer sees rows only.
TEST_CASE("train_dlrm: the digest is that of a plain-loop trainer on the same batches") {
    for (const std::string& optimizer : optimizers) {
        for (const Order order : {Order::fae, Order::shuffled}) {
            for (const std::string budget : {"0", "10%", "100%"}) {
                CAPTURE(optimizer);
                CAPTURE(budget);
                CAPTURE(static_cast<int>(order));
                const TemporaryFolder folder;
                const std::string file = folder / "set.fae";
                const std::string found =
                    digest(small_set, "--epochs 2 --lr 0.25 --rate 25 --seed 4 --threads 3 --budget", budget,
                           "--optimizer", optimizer, "--order", order == Order::fae ? "fae" : "shuffled",
                           "--pack", file);
                const PackedDataset data = open_fae_file(seq, file);
                BatchScheduler<FixedRate> scheduler({.hot_inputs = data.hot().inputs(),
                                                     .cold_inputs = data.cold().inputs(),
                                                     .batch_size = 32,
                                                     .epochs = 2,
                                                     .seed = 4,
                                                     .order = order},
                                                    FixedRate(25));
                BatchLoader loader(data);
                PlainTrainer trainer(data.shape().table_rows, DlrmShape::small_dlrm(13, 26),
                                     kind_of(optimizer), 4, 32);
                for (BatchRef batch; scheduler.next(batch);)
                    trainer.step(plain(loader.load(seq, batch)), 0.25F);
                CHECK(trainer.weights_digest().hex() == found);
            }
        }
    }
}
