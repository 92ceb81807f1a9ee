// SPDX-License-Identifier: Apache-2.0
//
// RunReport: the report of one run, from whatever of it is known. Sections without numbers are left out.
//
//   RunReport run{.title = "DLRM on the Criteo sample"};
//   run.key_figures.push_back({"samples per second", format_count(rate), ""});
//   run.loss = LossCurve{training, validation, segments};
//   run.phases = phase_times(metrics, wall_seconds);
//   run.save("run.html");
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "fae/core/config.hpp"
#include "fae/report/html.hpp"
#include "fae/report/placement_sections.hpp"
#include "fae/report/training_sections.hpp"

namespace fae::inline FAE_ABI {
namespace report {

/// The settings of a run, as names and values.
struct Setting {
    std::string name{};
    std::string value{};
};

/// What is known of a run.
struct RunReport {
    std::string title{};
    std::string subtitle{};
    std::vector<std::string> introduction{};  ///< what the reader should notice, in words
    std::vector<KeyFigure> key_figures{};
    std::optional<AccessCurves> access{};
    std::optional<BudgetCurve> budgets{};
    std::optional<LossCurve> loss{};
    std::optional<PhaseTimes> phases{};
    std::optional<BytesMoved> moved{};
    std::vector<Section> more{};  ///< sections of the program's own, after the others
    std::vector<Setting> settings{};

    /// The page, for programs that add to it.
    [[nodiscard]] HtmlReport page() const {
        HtmlReport result{title, subtitle, introduction, key_figures, {}};
        std::vector<Section>& sections = result.sections;
        if (access) sections.push_back(access_section(*access));
        if (budgets) sections.push_back(budget_section(*budgets));
        if (loss) sections.push_back(loss_section(*loss));
        if (phases) sections.push_back(phase_section(*phases));
        if (moved) sections.push_back(bytes_section(*moved));
        sections.insert(sections.end(), more.begin(), more.end());
        if (!settings.empty()) {
            NumberTable table;
            table.caption = "Settings";
            table.header = {"setting", "value"};
            table.text_columns = 2;
            table.fold_above = 40;
            for (const Setting& setting : settings) table.rows.push_back({setting.name, setting.value});
            sections.push_back({.title = "Settings of this run",
                                .paragraphs = {},
                                .figures = {},
                                .folded = {},
                                .tables = {std::move(table)}});
        }
        return result;
    }

    [[nodiscard]] std::string html() const { return page().html(); }

    /// @throws IoError if the file cannot be written
    void save(const std::string& path) const { page().save(path); }
};

}  // namespace report
}  // namespace fae::inline FAE_ABI
