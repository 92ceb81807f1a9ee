// SPDX-License-Identifier: Apache-2.0
//
// Tests of io/vocabulary.hpp.
#include "fae/io/vocabulary.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <cstdint>
#include <map>
#include <vector>

#include "fae/core/random.hpp"

using namespace fae;

// Catches wrong places after growth, tokens mistaken for each other, and numbers out of order.
TEST_CASE("vocabulary: indices equal those of a map, by first appearance") {
    for (std::uint64_t seed = 0; seed < 20; ++seed) {
        Philox random(seed);
        Vocabulary words;
        std::map<std::uint64_t, std::uint32_t> plain;
        const std::uint64_t range = std::uint64_t{1} << random.below(33);
        for (int i = 0; i < 20'000; ++i) {
            const std::uint64_t token = random.below(50) == 0 ? missing_token : random.below(range);
            const auto expected =
                plain.emplace(token, static_cast<std::uint32_t>(plain.size())).first->second;
            REQUIRE(words.index_of(token) == expected);
        }
        CHECK(words.size() == plain.size());
        for (const auto& [token, index] : plain) CHECK(words.find(token) == index);
    }
}

// Catches an empty field that shares the row of token 0 or of 2^32 - 1.
TEST_CASE("vocabulary: a missing token differs from 0 and from the largest token") {
    Vocabulary words;
    CHECK_FALSE(words.find(missing_token));
    CHECK_FALSE(words.find(0));
    CHECK(words.index_of(0) == 0);
    CHECK(words.index_of(missing_token) == 1);
    CHECK(words.index_of(0xFFFFFFFF) == 2);
    CHECK(words.index_of(missing_token) == 1);
    CHECK_FALSE(words.find(1));
}

// Catches a column that is read at another bit, or numbered differently than token by token.
TEST_CASE("vocabulary: a column is numbered as its tokens one by one") {
    Philox random(5);
    Vocabulary by_column;
    Vocabulary one_by_one;
    for (int round = 0; round < 5; ++round) {
        std::vector<std::uint32_t> tokens(30'000);
        std::vector<std::uint64_t> missing(tokens.size());
        std::vector<std::uint32_t> expected(tokens.size());
        for (std::size_t i = 0; i < tokens.size(); ++i) {
            tokens[i] = static_cast<std::uint32_t>(random.below(100'000) * 40'503);
            missing[i] = random.bits64();
            expected[i] = one_by_one.index_of((missing[i] >> 38 & 1) != 0 ? missing_token : tokens[i]);
        }
        by_column.index_column(tokens, missing, 38);
        CHECK(tokens == expected);
    }
}

// Catches a table that grows too early or holds more than is stated.
TEST_CASE("vocabulary: memory is at most 22 bytes a token once it is large") {
    Vocabulary words;
    for (std::uint32_t t = 0; t < 100'000; ++t) {
        (void)words.index_of(t * 2'654'435'761u);
        if (t > 1000) REQUIRE(static_cast<double>(words.bytes()) <= 22.0 * (t + 1));
    }
}

// Catches max_rows applied after numbering (indices would pass the limit), and missing folded apart from the
// rest.
TEST_CASE("vocabularies: max_rows takes tokens modulo N first, then numbers what is left") {
    Vocabularies words(1, {VocabularyKind::first_seen, 5, 0});
    std::vector<std::uint32_t> tokens = {7, 2, 12, 4, 0, 4'294'967'295u, 99};
    const std::vector<std::uint64_t> missing = {0, 0, 0, 0, 0, 0, 1};
    words.index_column(0, tokens, missing, 0);
    // 2, 2, 2, 4, 0, 0, and 2^32 mod 5 = 1
    CHECK(tokens == std::vector<std::uint32_t>{0, 0, 0, 1, 2, 2, 3});
    CHECK(words.rows(0) == 4);
}

// Catches a default table size that is not the documented one.
TEST_CASE("vocabularies: hashing takes the token modulo the table's size") {
    Vocabularies by_default(2, {VocabularyKind::hash, 0, 1'000'000});
    std::vector<std::uint32_t> tokens = {7, 1'000'007, 4'294'967'295u, 5};
    const std::vector<std::uint64_t> missing = {0, 0, 0, 8};
    by_default.index_column(1, tokens, missing, 3);
    CHECK(tokens == std::vector<std::uint32_t>{7, 7, 967'295, 967'296});
    CHECK(by_default.rows(0) == 1'000'000);
    CHECK(VocabularyOptions{}.hash_rows == 1'000'000);
    Vocabularies limited(1, {VocabularyKind::hash, 10, 1'000'000});
    CHECK(limited.rows(0) == 10);
    CHECK(limited.bytes() == 0);
}

// Catches limits that 32-bit row ids cannot hold.
TEST_CASE("vocabularies: limits over 2^31 and empty hash tables are refused") {
    CHECK_THROWS_AS(Vocabularies(1, {VocabularyKind::hash, 0, 0}), ContractError);
    CHECK_THROWS_AS(Vocabularies(1, {VocabularyKind::first_seen, (std::uint64_t{1} << 31) + 1, 0}),
                    ContractError);
    CHECK_NOTHROW(Vocabularies(1, {VocabularyKind::hash, std::uint64_t{1} << 31, 0}));
}
