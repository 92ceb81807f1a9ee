// SPDX-License-Identifier: Apache-2.0
//
// TextReader: turns logs of one line format into data sets: parsed in parallel, tokens numbered in the order
// of the source, integers as log(1 + x). The readers of criteo.hpp and movielens.hpp are TextReaders.
// Below it, TextRounds (text_rounds.hpp) streams a log that need not fit in memory, without vocabularies.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "fae/core/config.hpp"
#include "fae/core/error.hpp"
#include "fae/core/exec.hpp"
#include "fae/core/random.hpp"
#include "fae/core/types.hpp"
#include "fae/io/byte_source.hpp"
#include "fae/io/dataset.hpp"
#include "fae/io/fingerprint.hpp"
#include "fae/io/text_block.hpp"
#include "fae/io/text_rounds.hpp"
#include "fae/io/vocabulary.hpp"

namespace fae::inline FAE_ABI {

/// How a log is read.
struct ReadOptions {
    VocabularyOptions vocabulary{};
    /// Leave malformed lines out and count them, instead of stopping at the first.
    bool skip_malformed = false;
    /// Stop after so many inputs of a source; 0: no limit. What follows is not looked at.
    std::uint64_t limit = 0;
    /// Sub-sampling: a negative input is dropped with this probability, decided by (seed, input number)
    /// alone.
    double drop_negatives = 0;
    std::uint64_t seed = 1;
    /// The text that one task parses, in bytes. Results do not depend on it.
    std::size_t chunk_bytes = std::size_t{256} << 10;
};

/// What a reader met.
struct ReadReport {
    std::uint64_t inputs = 0;     ///< inputs kept
    std::uint64_t dropped = 0;    ///< negative inputs dropped by sub-sampling
    std::uint64_t malformed = 0;  ///< lines left out because they break the format
    std::optional<FormatError> first_malformed;
};

/// log(1 + x) of an integer feature as a float; negative values count as 0.
/// @source upstream DLRM's preprocessing of Criteo
class LogFeature {
  public:
    LogFeature() {
        for (std::size_t x = 0; x < known_.size(); ++x) known_[x] = of(static_cast<std::int64_t>(x));
    }
    [[nodiscard]] float operator()(std::int64_t x) const {
        if (x < 0) return 0.0F;
        return x < static_cast<std::int64_t>(known_.size()) ? known_[static_cast<std::size_t>(x)] : of(x);
    }

  private:
    [[nodiscard]] static float of(std::int64_t x) {
        return static_cast<float>(std::log1p(static_cast<double>(x)));
    }
    std::array<float, 2048> known_;  // most values of a log are small
};

/// Reads logs of one format through one set of vocabularies.
template <LineFormat Format>
class TextReader {
  public:
    /// @throws ContractError if drop_negatives is not in [0, 1], or as Vocabularies
    explicit TextReader(ReadOptions options = {})
        : options_(options), vocabularies_(Format::sparse_features, options.vocabulary) {
        require(options.drop_negatives >= 0 && options.drop_negatives <= 1,
                [&] { return concat("drop_negatives is ", options.drop_negatives, ", expected 0 to 1"); });
    }

    /// Appends the inputs of one source to `data`, which is empty or comes from this reader. Until finish()
    /// its values are indices within their tables, and the tables have no sizes.
    /// @throws FormatError, IoError; the reader and `data` are then of no further use
    template <Executor E, ByteSource Source>
    void append(const E& exec, Source&& source, Dataset& data) {
        start(data);
        bool first = true;
        read_rounds(exec, source, [&](Span<Block> blocks, std::size_t round_bytes) {
            if (std::exchange(first, false)) reserve(data, total_bytes_of(source), round_bytes, blocks);
            store(exec, blocks, data);
        });
    }

    /// Reads one source without keeping it: f(const Dataset&) gets its inputs in order, some thousands at a
    /// time, as append() would leave them. tables() says how large the tables have become.
    /// @cost   memory of the vocabularies, and 8 to 256 MiB of text and columns
    /// @throws as append(), and what f throws
    template <Executor E, ByteSource Source, class F>
    void stream(const E& exec, Source&& source, F&& f) {
        Dataset round;
        start(round);
        read_rounds(exec, source, [&](Span<Block> blocks, std::size_t) {
            round.labels.clear();
            round.dense.clear();
            round.values.clear();
            store(exec, blocks, round);
            f(std::as_const(round));
        });
    }

    /// Features and tables, with the rows that the tables have so far.
    [[nodiscard]] DatasetShape tables() const {
        Dataset none;
        start(none);
        for (std::size_t t = 0; t < vocabularies_.tables(); ++t)
            none.shape.table_rows.push_back(vocabularies_.rows(t));
        return none.shape;
    }

    /// The inputs of one source; see append().
    template <Executor E, ByteSource Source>
    [[nodiscard]] Dataset read(const E& exec, Source&& source) {
        Dataset data;
        append(exec, source, data);
        return data;
    }

    /// Ends reading: gives every data set of this reader the final tables, row ids in place of indices, and
    /// its fingerprint.
    /// @throws ContractError if the tables have more than 2^31 rows, or a data set has row ids already
    template <Executor E>
    void finish(const E& exec, std::initializer_list<Dataset*> data_sets) const {
        std::vector<std::uint64_t> rows;
        std::vector<std::uint32_t> offsets;
        std::uint64_t sum = 0;
        for (std::size_t t = 0; t < vocabularies_.tables(); ++t) {
            rows.push_back(vocabularies_.rows(t));
            offsets.push_back(static_cast<std::uint32_t>(sum));
            sum += rows.back();
            require(sum <= Vocabulary::max_size, [&] {
                return concat("tables 0 to ", t, " have ", sum, " rows, expected at most ",
                              Vocabulary::max_size,
                              " for 32-bit row ids; limit the rows of a table (max_rows)");
            });
        }
        for (Dataset* data : data_sets) {
            require(data->shape.table_rows.empty() && data->shape.features() == rows.size(), [&] {
                return concat("the data set has ", data->shape.features(), " features and ",
                              data->shape.table_rows.size(), " sized tables, expected ", rows.size(),
                              " features of this reader and no sizes yet");
            });
            data->shape.table_rows = rows;
            constexpr std::size_t features = Format::sparse_features;
            for_chunks(exec, data->inputs(), 4096, [&](std::size_t begin, std::size_t end) {
                for (std::size_t i = begin; i < end; ++i) {
                    for (std::size_t f = 0; f < features; ++f) data->values[i * features + f] += offsets[f];
                }
            });
            data->fingerprint = fingerprint_of(exec, *data);
        }
    }

    [[nodiscard]] const ReadReport& report() const { return report_; }
    [[nodiscard]] const Vocabularies& vocabularies() const { return vocabularies_; }

  private:
    using Block = TextBlock<Format>;

    // Calls keep(blocks, bytes of text) for each round of a source, tokens numbered within their tables.
    template <Executor E, class Source, class Keep>
    void read_rounds(const E& exec, Source& source, Keep&& keep) {
        TextRounds<Format, Source> rounds(source, options_.skip_malformed, options_.chunk_bytes);
        ReadReport own;
        bool enough = false;
        while (!enough && rounds.next(exec)) {
            const Span<Block> blocks = rounds.blocks();
            enough = select(exec, rounds, own);
            exec.run(Format::sparse_features, [&](std::size_t table) {
                for (Block& block : blocks) {
                    vocabularies_.index_column(table, block.tokens(table), block.missing(),
                                               static_cast<unsigned>(Format::dense_features + table));
                }
            });
            keep(blocks, rounds.bytes());
        }
        if (own.inputs == 0) throw_no_input(source.name(), own);
        report_.inputs += own.inputs;
        report_.dropped += own.dropped;
        report_.malformed += own.malformed;
        if (!report_.first_malformed) report_.first_malformed = own.first_malformed;
    }

    static void start(Dataset& data) {
        if (data.inputs() != 0) {
            require(data.shape.table_rows.empty(),
                    [] { return std::string("the data set is finished, expected one still being read"); });
            return;
        }
        data = Dataset();
        data.shape.dense_features = Format::dense_features;
        for (std::size_t f = 0; f < Format::sparse_features; ++f) {
            data.shape.table_names.push_back(Format::table_name(f));
            data.shape.feature_table.push_back(static_cast<std::uint32_t>(f));
        }
    }

    /// Whether sub-sampling keeps an input. `number` counts the inputs of all sources, dropped ones too.
    [[nodiscard]] bool keeps(std::uint64_t number, std::uint8_t label) const {
        if (label != 0) return true;
        const Block4 random =
            philox(options_.seed,
                   {{static_cast<std::uint32_t>(number), static_cast<std::uint32_t>(number >> 32), 0, 0}});
        return to_unit(random.word[0] | std::uint64_t{random.word[1]} << 32) >= options_.drop_negatives;
    }

    /// Leaves in the blocks of a round what the options keep of them, and counts it. True at the limit.
    /// @throws FormatError at the first malformed line before the limit, unless such lines are skipped
    template <Executor E, class Rounds>
    bool select(const E& exec, Rounds& rounds, ReadReport& own) {
        const Span<Block> blocks = rounds.blocks();
        const bool sampled = options_.drop_negatives > 0;
        std::vector<std::uint64_t> first(blocks.size());  // the number of each block's first input
        std::vector<std::size_t> kept(blocks.size());
        for (std::size_t b = 0; b < blocks.size(); ++b) {
            first[b] = numbered_;
            numbered_ += kept[b] = blocks[b].inputs();
        }
        if (sampled) {
            exec.run(blocks.size(), [&](std::size_t b) {
                kept[b] = 0;
                const Span<const std::uint8_t> labels = std::as_const(blocks[b]).labels();
                for (std::size_t i = 0; i < labels.size(); ++i) kept[b] += keeps(first[b] + i, labels[i]);
            });
        }
        bool enough = false;
        for (std::size_t b = 0; b < blocks.size(); ++b) {
            Block& block = blocks[b];
            if (enough) {
                block.truncate(0);
                continue;
            }
            if (options_.limit != 0 && kept[b] >= options_.limit - own.inputs) {
                enough = true;
                kept[b] = static_cast<std::size_t>(options_.limit - own.inputs);
                std::size_t end = 0;
                for (std::size_t found = 0; found < kept[b]; ++end) {
                    found += !sampled || keeps(first[b] + end, block.labels()[end]);
                }
                block.truncate(end);
            }
            if (block.fault()) {
                if (!options_.skip_malformed) throw rounds.format_error(block);
                if (!own.first_malformed) own.first_malformed = rounds.format_error(block);
            }
            own.malformed += block.malformed();
            own.dropped += block.inputs() - kept[b];
            own.inputs += kept[b];
        }
        if (sampled) {
            exec.run(blocks.size(), [&](std::size_t b) {
                blocks[b].keep_if([&](std::size_t i) { return keeps(first[b] + i, blocks[b].labels()[i]); });
            });
        }
        return enough;
    }

    /// Asks for the memory of the whole source at once where its size tells, to save copies while it grows.
    void reserve(Dataset& data, std::uint64_t source_bytes, std::size_t round_bytes,
                 Span<Block> blocks) const {
        std::uint64_t inputs = 0;
        for (const Block& block : blocks) inputs += block.inputs();
        if (source_bytes > round_bytes) {
            inputs = static_cast<std::uint64_t>(static_cast<double>(inputs) * 1.02 *
                                                static_cast<double>(source_bytes) /
                                                static_cast<double>(round_bytes));
        }
        if (options_.drop_negatives > 0) return;  // what will be left is not known
        if (options_.limit != 0) inputs = std::min(inputs, options_.limit);
        const std::size_t total = data.inputs() + static_cast<std::size_t>(inputs);
        data.labels.reserve(total);
        data.dense.reserve(total * Format::dense_features);
        data.values.reserve(total * Format::sparse_features);
    }

    /// Appends the blocks, by column, to the data set, by input.
    template <Executor E>
    void store(const E& exec, Span<Block> blocks, Dataset& data) const {
        constexpr std::size_t dense = Format::dense_features;
        constexpr std::size_t sparse = Format::sparse_features;
        std::vector<std::size_t> first(blocks.size());
        std::size_t total = data.inputs();
        for (std::size_t b = 0; b < blocks.size(); ++b) {
            first[b] = total;
            total += blocks[b].inputs();
        }
        data.labels.resize(total);
        data.dense.resize(total * dense);
        data.values.resize(total * sparse);
        exec.run(blocks.size(), [&](std::size_t b) {
            const Block& block = blocks[b];
            std::copy(block.labels().begin(), block.labels().end(), data.labels.data() + first[b]);
            // A few inputs at a time, so that their rows stay in the cache while the columns go by.
            constexpr std::size_t tile = 64;
            for (std::size_t begin = 0; begin < block.inputs(); begin += tile) {
                const std::size_t end = std::min(begin + tile, block.inputs());
                for (std::size_t f = 0; f < dense; ++f) {
                    const std::int64_t* const from = block.integers(f).data();
                    float* const to = data.dense.data() + first[b] * dense + f;
                    for (std::size_t i = begin; i < end; ++i) to[i * dense] = log_(from[i]);
                }
                for (std::size_t f = 0; f < sparse; ++f) {
                    const std::uint32_t* const from = block.tokens(f).data();
                    std::uint32_t* const to = data.values.data() + first[b] * sparse + f;
                    for (std::size_t i = begin; i < end; ++i) to[i * sparse] = from[i];
                }
            }
        });
    }

    [[noreturn]] static void throw_no_input(const std::string& name, const ReadReport& own) {
        if (own.dropped != 0) throw FormatError(name, 1, 1, "sub-sampling leaves no input");
        if (!own.first_malformed) throw FormatError(name, 1, 1, "the source holds no input");
        const FormatError& first = *own.first_malformed;
        throw FormatError(name, first.line, first.column,
                          "the source holds no well-formed input; this line breaks the format first");
    }

    ReadOptions options_;
    Vocabularies vocabularies_;
    ReadReport report_;
    LogFeature log_;
    std::uint64_t numbered_ = 0;
};

/// Reads one source whole: read_criteo and read_movielens are this, with their format.
/// @exec   seq, par: the same data set, or the same error, for every number of threads
/// @cost   memory of the data set, the vocabularies, and 8 to 256 MiB of text and columns
/// @throws as TextReader: FormatError, IoError, ContractError
template <LineFormat Format, Executor E, ByteSource Source>
[[nodiscard]] Dataset read_whole(const E& exec, Source&& source, const ReadOptions& options) {
    TextReader<Format> reader(options);
    Dataset data = reader.read(exec, source);
    reader.finish(exec, {&data});
    return data;
}

}  // namespace fae::inline FAE_ABI
