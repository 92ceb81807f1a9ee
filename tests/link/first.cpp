// SPDX-License-Identifier: Apache-2.0
//
// One of the two translation units of the link test; everything.hpp is generated and includes every header.
#include "everything.hpp"
#include "units.hpp"

UnitFacts facts_of_first() { return {&fae::version, fae::checked}; }
