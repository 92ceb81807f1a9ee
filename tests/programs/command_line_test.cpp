// SPDX-License-Identifier: Apache-2.0
//
// The command line of train_dlrm: what it takes, and how it refuses. A refused command line ends with 2, a
// run that fails with 1; both say why in one line on standard error and nothing else.
#include <string>
#include <utility>
#include <vector>

#include "fae/version.hpp"
#include "support/train_dlrm.hpp"

// Catches: an option that is taken but not documented, or help that goes to standard error.
TEST_CASE("train_dlrm: --help names every option and exits with 0") {
    const Outcome outcome = train_dlrm("--help");
    CHECK(outcome.code == 0);
    CHECK(outcome.err.empty());
    for (const std::string option :
         {"--data",        "--format",    "--synthetic",  "--inputs",    "--zipf",
          "--unpack",      "--model",     "--dim",        "--max-rows",  "--vocabulary",
          "--placement",   "--order",     "--budget",     "--sample",    "--rate",
          "--batch",       "--epochs",    "--lr",         "--warmup",    "--decay-start",
          "--decay-steps", "--optimizer", "--validation", "--test",      "--skip-malformed",
          "--threads",     "--seed",      "--device",     "--precision", "--json",
          "--report",      "--pack",      "--save",       "--init",      "--version",
          "--hot-rows"}) {
        CAPTURE(option);
        CHECK(outcome.out.find("  " + option + " ") != std::string::npos);
    }
}

TEST_CASE("train_dlrm: --version prints the library's version and exits with 0") {
    const Outcome outcome = train_dlrm("--version");
    CHECK(outcome.code == 0);
    CHECK(outcome.err.empty());
    CHECK(outcome.out == std::string(fae::version) + "\n");
}

// Catches: a wrong value that is taken for a right one (a negative count as a huge one, say), a message of
// several lines, exit code 1 for a bad command line.
TEST_CASE("train_dlrm: a bad command line exits with 2 and names the option") {
    const std::string source = "--synthetic small --inputs 100 --model small ";
    const std::vector<std::pair<std::string, std::string>> cases{
        {"", "--data, --synthetic, --unpack"},
        {"--data log.tsv", "--format"},
        {"--format criteo", "--data"},
        {"--data log.tsv --format other", "--format"},
        {"--data log.tsv --format criteo --synthetic small --inputs 10", "--synthetic"},
        {"--synthetic small", "--inputs"},
        {"--synthetic small --inputs 0", "--inputs"},
        {"--synthetic small --inputs -5", "--inputs"},
        {"--synthetic small --inputs 1e3", "--inputs"},
        {"--synthetic small --inputs 99999999999999999999", "--inputs"},
        {"--synthetic large --inputs 10", "--synthetic"},
        {"--inputs 10", "--"},
        {"--data log.tsv --format criteo --zipf 1", "--zipf"},
        {source + "--test log.tsv", "--test"},
        {source + "--skip-malformed", "--skip-malformed"},
        {source + "--vocabulary hash", "--vocabulary"},
        {source + "--pack a.fae --unpack b.fae", "--pack"},
        {source + "--hot-rows lookups", "--hot-rows"},
        {source + "--hot-rows inputs --unpack b.fae", "--hot-rows inputs with --unpack"},
        {source + "--decay-start 3", "--decay"},
        {source + "--decay-steps 3", "--decay"},
        {source + "--warmup 10 --decay-start 9 --decay-steps 3", "--decay-start"},
        {source + "--decay-start 18446744073709551615 --decay-steps 1", "--decay-steps"},
        {source + "--model rmc4", "--model"},
        {source + "--dim 0", "--dim"},
        {source + "--dim 4097", "--dim"},
        {source + "--dim -1", "--dim"},
        {source + "--max-rows 0", "--max-rows"},
        {source + "--max-rows -1", "--max-rows"},
        {source + "--placement all", "--placement"},
        {source + "--order random", "--order"},
        {source + "--budget", "--budget"},
        {source + "--budget 5", "5"},
        {source + "--budget 5MB", "5MB"},
        {source + "--budget -1KiB", "-1KiB"},
        {source + "--budget 5%%", "5%%"},
        {source + "--budget 1e300GiB", "1e300GiB"},
        {source + "--sample 0", "--sample"},
        {source + "--sample 1.1", "--sample"},
        {source + "--rate 0", "--rate"},
        {source + "--rate 101", "--rate"},
        {source + "--rate 50.5", "--rate"},
        {source + "--rate fast", "--rate"},
        {source + "--batch 0", "--batch"},
        {source + "--batch -3", "--batch"},
        {source + "--batch 2.5", "--batch"},
        {source + "--epochs -1", "--epochs"},
        {source + "--lr nan", "--lr"},
        {source + "--lr -0.1", "--lr"},
        {source + "--lr fast", "--lr"},
        {source + "--lr 1e300", "--lr"},
        {source + "--optimizer adam", "--optimizer"},
        {source + "--validation 1", "--validation"},
        {source + "--validation -0.1", "--validation"},
        {source + "--threads 0", "--threads"},
        {source + "--threads -1", "--threads"},
        {source + "--seed -1", "--seed"},
        {source + "--device gpu", "--device"},
        {source + "--precision fp16", "--precision"},
        {source + "--json", "--json"},
        {source + "--json a --report a", "--json"},
        {source + "--json a --pack a", "--json"},
        {source + "--report a --pack a", "--report"},
        {source + "--inputs 200", "--inputs"},
        {source + "--colour", "--colour"},
        {source + "file.tsv", "file.tsv"},
    };
    for (const auto& each : cases) {
        CAPTURE(each.first);
        check_refused(train_dlrm(each.first), 2, each.second);
    }
}

// Catches: a window or look-ahead that cannot be, or that no placement would look at, silently taken.
TEST_CASE("train_dlrm: options of the look-ahead placement are checked") {
    for (const std::string option :
         {"--window 64", "--window many", "--lookahead 0", "--lookahead 1025", "--lookahead -1",
          "--lookahead 99999999999", "--placement static --window 1MiB",
          "--placement all-slots --lookahead 2"}) {
        CAPTURE(option);
        check_refused(train_dlrm("--synthetic small --inputs 100", option), 2, "");
    }
    check_refused(train_dlrm(quick, "--trace a.json --json a.json"), 2, "--trace");
}

#if !defined(FAE_EXAMPLES_WITH_CUDA)
TEST_CASE("train_dlrm: --device cuda says that it was built without CUDA") {
    check_refused(train_dlrm(quick, "--device cuda"), 2, "built without CUDA");
}
#endif

// Catches: a failed run that exits with 2 or 0, or does not say where.
TEST_CASE("train_dlrm: a run that fails exits with 1 and says where") {
    const TemporaryFolder folder;
    const std::string none = folder / "none";
    check_refused(train_dlrm("--data", none, "--format criteo"), 1, none + ": ");
    check_refused(train_dlrm("--data", folder.path().string(), "--format criteo"), 1,
                  folder.path().string() + ": ");
    check_refused(train_dlrm("--unpack", none), 1, none + ": ");
    check_refused(train_dlrm(quick, "--json", none + "/run.json"), 1, none + "/run.json: ");
    check_refused(train_dlrm(quick, "--report", none + "/run.html"), 1, none + "/run.html: ");
    check_refused(train_dlrm(quick, "--pack", none + "/set.fae"), 1, none + "/set.fae: ");
    check_refused(train_dlrm(quick, "--init", none), 1, none + "/");
    CHECK(folder.files() == 0);
    // Before anything is read, let alone trained.
    const std::string file = folder / "file";
    write_bytes(file, "");
    check_refused(train_dlrm("--data", none, "--format criteo --save", file + "/model"), 1, file + ": ");
    check_refused(train_dlrm("--data", none, "--format criteo --save", file), 1, file + ": ");
    CHECK(folder.files() == 1);
}

// Catches: a loss that is not finite and goes unnoticed, a step that is not named, files of such a run.
TEST_CASE("train_dlrm: a loss that is not finite ends the run with 1 and names the step") {
    const TemporaryFolder folder;
    const Outcome outcome = train_dlrm(quick, "--lr 1e30 --json", folder / "a.json", "--report",
                                       folder / "a.html", "--save", folder / "a");
    check_refused(outcome, 1, "step ");
    CHECK(folder.files() == 0);
    // The step before the last evaluation is the last one: no later step can notice.
    check_refused(train_dlrm("--synthetic small --inputs 100 --model small --lr 1e30"), 1, "step 0");
}
