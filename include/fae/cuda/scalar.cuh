// SPDX-License-Identifier: Apache-2.0
//
// Scalar: a number that an operation takes by value, or reads from device memory when it runs.
//
//   embedding_bag::step(on, Sgd{}, 0.1f, gradients, rows);           // this rate
//   embedding_bag::step(on, Sgd{}, rate.data(), gradients, rows);    // the rate that is there at each replay
#pragma once

#include "fae/core/config.hpp"

namespace fae::inline FAE_ABI::cuda {

/// A number, or where the device finds it: what a captured graph is to read anew at each replay.
template <class T>
class Scalar {
  public:
    constexpr Scalar(T value) : value_(value) {}  // NOLINT
    constexpr Scalar(const T* at) : at_(at) {}    // NOLINT
    [[nodiscard]] FAE_HD T get() const { return at_ != nullptr ? *at_ : value_; }

  private:
    T value_{};
    const T* at_ = nullptr;
};

}  // namespace fae::inline FAE_ABI::cuda
