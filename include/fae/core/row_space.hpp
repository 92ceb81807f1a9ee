// SPDX-License-Identifier: Apache-2.0
//
// RowSpace: the tables of equal dim of one model, laid end to end, so that one 64-bit row id names any row
// and one call of an operation serves all tables. Features may share a table.
//
//   RowSpace space({{1460, 16, "C1"}, {583, 16, "C2"}});   // two tables, two features
//   space.row(1, 7) == 1467                                // feature 1, index 7
//   for (auto& s : row_spaces(tables)) ...                 // one row space per dim, several side by side
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "fae/core/config.hpp"
#include "fae/core/error.hpp"
#include "fae/core/span.hpp"
#include "fae/core/table_spec.hpp"
#include "fae/core/types.hpp"

namespace fae::inline FAE_ABI {

/// The tables of equal dim of a model, laid end to end.
class RowSpace {
  public:
    RowSpace() = default;

    /// @param tables         at least one, of equal dim 1 to max_dim, each with at least one row
    /// @param feature_table  the table that each feature looks up; empty: feature f uses table f
    /// @throws ContractError where the above does not hold
    explicit RowSpace(std::vector<TableSpec> tables, std::vector<std::uint32_t> feature_table = {})
        : tables_(std::move(tables)), feature_table_(std::move(feature_table)) {
        require(!tables_.empty(), [] { return std::string("a row space of 0 tables, expected at least 1"); });
        const std::uint32_t dim = tables_.front().dim;
        require(dim >= 1 && dim <= max_dim,
                [&] { return concat("dim is ", dim, ", expected 1 to ", max_dim); });
        offsets_.reserve(tables_.size() + 1);
        offsets_.push_back(0);
        for (std::size_t t = 0; t < tables_.size(); ++t) {
            require(tables_[t].dim == dim, [&] {
                return concat("table ", t, " has dim ", tables_[t].dim, ", expected ", dim,
                              " (tables of one row space have equal dim)");
            });
            require(tables_[t].rows >= 1,
                    [&] { return concat("table ", t, " has 0 rows, expected at least 1"); });
            require(tables_[t].rows <= max_rows<std::uint64_t> - offsets_.back(), [&] {
                return concat("table ", t, " has ", tables_[t].rows, " rows, more than 63-bit row ids hold");
            });
            offsets_.push_back(offsets_.back() + tables_[t].rows);
        }
        if (feature_table_.empty()) {
            for (std::size_t t = 0; t < tables_.size(); ++t) {
                feature_table_.push_back(static_cast<std::uint32_t>(t));
            }
        }
        for (std::size_t f = 0; f < feature_table_.size(); ++f) {
            require(feature_table_[f] < tables_.size(), [&] {
                return concat("feature ", f, " uses table ", feature_table_[f], ", expected less than ",
                              tables_.size());
            });
        }
    }

    [[nodiscard]] std::uint32_t dim() const { return tables_.empty() ? 0 : tables_.front().dim; }
    [[nodiscard]] std::uint64_t rows() const { return offsets_.empty() ? 0 : offsets_.back(); }
    [[nodiscard]] std::size_t table_count() const { return tables_.size(); }
    [[nodiscard]] std::size_t features() const { return feature_table_.size(); }
    [[nodiscard]] const TableSpec& table(std::size_t t) const { return tables_[t]; }
    [[nodiscard]] const std::vector<TableSpec>& tables() const { return tables_; }
    /// The first row id of each table, and the number of rows as a last entry.
    [[nodiscard]] Span<const std::uint64_t> offsets() const { return offsets_; }
    [[nodiscard]] std::uint64_t offset(std::size_t table) const { return offsets_[table]; }
    [[nodiscard]] Span<const std::uint32_t> feature_table() const { return feature_table_; }

    /// The row id of `index` within the table of `feature`.
    [[nodiscard]] RowId row(std::size_t feature, std::uint64_t index) const {
        return offsets_[feature_table_[feature]] + index;
    }

    /// The table that holds a row. O(log tables).
    /// @pre row < rows()
    [[nodiscard]] std::size_t table_of(RowId row) const {
        return static_cast<std::size_t>(std::upper_bound(offsets_.begin(), offsets_.end(), row) -
                                        offsets_.begin()) -
               1;
    }

    /// Throws ContractError unless every row id and slot of this space fits `Index` beside its tier bit.
    template <IndexType Index>
    void require_fits() const {
        require(rows() <= max_rows<Index>, [&] {
            return concat("the row space has ", rows(), " rows, expected at most ", max_rows<Index>, " for ",
                          sizeof(Index) * 8, "-bit indices");
        });
    }

  private:
    std::vector<TableSpec> tables_;
    std::vector<std::uint32_t> feature_table_;
    std::vector<std::uint64_t> offsets_;
};

/// One row space with the features of the whole model that it serves.
struct RowSpaceOf {
    RowSpace space;
    std::vector<std::uint32_t> features;  ///< model feature of each feature of the space
    std::vector<std::uint32_t> tables;    ///< model table of each table of the space
};

/// Groups the tables of a model by dim (ascending), one row space each: several dims side by side.
/// @param feature_table  the table that each feature looks up; empty: feature f uses table f
/// @throws ContractError as RowSpace
[[nodiscard]] inline std::vector<RowSpaceOf> row_spaces(const std::vector<TableSpec>& tables,
                                                        std::vector<std::uint32_t> feature_table = {}) {
    if (feature_table.empty()) {
        for (std::size_t t = 0; t < tables.size(); ++t)
            feature_table.push_back(static_cast<std::uint32_t>(t));
    }
    std::vector<std::uint32_t> dims;
    for (const TableSpec& table : tables) dims.push_back(table.dim);
    std::sort(dims.begin(), dims.end());
    dims.erase(std::unique(dims.begin(), dims.end()), dims.end());
    std::vector<RowSpaceOf> spaces;
    for (const std::uint32_t dim : dims) {
        RowSpaceOf of;
        std::vector<TableSpec> own;
        std::vector<std::uint32_t> own_of(tables.size(), 0);
        for (std::size_t t = 0; t < tables.size(); ++t) {
            if (tables[t].dim != dim) continue;
            own_of[t] = static_cast<std::uint32_t>(own.size());
            of.tables.push_back(static_cast<std::uint32_t>(t));
            own.push_back(tables[t]);
        }
        std::vector<std::uint32_t> own_feature_table;
        for (std::size_t f = 0; f < feature_table.size(); ++f) {
            require(feature_table[f] < tables.size(), [&] {
                return concat("feature ", f, " uses table ", feature_table[f], ", expected less than ",
                              tables.size());
            });
            if (tables[feature_table[f]].dim != dim) continue;
            of.features.push_back(static_cast<std::uint32_t>(f));
            own_feature_table.push_back(own_of[feature_table[f]]);
        }
        of.space = RowSpace(std::move(own), std::move(own_feature_table));
        spaces.push_back(std::move(of));
    }
    return spaces;
}

}  // namespace fae::inline FAE_ABI
