#pragma once
// What kolmo::compiled defines. The file that includes it has included the definitions.

#include <kolmo/backend/host_conv.hpp>
#include <kolmo/backend/host_fft.hpp>
#include <kolmo/backend/host_nearest.hpp>
#include <kolmo/rvq/host_encode.hpp>

namespace kolmo::detail {
template void host_tile_product<float>(const GemmCall<float>&);
template void host_tile_product<double>(const GemmCall<double>&);
template void host_bf16_gemm<BFloat16>(const GemmCall<BFloat16>&);

template void host_field_forward<float>(const FieldFft<float>&, index_t, const float*, float*);
template void host_field_forward<double>(const FieldFft<double>&, index_t, const double*, double*);
template void host_field_inverse<float>(const FieldFft<float>&, index_t, const float*, float*);
template void host_field_inverse<double>(const FieldFft<double>&, index_t, const double*, double*);
template void host_field_sine<float>(const FieldSine<float>&, index_t, const float*, float*);
template void host_field_sine<double>(const FieldSine<double>&, index_t, const double*, double*);
template void host_rows_fft<float>(const RowsFft<float>&, index_t, const float*, float*);
template void host_rows_fft<double>(const RowsFft<double>&, index_t, const double*, double*);
template void host_rows_sine<float>(const SineLine<float>&, float, index_t, const float*, float*);
template void host_rows_sine<double>(const SineLine<double>&, double, index_t, const double*, double*);
template void host_columns_fft<float>(const FftLine<float>&, bool, index_t, index_t, const float*, float*);
template void host_columns_fft<double>(const FftLine<double>&, bool, index_t, index_t, const double*, double*);

template void host_conv_forward<float>(const ConvGeometry&, const float*, const float*, const ConvTarget<float>&);
template void host_conv_forward<double>(const ConvGeometry&, const double*, const double*, const ConvTarget<double>&);
template void host_conv_forward<BFloat16>(const ConvGeometry&, const BFloat16*, const BFloat16*,
                                          const ConvTarget<BFloat16>&);
template void host_conv_backward_data<float>(const ConvGeometry&, const float*, const float*, float*);
template void host_conv_backward_data<double>(const ConvGeometry&, const double*, const double*, double*);
template void host_conv_backward_data<BFloat16>(const ConvGeometry&, const BFloat16*, const BFloat16*, BFloat16*);
template void host_conv_backward_filter<float>(const ConvGeometry&, const float*, const float*, float*);
template void host_conv_backward_filter<double>(const ConvGeometry&, const double*, const double*, double*);
template void host_conv_backward_filter<BFloat16>(const ConvGeometry&, const BFloat16*, const BFloat16*, BFloat16*);

template std::shared_ptr<const NearestTable<float>> host_nearest_table<float>(index_t, index_t, const float*,
                                                                              const float*, Screen, index_t);
template std::shared_ptr<const NearestTable<double>> host_nearest_table<double>(index_t, index_t, const double*,
                                                                                const double*, Screen, index_t);
template void host_nearest<float>(const NearestTable<float>&, index_t, const float*, index_t, std::int32_t*, float*);
template void host_nearest<double>(const NearestTable<double>&, index_t, const double*, index_t, std::int32_t*,
                                   double*);
}  // namespace kolmo::detail

namespace kolmo::rvq::detail {
template void host_encode_residual<float>(const NearestTables<float>&, index_t, const float*, index_t, Code*);
template void host_encode_residual<double>(const NearestTables<double>&, index_t, const double*, index_t, Code*);
}  // namespace kolmo::rvq::detail
