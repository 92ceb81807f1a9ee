// SPDX-License-Identifier: Apache-2.0
//
// More than 10^5 seeded mutations of good files: every reader gives what the plain oracle gives, or one of
// our errors at the place the oracle names. The fuzzers of tests/fuzz run the same functions.
#include <doctest/doctest.h>

#include <cstddef>
#include <cstdint>
#include <exception>
#include <string>
#include <string_view>
#include <vector>

#include "fae/core/random.hpp"
#include "fae/io/npy_header.hpp"
#include "support/fae_file_fuzz.hpp"
#include "support/gzip_writer.hpp"
#include "support/reader_fuzz.hpp"

namespace {

/// Between 1 and 4 edits: flipped, replaced, inserted, removed, doubled or swapped pieces, and cut-off ends.
std::string mutate(std::string bytes, fae::Philox& random, const std::vector<std::string>& words) {
    const std::uint64_t edits = 1 + random.below(4);
    for (std::uint64_t e = 0; e < edits; ++e) {
        const std::size_t at = random.below(bytes.size() + 1);
        const std::size_t length = std::min<std::size_t>(random.below(12), bytes.size() - at);
        switch (random.below(8)) {
            case 0:
                if (at < bytes.size()) bytes[at] = static_cast<char>(bytes[at] ^ (1 << random.below(8)));
                break;
            case 1:
                if (at < bytes.size()) bytes[at] = static_cast<char>(random.bits32());
                break;
            case 2:
                bytes.insert(at, words[random.below(words.size())]);
                break;
            case 3:
                bytes.erase(at, length);
                break;
            case 4:
                bytes.insert(at, bytes.substr(at, length));
                break;
            case 5:
                bytes.resize(at);
                break;
            case 6:
                bytes.replace(at, length, words[random.below(words.size())]);
                break;
            default: {  // a whole field
                const std::size_t begin = bytes.find('\t', at);
                if (begin == std::string::npos) break;
                const std::size_t end = std::min(bytes.find_first_of("\t\n", begin + 1), bytes.size());
                bytes.replace(begin + 1, end - begin - 1, words[random.below(words.size())]);
            }
        }
    }
    return bytes;
}

/// Hands make(random) to the target for each case.
template <class Make, class Target>
void run_cases(std::uint64_t seed, std::size_t cases, const Make& make, const Target& target) {
    std::size_t failures = 0;
    for (std::size_t i = 0; i < cases && failures < 5; ++i) {
        fae::Philox random(seed, i);
        const std::string bytes = make(random);
        try {
            target(reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size());
        } catch (const std::exception& error) {
            ++failures;
            FAIL_CHECK("case ", i, ": ", std::string(error.what()));
        }
    }
    CHECK(failures == 0);
}

template <class Target>
void run_mutations(std::uint64_t seed, std::size_t cases, const std::vector<std::string>& seeds,
                   const std::vector<std::string>& words, const Target& target) {
    run_cases(
        seed, cases,
        [&](fae::Philox& random) { return mutate(seeds[random.below(seeds.size())], random, words); },
        target);
}

const std::vector<std::string> log_words = {"",
                                            "-",
                                            "0",
                                            "-0",
                                            "1",
                                            "2",
                                            "00",
                                            "\t",
                                            "\t\t",
                                            "\n",
                                            "\r",
                                            "\r\n",
                                            "\n\n",
                                            "4",
                                            "5",
                                            "5.0",
                                            "5.01",
                                            "4.",
                                            ".5",
                                            "3.5",
                                            "+1",
                                            "0x1",
                                            "ffffffff",
                                            "FFFFFFFF",
                                            "123456789",
                                            "g",
                                            "aB9f",
                                            "4294967295",
                                            "4294967296",
                                            "9223372036854775807",
                                            "9223372036854775808",
                                            "-9223372036854775808",
                                            "-9223372036854775809",
                                            "00000000000000000000000000000000012",
                                            "99999999999999999999999999",
                                            std::string(1, '\0'),
                                            "\xff",
                                            "/",
                                            ":",
                                            "@",
                                            "`",
                                            "[",
                                            "{"};

/// A log of a few lines behind each choice of options.
std::vector<std::string> log_seeds(const std::vector<std::string>& lines) {
    std::vector<std::string> seeds;
    for (int choice = 0; choice < 32; ++choice) {
        for (std::size_t count = 1; count <= 3; ++count) {
            std::string seed(1, static_cast<char>(choice));
            for (std::size_t k = 0; k < count; ++k)
                seed += lines[(static_cast<std::size_t>(choice) + k) % lines.size()];
            seeds.push_back(seed);
        }
    }
    return seeds;
}

}  // namespace

// Catches a parser that accepts, refuses or reads a line differently than the plain one, and reads out of
// bounds.
TEST_CASE("criteo: 45,000 mutated logs read as the oracle reads them, or fail where it says") {
    const std::vector<std::string> lines = {
        "1\t5\t110\t\t16\t\t1\t0\t14\t7\t1\t\t306\t\t62770d79\te21f5d58\tafea442f\t945c7fcf\t38b02748\t6fcd6d"
        "cb\t"
        "3580aa21\t28808903\t46dedfa6\t2e027dc1\t0c7c4231\t95981d1f\t00c5ffb7\tbe4ee537\t8a0b74cc\t4cdc3efa\t"
        "d20856aa\t"
        "b8170bba\t9512c20b\tc38e2f28\t14f65a5d\t25b1b089\td7c1fc0b\t7caf609c\t30436bfc\ted10571d\n",
        "0\t\t-1\t\t\t\t\t\t\t\t\t\t\t\t\t\t\t\t\t\t\t\t\t\t\t\t\t\t\t\t\t\t\t\t\t\t\t\t\t\n",
        "0\t1\t2\t3\t4\t5\t6\t7\t8\t9\t10\t11\t12\t9223372036854775807\ta\tB\tc\td\te\tf\t10\t11\t12\t13\t14"
        "\t15\t16\t"
        "17\t18\t19\t1a\t1b\t1c\t1d\t1e\t1f\t20\t21\t22\tFfFfFfFf\r\n"};
    run_mutations(1, 45'000, log_seeds(lines), log_words, reader_fuzz::criteo);
}

// Catches the same in the reader of ratings.
TEST_CASE("movielens: 35,000 mutated files of ratings read as the oracle reads them, or fail where it says") {
    const std::vector<std::string> lines = {"196\t242\t3\t881250949\n", "1\t1\t4.0\t964982703\n",
                                            "610\t170875\t3.5\t0\r\n", "4294967295\t1\t5.00\t1\n"};
    run_mutations(2, 35'000, log_seeds(lines), log_words, reader_fuzz::movielens);
}

// Catches damage that is not noticed, or noticed differently when the reads have another size.
TEST_CASE("gzip: 10,000 mutated files inflate alike in any steps, or fail alike") {
    const std::string text = "0\t1\t2\t3\n0\t1\t2\t3\n1\tabc\n" + std::string(300, 'x');
    const std::vector<std::string> seeds = {gzip(text), gzip(text) + gzip("a second member"), gzip(""),
                                            gzip(text, 0) + std::string(7, '\0'), text};
    const std::vector<std::string> words = {std::string("\x1f\x8b\x08\x00", 4), std::string(8, '\0'),
                                            gzip("word"), "\xff\xff\xff\xff"};
    run_mutations(3, 10'000, seeds, words, reader_fuzz::gzip_bytes);
}

// Catches a header that is trusted, and shapes whose product overflows.
TEST_CASE("npy: 10,000 mutated files give the values they hold, or an error") {
    const auto file = [](const fae::NpyHeader& header) {
        return header.text() + std::string(header.data_bytes(), '\x11');
    };
    const std::vector<std::string> seeds = {
        file(fae::NpyHeader::of<float>({3, 4})), file(fae::NpyHeader::of<std::uint64_t>({5})),
        file(fae::NpyHeader::of<float>({0, 4})), file(fae::NpyHeader::of<float>({4, 0}))};
    const std::vector<std::string> words = {"(",
                                            ")",
                                            "(2, 6)",
                                            "(4294967296, 4294967296)",
                                            "(18446744073709551616,)",
                                            "'",
                                            "\"",
                                            "{",
                                            "}",
                                            ",",
                                            "'descr': '<f8', ",
                                            "True",
                                            "()",
                                            "(4611686018427387904, 4)",
                                            "(4611686018427387904, 0)",
                                            "'<u8'",
                                            "\n"};
    run_mutations(4, 10'000, seeds, words, reader_fuzz::npy);
}

// Catches a number of a packed data set that is believed though it is wrong, a sum that is not looked at, a
// file that is taken for another one, and memory asked for by the word of a file.
TEST_CASE("fae_file: 24,000 mutated files open as what they hold, or fail with a place") {
    const auto word = [](std::uint64_t value, std::size_t bytes) {
        return std::string(reinterpret_cast<const char*>(&value), bytes);
    };
    const std::vector<std::string> words = {
        word(0, 4),          word(1, 4),          word(2, 4),       word(~std::uint64_t{0}, 4),
        word(1u << 31, 4),   word(0, 8),          word(1, 8),       word(~std::uint64_t{0}, 8),
        word(~0ull >> 1, 8), word(1ull << 32, 8), word(1 << 16, 2), word(12, 8)};
    // Recipes are mutated most: most changes to whole files end at their sums.
    std::vector<std::string> recipes;
    std::vector<std::string> files;
    for (const std::string& seed : reader_fuzz::fae_file_seeds()) {
        const bool recipe = seed[0] == static_cast<char>(reader_fuzz::FaeInput::recipe);
        (recipe ? recipes : files).push_back(seed);
    }
    std::size_t taken = 0;
    const auto counted = [&](const std::uint8_t* bytes, std::size_t size) {
        taken += reader_fuzz::fae_file(bytes, size) ? 1u : 0u;
    };
    run_mutations(5, 8'000, recipes, words, counted);
    run_cases(
        7, 12'000,
        [&](fae::Philox& random) {
            std::string recipe = recipes[random.below(recipes.size())];
            const std::uint64_t changes = 1 + random.below(2);
            for (std::uint64_t k = 0; k < changes; ++k) reader_fuzz::change_element(recipe, random);
            return recipe;
        },
        counted);
    // Both ends are looked at: files that are taken, and files that are refused.
    CHECK(taken > 2'000);
    CHECK(taken < 15'000);
    run_mutations(6, 4'000, files, words, counted);
}
