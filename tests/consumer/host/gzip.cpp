// SPDX-License-Identifier: Apache-2.0
//
// fae::gzip brings its header and zlib.
#include <zlib.h>

#include <fae/io/gzip.hpp>

const char* version_of_zlib() { return zlibVersion(); }
