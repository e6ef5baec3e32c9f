#pragma once
// HDF5 files of one data set, the format of the published flow data: written slab by slab (any number of trajectories
// at a time) and read whole or in slabs, with the axes named in an attribute and checked on reading.
// https://docs.hdfgroup.org/hdf5/v1_14/
//
// Needs the HDF5 library: link kolmo::hdf5. The library parses files in C code that hostile files can crash, so a file
// is read only when it is called trusted(path). Calls into the library are serialised by a lock.

#include <fcntl.h>
#include <hdf5.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <kolmo/error.hpp>
#include <kolmo/io/bits.hpp>
#include <kolmo/io/file.hpp>
#include <kolmo/io/host_array.hpp>
#include <map>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace kolmo::io {

namespace detail {

inline constexpr const char* hdf5_axes_name = "axes";

/// One thread at a time inside the library, and nothing of its own on the error output meanwhile.
class Hdf5Call {
 public:
  Hdf5Call() : lock_(mutex()) {
    H5Eget_auto2(H5E_DEFAULT, &print_, &client_);
    H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
  }
  Hdf5Call(const Hdf5Call&) = delete;
  Hdf5Call& operator=(const Hdf5Call&) = delete;
  ~Hdf5Call() { H5Eset_auto2(H5E_DEFAULT, print_, client_); }

 private:
  static std::recursive_mutex& mutex() {
    static std::recursive_mutex one;
    return one;
  }
  std::lock_guard<std::recursive_mutex> lock_;
  H5E_auto2_t print_ = nullptr;
  void* client_ = nullptr;
};

/// What the library says of its last failure: the innermost reason.
inline std::string hdf5_reason() {
  std::string reason;
  const auto visit = [](unsigned, const H5E_error2_t* error, void* out) -> herr_t {
    if (error->desc != nullptr && *error->desc != '\0') *static_cast<std::string*>(out) = error->desc;
    return 0;
  };
  H5Ewalk2(H5E_DEFAULT, H5E_WALK_DOWNWARD, visit, &reason);
  std::replace(reason.begin(), reason.end(), '\n', ' ');
  return reason.empty() ? "the HDF5 library gives no reason" : reason;
}

/// Owns one object of the library.
class Hdf5Handle {
 public:
  using Close = herr_t (*)(hid_t);
  Hdf5Handle() = default;
  Hdf5Handle(hid_t id, Close how) : id_(id), close_(how) {}
  Hdf5Handle(Hdf5Handle&& other) noexcept : id_(std::exchange(other.id_, -1)), close_(other.close_) {}
  Hdf5Handle& operator=(Hdf5Handle&& other) noexcept {
    if (this != &other) {
      close();
      id_ = std::exchange(other.id_, -1);
      close_ = other.close_;
    }
    return *this;
  }
  ~Hdf5Handle() { close(); }
  hid_t get() const { return id_; }
  explicit operator bool() const { return id_ >= 0; }
  bool close() {
    if (id_ < 0) return true;
    const Hdf5Call call;
    return close_(std::exchange(id_, -1)) >= 0;
  }

 private:
  hid_t id_ = -1;
  Close close_ = nullptr;
};

inline Hdf5Handle hdf5_string_type() {
  Hdf5Handle type(H5Tcopy(H5T_C_S1), H5Tclose);
  H5Tset_size(type.get(), H5T_VARIABLE);
  H5Tset_cset(type.get(), H5T_CSET_UTF8);
  return type;
}

template <class T>
hid_t hdf5_native() {
  static_assert(std::is_same_v<T, float> || std::is_same_v<T, double>, "HDF5 data sets are of float or double");
  return std::is_same_v<T, float> ? H5T_NATIVE_FLOAT : H5T_NATIVE_DOUBLE;
}

/// Selects rows [first, first + count) of axis 0; the selection of a data set of rank 0 is all of it.
inline bool hdf5_select_rows(hid_t space, std::span<const index_t> shape, index_t first, index_t count) {
  if (shape.empty()) return true;
  std::vector<hsize_t> start(shape.size(), 0), extent(shape.begin(), shape.end());
  start[0] = static_cast<hsize_t>(first);
  extent[0] = static_cast<hsize_t>(count);
  return H5Sselect_hyperslab(space, H5S_SELECT_SET, start.data(), nullptr, extent.data(), nullptr) >= 0;
}

inline std::string joined(std::span<const std::string> names) {
  std::string out;
  for (const std::string& name : names) out += (out.empty() ? "" : ",") + name;
  return out;
}

}  // namespace detail

/// How a data set is written.
struct Hdf5Options {
  /// Its name.
  std::string name = "x";
  /// A name for each axis, such as {"trajectory", "time", "component", "x", "y"}; stored as the attribute "axes",
  /// separated by commas, and compared by Hdf5Reader::require_axes. None: no attribute.
  std::vector<std::string> axes = {};
  /// Further attributes of the data set, as texts.
  std::map<std::string, std::string> attributes = {};
  /// 0: contiguous, the fastest to read. 1 to 9: gzip, with one row of axis 0 in a chunk unless `chunk` says otherwise.
  int gzip = 0;
  std::vector<index_t> chunk = {};
};

/// Writes a data set of T (float or double) and known shape. Rows of axis 0 may come in any order and any number at a
/// time. The file appears, whole, with finish(); until then the path keeps what it held.
template <class T>
class Hdf5Writer {
 public:
  /// Throws IoError, ShapeError for a shape without axes and ArgumentError for options that do not fit it.
  Hdf5Writer(const std::filesystem::path& path, std::vector<index_t> shape, const Hdf5Options& options = {})
      : shown_(path.string()), shape_(std::move(shape)), file_on_disk_(checked(path, shape_, options)) {
    const detail::Hdf5Call call;
    if (file_on_disk_.temporary().empty()) throw IoError("cannot write " + shown_ + ": it is no regular file");
    written_.assign(static_cast<std::size_t>(shape_[0]), false);
    row_ = shape_[0] == 0 ? 0 : element_count(shape_) / shape_[0];

    file_ = {H5Fcreate(file_on_disk_.temporary().c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT), H5Fclose};
    if (!file_) throw failure("create the file");
    if (options.gzip == 0) reserve();
    const std::vector<hsize_t> extents(shape_.begin(), shape_.end());
    const detail::Hdf5Handle space(H5Screate_simple(static_cast<int>(extents.size()), extents.data(), nullptr),
                                   H5Sclose);
    const detail::Hdf5Handle layout(H5Pcreate(H5P_DATASET_CREATE), H5Pclose);
    if (!space || !layout) throw failure("describe the data set");
    // Every value is written before the file appears, so none needs a fill value.
    // Without the time of writing, the same data are the same bytes.
    bool good = H5Pset_fill_time(layout.get(), H5D_FILL_TIME_NEVER) >= 0 &&
                H5Pset_obj_track_times(layout.get(), false) >= 0;
    if (options.gzip > 0 && element_count(shape_) > 0) {
      std::vector<hsize_t> chunk(options.chunk.begin(), options.chunk.end());
      if (chunk.empty()) {
        chunk = extents;
        chunk[0] = 1;
      }
      good = good && H5Pset_chunk(layout.get(), static_cast<int>(chunk.size()), chunk.data()) >= 0 &&
             H5Pset_deflate(layout.get(), static_cast<unsigned>(options.gzip)) >= 0;
    }
    if (!good) throw failure("describe the data set");
    data_ = {H5Dcreate2(file_.get(), options.name.c_str(), detail::hdf5_native<T>(), space.get(), H5P_DEFAULT,
                        layout.get(), H5P_DEFAULT),
             H5Dclose};
    if (!data_) throw failure("create the data set '" + options.name + "'");
    if (!options.axes.empty()) attach(detail::hdf5_axes_name, detail::joined(options.axes));
    for (const auto& [name, text] : options.attributes) attach(name, text);
  }

  Hdf5Writer(const Hdf5Writer&) = delete;
  Hdf5Writer& operator=(const Hdf5Writer&) = delete;
  ~Hdf5Writer() {
    // On a full disk the library fails to close the file, keeps it, and crashes at the program's exit; the file is
    // given up anyway, so that its room is enough for closing it.
    if (file_ && ::ftruncate(file_on_disk_.descriptor(), 0) != 0) return;
  }

  /// Writes rows first, first + 1, ... of axis 0, as many as `values` fills. A row may be written again. Throws
  /// ShapeError for rows that are not there or not full, and IoError.
  void write(index_t first, std::span<const T> values) {
    if (!data_) throw ArgumentError(shown_ + " is finished; nothing can be written any more");
    const auto size = static_cast<index_t>(values.size());
    const index_t count = row_ == 0 ? 0 : size / row_;
    if (row_ == 0 ? size != 0 : size % row_ != 0) {
      throw ShapeError(std::to_string(size) + " values are no whole rows of shape " + shape_text(shape_) +
                       ", a row has " + std::to_string(row_));
    }
    if (first < 0 || first > shape_[0] || count > shape_[0] - first) {
      throw ShapeError("rows " + std::to_string(first) + " to " + std::to_string(first + count) +
                       " are not all in shape " + shape_text(shape_) + " of " + shown_);
    }
    if (count == 0) return;
    const detail::Hdf5Call call;
    std::vector<hsize_t> extents(shape_.begin(), shape_.end());
    extents[0] = static_cast<hsize_t>(count);
    const detail::Hdf5Handle from(H5Screate_simple(static_cast<int>(extents.size()), extents.data(), nullptr),
                                  H5Sclose);
    const detail::Hdf5Handle to(H5Dget_space(data_.get()), H5Sclose);
    if (!from || !to || !detail::hdf5_select_rows(to.get(), shape_, first, count) ||
        H5Dwrite(data_.get(), detail::hdf5_native<T>(), from.get(), to.get(), H5P_DEFAULT, values.data()) < 0) {
      throw failure("write rows " + std::to_string(first) + " to " + std::to_string(first + count));
    }
    std::fill_n(written_.begin() + first, count, true);
  }

  /// Closes the file and puts it in place. Throws ShapeError while rows are missing, and IoError.
  void finish() {
    if (!data_) throw ArgumentError(shown_ + " is finished already");
    const auto hole = std::find(written_.begin(), written_.end(), false);
    if (row_ > 0 && hole != written_.end()) {
      throw ShapeError(shown_ + " is not complete: row " + std::to_string(hole - written_.begin()) + " of shape " +
                       shape_text(shape_) + " was not written");
    }
    const detail::Hdf5Call call;
    hsize_t size = 0;
    if (!data_.close() || H5Fflush(file_.get(), H5F_SCOPE_LOCAL) < 0 || H5Fget_filesize(file_.get(), &size) < 0 ||
        !file_.close()) {
      throw failure("close");
    }
    // Gives back what was reserved and not used.
    if (::ftruncate(file_on_disk_.descriptor(), static_cast<off_t>(size)) != 0)
      throw IoError("cannot write " + shown_ + ": ftruncate: " + detail::error_text(errno));
    file_on_disk_.commit();
  }

 private:
  /// The path, after everything that can be said before a file is touched.
  static const std::filesystem::path& checked(const std::filesystem::path& path, const std::vector<index_t>& shape,
                                              const Hdf5Options& options) {
    const std::string what = "the HDF5 data set for " + path.string() + ": ";
    element_count(shape);
    if (shape.empty() || shape.size() > H5S_MAX_RANK)
      throw ShapeError(what + "1 to 32 axes are possible, given shape " + shape_text(shape));
    if (options.name.empty() || options.name == "." || options.name.find('/') != std::string::npos)
      throw ArgumentError(what + "a name without '/' is needed, given '" + options.name + "'");
    if (!options.axes.empty() && options.axes.size() != shape.size())
      throw ArgumentError(what + std::to_string(options.axes.size()) + " names for the axes of shape " +
                          shape_text(shape));
    for (const std::string& axis : options.axes) {
      if (axis.empty() || axis.find(',') != std::string::npos)
        throw ArgumentError(what + "an axis cannot be called '" + axis + "'");
    }
    if (!options.axes.empty() && options.attributes.count(detail::hdf5_axes_name) > 0)
      throw ArgumentError(what + "the attribute 'axes' is written from the option axes; leave it out");
    if (options.gzip < 0 || options.gzip > 9)
      throw ArgumentError(what + "gzip levels are 0 to 9, given " + std::to_string(options.gzip));
    bool fits = options.chunk.empty() || (options.gzip > 0 && options.chunk.size() == shape.size());
    for (std::size_t d = 0; fits && d < options.chunk.size(); ++d)
      fits = options.chunk[d] >= 1 && options.chunk[d] <= std::max<index_t>(shape[d], 1);
    if (!fits)
      throw ArgumentError(what + "chunk " + shape_text(options.chunk) + " does not fit shape " + shape_text(shape) +
                          " (chunks are for gzip)");
    return path;
  }

  /// Takes the room of the whole file now, so that a full disk shows before the work and not after it.
  void reserve() {
#ifdef __linux__
    const off_t size = static_cast<off_t>(element_count(shape_)) * static_cast<off_t>(sizeof(T)) + 65536;
    while (::fallocate(file_on_disk_.descriptor(), 0, 0, size) != 0) {
      if (errno == EINTR) continue;
      if (errno == EOPNOTSUPP || errno == ENOSYS) return;
      throw IoError("cannot write " + shown_ + ": no room for " + std::to_string(size) +
                    " bytes: " + detail::error_text(errno) + "; the previous file, if any, is unchanged");
    }
#endif
  }
  void attach(const std::string& name, const std::string& text) {
    const detail::Hdf5Handle type = detail::hdf5_string_type();
    const detail::Hdf5Handle space(H5Screate(H5S_SCALAR), H5Sclose);
    const detail::Hdf5Handle attribute(
        H5Acreate2(data_.get(), name.c_str(), type.get(), space.get(), H5P_DEFAULT, H5P_DEFAULT), H5Aclose);
    const char* pointer = text.c_str();
    if (!attribute || H5Awrite(attribute.get(), type.get(), &pointer) < 0)
      throw failure("write the attribute '" + name + "'");
  }
  IoError failure(const std::string& step) const {
    return IoError("cannot write " + shown_ + ": " + step + ": " + detail::hdf5_reason() +
                   "; the previous file, if any, is unchanged");
  }

  std::string shown_;
  std::vector<index_t> shape_;
  index_t row_ = 0;
  std::vector<bool> written_;
  AtomicFile<SystemCalls> file_on_disk_;
  detail::Hdf5Handle file_, data_;
};

/// A file whose origin is known; see the head of hdf5.hpp.
struct TrustedFile {
  std::filesystem::path path;
};
inline TrustedFile trusted(std::filesystem::path path) { return {std::move(path)}; }

/// Reads one data set of real numbers or integers. Throws IoError for files that are not as expected.
class Hdf5Reader {
 public:
  explicit Hdf5Reader(const TrustedFile& file, std::string name = "x") : shown_(file.path.string()), name_(name) {
    const detail::Hdf5Call call;
    struct stat status {};
    if (::stat(file.path.c_str(), &status) != 0) throw failure(detail::error_text(errno));
    if (!S_ISREG(status.st_mode)) throw failure("it is no regular file");
    file_ = {H5Fopen(shown_.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT), H5Fclose};
    if (!file_) throw failure("this is no HDF5 file, or a damaged one: " + detail::hdf5_reason());
    data_ = {H5Dopen2(file_.get(), name_.c_str(), H5P_DEFAULT), H5Dclose};
    if (!data_) throw failure("there is no data set '" + name_ + "'; the file holds " + contents());
    read_shape();
    read_type();
    const detail::Hdf5Handle layout(H5Dget_create_plist(data_.get()), H5Pclose);
    if (!layout || H5Pget_external_count(layout.get()) != 0 || H5Pget_layout(layout.get()) == H5D_VIRTUAL)
      throw failure("the data lie in other files; copy them into one with h5repack");
  }

  const std::vector<index_t>& shape() const { return shape_; }
  DType dtype() const { return dtype_; }

  /// Whether the data set has the attribute.
  bool has_attribute(const std::string& name) const {
    const detail::Hdf5Call call;
    return H5Aexists(data_.get(), name.c_str()) > 0;
  }

  /// An attribute that is one text. Throws IoError when it is not there or something else.
  std::string attribute(const std::string& name) const {
    const detail::Hdf5Call call;
    const detail::Hdf5Handle found(H5Aopen(data_.get(), name.c_str(), H5P_DEFAULT), H5Aclose);
    if (!found) throw failure("there is no attribute '" + name + "'");
    const detail::Hdf5Handle stored(H5Aget_type(found.get()), H5Tclose), space(H5Aget_space(found.get()), H5Sclose);
    if (!stored || !space || H5Tget_class(stored.get()) != H5T_STRING ||
        H5Sget_simple_extent_npoints(space.get()) != 1) {
      throw failure("attribute '" + name + "' is not one text");
    }
    if (H5Tis_variable_str(stored.get()) > 0) {
      const detail::Hdf5Handle type = detail::hdf5_string_type();
      H5Tset_cset(type.get(), H5Tget_cset(stored.get()));
      char* text = nullptr;
      if (H5Aread(found.get(), type.get(), &text) < 0) throw failure("attribute '" + name + "' cannot be read");
      const std::string out = text != nullptr ? text : "";
      H5free_memory(text);
      return out;
    }
    const std::size_t size = H5Tget_size(stored.get());
    if (size > 65536) throw failure("attribute '" + name + "' is a text of " + std::to_string(size) + " bytes");
    std::string text(size, '\0');
    if (H5Aread(found.get(), stored.get(), text.data()) < 0) throw failure("attribute '" + name + "' cannot be read");
    return text.substr(0, text.find('\0'));
  }

  /// The names of the axes, or none when the file does not name them.
  std::vector<std::string> axes() const {
    std::vector<std::string> names;
    if (!has_attribute(detail::hdf5_axes_name)) return names;
    const std::string text = attribute(detail::hdf5_axes_name);
    for (std::size_t begin = 0; begin <= text.size();) {
      const std::size_t comma = std::min(text.find(',', begin), text.size());
      names.push_back(text.substr(begin, comma - begin));
      begin = comma + 1;
    }
    return names;
  }

  /// Throws IoError when the file names other axes. A file that names none passes if `may_be_unnamed`, as the published
  /// data sets do not; then their number must fit.
  void require_axes(const std::vector<std::string>& wanted, bool may_be_unnamed = false) const {
    const std::vector<std::string> found = axes();
    if (found == wanted && shape_.size() == wanted.size()) return;
    if (found.empty() && may_be_unnamed && shape_.size() == wanted.size()) return;
    throw failure("the axes of shape " + shape_text(shape_) + " are " +
                  (found.empty() ? "not named" : "(" + detail::joined(found) + ")") + ", expected (" +
                  detail::joined(wanted) + ")");
  }

  /// Throws IoError unless the shape is `wanted`; -1 there matches any extent.
  void require_shape(const std::vector<index_t>& wanted) const {
    bool fits = wanted.size() == shape_.size();
    for (std::size_t d = 0; fits && d < wanted.size(); ++d) fits = wanted[d] == -1 || wanted[d] == shape_[d];
    if (!fits) throw failure("the shape is " + shape_text(shape_) + ", expected " + shape_text(wanted));
  }

  /// Rows [first, first + count) of axis 0, in the file's own element type.
  HostArray read(index_t first, index_t count) const {
    const index_t rows = shape_.empty() ? 1 : shape_[0];
    if (first < 0 || count < 0 || first > rows || count > rows - first) {
      throw ShapeError("rows " + std::to_string(first) + " to " + std::to_string(first + count) +
                       " are not all in shape " + shape_text(shape_) + " of " + shown_);
    }
    std::vector<index_t> extents = shape_;
    if (!extents.empty()) extents[0] = count;
    // What the file claims is not allocated before it is plausible.
    const std::uint64_t bytes = static_cast<std::uint64_t>(element_count(extents)) * size_of(dtype_);
    if (bytes > default_file_limit) throw failure(std::to_string(bytes) + " bytes at once; read fewer rows at a time");
    HostArray array(dtype_, extents);
    if (array.data.empty()) return array;
    const detail::Hdf5Call call;
    const std::vector<hsize_t> wide(extents.begin(), extents.end());
    const detail::Hdf5Handle from(H5Dget_space(data_.get()), H5Sclose);
    const detail::Hdf5Handle to(
        wide.empty() ? H5Screate(H5S_SCALAR) : H5Screate_simple(static_cast<int>(wide.size()), wide.data(), nullptr),
        H5Sclose);
    if (!from || !to || !detail::hdf5_select_rows(from.get(), shape_, first, count) ||
        H5Dread(data_.get(), native(dtype_), to.get(), from.get(), H5P_DEFAULT, array.data.data()) < 0) {
      throw failure("rows " + std::to_string(first) + " to " + std::to_string(first + count) +
                    " cannot be read: " + detail::hdf5_reason());
    }
    return array;
  }
  /// The whole data set.
  HostArray read() const { return read(0, shape_.empty() ? 1 : shape_[0]); }

 private:
  void read_shape() {
    const detail::Hdf5Handle space(H5Dget_space(data_.get()), H5Sclose);
    const int rank = space ? H5Sget_simple_extent_ndims(space.get()) : -1;
    if (rank < 0 || H5Sget_simple_extent_type(space.get()) == H5S_NULL) throw failure("the data set has no shape");
    std::vector<hsize_t> extents(static_cast<std::size_t>(rank));
    if (rank > 0) H5Sget_simple_extent_dims(space.get(), extents.data(), nullptr);
    for (const hsize_t extent : extents) {
      if (extent > static_cast<hsize_t>(INT64_MAX)) throw failure("an extent above 2^63");
      shape_.push_back(static_cast<index_t>(extent));
    }
    element_count(shape_);
  }
  void read_type() {
    const detail::Hdf5Handle type(H5Dget_type(data_.get()), H5Tclose);
    const H5T_class_t kind = type ? H5Tget_class(type.get()) : H5T_NO_CLASS;
    const std::size_t size = type ? H5Tget_size(type.get()) : 0;
    constexpr DType with_sign[] = {DType::i8, DType::i16, DType::i32, DType::i64};
    constexpr DType without[] = {DType::u8, DType::u16, DType::u32, DType::u64};
    if (kind == H5T_FLOAT && (size == 4 || size == 8)) {
      dtype_ = size == 4 ? DType::f32 : DType::f64;
    } else if (kind == H5T_INTEGER && (size == 1 || size == 2 || size == 4 || size == 8)) {
      const std::size_t place = size == 1 ? 0 : size == 2 ? 1 : size == 4 ? 2 : 3;
      dtype_ = H5Tget_sign(type.get()) == H5T_SGN_NONE ? without[place] : with_sign[place];
    } else {
      throw failure("the data set '" + name_ + "' is not of float32, float64 or integers up to 64 bits");
    }
  }
  static hid_t native(DType dtype) {
    switch (dtype) {
      case DType::f32:
        return H5T_NATIVE_FLOAT;
      case DType::f64:
        return H5T_NATIVE_DOUBLE;
      case DType::i8:
        return H5T_NATIVE_INT8;
      case DType::i16:
        return H5T_NATIVE_INT16;
      case DType::i32:
        return H5T_NATIVE_INT32;
      case DType::i64:
        return H5T_NATIVE_INT64;
      case DType::u8:
        return H5T_NATIVE_UINT8;
      case DType::u16:
        return H5T_NATIVE_UINT16;
      case DType::u32:
        return H5T_NATIVE_UINT32;
      default:
        return H5T_NATIVE_UINT64;
    }
  }
  std::string contents() const {
    std::string names;
    const auto visit = [](hid_t, const char* name, const H5L_info_t*, void* out) -> herr_t {
      std::string& list = *static_cast<std::string*>(out);
      if (list.size() > 200) return 1;
      list += (list.empty() ? "'" : ", '") + std::string(name) + "'";
      return 0;
    };
    hsize_t at = 0;
    H5Literate(file_.get(), H5_INDEX_NAME, H5_ITER_INC, &at, visit, &names);
    return names.empty() ? "nothing" : names;
  }
  IoError failure(const std::string& why) const { return IoError("cannot read " + shown_ + ": " + why); }

  std::string shown_, name_;
  detail::Hdf5Handle file_, data_;
  std::vector<index_t> shape_;
  DType dtype_ = DType::f32;
};

}  // namespace kolmo::io
