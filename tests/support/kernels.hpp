// SPDX-License-Identifier: Apache-2.0
//
// The hot loops of ops, compiled once for all tests, in kernels.cpp: they take a compiler more time than all
// else that a file with them holds. A test that calls ops, or what is built on it, is compiled sooner with
// this.
#pragma once

#include "fae/ops/optimizer.hpp"
#include "fae/ops/pool_kernel.hpp"
#include "fae/ops/update_kernel.hpp"

/// Instantiates the loops of an instruction set (EXTERN empty), or says that it is done elsewhere (extern).
#define FAE_TEST_KERNELS(EXTERN, SET) \
    FAE_TEST_KERNELS_OF(EXTERN, SET, float) FAE_TEST_KERNELS_OF(EXTERN, SET, double)
#define FAE_TEST_KERNELS_OF(EXTERN, SET, T)                                                    \
    EXTERN template void pool_##SET<T, false>(const PoolBlock<T>&);                            \
    EXTERN template void pool_##SET<T, true>(const PoolBlock<T>&);                             \
    EXTERN template void divide_##SET<T>(const DivideBlock<T>&);                               \
    EXTERN template void update_rows_##SET<T, Sgd>(const UpdateBlock<T>&, const Sgd&);         \
    EXTERN template void update_rows_##SET<T, Adagrad>(const UpdateBlock<T>&, const Adagrad&); \
    EXTERN template void update_rows_##SET<T, RowwiseAdagrad>(const UpdateBlock<T>&, const RowwiseAdagrad&);

namespace fae::inline FAE_ABI {
namespace detail {

FAE_TEST_KERNELS(extern, baseline)
#if defined(__x86_64__)
FAE_TEST_KERNELS(extern, avx2)
FAE_TEST_KERNELS(extern, avx512)
#endif

}  // namespace detail
}  // namespace fae::inline FAE_ABI
