// SPDX-License-Identifier: Apache-2.0
//
// DlrmShape: presets, counts, checks.
#include "fae/models/dlrm_shape.hpp"

#include <doctest/doctest.h>

using namespace fae;

// Catches a preset that is not the published model: its widths follow from these counts.
TEST_CASE("dlrm_shape: presets have the published widths") {
    const DlrmShape kaggle = DlrmShape::rmc2(13, 26);
    kaggle.check();
    CHECK(kaggle.interaction_width() == 367);
    CHECK(kaggle.parameters() == std::uint64_t{14 * 512 + 513 * 256 + 257 * 64 + 65 * 16} +
                                     std::uint64_t{368 * 512 + 513 * 256 + 257});
    const DlrmShape terabyte = DlrmShape::rmc3(13, 26);
    terabyte.check();
    CHECK(terabyte.interaction_width() == 415);
    CHECK(terabyte.parameters() == std::uint64_t{14 * 512 + 513 * 256 + 257 * 64} +
                                       std::uint64_t{416 * 512 + 513 * 512 + 513 * 256 + 257});
    const DlrmShape least = DlrmShape::small_dlrm(13, 26);
    least.check();
    CHECK(least.parameters() == std::uint64_t{14 * 64 + 65 * 16 + 368 * 64 + 65});
    CHECK(DlrmShape::rmc2(13, 26, 32).bottom.back() == 32);
    CHECK(DlrmShape::rmc2(13, 26, 32).interaction_width() == 383);
}

// Catches a triangle that counts the diagonal, or both halves.
TEST_CASE("dlrm_shape: operations are counted by hand for a little model") {
    const DlrmShape shape{3, 2, 4, {5, 4}, {1}};
    CHECK(shape.vectors() == 3);
    CHECK(shape.pairs() == 3);
    CHECK(shape.forward_flops() == 2 * (3 * 5 + 5 * 4 + 3 * 4 + 7 * 1));
    CHECK(shape.training_flops() == 3 * shape.forward_flops() - 2 * 3 * 5);
}

// Catches widths that do not fit together and messages without both values.
TEST_CASE("dlrm_shape: widths that do not fit are refused with both values") {
    DlrmShape shape = DlrmShape::small_dlrm(13, 26);
    shape.bottom.back() = 8;
    CHECK_THROWS_WITH_AS(shape.check(), "the bottom MLP's last layer is 8 wide, expected 16", ContractError);
    shape = DlrmShape::small_dlrm(13, 26);
    shape.top = {64, 2};
    CHECK_THROWS_WITH_AS(shape.check(), "the top MLP's last layer is 2 wide, expected 1", ContractError);
    shape.top = {};
    CHECK_THROWS_WITH_AS(shape.check(), "the top MLP has 0 layers, expected at least 1", ContractError);
    shape.top = {0, 1};
    CHECK_THROWS_WITH_AS(shape.check(), "layer 0 of the top MLP is 0 wide, expected at least 1",
                         ContractError);
    shape = DlrmShape::small_dlrm(13, 26, 4097);
    CHECK_THROWS_WITH_AS(shape.check(), "dim is 4097, expected 1 to 4096", ContractError);
    shape = DlrmShape::small_dlrm(13, 26, 0);
    CHECK_THROWS_AS(shape.check(), ContractError);
}
