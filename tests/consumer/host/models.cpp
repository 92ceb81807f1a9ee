// SPDX-License-Identifier: Apache-2.0
//
// fae::models brings its header and Eigen, which it keeps from making threads.
#include <fae/models/dlrm.hpp>

#if !defined(EIGEN_DONT_PARALLELIZE)
#error "fae::models must hand on EIGEN_DONT_PARALLELIZE"
#endif

int threads_of_eigen() { return Eigen::nbThreads(); }
