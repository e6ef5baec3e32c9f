// HDF5: what is written slab by slab is read back, an unfinished file never appears, and a wrong file is refused by
// name.
//
// component: hdf5

#include <signal.h>
#include <sys/resource.h>

#include <kolmo/io/hdf5.hpp>
#include <numeric>
#include <vector>

#include "catch.hpp"
#include "io_support.hpp"

using namespace kolmo;
using namespace kolmo::io;
using namespace kolmo::io::test;
using Catch::Matchers::Contains;

namespace {

std::vector<float> counting(std::size_t count, float first = 0) {
  std::vector<float> values(count);
  std::iota(values.begin(), values.end(), first);
  return values;
}

}  // namespace

TEST_CASE("a data set written row by row, in any order, is read whole and in slabs") {
  TemporaryDirectory dir;
  const auto path = dir / "x.h5";
  const int gzip = GENERATE(0, 4);
  Hdf5Options options;
  options.axes = {"trajectory", "time", "x"};
  options.attributes = {{"program", "é"}, {"empty", ""}};
  options.gzip = gzip;
  Hdf5Writer<float> writer(path, {4, 2, 3}, options);
  writer.write(3, counting(6, 18));
  CHECK(!std::filesystem::exists(path));
  writer.write(0, counting(18));
  writer.finish();
  CHECK(dir.files() == std::vector<std::string>{"x.h5"});

  const Hdf5Reader reader(trusted(path));
  CHECK(reader.shape() == std::vector<index_t>{4, 2, 3});
  CHECK(reader.dtype() == DType::f32);
  CHECK(reader.read() == HostArray(counting(24), {4, 2, 3}));
  CHECK(reader.read(1, 2) == HostArray(counting(12, 6), {2, 2, 3}));
  CHECK(reader.read(4, 0).shape == std::vector<index_t>{0, 2, 3});
  CHECK(reader.axes() == options.axes);
  CHECK(reader.attribute("program") == "é");
  CHECK(reader.attribute("empty").empty());
  CHECK(!reader.has_attribute("missing"));
  CHECK_THROWS_AS(reader.read(3, 2), ShapeError);
}

TEST_CASE("doubles, chunks of one's own and arrays without rows") {
  TemporaryDirectory dir;
  Hdf5Options options;
  options.gzip = 1;
  options.chunk = {2, 1};
  options.name = "temperature";
  const std::vector<double> values{1, 2, 3, 4, 5, 0x1p-1074};
  Hdf5Writer<double> writer(dir / "d.h5", {3, 2}, options);
  writer.write(0, values);
  writer.finish();
  CHECK(Hdf5Reader(trusted(dir / "d.h5"), "temperature").read() == HostArray(values, {3, 2}));
  Hdf5Writer<double> none(dir / "none.h5", {0, 2});
  none.finish();
  CHECK(Hdf5Reader(trusted(dir / "none.h5")).read().shape == std::vector<index_t>{0, 2});
}

TEST_CASE("a file appears only when it is complete, and replaces the former one at once") {
  TemporaryDirectory dir;
  const auto path = dir / "x.h5";
  write_atomically(path, "former");
  {
    Hdf5Writer<float> writer(path, {2, 2});
    writer.write(0, counting(2));
    CHECK_THAT(error_of([&] { writer.finish(); }), Contains("row 1 of shape [2, 2] was not written"));
  }
  CHECK(dir.files() == std::vector<std::string>{"x.h5"});
  CHECK(read_text_file(path) == "former");
  Hdf5Writer<float> writer(path, {2, 2});
  writer.write(0, counting(4));
  writer.finish();
  CHECK_THROWS_AS(writer.finish(), ArgumentError);
  CHECK_THROWS_AS(writer.write(0, counting(2)), ArgumentError);
  CHECK(Hdf5Reader(trusted(path)).read() == HostArray(counting(4), {2, 2}));
}

TEST_CASE("a full disk is an error with the path, and leaves nothing behind") {
  TemporaryDirectory dir;
  struct Limit {
    Limit() {
      ::getrlimit(RLIMIT_FSIZE, &former);
      rlimit small = former;
      small.rlim_cur = 100000;
      ::setrlimit(RLIMIT_FSIZE, &small);
      handler = ::signal(SIGXFSZ, SIG_IGN);
    }
    ~Limit() {
      ::setrlimit(RLIMIT_FSIZE, &former);
      ::signal(SIGXFSZ, handler);
    }
    rlimit former{};
    void (*handler)(int) = nullptr;
  };
  std::string message;
  {
    const Limit limit;
    message = error_of([&] {
      Hdf5Writer<float> writer(dir / "x.h5", {100, 1000});
      for (index_t i = 0; i < 100; ++i) writer.write(i, counting(1000));
      writer.finish();
    });
  }
  CHECK_THAT(message, Contains("x.h5") && Contains("unchanged"));
  CHECK(dir.files().empty());
}

TEST_CASE("shapes, names and options that do not fit are refused before a file is touched") {
  TemporaryDirectory dir;
  const auto write = [&](std::vector<index_t> shape, Hdf5Options options) {
    return error_of([&] { Hdf5Writer<float>(dir / "x.h5", shape, options); });
  };
  CHECK_THAT(write({}, {}), Contains("1 to 32 axes"));
  CHECK_THAT(write({2, -1}, {}), Contains("negative"));
  CHECK_THAT(write({2, 2}, {.name = "a/b"}), Contains("without '/'"));
  CHECK_THAT(write({2, 2}, {.axes = {"x"}}), Contains("1 names"));
  CHECK_THAT(write({2}, {.axes = {"x,y"}}), Contains("'x,y'"));
  CHECK_THAT(write({2}, {.gzip = 10}), Contains("0 to 9"));
  CHECK_THAT(write({2, 2}, {.gzip = 1, .chunk = {3, 1}}), Contains("chunk [3, 1]"));
  CHECK_THAT(write({2, 2}, {.chunk = {1, 1}}), Contains("for gzip"));
  CHECK(dir.files().empty());
  CHECK_THAT(error_of([&] { Hdf5Writer<float>(dir / "no" / "x.h5", {1}); }), Contains("No such file"));
  CHECK_THAT(error_of([&] { Hdf5Writer<float>("/dev/null", {1}); }), Contains("no regular file"));

  Hdf5Writer<float> writer(dir / "x.h5", {2, 3});
  CHECK_THROWS_AS(writer.write(0, counting(4)), ShapeError);
  CHECK_THROWS_AS(writer.write(1, counting(6)), ShapeError);
  CHECK_THROWS_AS(writer.write(-1, counting(3)), ShapeError);
}

TEST_CASE("files that are not what was expected are refused with the reason") {
  TemporaryDirectory dir;
  Hdf5Writer<float> writer(dir / "x.h5", {2, 3}, {.axes = {"time", "sample"}});
  writer.write(0, counting(6));
  writer.finish();
  const Hdf5Reader reader(trusted(dir / "x.h5"));
  reader.require_axes({"time", "sample"});
  reader.require_shape({-1, 3});
  CHECK_THAT(error_of([&] {
               reader.require_axes({"sample", "time"}, true);
             }),
             Contains("(time,sample), expected (sample,time)"));
  CHECK_THAT(error_of([&] { reader.require_shape({-1, 4}); }), Contains("[2, 3], expected [-1, 4]"));
  CHECK_THAT(error_of([&] { reader.attribute("axis"); }), Contains("no attribute 'axis'"));
  CHECK_THAT(error_of([&] { Hdf5Reader(trusted(dir / "x.h5"), "y"); }),
             Contains("no data set 'y'; the file holds 'x'"));
  CHECK_THAT(error_of([&] { Hdf5Reader(trusted(dir / "missing.h5")); }), Contains("No such file"));
  CHECK_THAT(error_of([&] { Hdf5Reader(trusted(dir.path())); }), Contains("no regular file"));

  Hdf5Writer<float> unnamed(dir / "unnamed.h5", {1});
  unnamed.write(0, counting(1));
  unnamed.finish();
  const Hdf5Reader bare(trusted(dir / "unnamed.h5"));
  CHECK(bare.axes().empty());
  bare.require_axes({"x"}, true);
  CHECK_THAT(error_of([&] { bare.require_axes({"x"}); }), Contains("not named"));

  write_atomically(dir / "text.h5", "not HDF5");
  CHECK_THAT(error_of([&] { Hdf5Reader(trusted(dir / "text.h5")); }), Contains("no HDF5 file"));
  std::vector<std::byte> bytes = read_file(dir / "x.h5");
  bytes.resize(bytes.size() / 2);
  write_atomically(dir / "half.h5", bytes);
  CHECK_THAT(error_of([&] { Hdf5Reader(trusted(dir / "half.h5")).read(); }), Contains("half.h5"));
}
