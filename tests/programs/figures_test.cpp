// SPDX-License-Identifier: Apache-2.0
//
// What train_dlrm says about a run: the figures of --json, the table at the end, the report.
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "fae/core/exec.hpp"
#include "fae/io/fae_file.hpp"
#include "fae/version.hpp"
#include "support/markup_check.hpp"
#include "support/train_dlrm.hpp"

namespace {

std::set<std::string> keys(const nlohmann::json& object) {
    std::set<std::string> names;
    for (const auto& entry : object.items()) names.insert(entry.key());
    return names;
}

}  // namespace

// Catches: a key that is missing, renamed or added, or a figure of another type.
TEST_CASE("train_dlrm: --json holds exactly the figures of the contract") {
    const nlohmann::json json = figures(quick, "--budget 10%");
    std::set<std::string> expected{
        "inputs",        "hot_inputs",      "lookups",        "hot_lookups", "rows",
        "hot_rows",      "hot_bytes",       "budget_bytes",   "seconds",     "samples_per_second",
        "train_loss",    "validation_loss", "validation_auc", "test_auc",    "bytes_to_fast",
        "bytes_to_home", "weights_digest",  "placement",      "order",       "device",
        "precision",     "threads",         "version",        "window"};
    CHECK(keys(json) == expected);
    expected.erase("window");
    CHECK(keys(figures(quick, "--budget 10% --placement static")) == expected);
    CHECK(keys(json["seconds"]) == std::set<std::string>{"read", "profile", "calibrate", "classify", "pack",
                                                         "train", "sync", "validation"});
    for (const auto& phase : json["seconds"].items()) {
        CAPTURE(phase.key());
        CHECK(phase.value().is_number());
        CHECK(phase.value() >= 0);
    }
    CHECK(json["seconds"]["train"] > 0);
    CHECK(json["samples_per_second"] > 0);
    CHECK(json["train_loss"] > 0);
    CHECK(json["validation_loss"] > 0);
    CHECK(json["validation_auc"] > 0);
    CHECK(json["test_auc"].is_null());
    CHECK(json["placement"] == "lookahead");
    CHECK(json["order"] == "shuffled");
    CHECK(json["device"] == "cpu");
    CHECK(json["precision"] == "fp32");
    CHECK(json["threads"] == 2);
    CHECK(json["version"] == std::string(fae::version));
    const std::string digits = json["weights_digest"];
    CHECK(digits.size() == 16);
    CHECK(digits.find_first_not_of("0123456789abcdef") == std::string::npos);
}

// Catches: figures of the sample, of both epochs, or of all inputs, where those of one epoch's training split
// are asked for.
TEST_CASE(
    "train_dlrm: inputs and look-ups are those of the training split, exact even where the profile is a "
    "sample") {
    const TemporaryFolder folder;
    for (const std::string options :
         {"", "--sample 0.1", "--epochs 2", "--order shuffled", "--placement all-slots"}) {
        CAPTURE(options);
        const std::string file = folder / "set.fae";
        const nlohmann::json json = figures(quick, "--budget 10%", options, "--pack", file);
        CHECK(json["inputs"] == 1080);
        CHECK(json["lookups"] == 1080 * 26);
        const fae::PackedDataset data = fae::open_fae_file(fae::seq, file);
        std::uint64_t hot_inputs = 0;
        std::uint64_t hot_lookups = 0;
        // A plain recount: hot inputs hold slots, cold ones row ids.
        hot_lookups += data.hot().bags.values().size();
        hot_inputs += data.hot().labels.size();
        for (const std::uint32_t row : data.cold().bags.values())
            hot_lookups += data.hot_set().contains(row) ? 1u : 0u;
        CHECK(json["hot_inputs"] == hot_inputs);
        CHECK(json["hot_lookups"] == hot_lookups);
        CHECK(hot_inputs > 0);
        CHECK(hot_inputs < 1080);
    }
}

// Catches: a hot set that takes more than was granted, a unit that is something else.
TEST_CASE("train_dlrm: the budget is in bytes or a share of the rows with their state, and never exceeded") {
    const std::uint64_t rows = figures(quick)["rows"];
    const std::vector<std::pair<std::string, std::uint64_t>> budgets{
        {"0", 0},
        {"100B", 100},
        {"1KiB", 1024},
        {"2.5KiB", 2560},
        {"1MiB", 1 << 20},
        {"1GiB", 1 << 30},
        {"0%", 0},
        {"10%", rows * 64 / 10},
        {"100%", rows * 64},
        {"150%", rows * 96},
        {"1e300%", 9000000000000000000u},
    };
    std::uint64_t last = 0;
    for (const auto& budget : budgets) {
        const std::string& text = budget.first;
        CAPTURE(text);
        const nlohmann::json json = figures(quick, "--budget", text);
        CHECK(json["budget_bytes"] == budget.second);
        CHECK(json["hot_bytes"] <= json["budget_bytes"]);
        CHECK(json["hot_bytes"] >= json["hot_rows"].get<std::uint64_t>() * 64);
        if (text == "10%") last = json["hot_rows"];
        if (text == "150%") CHECK(json["hot_rows"] == rows);
    }
    CHECK(last > 0);
    CHECK(figures(quick)["budget_bytes"] == 256 << 20);
    CHECK(figures(quick, "--optimizer adagrad --budget 10%")["budget_bytes"] == rows * 128 / 10);
    CHECK(figures(quick, "--optimizer rowwise-adagrad --budget 10%")["budget_bytes"] == rows * 80 / 10);
    CHECK(figures(quick, "--dim 5 --budget 10%")["budget_bytes"] == rows * 32 / 10);
}

// Catches: an order that follows the placement's own rows, bytes that move without a second tier.
TEST_CASE("train_dlrm: the hot set that shapes the order is the budget's, whatever the placement") {
    const nlohmann::json resident = figures(quick, "--order fae --budget 10% --placement static");
    CHECK(resident["bytes_to_fast"] > 0);
    CHECK(resident["bytes_to_home"] > 0);
    for (const std::string placement : {"all-home", "all-slots", "lookahead"}) {
        CAPTURE(placement);
        const nlohmann::json json = figures(quick, "--order fae --budget 10% --placement", placement);
        for (const std::string key : {"hot_inputs", "hot_lookups", "hot_rows", "hot_bytes", "weights_digest",
                                      "train_loss", "validation_loss", "validation_auc"}) {
            CAPTURE(key);
            CHECK(json[key] == resident[key]);
        }
        CHECK(json["placement"] == placement);
        CHECK((json["bytes_to_fast"] == 0) == (placement != "lookahead"));
        CHECK((json["bytes_to_home"] == 0) == (placement != "lookahead"));
    }
    // The full budget shapes the order: another budget is another order.
    CHECK(digest(quick, "--order fae --budget 30%") != resident["weights_digest"]);
}

// Catches: figures of the window that do not add up, bytes that move unseen, a window or a look-ahead that is
// given and not taken, a window that takes more than the budget.
TEST_CASE("train_dlrm: the window's figures add up, and say what was asked for") {
    const std::string options = quick + " --budget 20% --optimizer adagrad";
    for (const std::string window : {"", "--window 0", "--window 640B --lookahead 3", "--window 50%",
                                     "--window 100%", "--lookahead 2"}) {
        CAPTURE(window);
        const nlohmann::json json = figures(options, window);
        const nlohmann::json& of = json["window"];
        CHECK(keys(of) == std::set<std::string>{"bytes", "lookahead", "resident_rows", "hot_lookups", "hits",
                                                "brought_lookups", "direct_lookups", "rows_in", "rows_out",
                                                "zero_copy_rows", "pinned_bytes", "device_bytes", "stalls",
                                                "planner_seconds"});
        CHECK(of["zero_copy_rows"] == 0);  // both tiers are in the host's memory
        CHECK(of["pinned_bytes"] == 0);
        CHECK(keys(of["stalls"]) == std::set<std::string>{"planner", "gather", "write_back"});
        const auto number = [&](const char* key) { return of[key].get<std::uint64_t>(); };
        CHECK(number("hot_lookups") + number("hits") + number("brought_lookups") + number("direct_lookups") ==
              json["lookups"]);
        CHECK(number("rows_in") <= number("brought_lookups"));
        CHECK(number("rows_out") <= number("rows_in"));
        CHECK(number("rows_in") - number("rows_out") <= number("bytes") / 128);
        CHECK(number("bytes") + number("resident_rows") * 128 <= json["budget_bytes"]);
        CHECK(json["bytes_to_fast"] == (number("rows_in") + number("resident_rows")) * 128);
        CHECK((number("rows_in") == 0) == (window == "--window 0"));
        if (window == "--window 0") CHECK(number("bytes") == 0);
        if (window == "--window 640B --lookahead 3") CHECK(number("bytes") == 640);
        if (window == "--window 640B --lookahead 3") CHECK(number("lookahead") == 3);
        if (window == "--lookahead 2") CHECK(number("lookahead") == 2);
        if (window == "--window 100%") CHECK(number("resident_rows") == 0);
    }
}

// Catches: a trace that is not written, is no JSON, or lacks who worked.
TEST_CASE("train_dlrm: --trace shows the planner, the moves of rows and the steps") {
    const TemporaryFolder folder;
    const nlohmann::json run = figures(quick, "--budget 10% --trace", folder / "trace.json");
    const nlohmann::json trace = nlohmann::json::parse(read_bytes(folder / "trace.json"));
    std::map<std::string, std::uint64_t> events;
    for (const nlohmann::json& event : trace["traceEvents"]) {
        if (event["ph"] == "X") ++events[event["name"]];
    }
    const std::uint64_t steps = (run["inputs"].get<std::uint64_t>() + 63) / 64;
    CHECK(events["step"] == steps);
    CHECK(events["load"] == steps);
    CHECK(events["plan"] == steps);
    CHECK(events["gather"] > 0);
    CHECK(events["write-back"] > 0);
}

// Catches: a last round without validation that halves the rate, or a split of no inputs that is evaluated.
TEST_CASE("train_dlrm: without validation inputs adaptive means R(50)") {
    const std::string options = quick + " --order fae --budget 30% --epochs 2 --validation 0";
    const nlohmann::json adaptive = figures(options);
    CHECK(adaptive["inputs"] == 1200);
    CHECK(adaptive["validation_loss"].is_null());
    CHECK(adaptive["validation_auc"].is_null());
    CHECK(adaptive["weights_digest"] == digest(options, "--rate 50"));
    CHECK(adaptive["weights_digest"] != digest(options, "--rate 100"));
}

// Catches: an option that is taken and then forgotten.
TEST_CASE("train_dlrm: every option that changes training changes the digest") {
    const std::string source = "--synthetic small --inputs 1200 --max-rows 60 --zipf 2 --budget 10% ";
    const std::string plain = digest(source, "--model small --batch 64");
    CHECK(digest(source, "--model small --batch 64 --device cpu --precision fp32 --epochs 1 --warmup 0") ==
          plain);
    std::set<std::string> seen{plain};
    for (const std::string option :
         {"--seed 2", "--epochs 2", "--lr 0.2", "--warmup 5", "--decay-start 0 --decay-steps 5",
          "--optimizer adagrad", "--optimizer rowwise-adagrad", "--order fae", "--order fae --rate 1",
          "--validation 0.2", "--dim 8", "--order fae --sample 0.05"}) {
        CAPTURE(option);
        CHECK(seen.insert(digest(source, "--model small --batch 64", option)).second);
    }
    CHECK(seen.insert(digest(source, "--model small --batch 65")).second);
    CHECK(seen.insert(digest(source, "--model rmc2 --batch 64")).second);
    CHECK(seen.insert(digest(source, "--model rmc3 --batch 64")).second);
}

// Catches: memory taken for a batch that there cannot be, or a smaller one trained in its place.
TEST_CASE("train_dlrm: a batch larger than the log is all of it, and takes no more memory") {
    const std::string source =
        "--synthetic small --inputs 1200 --max-rows 60 --zipf 2 --budget 10% --validation 0 ";
    CHECK(digest(source, "--model small --batch 16777216") == digest(source, "--model small --batch 1200"));
}

// Catches: a run that ends in silence.
TEST_CASE("train_dlrm: a run ends with a table that a person can read, and names its report") {
    const TemporaryFolder folder;
    const Outcome outcome = train_dlrm(quick, "--budget 10% --report", folder / "run.html");
    CHECK(outcome.code == 0);
    CHECK(outcome.err.empty());
    for (const std::string what : {"hot rows", "hot look-ups", "hot inputs", "seconds", "static pass",
                                   "speed", "moved", "training loss", "validation", "weights digest"}) {
        CAPTURE(what);
        CHECK(("\n" + outcome.out).find("\n  " + what + " ") != std::string::npos);
    }
    CHECK(outcome.out.find("report: " + (folder / "run.html") + "\n") != std::string::npos);
}

// Catches: a page that needs the network, a picture that is missing, markup that no browser reads.
TEST_CASE("train_dlrm: --report is one self-contained page with its pictures") {
    const TemporaryFolder folder;
    REQUIRE(train_dlrm(quick, "--budget 10% --epochs 2 --report", folder / "run.html").code == 0);
    const std::string page = read_bytes(folder / "run.html");
    CHECK(page.rfind("<!DOCTYPE html>", 0) == 0);
    for (const std::string outside : {"src=\"http", "href=\"http", "@import", "url(", "<script", "<iframe"}) {
        CAPTURE(outside);
        CHECK(page.find(outside) == std::string::npos);
    }
    const fae_test::MarkupDocument document = fae_test::read_markup(page);
    CHECK(document.error == "");
    std::string section;
    std::map<std::string, int> pictures;
    for (const fae_test::MarkupElement& element : document.elements) {
        if (element.name == "h2") section = element.text;
        if (element.name == "svg") ++pictures[section];
    }
    for (const std::string title :
         {"Which rows are hot", "What the budget buys", "Loss over time", "Where the time goes"}) {
        CAPTURE(title);
        CHECK(pictures[title] > 0);
    }
    // An access curve for every table.
    for (int table = 1; table <= 26; ++table) {
        CAPTURE(table);
        CHECK(page.find(">C" + std::to_string(table) + "<") != std::string::npos);
    }
}
