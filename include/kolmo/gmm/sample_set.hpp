#pragma once
// Points in D dimensions as the algorithms on samples read them: checked, with a standard coordinate system, and cut
// into tiles by their number alone, so that results have the same bits for any number of threads.

#include <optional>

#include <kolmo/ad/items.hpp>
#include <kolmo/core/reduce.hpp>
#include <kolmo/gmm/host_mixture.hpp>

namespace kolmo::gmm::detail {

/// Moments of the points of a tile about `about`, and the first row that is no point or has no weight. Sums: weight,
/// sum w (x - about) [D], sum w (x - about)^2 [D].
template <class T>
struct ExamineTile {
  SamplePoints<T> samples;
  const double* about;  // [D]
  double* sums;         // [tiles, 1 + 2 D]
  index_t* bad_point;   // [tiles], `count` where there is none
  index_t* bad_weight;

  KOLMO_HD void operator()(index_t tile) const {
    const index_t d = samples.dimensions;
    double* target = sums + tile * (1 + 2 * d);
    for (index_t i = 0; i < 1 + 2 * d; ++i) target[i] = 0.0;
    bad_point[tile] = bad_weight[tile] = samples.count;
    for (index_t p = samples.end(tile) - 1; p >= samples.begin(tile); --p) {
      const T weight = samples.weights != nullptr ? samples.weights[p] : T(1);
      if (!(weight >= T(0)) || !is_finite(weight)) bad_weight[tile] = p;
      target[0] += static_cast<double>(weight);
      bool finite = true;
      for (index_t j = 0; j < d; ++j) {
        const T x = samples.points[p * d + j];
        finite = finite && is_finite(x);
        const double shift = static_cast<double>(x) - about[j];
        target[1 + j] += static_cast<double>(weight) * shift;
        target[1 + d + j] += static_cast<double>(weight) * shift * shift;
      }
      if (!finite) bad_point[tile] = p;
    }
  }
};

/// Column c of the sums of all tiles.
struct LoadSums {
  static constexpr bool rows_contiguous = true;
  const double* sums;
  index_t size;
  KOLMO_HD double operator()(index_t row, index_t tile) const { return sums[tile * size + row]; }
};
struct AddSums {
  KOLMO_HD double operator()(double a, double b) const { return a + b; }
};

template <PlainTensor V>
class SampleSet {
 public:
  using T = typename V::Scalar;
  using B = typename V::Backend;
  using Doubles = Tensor<double, B>;
  using Integers = Tensor<std::int32_t, B>;
  /// Backends that run expensive items themselves work on vectors.
  static constexpr bool host = requires(index_t n, kolmo::detail::ProbeEach f) { B::for_each_item(n, f); };
  using Pack = typename PackFor<T, host>::Type;

  /// Takes points [N, D] and weights [N]. Throws ShapeError or ArgumentError that names the row.
  SampleSet(const V& points, const std::optional<V>& weights, const char* operation) : operation_(operation) {
    if (points.rank() != 2 || points.extent(0) < 1 || points.extent(1) < 1)
      throw ShapeError(text("expected points of shape [N, D] with N and D at least 1, given ") +
                       points.shape().to_string());
    points_ = points.contiguous();
    count_ = points.extent(0);
    dimensions_ = points.extent(1);
    if (weights.has_value()) {
      if (!(weights->shape() == Shape{count_}))
        throw ShapeError(text("expected weights of shape ") + Shape{count_}.to_string() +
                         ", one for each point, given " + weights->shape().to_string());
      weights_ = weights->contiguous();
    }
    // At most 128 tiles, so that their sums stay small beside the points.
    tile_ = divide_up(larger<index_t>(1024, divide_up(count_, 128)), sample_chunk) * sample_chunk;
  }

  index_t count() const { return count_; }
  index_t dimensions() const { return dimensions_; }
  index_t tiles() const { return divide_up(count_, tile_); }
  const StandardCoordinates& coordinates() const { return coordinates_; }
  /// Sum of the weights.
  double total() const { return total_; }
  bool weighted() const { return weights_.has_value(); }
  const char* operation() const { return operation_; }

  /// Throws ArgumentError for the first row that is no point, and for weights that are none.
  void check() {
    const auto d = static_cast<std::size_t>(dimensions_);
    set_coordinates({std::vector<double>(d, 0.0), std::vector<double>(d, 1.0)});
    total_ = examine(std::vector<double>(d, 0.0))[0];
  }

  /// Finds the mean and the deviation of every coordinate, or one deviation for all, and makes them the origin and the
  /// unit. A coordinate that does not vary keeps its unit. Throws ArgumentError for rows that are no points.
  void standardise(bool one_scale) {
    const auto d = static_cast<std::size_t>(dimensions_);
    StandardCoordinates found{std::vector<double>(d, 0.0), std::vector<double>(d, 1.0)};
    set_coordinates(found);
    const std::vector<T> first = points_.view(Shape{dimensions_}, Strides{{1}}, 0).to_vector();
    std::vector<double> about(first.begin(), first.end());
    std::vector<double> variance(d, 0.0);
    // The first pass finds the mean, the second the deviations about it.
    for (int pass = 0; pass < 2; ++pass) {
      const std::vector<double> sums = examine(about);
      total_ = sums[0];
      for (std::size_t j = 0; j < d; ++j) {
        const double shift = sums[1 + j] / total_;
        about[j] += shift;
        variance[j] = sums[1 + d + j] / total_ - shift * shift;
      }
    }
    double trace = 0.0;
    for (const double v : variance) trace += larger(v, 0.0) / static_cast<double>(d);
    for (std::size_t j = 0; j < d; ++j) {
      const double v = one_scale ? trace : variance[j];
      if (!is_finite(v) || !is_finite(about[j]))
        throw ArgumentError(text("the spread of coordinate ") + std::to_string(j) +
                            " overflows; give the points in another unit");
      found.centre[j] = about[j];
      if (v > 0.0) found.scale[j] = 1.0 / std::sqrt(v);
    }
    set_coordinates(found);
  }

  void set_coordinates(const StandardCoordinates& coordinates) {
    coordinates_ = coordinates;
    std::vector<T> centre, scale;
    for (const double x : coordinates.centre) centre.push_back(static_cast<T>(x));
    for (const double x : coordinates.scale) scale.push_back(static_cast<T>(x));
    // What the tiles compute with, exactly.
    for (std::size_t j = 0; j < centre.size(); ++j) {
      coordinates_.centre[j] = static_cast<double>(centre[j]);
      coordinates_.scale[j] = static_cast<double>(scale[j]);
    }
    centre_ = V::from(centre);
    scale_ = V::from(scale);
  }

  SamplePoints<T> samples() const {
    return {points_.data(), weights_.has_value() ? weights_->data() : nullptr,
            count_,         static_cast<int>(dimensions_),
            centre_.data(), scale_.data(),
            tile_};
  }

  /// What a pass computes, and where single results go; the pointers are in the backend's memory.
  struct Pass {
    bool whole_moments = false;
    bool hard = false;
    bool moments = true;
    std::int32_t* labels = nullptr;
    T* log_density = nullptr;
    T* responsibilities = nullptr;
  };
  struct Sums {
    std::vector<double> values;  ///< sum w log density, then the moments; empty without
    std::vector<double> about;   ///< the means about which they are, [K, D]
  };

  /// One pass over all points with the parameters of a mixture in standard coordinates. For hard assignment to unit
  /// normals the log densities are minus half the squared distances.
  Sums run(const HostMixture& mixture, const Pass& pass) {
    const double constant = half_log_two_pi * static_cast<double>(dimensions_);
    const std::vector<T> parameters = mixture.tile_parameters<T>(pass.hard ? constant : coordinates_.log_scale());
    const V on_device = V::from(parameters);
    SampleProblem<T> problem{};
    problem.samples = samples();
    problem.components = static_cast<int>(mixture.components);
    problem.parameters = on_device.data();
    problem.whole_components = is_whole(mixture.kind);
    problem.whole_moments = pass.whole_moments;
    problem.hard = pass.hard;
    problem.labels = pass.labels;
    problem.log_density = pass.log_density;
    problem.responsibilities = pass.responsibilities;
    problem.scratch = scratch(tiles() * problem.scratch_size());
    const index_t size = problem.sums_size();
    if (pass.moments) problem.sums = sums_memory(tiles() * size);
    kolmo::detail::for_each_item<B>(tiles(), SampleTile<T, Pack>{problem});
    Sums result;
    if (pass.moments) result.values = total_of_tiles(size);
    const index_t component_size = problem.component_layout().size();
    for (index_t k = 0; k < mixture.components; ++k)
      for (index_t j = 0; j < dimensions_; ++j)
        result.about.push_back(static_cast<double>(parameters[static_cast<std::size_t>(k * component_size + 1 + j)]));
    return result;
  }

  T* scratch(index_t size) {
    if (!scratch_.has_value() || scratch_.size() < size) scratch_ = V::uninitialized(Shape{size});
    return scratch_.mutable_data();
  }
  double* sums_memory(index_t size) {
    if (!sums_.has_value() || sums_.size() < size) sums_ = Doubles::uninitialized(Shape{size});
    return sums_.mutable_data();
  }

  /// The sums of the tiles, `size` numbers each, added in a fixed tree.
  std::vector<double> total_of_tiles(index_t size) const {
    auto total = Doubles::uninitialized(Shape{size});
    B::reduce(size, tiles(), LoadSums{sums_.data(), size}, AddSums{}, 0.0,
              kolmo::detail::StoreRow<double>{total.mutable_data()});
    return total.to_vector();
  }
  /// The sums tile by tile.
  std::vector<double> tile_sums(index_t size) const {
    return sums_.view(Shape{tiles() * size}, Strides{{1}}, 0).to_vector();
  }

  std::string text(const std::string& message) const { return std::string(operation_) + ": " + message; }

 private:
  std::vector<double> examine(const std::vector<double>& about) {
    using Indices = Tensor<index_t, B>;
    auto bad_point = Indices::uninitialized(Shape{tiles()}), bad_weight = Indices::uninitialized(Shape{tiles()});
    const Doubles shift = Doubles::from(about);
    const index_t size = 1 + 2 * dimensions_;
    double* sums = sums_memory(tiles() * size);
    kolmo::detail::for_each_item<B>(
        tiles(), ExamineTile<T>{samples(), shift.data(), sums, bad_point.mutable_data(), bad_weight.mutable_data()});
    for (const index_t row : bad_point.to_vector())
      if (row < count_)
        throw ArgumentError(text("row ") + std::to_string(row) +
                            " of the points has a NaN or an infinity; leave it out");
    for (const index_t row : bad_weight.to_vector())
      if (row < count_)
        throw ArgumentError(text("weight ") + std::to_string(row) +
                            " is negative, infinite or NaN; weights are at least 0");
    std::vector<double> result = total_of_tiles(size);
    if (!(result[0] > 0.0) || !is_finite(result[0]))
      throw ArgumentError(text("the weights sum to ") + std::to_string(result[0]) + "; at least one must be positive");
    return result;
  }

  const char* operation_;
  V points_, centre_, scale_, scratch_;
  std::optional<V> weights_;
  index_t count_ = 0, dimensions_ = 0, tile_ = 0;
  StandardCoordinates coordinates_;
  double total_ = 0.0;
  Doubles sums_;
};

}  // namespace kolmo::gmm::detail
