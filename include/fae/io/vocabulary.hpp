// SPDX-License-Identifier: Apache-2.0
//
// Vocabularies: from the tokens of a log (hashed categories, user numbers) to indices within a table.
//
//   Vocabulary words;
//   words.index_of(0xe21f5d58) == 0;   words.index_of(7) == 1;   words.index_of(0xe21f5d58) == 0;
//
// By first appearance (VocabularyKind::first_seen) every token gets a row of its own, numbered as they come;
// by hashing, a token's row is the token modulo the table's size, and nothing is kept.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "fae/core/config.hpp"
#include "fae/core/error.hpp"
#include "fae/core/prefetch.hpp"
#include "fae/core/random.hpp"
#include "fae/core/span.hpp"
#include "fae/core/types.hpp"

namespace fae::inline FAE_ABI {

/// The token of an empty field: a token of its own, above every 32-bit one.
inline constexpr std::uint64_t missing_token = std::uint64_t{1} << 32;

/// Numbers the tokens of one table by first appearance. Tokens are 0 to 2^32 - 1, and missing_token.
/// @cost  open addressing, 8 bytes a place, at most 3/4 full and doubled then: 11 to 22 bytes a token; while
///        it doubles, half as much again
class Vocabulary {
  public:
    /// The most tokens that fit 32-bit row ids.
    static constexpr std::uint64_t max_size = max_rows<std::uint32_t>;

    /// The number of different tokens so far.
    [[nodiscard]] std::uint64_t size() const { return size_; }
    /// Memory held, in bytes.
    [[nodiscard]] std::size_t bytes() const { return places_.capacity() * sizeof(Place); }

    /// The index of a token; a new one gets the next index.
    /// @throws ContractError if there are more than max_size tokens
    std::uint32_t index_of(std::uint64_t token) {
        if (token == missing_token) {
            if (missing_ == unused) missing_ = next_index();
            return missing_;
        }
        return index_of_present(static_cast<std::uint32_t>(token));
    }

    /// The index of a token, if it has one.
    [[nodiscard]] std::optional<std::uint32_t> find(std::uint64_t token) const {
        if (token == missing_token) {
            return missing_ == unused ? std::nullopt : std::optional<std::uint32_t>(missing_);
        }
        if (places_.empty()) return std::nullopt;
        const auto key = static_cast<std::uint32_t>(token);
        for (std::size_t at = home(key);; at = (at + 1) & mask_) {
            if (places_[at].index == unused) return std::nullopt;
            if (places_[at].token == key) return places_[at].index;
        }
    }

    /// Replaces each token by its index, in order; token i is missing_token where bit `bit` of missing[i] is
    /// set.
    /// @pre missing has the size of tokens
    void index_column(Span<std::uint32_t> tokens, Span<const std::uint64_t> missing, unsigned bit) {
        for (std::size_t i = 0; i < tokens.size(); ++i) {
            // A large table misses the caches; its places are asked for ahead.
            if (places_.size() >= prefetch_places && i + prefetch_distance < tokens.size()) {
                prefetch_for_write(&places_[home(tokens[i + prefetch_distance])]);
            }
            tokens[i] = (missing[i] >> bit & 1u) != 0 ? index_of(missing_token) : index_of_present(tokens[i]);
        }
    }

  private:
    struct Place {
        std::uint32_t token = 0;
        std::uint32_t index = unused;
    };
    static constexpr std::uint32_t unused = ~std::uint32_t{0};
    static constexpr std::size_t prefetch_places = std::size_t{1} << 15;
    static constexpr std::size_t prefetch_distance = 16;

    [[nodiscard]] std::size_t home(std::uint32_t token) const { return mix64(token) & mask_; }

    std::uint32_t index_of_present(std::uint32_t token) {
        if (present_ >= grow_at_) grow();
        for (std::size_t at = home(token);; at = (at + 1) & mask_) {
            Place& place = places_[at];
            if (place.index == unused) {
                place = {token, next_index()};
                ++present_;
                return place.index;
            }
            if (place.token == token) return place.index;
        }
    }
    std::uint32_t next_index() {
        require(size_ < max_size, [&] {
            return concat("a vocabulary has more than ", max_size,
                          " tokens, expected at most as many as "
                          "32-bit row ids hold");
        });
        return static_cast<std::uint32_t>(size_++);
    }
    void grow() {
        std::vector<Place> wider(places_.empty() ? 16 : places_.size() * 2);
        mask_ = wider.size() - 1;
        grow_at_ = wider.size() / 4 * 3;
        for (const Place& place : places_) {
            if (place.index == unused) continue;
            std::size_t at = home(place.token);
            while (wider[at].index != unused) at = (at + 1) & mask_;
            wider[at] = place;
        }
        places_ = std::move(wider);
    }

    std::vector<Place> places_;
    std::size_t mask_ = 0;
    std::size_t grow_at_ = 0;
    std::size_t present_ = 0;  // places in use
    std::uint64_t size_ = 0;
    std::uint32_t missing_ = unused;
};

/// How tokens become indices.
enum class VocabularyKind : std::uint8_t {
    first_seen,  ///< by first appearance, in the order of the source
    hash,        ///< token modulo the table's size
};

/// The rule for the tables of one data set.
struct VocabularyOptions {
    VocabularyKind kind = VocabularyKind::first_seen;
    /// No table has more rows than this; 0: no limit. A token is taken modulo it first.
    std::uint64_t max_rows = 0;
    /// The rows of each table under `hash` where max_rows is 0.
    std::uint64_t hash_rows = 1'000'000;
};

/// The vocabularies of the tables of one data set. Several files may be read through one of these, a training
/// and a test file say; the sizes of the tables are final when the last has been read.
class Vocabularies {
  public:
    /// @throws ContractError if a limit is more than 2^31, or the size of hashed tables is 0
    Vocabularies(std::size_t tables, VocabularyOptions options) : options_(options), tables_(tables) {
        if (options_.kind == VocabularyKind::hash) {
            modulus_ = options_.max_rows != 0 ? options_.max_rows : options_.hash_rows;
            require(modulus_ != 0, [] { return std::string("hash_rows is 0, expected at least 1"); });
        } else {
            modulus_ = options_.max_rows;
        }
        require(modulus_ <= Vocabulary::max_size, [&] {
            return concat("tables are limited to ", modulus_, " rows, expected at most ",
                          Vocabulary::max_size);
        });
    }

    [[nodiscard]] std::size_t tables() const { return tables_.size(); }
    [[nodiscard]] const VocabularyOptions& options() const { return options_; }
    [[nodiscard]] const Vocabulary& table(std::size_t t) const { return tables_[t]; }

    /// The rows that table t has by now.
    [[nodiscard]] std::uint64_t rows(std::size_t t) const {
        return options_.kind == VocabularyKind::hash ? modulus_ : tables_[t].size();
    }
    /// Memory held, in bytes.
    [[nodiscard]] std::size_t bytes() const {
        std::size_t sum = 0;
        for (const Vocabulary& table : tables_) sum += table.bytes();
        return sum;
    }

    /// Replaces tokens of table t by indices, in order; token i is missing_token where bit `bit` of
    /// missing[i] is set. Different tables may be worked on at the same time.
    void index_column(std::size_t t, Span<std::uint32_t> tokens, Span<const std::uint64_t> missing,
                      unsigned bit) {
        if (modulus_ == 0) {
            tables_[t].index_column(tokens, missing, bit);
            return;
        }
        for (std::size_t i = 0; i < tokens.size(); ++i) {
            const std::uint64_t token = (missing[i] >> bit & 1u) != 0 ? missing_token : tokens[i];
            const std::uint64_t folded = token % modulus_;
            tokens[i] = options_.kind == VocabularyKind::hash ? static_cast<std::uint32_t>(folded)
                                                              : tables_[t].index_of(folded);
        }
    }

  private:
    VocabularyOptions options_;
    std::vector<Vocabulary> tables_;
    std::uint64_t modulus_ = 0;
};

}  // namespace fae::inline FAE_ABI
