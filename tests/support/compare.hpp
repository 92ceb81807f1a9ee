// SPDX-License-Identifier: Apache-2.0
//
// What tests ask of arrays and tables: are these equal.
#pragma once

#include <cstddef>
#include <string>

#include "fae/core/digest.hpp"

namespace fae_test {

/// Two arrays of any kind.
template <class A, class B>
bool equal(const A& a, const B& b) {
    if (a.size() != b.size()) return false;
    for (std::size_t i = 0; i < a.size(); ++i) {
        if (a[i] != b[i]) return false;
    }
    return true;
}

/// A table's rows, on whatever tier.
template <class Table, class Exec>
std::string digest_of(Table& table, const Exec& exec) {
    fae::Digest digest;
    table.add_to(exec, digest);
    return digest.hex();
}

}  // namespace fae_test
