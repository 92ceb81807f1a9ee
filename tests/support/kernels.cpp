// SPDX-License-Identifier: Apache-2.0
//
// Where kernels.hpp's loops are compiled.
#include "support/kernels.hpp"

namespace fae::inline FAE_ABI {
namespace detail {

FAE_TEST_KERNELS(, baseline)
#if defined(__x86_64__)
FAE_TEST_KERNELS(, avx2)
FAE_TEST_KERNELS(, avx512)
#endif

}  // namespace detail
}  // namespace fae::inline FAE_ABI
