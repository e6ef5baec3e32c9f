// Files are replaced completely or not at all, whatever fails; a run directory has one writer.

#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <kolmo/io/file.hpp>
#include <kolmo/io/lock.hpp>
#include <kolmo/io/process.hpp>
#include <string>
#include <vector>

#include "catch.hpp"
#include "io_support.hpp"

using namespace kolmo;
using namespace kolmo::io;
using namespace kolmo::io::test;
using Catch::Matchers::Contains;

namespace {

/// Runs `child` in a forked process and returns its exit status, or -1 when a signal ended it.
template <class F>
int in_child(F&& child) {
  const pid_t pid = ::fork();
  if (pid == 0) ::_exit(child());
  int status = 0;
  ::waitpid(pid, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

}  // namespace

TEST_CASE("a written file is read back, and replaces the former one") {
  TemporaryDirectory dir;
  const auto path = dir / "a.bin";
  write_atomically(path, "first");
  write_atomically(path, std::string_view("second\0content", 14));
  CHECK(read_text_file(path) == std::string("second\0content", 14));
  write_atomically(path, "");
  CHECK(read_file(path).empty());
  CHECK(dir.files() == std::vector<std::string>{"a.bin"});
}

TEST_CASE("reading refuses directories, absent files and files above the limit") {
  TemporaryDirectory dir;
  CHECK_THAT(error_of([&] { read_file(dir.path()); }), Contains("directory"));
  CHECK_THAT(error_of([&] { read_file(dir / "none"); }), Contains("none") && Contains("No such file"));
  write_atomically(dir / "ten", "0123456789");
  CHECK(read_file(dir / "ten", 10).size() == 10);
  CHECK_THAT(error_of([&] { read_file(dir / "ten", 9); }), Contains("limit is 9"));
  CHECK_THAT(error_of([] { read_file("/dev/zero", 100000); }), Contains("limit is 100000"));
  CHECK(read_text_file("/proc/self/stat").find(std::to_string(::getpid())) == 0);
}

TEST_CASE("whichever system call fails, the file holds the former or the complete new content") {
  TemporaryDirectory dir;
  const auto path = dir / "state";
  const std::string before = "the content before";
  const std::string after = "the new content, written in several pieces";
  for (const int code : {EIO, ENOSPC}) {
    int failures = 0;
    for (int n = 1;; ++n) {
      write_atomically(path, before);
      FaultyCalls::arm(n, code);
      std::string message;
      try {
        write_atomically<FaultyCalls>(path, after);
      } catch (const IoError& error) {
        message = error.what();
      }
      INFO("call " << n << ": " << message);
      const std::string now = read_text_file(path);
      CHECK(dir.files() == std::vector<std::string>{"state"});
      if (message.empty()) {
        CHECK(now == after);
        // Only closing the directory's descriptor may fail unseen: everything is synchronised by then.
        if (FaultyCalls::calls < n) break;
        continue;
      }
      ++failures;
      CHECK_THAT(message, Contains(path.string()) && Contains("errno " + std::to_string(code)));
      if (message.find("wrote") == 0) {
        CHECK(now == after);
      } else {
        CHECK(now == before);
        CHECK_THAT(message, Contains("bytes; the previous file, if any, is unchanged"));
      }
    }
    // open, 7 writes or more, fsync, close, rename, open and fsync of the directory
    CHECK(failures >= 13);
  }
}

TEST_CASE("a callback that throws leaves the former file and no temporary") {
  TemporaryDirectory dir;
  const auto path = dir / "x";
  write_atomically(path, "kept");
  const auto producer = [](FileSink<SystemCalls>& sink) {
    sink.write("half");
    throw ArgumentError("no more");
  };
  CHECK_THROWS_AS(write_atomically(path, producer), ArgumentError);
  CHECK(read_text_file(path) == "kept");
  CHECK(dir.files().size() == 1);
}

TEST_CASE("a full device is reported with the system's reason") {
  CHECK_THAT(error_of([] { write_atomically("/dev/full", "data"); }),
             Contains("/dev/full") && Contains("No space left"));
  CHECK(std::filesystem::is_character_file("/dev/full"));
}

TEST_CASE("a file size limit is reported and the former file stays") {
  TemporaryDirectory dir;
  const auto path = dir / "big";
  write_atomically(path, "small");
  const int status = in_child([&] {
    std::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{1000, 1000};
    ::setrlimit(RLIMIT_FSIZE, &limit);
    const std::string message = error_of([&] { write_atomically(path, std::string(5000, 'x')); });
    return message.find("after 1000 bytes") != std::string::npos && message.find("File too large") != std::string::npos
               ? 0
               : 1;
  });
  CHECK(status == 0);
  CHECK(read_text_file(path) == "small");
  CHECK(dir.files().size() == 1);
}

TEST_CASE("a directory that does not exist is named") {
  TemporaryDirectory dir;
  CHECK_THAT(error_of([&] { write_atomically(dir / "no/such/file", "x"); }),
             Contains("no/such/file") && Contains("errno 2"));
  CHECK_THAT(error_of([&] { write_atomically(dir.path(), "x"); }), Contains("directory"));
}

TEST_CASE("a symbolic link keeps pointing to the file that is replaced, and permissions are not widened") {
  TemporaryDirectory dir;
  write_atomically(dir / "real", "old");
  ::chmod((dir / "real").c_str(), 0600);
  std::filesystem::create_symlink("real", dir / "link");
  write_atomically(dir / "link", "new");
  CHECK(std::filesystem::is_symlink(dir / "link"));
  CHECK(read_text_file(dir / "real") == "new");
  CHECK((std::filesystem::status(dir / "real").permissions() & std::filesystem::perms::all) ==
        (std::filesystem::perms::owner_read | std::filesystem::perms::owner_write));
}

TEST_CASE("temporaries of dead processes are removed, those of running ones and other files stay") {
  TemporaryDirectory dir;
  // The process is killed between writing and renaming.
  struct KilledAtRename : SystemCalls {
    static int rename(const char*, const char*) {
      ::kill(::getpid(), SIGKILL);
      return -1;
    }
  };
  CHECK(in_child([&] {
          write_atomically<KilledAtRename>(dir / "model", "content");
          return 0;
        }) == -1);
  REQUIRE(dir.files().size() == 1);
  const std::string stale = dir.files()[0];
  CHECK_THAT(stale, Contains("model.kolmo-") && Catch::Matchers::EndsWith(".tmp"));
  const std::string running = detail::temporary_path("model");
  for (const std::string& name : {running, std::string("user.tmp"), std::string("a.kolmo-1-2.tmp")}) {
    std::ofstream(dir / name) << "x";
  }
  std::ofstream(dir / "b.kolmo-999999999-1-0-another.host.tmp") << "x";
  CHECK(remove_stale_temporaries(dir.path()) == std::vector<std::string>{stale});
  CHECK(dir.files().size() == 4);
}

TEST_CASE("a process number reused by another process does not count as the writer") {
  ProcessIdentity self = this_process();
  CHECK(may_be_running(self));
  if (self.start != 0) {
    self.start += 1;
    CHECK_FALSE(may_be_running(self));
  }
  CHECK(may_be_running({"elsewhere.invalid", 1, 1}));
}

TEST_CASE("the second writer of a run directory is refused with the name of the first") {
  TemporaryDirectory dir;
  {
    RunLock first(dir / "run.lock");
    CHECK_FALSE(first.took_over());
    const std::string message = error_of([&] { RunLock second(dir / "run.lock"); });
    CHECK_THAT(message, Contains("host " + host_name()) && Contains("pid " + std::to_string(::getpid())) &&
                            Contains("started at") && Contains("another run directory"));
    const RunLock moved(std::move(first));
    CHECK_THROWS_AS(RunLock(dir / "run.lock"), IoError);
  }
  CHECK(dir.files().empty());
  CHECK_NOTHROW(RunLock(dir / "run.lock"));
}

TEST_CASE("the lock of a killed process is taken over") {
  TemporaryDirectory dir;
  CHECK(in_child([&] {
          RunLock lock(dir / "run.lock");
          ::kill(::getpid(), SIGKILL);
          return 0;
        }) == -1);
  REQUIRE(dir.files().size() == 1);
  const RunLock lock(dir / "run.lock");
  CHECK(lock.took_over());
}

TEST_CASE("the lock left by another host is taken over only when asked") {
  TemporaryDirectory dir;
  std::ofstream(dir / "run.lock") << "host elsewhere.invalid, pid 5, started at tick 1\n";
  CHECK_THAT(error_of([&] { RunLock lock(dir / "run.lock"); }),
             Contains("elsewhere.invalid") && Contains("delete the file"));
  CHECK(RunLock(dir / "run.lock", ForeignLock::take_over).took_over());
}
