// SPDX-License-Identifier: Apache-2.0
//
// What train_dlrm reads: line formats and their faults, vocabularies, splits. Two runs on the same inputs end
// in the same digest, so digests tell whether two logs were read alike.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <set>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "fae/io/synthetic.hpp"
#include "support/gzip_writer.hpp"
#include "support/train_dlrm.hpp"

namespace {

const std::string criteo = "--format criteo --model small --batch 16 --budget 20% --threads 2";

// A line of Criteo's format from its 40 fields.
std::string joined(const std::vector<std::string>& fields) {
    std::string line = fields.at(0);
    for (std::size_t k = 1; k < fields.size(); ++k) line += "\t" + fields[k];
    return line;
}

// The fields of a well-formed line; lines of different numbers differ.
std::vector<std::string> fields_of(unsigned number) {
    std::vector<std::string> fields{std::to_string(number * 7 % 3 == 0 ? 1 : 0)};
    for (unsigned k = 0; k < 13; ++k) fields.push_back(std::to_string(number * (k + 3) % 50));
    for (unsigned k = 0; k < 26; ++k) {
        char token[9];
        std::snprintf(token, sizeof token, "%08x", 0x9e3779b9u * (number * number % (k + 5)));
        fields.emplace_back(token);
    }
    return fields;
}

std::string log_of(unsigned lines) {
    std::string text;
    for (unsigned i = 0; i < lines; ++i) text += joined(fields_of(i)) + "\n";
    return text;
}

// A log in a file of its own.
class Log {
  public:
    explicit Log(const std::string& text) : path_(folder_ / "log.tsv") { write_bytes(path_, text); }
    [[nodiscard]] const std::string& path() const { return path_; }
    [[nodiscard]] std::string option() const { return "--data " + path_; }

  private:
    TemporaryFolder folder_;
    std::string path_;
};

std::string replaced(std::string text, const std::string& what, const std::string& by) {
    for (std::size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + by.size())) {
        text.replace(at, what.size(), by);
    }
    return text;
}

}  // namespace

// Catches: a fault that is read as something else, a line or column counted wrongly, a second line of
// message.
TEST_CASE("train_dlrm: a malformed Criteo line ends the run with PATH:LINE:COLUMN") {
    struct Fault {
        std::size_t field;
        std::string text;
    };
    const std::vector<Fault> faults{{0, "2"},
                                    {0, ""},
                                    {0, "01"},
                                    {1, "1x"},
                                    {5, "--1"},
                                    {13, "+1"},
                                    {4, "9223372036854775808"},
                                    {4, "-9223372036854775809"},
                                    {14, "xyz"},
                                    {39, "123456789"},
                                    {20, "-1"}};
    for (const Fault& fault : faults) {
        CAPTURE(fault.field);
        CAPTURE(fault.text);
        std::vector<std::string> fields = fields_of(2);
        fields[fault.field] = fault.text;
        const Log log(log_of(2) + joined(fields) + "\n" + log_of(2));
        const Outcome outcome = train_dlrm(log.option(), criteo);
        const std::string place = log.path() + ":3:";
        check_refused(outcome, 1, "train_dlrm: " + place);
        // The column is within the field or just after it, counted in bytes from 1.
        const std::vector<std::string> before(fields.begin(),
                                              fields.begin() + static_cast<std::ptrdiff_t>(fault.field));
        const std::size_t begin = fault.field == 0 ? 1 : joined(before).size() + 2;
        const std::size_t at = outcome.err.find(place);
        REQUIRE(at != std::string::npos);
        const std::size_t column = std::stoul(outcome.err.substr(at + place.size()));
        CHECK(column >= begin);
        CHECK(column <= begin + fault.text.size());
    }
}

TEST_CASE("train_dlrm: a line of 39 or 41 fields is malformed") {
    std::vector<std::string> fields = fields_of(1);
    fields.pop_back();
    const Log fewer(log_of(1) + joined(fields) + "\n");
    check_refused(train_dlrm(fewer.option(), criteo), 1, fewer.path() + ":2:");
    const Log more(log_of(1) + joined(fields_of(1)) + "\tabc\n");
    check_refused(train_dlrm(more.option(), criteo), 1, more.path() + ":2:");
}

// Catches: refusing what the format allows.
TEST_CASE("train_dlrm: the bounds of 64-bit integers and short hexadecimal tokens are well-formed") {
    std::vector<std::string> fields = fields_of(1);
    fields[3] = "9223372036854775807";
    fields[4] = "-9223372036854775808";
    fields[20] = "a";
    fields[21] = "";
    fields[5] = "";
    const Log log(log_of(40) + joined(fields) + "\n");
    CHECK(figures(log.option(), criteo, "--validation 0")["inputs"] == 41);
}

// Catches: a malformed line that is counted as an input, takes a good one with it, or goes unreported.
TEST_CASE("train_dlrm: --skip-malformed trains as if the malformed lines were not there, and says so") {
    const std::string good = log_of(60);
    const std::size_t middle = good.find('\n', good.size() / 2) + 1;
    const Log whole(good);
    const Log faulty("0\t1\n" + good.substr(0, middle) + "2" + joined(fields_of(3)).substr(1) + "\n" +
                     good.substr(middle) + "not a line");
    check_refused(train_dlrm(faulty.option(), criteo), 1, faulty.path() + ":1:");
    CHECK(figures(faulty.option(), criteo, "--skip-malformed --validation 0")["inputs"] == 60);
    CHECK(digest(faulty.option(), criteo, "--skip-malformed") == digest(whole.option(), criteo));
    const Outcome outcome = train_dlrm(faulty.option(), criteo, "--skip-malformed");
    CHECK(outcome.out.find("malformed") != std::string::npos);
    CHECK(outcome.out.find("3 lines left out") != std::string::npos);
    CHECK(outcome.out.find(faulty.path() + ":1:") != std::string::npos);
}

// Catches: a carriage return that becomes part of the last token, a last line that is lost.
TEST_CASE("train_dlrm: CRLF, a missing last newline and gzip change nothing") {
    const std::string text = log_of(60);
    const std::string expected = digest(Log(text).option(), criteo);
    CHECK(digest(Log(replaced(text, "\n", "\r\n")).option(), criteo) == expected);
    CHECK(digest(Log(text.substr(0, text.size() - 1)).option(), criteo) == expected);
    CHECK(digest(Log(gzip(text)).option(), criteo) == expected);
    // And that digests do tell logs apart.
    CHECK(digest(Log(log_of(59)).option(), criteo) != expected);
}

TEST_CASE("train_dlrm: a source without one input is an error") {
    for (const std::string text : {"", "\n", "0\t1\n"}) {
        CAPTURE(text);
        const Log log(text);
        check_refused(train_dlrm(log.option(), criteo, "--skip-malformed"), 1, log.path() + ":");
    }
    const Log empty("");
    check_refused(train_dlrm(empty.option(), criteo), 1, empty.path() + ":");
    const Log good(log_of(20));
    check_refused(train_dlrm(good.option(), criteo, "--test", empty.path()), 1, empty.path() + ":");
}

// Catches: empty read as zero, or negative not read as zero.
TEST_CASE("train_dlrm: an empty or negative integer is as 0; an empty token is one of its own") {
    std::vector<std::string> with = fields_of(1);
    const auto log_with = [&](std::size_t field, const std::string& text) {
        with = fields_of(1);
        with[field] = text;
        return log_of(30) + joined(with) + "\n";
    };
    const std::string zero = digest(Log(log_with(6, "0")).option(), criteo, "--validation 0");
    CHECK(digest(Log(log_with(6, "")).option(), criteo, "--validation 0") == zero);
    CHECK(digest(Log(log_with(6, "-17")).option(), criteo, "--validation 0") == zero);
    CHECK(digest(Log(log_with(6, "17")).option(), criteo, "--validation 0") != zero);
    const auto rows = [&](const std::string& text) {
        return figures(Log(text).option(), criteo)["rows"].get<std::uint64_t>();
    };
    CHECK(rows(log_of(30) + joined(fields_of(1)) + "\n" + log_with(15, "")) == rows(log_of(30)) + 1);
}

// Catches: ids that come from the token's value, or from the thread that saw it first.
TEST_CASE("train_dlrm: ids are by first appearance, so renaming tokens one to one changes nothing") {
    const std::string text = log_of(80);
    const auto renamed = [&] {
        std::string out;
        std::istringstream lines(text);
        for (std::string line; std::getline(lines, line);) {
            std::istringstream tabs(line);
            std::vector<std::string> fields;
            for (std::string field; std::getline(tabs, field, '\t');) fields.push_back(field);
            for (std::size_t k = 14; k < 40; ++k) {
                char token[9];
                std::snprintf(token, sizeof token, "%08x",
                              static_cast<std::uint32_t>(std::stoul(fields[k], nullptr, 16)) ^ 0x5a5a1234u);
                fields[k] = token;
            }
            out += joined(fields) + "\n";
        }
        return out;
    }();
    REQUIRE(renamed != text);
    CHECK(digest(Log(renamed).option(), criteo) == digest(Log(text).option(), criteo));
    CHECK(digest(Log(renamed).option(), criteo, "--vocabulary hash --max-rows 50") !=
          digest(Log(text).option(), criteo, "--vocabulary hash --max-rows 50"));
}

// Catches: a vocabulary filled in an order that depends on the threads.
TEST_CASE("train_dlrm: ids of the Criteo sample are the same for every thread count and vocabulary") {
    const std::string sample =
        std::string("--data ") + FAE_SOURCE_DIR +
        "/examples/data/criteo/criteo_terabyte_day0_10k.tsv.gz --format criteo --model small "
        "--budget 10% --batch 512";
    for (const std::string vocabulary :
         {"", "--max-rows 100", "--vocabulary first-seen", "--vocabulary hash --max-rows 1000"}) {
        CAPTURE(vocabulary);
        const nlohmann::json one = figures(sample, vocabulary, "--threads 1");
        CHECK(one["inputs"] == 9000);
        for (const int threads : {2, 5, 8}) {
            const nlohmann::json other = figures(sample, vocabulary, "--threads", threads);
            CHECK(other["weights_digest"] == one["weights_digest"]);
            CHECK(other["rows"] == one["rows"]);
            CHECK(other["hot_lookups"] == one["hot_lookups"]);
        }
    }
}

// Catches: a table with more rows than asked for, or a bound that applies to the sum.
TEST_CASE("train_dlrm: --max-rows bounds every table") {
    const Log log(log_of(200));
    std::size_t remainders = 0;
    for (std::size_t k = 14; k < 40; ++k) {
        std::set<unsigned long> seen;
        for (unsigned line = 0; line < 200; ++line)
            seen.insert(std::stoul(fields_of(line)[k], nullptr, 16) % 4);
        remainders += seen.size();
    }
    CHECK(figures(log.option(), criteo, "--max-rows 4")["rows"] == remainders);
    CHECK(figures(log.option(), criteo, "--max-rows 4 --vocabulary hash")["rows"] == 26 * 4);
    std::uint64_t rows = 0;
    const fae::SyntheticSource source(fae::synthetic_small(), 1);
    for (const std::uint64_t table : source.shape().table_rows) {
        rows += std::min<std::uint64_t>(table, 37);
    }
    CHECK(figures("--synthetic small --inputs 200 --model small --max-rows 37")["rows"] == rows);
}

// Catches: a test log that trains, numbers tokens of its own, or is left out of the figures.
TEST_CASE("train_dlrm: --test is evaluated after training and changes no weight") {
    const Log log(log_of(100));
    const nlohmann::json without = figures(log.option(), criteo);
    const nlohmann::json with = figures(log.option(), criteo, "--test", log.path());
    CHECK(without["test_auc"].is_null());
    CHECK(with["test_auc"].is_number());
    CHECK(with["weights_digest"] == without["weights_digest"]);
    CHECK(with["inputs"] == without["inputs"]);
}

// Catches: a validation split that takes the first inputs, or others than the last ones.
TEST_CASE("train_dlrm: the last inputs of a log are held out, and take no part in training") {
    const std::string text = log_of(100);
    std::string other_labels;
    std::istringstream lines(text);
    unsigned number = 0;
    for (std::string line; std::getline(lines, line); ++number) {
        if (number >= 80) line[0] = line[0] == '0' ? '1' : '0';
        other_labels += line + "\n";
    }
    const std::string options = criteo + " --validation 0.2 --rate 50";
    const nlohmann::json run = figures(Log(text).option(), options);
    const nlohmann::json flipped = figures(Log(other_labels).option(), options);
    CHECK(run["inputs"] == 80);
    CHECK(flipped["weights_digest"] == run["weights_digest"]);
    CHECK(flipped["validation_loss"] != run["validation_loss"]);
}

// Catches: a rate that follows the training or the test loss, or none. Held-out labels that contradict the
// others make the validation loss rise where it fell. Every second line has the tokens of the first: it is
// hot.
TEST_CASE("train_dlrm: the validation loss steers the adaptive rate, and no other loss does") {
    std::string text;
    std::string contradicted;
    for (unsigned number = 0; number < 200; ++number) {
        std::vector<std::string> line = fields_of(number);
        const std::vector<std::string> first = fields_of(0);
        if (number % 2 == 0) std::copy(first.begin() + 14, first.end(), line.begin() + 14);
        text += joined(line) + "\n";
        if (number >= 160) line[0] = line[0] == "0" ? "1" : "0";
        contradicted += joined(line) + "\n";
    }
    const Log log(text);
    const Log other(contradicted);
    const std::string options = criteo + " --order fae --validation 0.2 --epochs 8";
    const nlohmann::json run = figures(log.option(), options);
    CHECK(run["hot_inputs"] == 80);
    const std::string expected = run["weights_digest"];
    const std::string at_50 = digest(log.option(), options, "--rate 50");
    CHECK(digest(other.option(), options, "--rate 50") == at_50);
    CHECK(expected != at_50);
    CHECK(digest(other.option(), options) != at_50);
    CHECK(digest(other.option(), options) != expected);
    CHECK(digest(log.option(), options, "--test", other.path()) == expected);
}

// Catches: a MovieLens log read as something else, or its faults without their place.
TEST_CASE("train_dlrm: reads MovieLens ratings, and says where one is malformed") {
    const std::string sample =
        std::string(FAE_SOURCE_DIR) + "/examples/data/movielens/movielens_latest_small.u.data.gz";
    const std::string options = "--format movielens --model small --budget 30% --threads 2";
    const nlohmann::json json = figures("--data", sample, options, "--validation 0.1");
    CHECK(json["inputs"] == 90'752);
    CHECK(json["lookups"] == 2 * 90'752);
    const Log faulty("1\t2\t3\t4\n1\t2\n");
    check_refused(train_dlrm(faulty.option(), options), 1, faulty.path() + ":2:");
}
