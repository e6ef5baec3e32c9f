// The progress line writes when it should, where it should, and nowhere else.

#include <cstdio>
#include <kolmo/io/progress.hpp>
#include <sstream>
#include <string>

#include "catch.hpp"

using namespace kolmo::io;

TEST_CASE("a log gets one plain line each interval with rate, time left and fields") {
  std::ostringstream out;
  double now = 100;
  Progress progress(out, 1000, {.label = "training", .unit = "batches", .interval_seconds = 10}, [&] { return now; });
  progress.update(1);
  CHECK(out.str().empty());
  now = 110;
  progress.update(250, {{"loss", 0.0123456}});
  CHECK(out.str() == "training: 250/1000 batches (25 %), 25/s, 30 s left, loss 0.012346\n");
  now = 119;
  progress.update(500);
  out.str("");
  now = 200;
  progress.finish(1000, {{"loss", 0.01}});
  CHECK(out.str() == "training: 1000/1000 batches (100 %), 10/s, 1:40 min, loss 0.01\n");
}

TEST_CASE("a terminal's line is rewritten in place and ended") {
  std::ostringstream out;
  double now = 0;
  {
    Progress progress(out, 0, {.terminal = true, .interval_seconds = 1}, [&] { return now; });
    now = 1;
    progress.update(1000000, {{"x", 1}});
    now = 10;
    progress.update(10);
  }
  CHECK(out.str() == "\r1000000 steps, 1e+06/s, x 1\r10 steps, 1/s              \n");
}

TEST_CASE("a C stream that is no terminal gets plain lines") {
  std::FILE* file = std::tmpfile();
  REQUIRE(file != nullptr);
  double now = 0;
  Progress(file, 2, {}, [&] { return now += 1; }).finish(2);
  std::rewind(file);
  char text[100] = {};
  const std::size_t size = std::fread(text, 1, sizeof text - 1, file);
  std::fclose(file);
  CHECK(std::string(text, size) == "2/2 steps (100 %), 2/s, 1 s\n");
}

TEST_CASE("durations are short") {
  CHECK(detail::duration_text(0.4) == "0 s");
  CHECK(detail::duration_text(59.6) == "1:00 min");
  CHECK(detail::duration_text(3599) == "59:59 min");
  CHECK(detail::duration_text(7500) == "2:05 h");
  CHECK(detail::duration_text(-1) == "?");
}
