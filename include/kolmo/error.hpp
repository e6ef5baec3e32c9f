#pragma once
// The library's exceptions. A message says what was given, what was expected and what to do.

#include <stdexcept>
#include <string>

#include <kolmo/config.hpp>

namespace kolmo {

/// Base of everything the library throws.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Shapes that do not fit each other or the operation.
class ShapeError : public Error {
 public:
  using Error::Error;
};

/// An argument outside its domain: a negative count, a NaN where numbers are needed, an unknown name.
class ArgumentError : public Error {
 public:
  using Error::Error;
};

/// A file that cannot be opened, read, written or understood.
class IoError : public Error {
 public:
  using Error::Error;
};

/// A failure reported by a device, with the failing call and its code.
class DeviceError : public Error {
 public:
  using Error::Error;
};

/// Memory that could not be had; the message gives the size asked for.
class OutOfMemory : public Error {
 public:
  using Error::Error;
};

}  // namespace kolmo
