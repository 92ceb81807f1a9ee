// SPDX-License-Identifier: Apache-2.0
//
// Tests of io/npy.hpp and io/npy_header.hpp.
#include "fae/io/npy.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <cstring>
#include <string>
#include <type_traits>
#include <vector>

#include "fae/core/random.hpp"
#include "support/temporary_folder.hpp"

using namespace fae;

namespace {

/// A file of version 1.0 with this description, padded by spaces, and these values.
std::string npy_file(const std::string& description, const std::string& values) {
    std::string padded = description;
    while ((10 + padded.size() + 1) % 64 != 0) padded += ' ';
    padded += '\n';
    std::string file("\x93NUMPY\x01\0", 8);
    file += static_cast<char>(padded.size() & 0xFF);
    file += static_cast<char>(padded.size() >> 8);
    return file + padded + values;
}

template <class T>
std::vector<T> values_of(const std::string& file) {
    NpyReader<T, MemorySource> reader(MemorySource(file, "file"));
    std::vector<T> values(reader.rows() * reader.columns());
    reader.read(MatrixView<T>(values.data(), reader.rows(), reader.columns()));
    return values;
}

const std::string three = npy_file("{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }",
                                   std::string("\0\0\x80\x3f\0\0\0\x40\0\0\x40\x40", 12));

}  // namespace

// Catches any byte that differs from what numpy.save writes for this array.
TEST_CASE("npy: a file is byte for byte what the format says") {
    TemporaryFolder folder;
    const std::vector<float> values = {1, 2, 3, 4, 5, 6};
    write_npy(folder / "a.npy", MatrixView<const float>(values.data(), 2, 3));
    std::string expected("\x93NUMPY\x01\0\x76\0", 10);
    expected += "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }";
    expected.resize(127, ' ');
    expected += '\n';
    expected.append(reinterpret_cast<const char*>(values.data()), 24);
    CHECK(read_bytes(folder / "a.npy") == expected);

    write_npy(folder / "b.npy", Span<const float>(values.data(), 3));
    std::string one("\x93NUMPY\x01\0\x76\0", 10);
    one += "{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }";
    one.resize(127, ' ');
    one += '\n';
    one.append(reinterpret_cast<const char*>(values.data()), 12);
    CHECK(read_bytes(folder / "b.npy") == one);
    CHECK(one == three);
}

// Catches strides that are ignored, and bits that change on the way.
TEST_CASE_TEMPLATE("npy: rows of any stride come back bit for bit", T, float, double, std::uint32_t,
                   std::uint64_t, std::int32_t, std::int64_t) {
    TemporaryFolder folder;
    Philox random(sizeof(T));
    for (const std::size_t rows : {0u, 1u, 5u, 3000u}) {
        for (const std::size_t columns : {1u, 3u, 64u}) {
            std::vector<T> table(rows * (columns + 2));
            for (T& value : table) {
                const std::uint64_t bits = random.bits64();
                std::memcpy(&value, &bits, sizeof(T));
            }
            write_npy(folder / "t.npy", MatrixView<const T>(table.data(), rows, columns, columns + 2));
            std::vector<T> back(rows * (columns + 5), T{7});
            read_npy(folder / "t.npy", MatrixView<T>(back.data(), rows, columns, columns + 5));
            for (std::size_t r = 0; r < rows; ++r) {
                CHECK(std::memcmp(&back[r * (columns + 5)], &table[r * (columns + 2)], columns * sizeof(T)) ==
                      0);
                CHECK(back[r * (columns + 5) + columns] == T{7});
            }
        }
    }
}

// Catches rows counted wrongly when they come piece by piece.
TEST_CASE("npy: rows can be written and read in pieces") {
    TemporaryFolder folder;
    NpyWriter<std::uint32_t> writer(folder / "p.npy", {5, 2});
    const std::vector<std::uint32_t> values = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9};
    writer.append(Span<const std::uint32_t>(values.data(), 6));
    CHECK_THROWS_AS(writer.append(Span<const std::uint32_t>(values.data(), 3)), ContractError);
    CHECK_THROWS_AS(writer.append(Span<const std::uint32_t>(values.data(), 6)), ContractError);
    CHECK_THROWS_WITH_AS(writer.commit(), doctest::Contains("3 rows so far, expected 5"), ContractError);
    writer.append(MatrixView<const std::uint32_t>(values.data() + 6, 2, 2));
    writer.commit();
    NpyReader<std::uint32_t> reader(folder / "p.npy");
    CHECK(reader.rows() == 5);
    CHECK(reader.columns() == 2);
    CHECK(reader.dimensions() == 2);
    std::vector<std::uint32_t> back(10);
    reader.read(MatrixView<std::uint32_t>(back.data(), 2, 2));
    reader.read(MatrixView<std::uint32_t>(back.data() + 4, 3, 2));
    CHECK(back == values);
    CHECK_THROWS_AS(reader.read(MatrixView<std::uint32_t>(back.data(), 1, 2)), ContractError);
    CHECK(folder.files() == 1);
}

// Catches a half-written table under its final name.
TEST_CASE("npy: without commit no file appears") {
    TemporaryFolder folder;
    {
        NpyWriter<float> writer(folder / "t.npy", {2, 1});
        writer.append(Span<const float>({}));
    }
    CHECK(folder.files() == 0);
}

// Catches a parser that takes only what it wrote itself.
TEST_CASE("npy: keys in any order, other quotes and spaces are read") {
    const std::string values = three.substr(three.size() - 12);
    for (const char* description : {"{'shape': (3,), 'fortran_order': False, 'descr': '<f4'}",
                                    "{\"descr\":\"<f4\",\"fortran_order\":False,\"shape\":(3,)}",
                                    " { 'descr' : '<f4' , 'fortran_order' : False , 'shape' : ( 3 , 1 ) , } ",
                                    "{'descr': '<f4', 'fortran_order': False, 'shape': (3), }"}) {
        CHECK(values_of<float>(npy_file(description, values)) == std::vector<float>{1, 2, 3});
    }
}

// Catches every file that must not be read as something else.
TEST_CASE("npy: malformed files are errors that say what and where") {
    const auto check = [](const std::string& file, std::uint64_t byte, const char* what) {
        try {
            (void)values_of<float>(file);
            FAIL_CHECK("was taken, expected: ", std::string(what));
        } catch (const IoError& error) {
            CHECK(error.path == "file");
            CHECK(error.byte == byte);
            const std::string message = error.what();
            CAPTURE(message);
            CHECK(message.find(what) != std::string::npos);
        }
    };
    const std::string values(12, '\0');
    check("", 0, "ends within the header");
    check("\x93NUMPX....", 0, "is no .npy file");
    check(std::string("\x93NUMPY\x02\0\x76\0....", 14), 6, "version 2.0");
    check(three.substr(0, 50), 50, "ends within the header");
    check(three.substr(0, three.size() - 1), three.size() - 1, "has 139 bytes, expected 140");
    check(three + "x", three.size(), "has 141 bytes, expected 140");
    check(npy_file("{'descr': '<f8', 'fortran_order': False, 'shape': (3,), }", values + values), 10,
          "elements <f8, expected <f4");
    check(npy_file("{'descr': '>f4', 'fortran_order': False, 'shape': (3,), }", values), 25, "elements >f4");
    check(npy_file("{'descr': '<f4', 'fortran_order': True, 'shape': (3,), }", values), 48, "Fortran order");
    check(npy_file("{'descr': '<f4', 'fortran_order': False, 'shape': (3, 1, 1), }", values), 67,
          "more than 2");
    check(npy_file("{'descr': '<f4', 'fortran_order': False, 'shape': (), }", values), 62, "0 dimensions");
    check(npy_file("{'descr': '<f4', 'fortran_order': False, }", values), 64, "lacks");
    check(npy_file("{'descr': '<f4', 'descr': '<f4', 'shape': (3,), }", values), 35, "twice");
    check(npy_file("{'descr': '<f4', 'order': False, 'shape': (3,), }", values), 35, "unknown key order");
    check(npy_file("{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,), }", values),
          79, "fits no file");
    check(npy_file("{'descr': '<f4', 'fortran_order': False, 'shape': (1073741824, 4294967296), }", values),
          128, "fits no file");
    check(npy_file("{'descr': '<f4', 'fortran_order': False, 'shape': (-3,), }", values), 61, "an extent");
    check(npy_file("[]", values), 10, "expected '{'");
}

// Catches a table read into one of another shape.
TEST_CASE("npy: a shape other than the asked one is an error") {
    TemporaryFolder folder;
    write_bytes(folder / "t.npy", three);
    std::vector<float> values(4);
    CHECK_THROWS_WITH_AS(read_npy(folder / "t.npy", MatrixView<float>(values.data(), 2, 2)),
                         doctest::Contains("[3, 1], expected [2, 2]"), IoError);
    CHECK_THROWS_AS(NpyWriter<float>(folder / "x.npy", {1, 2, 3}), ContractError);
    CHECK_THROWS_AS(read_npy(folder / "none.npy", MatrixView<float>(values.data(), 2, 2)), IoError);
}
