// SPDX-License-Identifier: Apache-2.0
//
// FaeReader: turns the bytes of a .fae file into a packed data set, and believes nothing that it has not
// checked: lengths first, then every checksum, then every element that something will index with.
// fae_file.hpp opens files with it; it reads memory, so that damaged files can be tried without writing them.
//
//   PackedParts parts = detail::FaeReader(path, bytes).read(par(threads));     // views into `bytes`
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "fae/calibrate/hot_set.hpp"
#include "fae/core/config.hpp"
#include "fae/core/error.hpp"
#include "fae/core/exec.hpp"
#include "fae/core/rank_bitmap.hpp"
#include "fae/core/span.hpp"
#include "fae/core/types.hpp"
#include "fae/io/fae_file_frame.hpp"
#include "fae/io/fae_file_layout.hpp"
#include "fae/io/packed.hpp"
#include "fae/io/packed_check.hpp"

namespace fae::inline FAE_ABI::detail {

/// a * b, or 2^63 - 1 where that is less: more than any file has bytes.
[[nodiscard]] constexpr std::uint64_t saturating_product(std::uint64_t a, std::uint64_t b) {
    constexpr std::uint64_t most = std::numeric_limits<std::uint64_t>::max() / 2;
    return b != 0 && a > most / b ? most : a * b;
}

/// Reads one file that lies in memory, 8-byte aligned.
class FaeReader {
  public:
    /// @throws FormatError unless the frame is right
    FaeReader(const std::string& path, Span<const std::byte> file) : frame_(path, file) {}

    /// @throws FormatError naming the first byte that is wrong, the same for every executor
    template <Executor E>
    [[nodiscard]] PackedParts read(const E& exec) {
        const auto element_fault = [this](std::size_t section, std::size_t first, std::size_t last) {
            return this->element_fault(section, first, last);
        };
        constexpr std::size_t described = fae_section_of(FaeSection::hot_rows);
        frame_.check_blocks(exec, 1, described, element_fault);
        read_description();
        require_consistent_counts();
        frame_.check_blocks(exec, described, fae_sections, element_fault);
        return parts(exec);
    }

  private:
    // Elements [first, last) of a section, and how they join those after.
    [[nodiscard]] std::optional<FaeFault> element_fault(std::size_t s, std::size_t first,
                                                        std::size_t last) const {
        const auto at = [&](std::size_t bad, const auto& value, const std::string& expected) {
            return FaeFault{frame_.header().sections[s].offset +
                                std::uint64_t{first + bad} * frame_.header().sections[s].element_bytes,
                            concat("section `", fae_section_kinds[s].name, "`: entry ", first + bad, " is ",
                                   value, ", expected ", expected)};
        };
        if (s == fae_section_of(FaeSection::hot_rows)) {
            const auto rows = frame_.elements<std::uint32_t>(s);
            const auto here = rows.subspan(first, last - first);
            const std::size_t large = first_not_below(here, rows_);
            if (large != here.size()) return at(large, here[large], concat("a row id less than ", rows_));
            const auto joined = rows.subspan(first, std::min(last + 1, rows.size()) - first);
            const std::size_t bad = first_not_rising(joined);
            if (bad != joined.size())
                return at(bad, joined[bad], concat("less than the next, ", joined[bad + 1]));
        } else if (s == fae_section_of(FaeSection::hot_inputs)) {
            const auto words = frame_.elements<std::uint64_t>(s);
            const std::uint64_t left = inputs_ % 64;
            if (last == words.size() && last != first && left != 0 && (words.back() >> left) != 0) {
                return at(last - 1 - first, words.back(),
                          concat("no bit beyond the last of ", inputs_, " inputs"));
            }
        } else if (s >= fae_first_column) {
            const auto column = static_cast<FaeColumn>((s - fae_first_column) % fae_columns);
            if (column == FaeColumn::labels) {
                const auto labels = frame_.elements<std::uint8_t>(s).subspan(first, last - first);
                const std::size_t bad = first_bad_label(labels);
                if (bad != labels.size()) return at(bad, unsigned{labels[bad]}, "0 or 1");
            } else if (column == FaeColumn::values) {
                const bool slots = s == fae_section_of(0, FaeColumn::values);
                const std::uint64_t limit = slots ? frame_.count(FaeSection::hot_rows) : rows_;
                const auto values = frame_.elements<std::uint32_t>(s).subspan(first, last - first);
                const std::size_t bad = first_not_below(values, limit);
                if (bad != values.size()) {
                    return at(bad, values[bad], concat(slots ? "a slot" : "a row id", " less than ", limit));
                }
            } else if (column == FaeColumn::offsets) {
                const auto offsets = frame_.elements<std::uint64_t>(s);
                const std::uint64_t values = frame_.count(s - 1);
                if (first == 0 && last != 0 && offsets.front() != 0) return at(0, offsets.front(), "0");
                const auto joined = offsets.subspan(first, std::min(last + 1, offsets.size()) - first);
                const std::size_t bad = first_fall(joined);
                if (bad != joined.size())
                    return at(bad, joined[bad], concat("at most the next, ", joined[bad + 1]));
                if (last == offsets.size() && last != first && offsets.back() != values) {
                    return at(last - 1 - first, offsets.back(), concat("the number of values, ", values));
                }
            }
        }
        return std::nullopt;
    }

    // Tables, features, cut-offs and text, whose sums hold.
    void read_description() {
        const auto copy = [](auto& to, const auto& from) { to.assign(from.begin(), from.end()); };
        copy(shape_.table_rows, frame_.elements<std::uint64_t>(FaeSection::table_rows));
        copy(shape_.feature_table, frame_.elements<std::uint32_t>(FaeSection::feature_table));
        copy(provenance_.cutoffs, frame_.elements<std::uint64_t>(FaeSection::cutoffs));
        shape_.dense_features = static_cast<std::size_t>(frame_.header().dense_features);
        if (const std::string fault = fault_of(shape_); !fault.empty()) {
            frame_.fail_in(fae_section_of(FaeSection::table_rows), concat("or `feature table`: ", fault));
        }
        for (const std::uint64_t rows : shape_.table_rows) rows_ += rows;
        if (const std::string fault =
                fault_of(frame_.header().dim, frame_.header().sample, frame_.header().validation);
            !fault.empty()) {
            frame_.fail(offsetof(FaeHeader, sample), fault);
        }
        provenance_.fingerprint = frame_.header().fingerprint;
        provenance_.budget_bytes = frame_.header().budget_bytes;
        provenance_.row_bytes = frame_.header().row_bytes;
        provenance_.seed = frame_.header().seed;
        provenance_.max_rows = frame_.header().max_rows;
        provenance_.sample = frame_.header().sample;
        provenance_.validation = frame_.header().validation;
        provenance_.dim = frame_.header().dim;
        const std::size_t s = fae_section_of(FaeSection::text);
        Span<const std::byte> text = frame_.elements<std::byte>(s);
        shape_.table_names.reserve(shape_.table_rows.size());
        while (shape_.table_names.size() < shape_.table_rows.size())
            shape_.table_names.push_back(take_string(text));
        provenance_.vocabulary = take_string(text);
        provenance_.source = take_string(text);
        provenance_.optimizer = take_string(text);
        if (!text.empty()) frame_.fail_in(s, concat("has ", text.size(), " bytes after its last string"));
    }

    [[nodiscard]] std::string take_string(Span<const std::byte>& text) const {
        std::uint32_t length = 0;
        const std::size_t s = fae_section_of(FaeSection::text);
        if (text.size() < sizeof length) frame_.fail_in(s, "ends within the length of a string");
        std::memcpy(&length, text.data(), sizeof length);
        text = text.subspan(sizeof length, text.size() - sizeof length);
        if (text.size() < length) frame_.fail_in(s, concat("ends within a string of ", length, " bytes"));
        std::string taken(reinterpret_cast<const char*>(text.data()), length);
        text = text.subspan(length, text.size() - length);
        return taken;
    }

    // Every count that follows from others, before anything is indexed by it.
    void require_consistent_counts() {
        const auto require_count = [&](std::size_t s, std::uint64_t expected) {
            if (frame_.count(s) != expected)
                frame_.fail_in(s, concat("has ", frame_.count(s), " entries, expected ", expected));
        };
        require_count(fae_section_of(FaeSection::cutoffs), shape_.table_rows.size());
        require_count(fae_section_of(FaeSection::hot_counts), frame_.count(FaeSection::hot_rows));
        for (std::size_t part = 0; part < fae_parts; ++part) {
            const std::uint64_t inputs = frame_.count(fae_section_of(part, FaeColumn::labels));
            const std::uint64_t bags = saturating_product(inputs, shape_.features());
            require_count(fae_section_of(part, FaeColumn::dense),
                          saturating_product(inputs, frame_.header().dense_features));
            if (frame_.jagged()) {
                require_count(fae_section_of(part, FaeColumn::offsets), bags + 1);
            } else {
                require_count(fae_section_of(part, FaeColumn::offsets), 0);
                require_count(fae_section_of(part, FaeColumn::values), bags);
            }
        }
        hot_ = frame_.count(fae_section_of(0, FaeColumn::labels));
        inputs_ = hot_ + frame_.count(fae_section_of(1, FaeColumn::labels));
        require_count(fae_section_of(FaeSection::hot_inputs), ceil_div<std::uint64_t>(inputs_, 64));
        const std::uint64_t least = frame_.count(fae_section_of(0, FaeColumn::values));
        const std::uint64_t most = least + frame_.count(fae_section_of(1, FaeColumn::values));
        if (frame_.header().hot_lookups < least || frame_.header().hot_lookups > most) {
            frame_.fail(offsetof(FaeHeader, hot_lookups),
                        concat("look-ups of hot rows are ", frame_.header().hot_lookups, ", expected ", least,
                               " to ", most));
        }
    }

    template <Executor E>
    [[nodiscard]] PackedParts parts(const E& exec) {
        PackedParts parts;
        parts.shape = std::move(shape_);
        parts.provenance = std::move(provenance_);
        parts.hot_counts = frame_.elements<std::uint64_t>(FaeSection::hot_counts);
        parts.hot_inputs =
            RankBitmap::from_words(exec, inputs_, frame_.elements<std::uint64_t>(FaeSection::hot_inputs));
        if (parts.hot_inputs.ones() != hot_) {
            frame_.fail_in(
                fae_section_of(FaeSection::hot_inputs),
                concat("has ", parts.hot_inputs.ones(), " bits set, expected ", hot_, ", the hot inputs"));
        }
        parts.hot_set = std::make_unique<const HotSet>(
            HotSet::from_rows(exec, rows_, frame_.elements<std::uint32_t>(FaeSection::hot_rows)));
        parts.hot_lookups = frame_.header().hot_lookups;
        constexpr std::array<Heat, fae_parts> heats = {Heat::hot, Heat::cold, Heat::mixed, Heat::mixed};
        for (std::size_t part = 0; part < fae_parts; ++part) {
            parts.columns[part] =
                columns_over(heats[part], parts.shape,
                             frame_.elements<std::uint8_t>(fae_section_of(part, FaeColumn::labels)),
                             frame_.elements<float>(fae_section_of(part, FaeColumn::dense)).data(),
                             frame_.elements<std::uint32_t>(fae_section_of(part, FaeColumn::values)),
                             frame_.elements<std::uint64_t>(fae_section_of(part, FaeColumn::offsets)));
        }
        return parts;
    }

    FaeFrame frame_;
    DatasetShape shape_;
    Provenance provenance_;
    std::uint64_t rows_ = 0;    // of all tables
    std::uint64_t hot_ = 0;     // training inputs
    std::uint64_t inputs_ = 0;  // training inputs
};

}  // namespace fae::inline FAE_ABI::detail
