// SPDX-License-Identifier: Apache-2.0
//
// What the two translation units of the link test tell the main function.
#pragma once

#include <string_view>

/// Where the unit finds the library's version, and whether it was compiled with FAE_CHECKED.
struct UnitFacts {
    const std::string_view* version;
    bool checked;
};

UnitFacts facts_of_first();
UnitFacts facts_of_second();
