// SPDX-License-Identifier: Apache-2.0
//
// InstructionSet: which of a processor's vector instructions the hot loops of ops use. Every operation takes
// the set as a last argument and defaults to the best one of the machine; results are equal to the bit for
// all.
//
//   forward(seq, rows, bags, Pooling::sum, out);                              // the best there is
//   forward(seq, rows, bags, Pooling::sum, out, InstructionSet::baseline);    // what every processor has
#pragma once

#include <cstdint>

#include "fae/core/config.hpp"
#include "fae/core/error.hpp"

namespace fae::inline FAE_ABI {

/// Instruction sets, ascending: a machine that supports one supports those before it.
enum class InstructionSet : std::uint8_t {
    baseline,  ///< what the compiler's target has
    avx2,      ///< x86-64 with AVX2 and FMA
    avx512,    ///< x86-64 with AVX-512F besides
};

/// Every instruction set, ascending.
inline constexpr InstructionSet instruction_sets[] = {InstructionSet::baseline, InstructionSet::avx2,
                                                      InstructionSet::avx512};

/// The name of an instruction set, for reports.
[[nodiscard]] constexpr const char* name_of(InstructionSet set) {
    switch (set) {
        case InstructionSet::avx2:
            return "avx2";
        case InstructionSet::avx512:
            return "avx512";
        case InstructionSet::baseline:
            break;
    }
    return "baseline";
}

/// The best instruction set that this machine supports. Asked of the processor once.
[[nodiscard]] inline InstructionSet best_instruction_set() {
#if defined(__x86_64__)
    static const InstructionSet best = [] {
        __builtin_cpu_init();
        if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma"))
            return InstructionSet::baseline;
        return __builtin_cpu_supports("avx512f") ? InstructionSet::avx512 : InstructionSet::avx2;
    }();
    return best;
#else
    return InstructionSet::baseline;
#endif
}

/// True if this machine runs the loops of `set`.
[[nodiscard]] inline bool is_supported(InstructionSet set) { return set <= best_instruction_set(); }

/// Throws ContractError unless this machine runs the loops of `set`.
inline void require_supported(InstructionSet set) {
    require(is_supported(set), [&] {
        return concat("the instruction set is ", name_of(set), ", expected at most ",
                      name_of(best_instruction_set()), " on this machine");
    });
}

}  // namespace fae::inline FAE_ABI
