// Quantizers inside a file of nvcc: on the device by kernels, on the host from kolmo::compiled.
#include <kolmo/backend/cpu.hpp>
#include <kolmo/cuda/cuda.cuh>
#include <kolmo/rvq/codebook_start.hpp>
#include <kolmo/rvq/cross_tables.hpp>
#include <kolmo/rvq/monitoring.hpp>

template <class V>
using Tables = std::vector<V>;
using Device = kolmo::Tensor<float, kolmo::Cuda>;
using Host = kolmo::Tensor<float, kolmo::Cpu>;

kolmo::NearestRows<Device> nearest(const Device& x, const Device& table) {
  return kolmo::nearest_rows(x, table, kolmo::half_squared_norms(table), 3);
}
kolmo::NearestRows<Host> nearest(const Host& x, const Host& table) {
  return kolmo::nearest_rows(x, table, kolmo::half_squared_norms(table));
}

Device code_and_decode(const Tables<Device>& tables, const Device& x) {
  return kolmo::rvq::decode_residual(tables, kolmo::rvq::encode_residual(tables, x, 4));
}
Device errors(const Tables<Device>& tables, const Device& x) {
  return kolmo::rvq::squared_errors(tables, x, kolmo::rvq::encode_residual(tables, x));
}

kolmo::rvq::UpdateReport update(kolmo::rvq::Codebook<Device>& book, const Device& x,
                                const kolmo::Tensor<int, kolmo::Cuda>& mask, kolmo::Key key) {
  const auto found = kolmo::rvq::assign(book, x);
  const auto statistics =
      kolmo::rvq::add(kolmo::rvq::collect(book, x, found.codes), kolmo::rvq::collect(book, x, found.codes, mask));
  kolmo::rvq::StageMonitor monitor;
  monitor.add(statistics);
  kolmo::rvq::report(monitor, book);
  return kolmo::rvq::update(book, statistics, key);
}
kolmo::rvq::StartReport start(kolmo::rvq::Codebook<Device>& book, const Device& x, kolmo::Key key) {
  return kolmo::rvq::start_codebook(book, x, key);
}

kolmo::rvq::CodesOf<Device> by_cross_tables(const Tables<Device>& tables, const Device& x) {
  return kolmo::rvq::CrossTableEncoder<Device>(tables, 3)(x);
}
