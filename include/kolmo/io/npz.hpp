#pragma once
// NumPy's archives of arrays (NPZ, as np.savez writes them): ZIP files whose members are stored NPY files.
//
// The reader takes the central directory for the truth, checks the local headers and checksums against it, and refuses
// what it cannot hold in one reading: overlapping members, names used twice, names that leave the archive, compressed,
// encrypted or ZIP64 members.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <kolmo/error.hpp>
#include <kolmo/io/bits.hpp>
#include <kolmo/io/checksum.hpp>
#include <kolmo/io/file.hpp>
#include <kolmo/io/host_array.hpp>
#include <kolmo/io/npy.hpp>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace kolmo::io {

namespace detail {

inline constexpr std::size_t zip_end_size = 22;
inline constexpr std::size_t zip_entry_size = 46;
inline constexpr std::size_t zip_local_size = 30;

/// A member of an archive.
struct ZipMember {
  std::string name;
  std::uint64_t begin = 0;  ///< of its local header
  std::span<const std::byte> data;
  std::uint64_t end = 0;  ///< after its data
  std::uint32_t sum = 0;
};

/// The members of an archive of stored files.
class ZipReader {
 public:
  ZipReader(std::span<const std::byte> bytes, const std::string& source) : bytes_(bytes), source_(source) {}

  std::vector<ZipMember> read() {
    const std::size_t end = find_end();
    const std::uint32_t count = u16(end + 10);
    const std::uint64_t size = u32(end + 12), begin = u32(end + 16);
    if (begin == 0xffffffffu || size == 0xffffffffu || count == 0xffffu) {
      fail(end, "ZIP64 archives are not read; save archives above 4 GB as safetensors or NPY files");
    }
    if (u16(end + 4) != 0 || u16(end + 6) != 0 || u16(end + 8) != count)
      fail(end, "archives of several disks are not read");
    if (begin + size != end) fail(end, "the central directory does not end where the archive says");
    std::vector<ZipMember> members;
    std::uint64_t at = begin;
    for (std::uint32_t i = 0; i < count; ++i) members.push_back(read_entry(at, begin, end));
    if (at != end) fail(at, "the central directory holds more than its count of members");
    check_members(members, begin);
    // Only now, when no two members share bytes, is the work bounded by the size of the file.
    for (const ZipMember& member : members) {
      if (crc32(member.data) != member.sum) {
        fail(member.begin, "member " + in_quotes(member.name) + " does not match its CRC-32; the file is damaged");
      }
    }
    return members;
  }

 private:
  [[noreturn]] void fail(std::uint64_t offset, const std::string& rule) const {
    throw IoError(source_ + ", byte " + std::to_string(offset) + ": " + rule);
  }
  std::uint32_t u16(std::uint64_t at) const { return load_unaligned<std::uint16_t>(bytes_.data() + at); }
  std::uint32_t u32(std::uint64_t at) const { return load_unaligned<std::uint32_t>(bytes_.data() + at); }

  /// The end record stands before a comment of at most 65535 bytes; the comment must reach the end of the file.
  std::size_t find_end() const {
    if (bytes_.size() >= zip_end_size) {
      const std::size_t last = bytes_.size() - zip_end_size;
      for (std::size_t back = 0; back <= last && back <= 65535; ++back) {
        const std::size_t at = last - back;
        if (u32(at) == 0x06054b50u && u16(at + 20) == back) return at;
      }
    }
    fail(bytes_.size(), "no end of a ZIP archive; this is no NPZ file, or it is truncated");
  }

  ZipMember read_entry(std::uint64_t& at, std::uint64_t begin, std::uint64_t end) const {
    if (at + zip_entry_size > end || u32(at) != 0x02014b50u) fail(at, "an entry of the central directory expected");
    const std::uint64_t entry = at;
    const std::uint32_t flags = u16(at + 8), method = u16(at + 10), sum = u32(at + 16);
    const std::uint64_t stored = u32(at + 20), size = u32(at + 24), local = u32(at + 42);
    const std::uint64_t name_size = u16(at + 28);
    const std::uint64_t next = at + zip_entry_size + name_size + u16(at + 30) + u16(at + 32);
    if (next > end) fail(at, "the entry leaves the central directory");
    ZipMember member;
    member.name =
        as_text(bytes_.subspan(static_cast<std::size_t>(at + zip_entry_size), static_cast<std::size_t>(name_size)));
    const std::string shown = "member " + in_quotes(member.name);
    check_name(entry, member.name);
    if ((flags & 0x2041u) != 0) fail(entry, shown + " is encrypted");
    if (method != 0) {
      fail(entry, shown + " is compressed (method " + std::to_string(method) +
                      "); save the arrays with np.savez instead of np.savez_compressed");
    }
    if (stored == 0xffffffffu || size == 0xffffffffu || local == 0xffffffffu)
      fail(entry, shown + " needs ZIP64, which is not read");
    if (stored != size) fail(entry, shown + " is stored with two different sizes");
    if (local + zip_local_size > begin || u32(local) != 0x04034b50u) fail(entry, shown + " has no local header");
    check_local(local, flags, sum, size, member.name, begin);
    const std::uint64_t data = local + zip_local_size + u16(local + 26) + u16(local + 28);
    if (data + size > begin) fail(local, shown + " reaches into the central directory");
    member.begin = local;
    member.data = bytes_.subspan(static_cast<std::size_t>(data), static_cast<std::size_t>(size));
    member.end = data + size;
    member.sum = sum;
    at = next;
    return member;
  }

  void check_name(std::uint64_t at, std::string_view name) const {
    const auto refuse = [&](const char* why) { fail(at, "member name " + in_quotes(name) + " " + why); };
    if (!name.ends_with(".npy") || name.size() == 4 || name.size() > 512)
      refuse("is not NAME.npy with at most 512 bytes");
    if (!is_valid_utf8(name)) refuse("is not UTF-8");
    if (name.find_first_of(std::string_view("\\:\0", 3)) != std::string_view::npos) refuse("holds \\, : or NUL");
    std::string_view rest = name;
    while (!rest.empty()) {
      const std::size_t slash = rest.find('/');
      const std::string_view part = rest.substr(0, slash);
      if (part.empty() || part == "." || part == "..") refuse("leaves the archive");
      if (slash == std::string_view::npos) break;
      rest.remove_prefix(slash + 1);
    }
  }

  /// The local header must agree with the directory. Its sizes may be in a ZIP64 field or, in streamed archives, be 0.
  void check_local(std::uint64_t at, std::uint32_t flags, std::uint32_t sum, std::uint64_t size, std::string_view name,
                   std::uint64_t limit) const {
    const std::uint64_t name_size = u16(at + 26), extra_size = u16(at + 28);
    const std::string shown = "member " + in_quotes(name);
    if (at + zip_local_size + name_size + extra_size > limit) fail(at, shown + " has a header that leaves the archive");
    if (as_text(bytes_.subspan(static_cast<std::size_t>(at + zip_local_size), static_cast<std::size_t>(name_size))) !=
            name ||
        u16(at + 6) != flags || u16(at + 8) != 0) {
      fail(at, shown + " has another local header than the directory says");
    }
    const bool streamed = (flags & 8u) != 0;
    const auto agrees = [&](std::uint32_t local_stored, std::uint32_t local_size) {
      if (streamed && local_stored == 0 && local_size == 0) return true;
      if (local_stored == size && local_size == size) return true;
      return local_stored == 0xffffffffu && local_size == 0xffffffffu &&
             zip64_sizes_are(at + zip_local_size + name_size, extra_size, size, streamed);
    };
    if (!agrees(u32(at + 18), u32(at + 22)) || (u32(at + 14) != sum && !(streamed && u32(at + 14) == 0))) {
      fail(at, shown + " has another size or checksum in its local header than in the directory");
    }
  }

  bool zip64_sizes_are(std::uint64_t at, std::uint64_t extra_size, std::uint64_t size, bool streamed) const {
    if (extra_size < 20 || u16(at) != 1 || u16(at + 2) < 16) return false;
    const auto first = load_unaligned<std::uint64_t>(bytes_.data() + at + 4);
    const auto second = load_unaligned<std::uint64_t>(bytes_.data() + at + 12);
    return (first == size && second == size) || (streamed && first == 0 && second == 0);
  }

  void check_members(const std::vector<ZipMember>& members, std::uint64_t directory) const {
    std::vector<const ZipMember*> order;
    for (const ZipMember& member : members) order.push_back(&member);
    std::sort(order.begin(), order.end(), [](const ZipMember* a, const ZipMember* b) { return a->begin < b->begin; });
    for (std::size_t i = 0; i < order.size(); ++i) {
      const std::uint64_t next = i + 1 < order.size() ? order[i + 1]->begin : directory;
      if (order[i]->end > next) fail(order[i]->begin, "member " + in_quotes(order[i]->name) + " overlaps the next one");
    }
    std::sort(order.begin(), order.end(), [](const ZipMember* a, const ZipMember* b) { return a->name < b->name; });
    for (std::size_t i = 0; i + 1 < order.size(); ++i) {
      if (order[i]->name == order[i + 1]->name)
        fail(order[i]->begin, "member name " + in_quotes(order[i]->name) + " is used twice");
    }
  }

  std::span<const std::byte> bytes_;
  const std::string& source_;
};

}  // namespace detail

/// The arrays of an archive in memory, in the order of its directory, named without ".npy". Throws IoError.
inline NamedArrays parse_npz(std::span<const std::byte> bytes, const std::string& source = "NPZ data") {
  NamedArrays named;
  for (const detail::ZipMember& member : detail::ZipReader(bytes, source).read()) {
    named.add(member.name.substr(0, member.name.size() - 4), parse_npy(member.data, source + " (" + member.name + ")"));
  }
  return named;
}

/// The bytes of an archive that np.load reads; metadata are not kept. Throws ArgumentError for names that the reader
/// would refuse, more than 65534 arrays, or 4 GB and more.
inline std::vector<std::byte> to_npz(const NamedArrays& named) {
  std::string out, directory;
  for (const auto& [name, array] : named.arrays) {
    const std::string file = name + ".npy";
    const auto contents = to_npy(array);
    const auto sum = crc32(contents);
    const auto begin = out.size();
    if (contents.size() + begin + file.size() >= 0xffff0000u || named.arrays.size() > 65534) {
      throw ArgumentError("an NPZ archive holds less than 4 GB in at most 65534 arrays; use safetensors");
    }
    // Both headers share the fields from the flags to the length of the extra field.
    std::string fields;
    detail::append_little_endian(fields, std::uint16_t{0x0800});  // the name is UTF-8
    detail::append_little_endian(fields, std::uint16_t{0});       // stored
    detail::append_little_endian(fields, std::uint16_t{0});       // midnight
    detail::append_little_endian(fields, std::uint16_t{0x21});    // 1980-01-01, so that equal arrays give equal bytes
    detail::append_little_endian(fields, sum);
    detail::append_little_endian(fields, static_cast<std::uint32_t>(contents.size()));
    detail::append_little_endian(fields, static_cast<std::uint32_t>(contents.size()));
    detail::append_little_endian(fields, static_cast<std::uint16_t>(file.size()));
    detail::append_little_endian(fields, std::uint16_t{0});
    out += std::string("PK\x03\x04\x14\x00", 6) + fields + file;
    out += detail::as_text(contents);
    directory += std::string("PK\x01\x02\x14\x00\x14\x00", 8) + fields + std::string(10, '\0');
    detail::append_little_endian(directory, static_cast<std::uint32_t>(begin));
    directory += file;
  }
  const auto begin = static_cast<std::uint32_t>(out.size());
  out += directory;
  out += std::string("PK\x05\x06\0\0\0\0", 8);
  for (int i = 0; i < 2; ++i) detail::append_little_endian(out, static_cast<std::uint16_t>(named.arrays.size()));
  detail::append_little_endian(out, static_cast<std::uint32_t>(directory.size()));
  detail::append_little_endian(out, begin);
  detail::append_little_endian(out, std::uint16_t{0});
  const auto bytes = detail::as_bytes(out);
  // What the reader refuses must not be written.
  try {
    const std::string source = "archive";
    detail::ZipReader(bytes, source).read();
  } catch (const IoError& error) {
    throw ArgumentError(std::string("these arrays make no NPZ archive: ") + error.what());
  }
  return {bytes.begin(), bytes.end()};
}

/// Reads a file of at most `limit` bytes; throws IoError.
inline NamedArrays load_npz(const std::filesystem::path& path, std::uint64_t limit = default_file_limit) {
  return parse_npz(read_file(path, limit), path.string());
}

/// Writes a file atomically.
template <class Calls = SystemCalls>
void save_npz(const std::filesystem::path& path, const NamedArrays& named) {
  write_atomically<Calls>(path, to_npz(named));
}

}  // namespace kolmo::io
