// SPDX-License-Identifier: Apache-2.0
//
// What the two translation units of the link test tell the main function.
#pragma once

/// The version that the unit was compiled with, and whether it was compiled with FAE_CHECKED.
struct UnitFacts {
    const char* version;
    bool checked;
};

UnitFacts facts_of_first();
UnitFacts facts_of_second();
