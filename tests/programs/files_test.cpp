// SPDX-License-Identifier: Apache-2.0
//
// The files of train_dlrm: packed data sets, saved models, and what an interrupt leaves behind.
#include <chrono>
#include <csignal>
#include <filesystem>
#include <map>
#include <string>
#include <thread>

#include "fae/core/exec.hpp"
#include "fae/io/fae_file.hpp"
#include "support/train_dlrm.hpp"

namespace {

// Every file of a folder by name.
std::map<std::string, std::string> contents(const std::string& folder) {
    std::map<std::string, std::string> files;
    for (const auto& entry : std::filesystem::directory_iterator(folder)) {
        files[entry.path().filename().string()] = read_bytes(entry.path().string());
    }
    return files;
}

// Waits until a path exists or the program has ended.
bool appears(const std::string& path, const Program& program) {
    while (!std::filesystem::exists(path)) {
        if (program.ended()) return std::filesystem::exists(path);
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return true;
}

}  // namespace

// Catches: state or a dense layer that is not saved, values that change on their way through a file.
TEST_CASE("train_dlrm: --save and --init are a round trip, equal bit for bit") {
    for (const std::string optimizer : {"sgd", "adagrad", "rowwise-adagrad"}) {
        CAPTURE(optimizer);
        const TemporaryFolder folder;
        const std::string options = quick + " --budget 10% --optimizer " + optimizer;
        const std::string first = folder / "first";
        const std::string second = folder / "second";
        const std::string trained = digest(options, "--save", first);
        for (const std::string placement : {"lookahead", "static", "all-home", "all-slots"}) {
            CAPTURE(placement);
            const std::string again =
                digest(options, "--epochs 0 --placement", placement, "--init", first, "--save", second);
            CHECK(again == trained);
            CHECK(contents(second) == contents(first));
        }
        const std::map<std::string, std::string> files = contents(first);
        CHECK(files.at("weights_digest.txt") == trained + "\n");
        for (int table = 0; table < 26; ++table) {
            const std::string name = "table." + std::to_string(table);
            CHECK(files.count(name + ".weight.npy") == 1);
            CHECK(files.count(name + ".state.npy") == (optimizer == "sgd" ? 0 : 1));
        }
        // A start from there is not a start from the seed.
        CHECK(digest(options, "--init", first) != trained);
    }
}

// Catches: a model of another shape or a damaged one that is taken.
TEST_CASE("train_dlrm: --init refuses another model, and a folder that is not whole") {
    const TemporaryFolder folder;
    const std::string model = folder / "model";
    REQUIRE(train_dlrm(quick, "--save", model).code == 0);
    check_refused(train_dlrm(quick, "--dim 8 --init", model), 1, model + "/");
    check_refused(train_dlrm(quick, "--optimizer adagrad --init", model), 1, model + "/");
    std::string bytes = read_bytes(model + "/table.3.weight.npy");
    bytes.back() = static_cast<char>(bytes.back() ^ 1);
    write_bytes(model + "/table.3.weight.npy", bytes);
    check_refused(train_dlrm(quick, "--init", model), 1, model + "/");
    std::filesystem::remove(model + "/weights_digest.txt");
    check_refused(train_dlrm(quick, "--init", model), 1, model + "/weights_digest.txt");
}

// Catches: anything that the file does not carry: validation and test inputs, counts, the hot set, the
// options.
TEST_CASE("train_dlrm: --pack, then --unpack alone or beside the source, trains what the direct run trains") {
    const TemporaryFolder folder;
    const std::string file = folder / "set.fae";
    const std::string fixed =
        "--budget 12% --sample 0.5 --seed 3 --validation 0.2 --max-rows 60 --optimizer adagrad";
    const std::string source = "--synthetic small --inputs 1200 --zipf 2";
    const std::string training = "--model small --batch 64 --threads 2 --epochs 2";
    const nlohmann::json direct = figures(source, fixed, training);
    const nlohmann::json packing = figures(source, fixed, training, "--pack", file);
    const auto same = [&](const nlohmann::json& run) {
        for (const std::string key :
             {"inputs", "hot_inputs", "lookups", "hot_lookups", "rows", "hot_rows", "hot_bytes",
              "budget_bytes", "weights_digest", "train_loss", "validation_loss", "validation_auc"}) {
            CAPTURE(key);
            CHECK(run[key] == direct[key]);
        }
    };
    same(packing);
    same(figures("--unpack", file, training, "--optimizer adagrad"));
    same(figures("--unpack", file, training, "--optimizer adagrad", source));
    same(figures("--unpack", file, training, fixed));
    same(figures("--unpack", file, training, fixed, source));
    same(figures("--unpack", file, training, "--optimizer adagrad --placement all-home"));
}

TEST_CASE("train_dlrm: --pack and --unpack of a log with a test log") {
    const TemporaryFolder folder;
    const std::string file = folder / "set.fae";
    const std::string log =
        std::string(FAE_SOURCE_DIR) + "/examples/data/movielens/movielens_latest_small.u.data.gz";
    const std::string source = "--format movielens --data " + log + " --test " + log;
    const std::string training = "--model small --threads 2 --batch 4096";
    const std::string fixed = "--vocabulary hash --max-rows 500 --budget 20%";
    const nlohmann::json direct = figures(source, fixed, training, "--pack", file);
    for (const std::string& beside : {std::string(), source, fixed, source + " " + fixed}) {
        CAPTURE(beside);
        const nlohmann::json run = figures("--unpack", file, training, beside);
        CHECK(run["weights_digest"] == direct["weights_digest"]);
        CHECK(run["test_auc"] == direct["test_auc"]);
        CHECK(run["test_auc"].is_number());
    }
    check_refused(train_dlrm("--unpack", file, training, "--vocabulary first-seen"), 2, "--vocabulary");
    check_refused(train_dlrm("--unpack", file, training, "--format movielens --data", log), 1, "fingerprint");
}

// Catches: an option that contradicts the file and is silently dropped, or ends with 1.
TEST_CASE("train_dlrm: options that a packed file fixes may be repeated, not changed") {
    const TemporaryFolder folder;
    const std::string file = folder / "set.fae";
    REQUIRE(train_dlrm(quick, "--budget 10% --sample 0.5 --pack", file).code == 0);
    const std::string training = "--model small --batch 64";
    for (const std::string same :
         {"--budget 10%", "--sample 0.5", "--seed 1", "--max-rows 60", "--validation 0.1"}) {
        CAPTURE(same);
        CHECK(train_dlrm("--unpack", file, training, same).code == 0);
    }
    for (const std::string other :
         {"--budget 11%", "--budget 1KiB", "--sample 1", "--seed 2", "--max-rows 61", "--vocabulary hash",
          "--validation 0.2", "--dim 8", "--optimizer adagrad"}) {
        CAPTURE(other);
        const std::string option = words(other)[0];
        check_refused(train_dlrm("--unpack", file, training, other), 2, option == "--dim" ? "dim" : option);
    }
}

// Catches: a file of another data set that is trained on.
TEST_CASE("train_dlrm: --unpack beside another source is an error that names both fingerprints") {
    const TemporaryFolder folder;
    const std::string file = folder / "set.fae";
    REQUIRE(train_dlrm(quick, "--budget 10% --pack", file).code == 0);
    for (const std::string other :
         {"--synthetic small --inputs 1201 --zipf 2", "--synthetic small --inputs 1200",
          "--synthetic kaggle --inputs 1200 --zipf 2"}) {
        CAPTURE(other);
        check_refused(train_dlrm("--unpack", file, "--model small", other), 1, "fingerprint");
    }
}

// Catches: a damaged file that is trained on (every byte is tried in tests of the file itself).
TEST_CASE("train_dlrm: a damaged or cut packed file is refused with its place") {
    const TemporaryFolder folder;
    const std::string file = folder / "set.fae";
    REQUIRE(train_dlrm(quick, "--budget 10% --pack", file).code == 0);
    const std::string whole = read_bytes(file);
    for (const double place : {0.0, 0.1, 0.5, 0.9, 0.999}) {
        std::string damaged = whole;
        char& byte = damaged[static_cast<std::size_t>(place * static_cast<double>(whole.size()))];
        byte = static_cast<char>(byte ^ 0x10);
        write_bytes(file, damaged);
        check_refused(train_dlrm("--unpack", file, "--model small"), 1, file + ":1:");
    }
    write_bytes(file, whole.substr(0, whole.size() / 2));
    check_refused(train_dlrm("--unpack", file, "--model small"), 1, file + ":1:");
}

// Catches: a report, figures or a model of a run that did not end; a packed file that was being written.
TEST_CASE("train_dlrm: Ctrl-C leaves whole files or none") {
    const TemporaryFolder folder;
    const std::string file = folder / "set.fae";
    const std::string options = quick + " --budget 10% --epochs 1000000 --json " + (folder / "run.json") +
                                " --report " + (folder / "run.html") + " --save " + (folder / "model") +
                                " --pack " + file;
    // As training runs: the packed file is there by then, and whole.
    {
        Program program("train_dlrm", words(options));
        REQUIRE(appears(file, program));
        program.send(SIGINT);
        check_refused(program.wait(), 1, "interrupted");
    }
    CHECK(folder.files() == 1);
    CHECK(train_dlrm("--unpack", file, "--model small --batch 64").code == 0);
    // At any moment before: the old file, a whole new one, and nothing else.
    const std::string whole = read_bytes(file);
    for (int moment = 0; moment < 20; ++moment) {
        Program program("train_dlrm", words(options));
        std::this_thread::sleep_for(std::chrono::milliseconds(2 * moment));
        program.send(moment % 2 == 0 ? SIGINT : SIGTERM);
        const Outcome outcome = program.wait();
        CHECK(outcome.code != 0);
        CHECK(folder.files() == 1);
        CHECK(read_bytes(file) == whole);
    }
    // A second Ctrl-C ends the process at once, and still nothing is left.
    {
        std::filesystem::remove(file);
        Program program("train_dlrm", words(options));
        REQUIRE(appears(file, program));
        program.send(SIGINT);
        program.send(SIGINT);
        CHECK(program.wait().code != 0);
        CHECK(folder.files() == 1);
    }
}
