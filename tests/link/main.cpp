// SPDX-License-Identifier: Apache-2.0
//
// The main function of the link test: the two units must agree on the one version object of the program.
#include <cstdio>

#include "units.hpp"

int main() {
    const UnitFacts first = facts_of_first();
    const UnitFacts second = facts_of_second();
    std::printf("first: fae %s%s, second: fae %s%s\n", first.version->data(), first.checked ? " checked" : "",
                second.version->data(), second.checked ? " checked" : "");
    return first.version == second.version ? 0 : 1;
}
