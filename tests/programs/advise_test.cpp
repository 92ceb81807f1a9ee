// SPDX-License-Identifier: Apache-2.0
//
// advise: what it says of budgets against what train_dlrm then finds, its JSON, its command line.
#include <algorithm>
#include <cstdint>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "support/markup_check.hpp"
#include "support/train_dlrm.hpp"

namespace {

const std::string criteo =
    std::string(FAE_SOURCE_DIR) + "/examples/data/criteo/criteo_terabyte_day0_10k.tsv.gz";
const std::string movielens =
    std::string(FAE_SOURCE_DIR) + "/examples/data/movielens/movielens_latest_small.u.data.gz";

// Rates written by hand: a machine of round numbers, beside a device where `device` is given.
std::string rates_text(const std::string& device = "") {
    return R"({"machine": "by hand", "cores": 2, "load_seconds_per_byte": 1e-9,
"fill_seconds_per_byte": 2e-10, "move_up_seconds_per_byte": 1e-10, "move_down_seconds_per_byte": 1e-10, "plan_seconds": 1e-8,
"rows": [{"record_bytes": 64, "working_bytes": 1048576, "gather": 1e-9, "scatter": 2e-9,
          "scatter_fast": 3e-9, "scatter_home": 4e-9}],
"dense": [{"flops_per_input": 1e6, "batch": 1024, "seconds": 1e-3}])" +
           device + "}";
}

const std::string device_text = R"(, "device": {"name": "by hand", "memory_bytes": 8e10,
"gather_bytes_per_second": 1e12, "link_up_bytes_per_second": 2e9, "link_down_bytes_per_second": 2e9,
"host_gather_bytes_per_second": 1e10, "host_scatter_bytes_per_second": 1e10, "launch_seconds": 1e-5,
"dense": [{"flops_per_input": 1e6, "batch": 1024, "seconds": 1e-4}]})";

// A file with rates.
class Rates {
  public:
    explicit Rates(const std::string& text = rates_text()) { write_bytes(path_, text); }
    [[nodiscard]] const std::string& path() const { return path_; }
    [[nodiscard]] std::string option() const { return "--rates " + path_; }

  private:
    TemporaryFolder folder_;
    std::string path_ = folder_ / "rates.json";
};

template <class... Pieces>
Outcome advise(const Pieces&... pieces) {
    return run_program("advise", words(pieces...));
}

template <class... Pieces>
nlohmann::json advice(const Pieces&... pieces) {
    const TemporaryFolder folder;
    const Outcome outcome = advise(pieces..., "--json", folder / "advice.json");
    INFO(outcome.err);
    REQUIRE(outcome.code == 0);
    REQUIRE(outcome.err.empty());
    return nlohmann::json::parse(read_bytes(folder / "advice.json"));
}

std::set<std::string> keys(const nlohmann::json& object) {
    std::set<std::string> names;
    for (const auto& entry : object.items()) names.insert(entry.key());
    return names;
}

// The arguments of the command that a run ends with, which names the train_dlrm beside it.
std::string next_arguments(const Outcome& outcome) {
    const std::string start = "next:   " + std::string(FAE_EXAMPLES_DIR) + "/train_dlrm ";
    INFO(outcome.out);
    const std::size_t next = outcome.out.find(start);
    REQUIRE(next != std::string::npos);
    const std::size_t from = next + start.size();
    return outcome.out.substr(from, outcome.out.find('\n', from) - from);
}

const std::vector<std::string> counts{"hot_rows", "hot_bytes", "hot_lookups", "hot_inputs"};

}  // namespace

// Catches: counts of the sample, of held-out inputs, of another seed or vocabulary, a hot set that is not the
// one that trains. Some hundreds of counts, each against a classification.
TEST_CASE("advise: at every budget its counts are those that train_dlrm finds with equal options") {
    const Rates rates;
    struct Case {
        std::string options;
        std::string budgets;
        std::vector<std::string> each;
    };
    const std::vector<Case> cases{
        {"--data " + criteo + " --format criteo --model small",
         "32KiB..2MiB",
         {"32KiB", "128KiB", "1MiB", "2MiB"}},
        {"--data " + criteo + " --format criteo --model small --sample 0.2 --seed 3",
         "32KiB..1MiB",
         {"64KiB", "512KiB"}},
        {"--data " + criteo +
             " --format criteo --model small --vocabulary hash --max-rows 400 --validation 0.33",
         "16KiB..256KiB",
         {"16KiB", "128KiB"}},
        {"--data " + movielens + " --format movielens --model small --optimizer adagrad",
         "64KiB..1MiB",
         {"64KiB", "512KiB"}},
        {"--synthetic kaggle --inputs 20000 --max-rows 30000 --model small --zipf 1.1 --seed 5",
         "256KiB..3MiB",
         {"256KiB", "1MiB", "3MiB"}},
        {"--synthetic small --inputs 3000 --model small --dim 5 --optimizer rowwise-adagrad --sample 0.1",
         "1%..100%",
         {"1%", "100%"}},
    };
    for (const Case& of : cases) {
        CAPTURE(of.options);
        const nlohmann::json said = advice(of.options, "--threads 2 --budgets", of.budgets, rates.option());
        for (const std::string& budget : of.each) {
            CAPTURE(budget);
            const nlohmann::json found = figures(of.options, "--threads 2 --epochs 0 --budget", budget);
            CHECK(said["inputs"] == found["inputs"]);
            CHECK(said["lookups"] == found["lookups"]);
            CHECK(said["rows"] == found["rows"]);
            const auto at =
                std::find_if(said["budgets"].begin(), said["budgets"].end(),
                             [&](const auto& one) { return one["budget_bytes"] == found["budget_bytes"]; });
            REQUIRE(at != said["budgets"].end());
            for (const std::string& key : counts) {
                CAPTURE(key);
                CHECK((*at)[key] == found[key]);
            }
            for (const std::string things : {"lookups", "inputs"}) {
                const double share = found["hot_" + things].get<double>() / found[things].get<double>();
                CHECK((*at)[things + "_interval"][0] <= share + 1e-12);
                CHECK((*at)[things + "_interval"][1] >= share - 1e-12);
            }
        }
    }
}

// Catches: rows chosen for other inputs than train_dlrm's, a share of the chosen inputs told for that of
// others, a sketch that claims to know it.
TEST_CASE("advise: rows chosen for inputs make as many hot as train_dlrm --hot-rows inputs finds") {
    const Rates rates;
    struct Case {
        std::string options;
        std::string budget;
    };
    for (const Case& of :
         {Case{"--data " + criteo + " --format criteo --model small", "128KiB"},
          Case{"--synthetic kaggle --inputs 20000 --max-rows 30000 --model small --seed 5", "512KiB"}}) {
        CAPTURE(of.options);
        const nlohmann::json said = advice(of.options, "--threads 2 --budgets", of.budget + ".." + of.budget,
                                           rates.option())["budgets"][0];
        const nlohmann::json aware = said["input_aware"];
        const std::string run = "--threads 2 --epochs 0 --budget " + of.budget;
        const nlohmann::json chosen = figures(of.options, run, "--hot-rows inputs");
        CHECK(aware["chosen_from"] == chosen["inputs"]);
        CHECK(aware["hot_inputs"] == chosen["hot_inputs"]);
        CHECK(aware["hot_inputs_by_count"] == said["hot_inputs"]);
        CHECK(aware["hot_inputs"].get<double>() > 1.05 * said["hot_inputs"].get<double>());
        CHECK(chosen["hot_bytes"] <= chosen["budget_bytes"]);
        CHECK(figures(of.options, run, "--hot-rows count")["hot_inputs"] == said["hot_inputs"]);
        // About a fifth is held out; on them neither set does better than on what it was chosen from.
        const double held = aware["held_out"].get<double>();
        CHECK(held > 0.17 * aware["chosen_from"].get<double>());
        CHECK(held < 0.23 * aware["chosen_from"].get<double>());
        CHECK(aware["held_out_hot_inputs"].get<double>() / held <
              aware["hot_inputs"].get<double>() / aware["chosen_from"].get<double>());
        CHECK(aware["held_out_hot_inputs_by_count"].get<double>() > 0);
        CHECK(aware["held_out_hot_inputs_by_count"].get<double>() / held <
              aware["hot_inputs_by_count"].get<double>() / aware["chosen_from"].get<double>() + 0.03);
    }
    const std::string small = "--synthetic small --inputs 2000 --model small --budgets 10KiB..20KiB";
    CHECK(advise(small, rates.option()).out.find("for inputs: the inputs that would be hot") !=
          std::string::npos);
    CHECK_FALSE(advice(small, "--sketch 64KiB", rates.option())["budgets"][0].contains("input_aware"));
}

// Catches: a sample that is not said to be one, held-out inputs that rows were chosen for.
TEST_CASE("advise: of many inputs rows are chosen for a sample, and tried on others") {
    const Rates rates;
    const TemporaryFolder folder;
    const Outcome outcome =
        advise("--synthetic small --inputs 320000 --zipf 1.2 --max-rows 1000 --model small",
               "--validation 0 --budgets 128KiB..128KiB --json", folder / "a.json", rates.option());
    REQUIRE(outcome.code == 0);
    const nlohmann::json said = nlohmann::json::parse(read_bytes(folder / "a.json"))["budgets"][0];
    const nlohmann::json aware = said["input_aware"];
    CHECK(aware["chosen_from"].get<std::uint64_t>() + aware["held_out"].get<std::uint64_t>() == 312'500);
    CHECK(aware["held_out"] > 60'000);
    CHECK(aware["held_out"] < 65'000);
    CHECK(outcome.out.find("rows chosen for a sample of") != std::string::npos);
    // Of count order the sample says what all inputs say.
    CHECK(aware["held_out_hot_inputs_by_count"].get<double>() / aware["held_out"].get<double>() ==
          doctest::Approx(said["hot_inputs"].get<double>() / 320'000).epsilon(0.03));
}

// Catches: a key that is missing, renamed or added; a sweep that does not double or does not end where asked.
TEST_CASE("advise: --json holds exactly what the contract says") {
    const nlohmann::json json =
        advice("--synthetic small --inputs 2000 --model small --budgets 10KiB..100KiB", Rates().option());
    CHECK(keys(json) == std::set<std::string>{"inputs", "lookups", "rows", "budgets", "recommended"});
    CHECK(keys(json["recommended"]) == std::set<std::string>{"budget_bytes", "placement", "worth_it", "why"});
    std::vector<std::uint64_t> budgets;
    for (const auto& budget : json["budgets"]) {
        CHECK(keys(budget) == std::set<std::string>{"budget_bytes", "hot_rows", "hot_bytes", "hot_lookups",
                                                    "hot_inputs", "lookups_interval", "inputs_interval",
                                                    "input_aware", "placements"});
        CHECK(keys(budget["input_aware"]) ==
              std::set<std::string>{"chosen_from", "hot_inputs", "hot_inputs_by_count", "held_out",
                                    "held_out_hot_inputs", "held_out_hot_inputs_by_count"});
        budgets.push_back(budget["budget_bytes"]);
        CHECK(keys(budget["placements"]) ==
              std::set<std::string>{"all-home", "static", "all-slots", "lookahead"});
        for (const auto& placement : budget["placements"]) {
            CHECK(keys(placement) == std::set<std::string>{"samples_per_second", "bytes", "bottleneck"});
            CHECK(placement["samples_per_second"] > 0);
        }
        CHECK(budget["placements"]["static"]["bytes"] == budget["hot_bytes"]);
        CHECK(budget["placements"]["all-home"]["bytes"] == 0);
    }
    CHECK(budgets == std::vector<std::uint64_t>{10240, 20480, 40960, 81920, 102400});
}

// Catches: standard input read as a name, or another numbering where its length is not known beforehand.
TEST_CASE("advise: a log on standard input, compressed or not, is the log in a file") {
    const Rates rates;
    const std::string options = "--format criteo --model small --budgets 64KiB..1MiB --threads 3";
    const TemporaryFolder folder;
    const nlohmann::json file = advice("--data", criteo, options, rates.option());
    for (const std::string json : {"a.json", "b.json"}) {
        const Outcome outcome = run_program(
            "advise", words("--data -", options, rates.option(), "--json", folder / json), criteo);
        INFO(outcome.err);
        CHECK(outcome.code == 0);
        CHECK(nlohmann::json::parse(read_bytes(folder / json)) == file);
    }
    const std::string none = folder / "none";
    write_bytes(none, "");
    check_refused(run_program("advise", words("--data -", options, rates.option()), none), 1,
                  "-:1:1:", "advise");
}

// Catches: bounds of a sketch or a sample that the counts of all inputs break, or that say nothing.
TEST_CASE("advise: what a sketch or a sample promises of look-ups holds for all inputs") {
    const Rates rates;
    const std::string options =
        "--synthetic kaggle --inputs 30000 --max-rows 30000 --model small "
        "--budgets 128KiB..4MiB --threads 2";
    for (const std::string profile : {"--sketch 256KiB", "--sketch 64KiB", "--sample 0.2"}) {
        CAPTURE(profile);
        const nlohmann::json json = advice(options, profile, rates.option());
        double narrowest = 1;
        double widest = 0;
        for (const auto& budget : json["budgets"]) {
            const double share = budget["hot_lookups"].get<double>() / json["lookups"].get<double>();
            const double lower = budget["lookups_interval"][0];
            const double upper = budget["lookups_interval"][1];
            CHECK(lower <= share + 1e-9);
            CHECK(share <= upper + 1e-9);
            widest = std::max(widest, upper - lower);
            CHECK(budget["hot_bytes"] <= budget["budget_bytes"]);
            narrowest = std::min(narrowest, upper - lower);
        }
        CHECK(narrowest < 0.5);
        CHECK(widest > 0);
    }
}

// Catches: a probe whose rates are not stored, or not used the second time.
TEST_CASE("advise: the machine is probed where no rates are given, and the rates can be used again") {
    const TemporaryFolder folder;
    const std::string rates = folder / "rates.json";
    const std::string source = "--synthetic small --inputs 1000 --batch 64 --rates " + rates;
    const std::string options = source + " --model small";
    const nlohmann::json first = advice(options);
    const std::string stored = read_bytes(rates);
    CHECK(nlohmann::json::parse(stored)["rows"].size() > 2);
    CHECK(advice(options) == first);
    CHECK(read_bytes(rates) == stored);
    // Catches: rates of one model taken for another's without a word.
    const std::string scaled = "the rates are of another model or row size";
    CHECK(advise(options).out.find(scaled) == std::string::npos);
    CHECK(advise(source, "--model rmc2").out.find(scaled) != std::string::npos);
    CHECK(advise(options, "--optimizer adagrad").out.find(scaled) != std::string::npos);
    const nlohmann::json other =
        advice("--synthetic small --inputs 1000 --model small --batch 64", Rates().option());
    CHECK(other["budgets"][0]["placements"] != first["budgets"][0]["placements"]);
}

// Catches: advice to buy memory on a machine with one kind of it, no advice beside a device with a slow link,
// a target that is overlooked.
TEST_CASE("advise: it says when fast memory is not worth it, and when it is") {
    const std::string options =
        "--synthetic kaggle --inputs 20000 --max-rows 100000 --model small --budgets 64KiB..64MiB";
    const nlohmann::json host = advice(options, Rates().option())["recommended"];
    CHECK(host["worth_it"] == false);
    CHECK(host["placement"] == "all-home");
    CHECK(host["budget_bytes"] == 0);
    CHECK(host["why"].get<std::string>().find("not worth it") != std::string::npos);
    const Rates device(rates_text(device_text));
    const nlohmann::json beside = advice(options, device.option());
    CHECK(beside["recommended"]["worth_it"] == true);
    CHECK(beside["recommended"]["placement"] != "all-home");
    CHECK(beside["budgets"][0]["placements"]["all-home"]["bottleneck"].get<std::string>().find("link") == 0);
    const nlohmann::json target = advice(options, device.option(), "--target-lookups 0.99");
    bool met = false;
    for (const auto& budget : target["budgets"]) {
        const bool meets = budget["lookups_interval"][0] >= 0.99;
        if (meets && !met) CHECK(target["recommended"]["budget_bytes"] == budget["budget_bytes"]);
        met = met || meets;
    }
    CHECK(met);
}

// Catches: steps and planning that were measured on a device, stored and not read again.
TEST_CASE("advise: rates of a device may hold measured steps at home and what planning takes") {
    const std::string options =
        "--synthetic kaggle --inputs 20000 --max-rows 100000 --model small --budgets 1MiB..1MiB";
    const auto with = [&](const std::string& more) {
        std::string text = device_text;
        text.insert(text.rfind('}'), more);
        return Rates(rates_text(text));
    };
    const auto placements = [&](const Rates& rates) {
        return advice(options, rates.option())["budgets"][0]["placements"];
    };
    const nlohmann::json measured = placements(with(
        R"(, "home": [{"batch": 1024, "rows": 1000, "seconds": 1}, {"batch": 1024, "rows": 9000, "seconds": 2}],
                "planning": [{"window": 1000, "seconds_a_row": 1e-3}])"));
    CHECK(measured["all-home"]["bottleneck"] == "moving rows");
    CHECK(measured["all-home"]["samples_per_second"] < 1024);
    CHECK(measured["all-home"]["samples_per_second"] > 1024 / 4.0);
    CHECK(measured["lookahead"]["bottleneck"] == "planning");
    CHECK(measured["all-slots"] == placements(with(""))["all-slots"]);
    const Rates wrong = with(R"(, "home": [{"batch": 1024, "rows": 1000, "seconds": 0}])");
    const Outcome refused = advise(options, wrong.option());
    CHECK(refused.code == 1);
    CHECK(refused.err.find("seconds is 0") != std::string::npos);
}

// Catches: a table without a line for each budget, a next command that does not run.
TEST_CASE("advise: the command that it ends with runs, with the hot rows that it promised") {
    const TemporaryFolder folder;
    const std::string options =
        "--data " + criteo + " --format criteo --model small --budgets 32KiB..2MiB --target-inputs 0.3";
    const Outcome outcome = advise(options, Rates().option(), "--json", folder / "a.json");
    CHECK(outcome.code == 0);
    CHECK(outcome.out.find("<- target") != std::string::npos);
    CHECK(outcome.out.find("drift:") != std::string::npos);
    const nlohmann::json run = figures(next_arguments(outcome), "--epochs 0");
    const nlohmann::json said = nlohmann::json::parse(read_bytes(folder / "a.json"));
    CHECK(run["budget_bytes"] == said["recommended"]["budget_bytes"]);
    CHECK(run["hot_inputs"].get<double>() / run["inputs"].get<double>() >= 0.3);
}

// Catches: a command under which the placement does not do what was predicted of it, an option that is left
// out.
TEST_CASE("advise: where static is advised, the command trains hot batches in the fast tier") {
    std::string text = rates_text();
    const auto put = [&](const std::string& name, const std::string& from, const std::string& to) {
        const std::size_t at = text.find("\"" + name + "\": " + from);
        REQUIRE(at != std::string::npos);
        text.replace(at + name.size() + 4, from.size(), to);
    };
    put("plan_seconds", "1e-8", "1e-3");
    put("scatter", "2e-9", "1e-6");
    put("scatter_home", "4e-9", "1e-6");
    const TemporaryFolder folder;
    const std::string log = folder / "it's a log.gz";
    write_bytes(log, read_bytes(criteo));
    const Outcome outcome =
        run_program("advise", {"--data", log, "--format", "criteo", "--model", "small", "--threads", "1",
                               "--budgets", "64KiB..2MiB", "--rates", Rates(text).path()});
    CHECK(outcome.code == 0);
    std::string arguments = next_arguments(outcome);
    const std::string quoted = "'" + (folder / "it'\\''s a log.gz") + "'";
    const std::size_t at = arguments.find(quoted);
    INFO(arguments);
    REQUIRE(at != std::string::npos);
    const std::string plain = folder / "log.gz";
    write_bytes(plain, read_bytes(criteo));
    arguments.replace(at, quoted.size(), plain);
    const nlohmann::json run = figures(arguments);
    CHECK(run["placement"] == "static");
    CHECK(run["threads"] == 1);
    CHECK(run["bytes_to_fast"] > 0);
}

TEST_CASE("advise: the report is one small page with every picture's numbers in a table") {
    const TemporaryFolder folder;
    const Outcome outcome = advise("--data", criteo, "--format criteo --model small --budgets 32KiB..2MiB",
                                   Rates(rates_text(device_text)).option(), "--report", folder / "a.html");
    REQUIRE(outcome.code == 0);
    const std::string page = read_bytes(folder / "a.html");
    CHECK(page.size() < 2'000'000);
    const fae_test::MarkupDocument document = fae_test::read_markup(page);
    CHECK(document.error == "");
    for (const std::string part :
         {"Which rows are hot", "What the budget buys", "What each budget is predicted to be worth",
          "Where a step&#39;s time would go", "Does the hot set last", "Where the time goes",
          "Settings of this run"}) {
        CAPTURE(part);
        CHECK(page.find("<h2>" + part + "</h2>") != std::string::npos);
    }
}

TEST_CASE(
    "advise: a bad command line exits with 2 and names the option, a failed run with 1 and says where") {
    const std::string source = "--synthetic small --inputs 100 --model small ";
    const std::vector<std::pair<std::string, std::string>> cases{
        {"", "--data, --synthetic"},
        {"--data log.tsv", "--format"},
        {"--synthetic small", "--inputs"},
        {source + "--budgets 16MiB", "--budgets"},
        {source + "--budgets 16MiB..8", "--budgets: 8, expected"},
        {source + "--budgets 16MiB..8MiB", "--budgets"},
        {source + "--budgets 0..8MiB", "--budgets"},
        {source + "--budgets 100%..1B", "--budgets"},
        {source + "--target-inputs 1.1", "--target-inputs: 1.1, expected"},
        {source + "--target-lookups -1", "--target-lookups"},
        {source + "--budget 16MiB", "--budget"},
        {source + "--batch 0", "--batch"},
        {source + "--sample 0", "--sample"},
        {source + "--sketch 1", "--sketch: 1, expected"},
        {source + "--sketch 100B", "--sketch"},
        {source + "--sketch 64KiB --sample 0.5", "--sketch"},
        {source + "--json a --report a", "--json"},
        {source + "--rates a --json a", "--rates"},
        {source + "--optimizer adam", "--optimizer"},
    };
    for (const auto& each : cases) {
        CAPTURE(each.first);
        check_refused(advise(each.first), 2, each.second, "advise");
    }
    const TemporaryFolder folder;
    const std::string none = folder / "none";
    check_refused(advise("--data", none, "--format criteo"), 1, none + ": ", "advise");
    check_refused(advise(source, "--json", none + "/a.json"), 1, none + "/a.json: ", "advise");
    for (const std::string text : {"", "[]", "{\"machine\": 3}", "{}"}) {
        CAPTURE(text);
        write_bytes(none, text);
        check_refused(advise(source, "--rates", none), 1, none + ":1:1: no rates", "advise");
    }
    CHECK(advise("--help").out.find("--target-lookups") != std::string::npos);
    CHECK(advise("--version").code == 0);
}
