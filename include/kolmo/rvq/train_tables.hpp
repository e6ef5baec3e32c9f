#pragma once
// All tables of a residual quantizer from a set of vectors at once, stage after stage: k-means of what the stages
// before left over. Two things make the codewords fit vectors that were not there when they were trained. They start
// from vectors that are shrunk towards their mean (a vector of noise is a bad codeword at its full length), and a
// vector chooses as if its own codeword had been formed without it (Lloyd::assign_leave_one_out): in many dimensions,
// where all distances are nearly equal, a mean that contains a vector holds it otherwise.

#include <functional>

#include <kolmo/rvq/encode.hpp>
#include <kolmo/rvq/k_means.hpp>
#include <kolmo/rvq/refine_tables.hpp>

namespace kolmo::rvq {

/// What became of a stage.
struct StageTraining {
  index_t stage = 0;
  index_t subspaces = 1;  ///< the stage codes every how many-th coordinate
  index_t unused = 0;     ///< codewords that are nearest to no training vector
  double mse = 0.0;       ///< per element, of the training vectors after this stage
};

struct TrainTablesOptions {
  /// Iterations of every stage at most, and the share of the MSE by which one must lower it for another to follow. More
  /// iterations lower the MSE of the training vectors further, hardly that of others.
  index_t iterations = 25;
  double tolerance = 4e-3;
  KMeansStart start = KMeansStart::automatic;
  /// A vector chooses as if its own codeword had been formed without it; false is Lloyd's iteration.
  bool leave_one_out = true;
  /// Stages code this many parts of the coordinates in turn, every how many-th one: in few dimensions many vectors per
  /// code are needed less and cells are better, but single stages and a beam gain less than with whole vectors. With 0
  /// each round takes what leaves least, per stage and greedily, of 1, 2, 4 and 8, judged by vectors held out.
  index_t subspaces = 1;
  /// The width of the beam that will encode. The reports tell its MSE; with a width above 1 the tables are then
  /// scaled for it when `scale` is set, and refined for its codes.
  index_t beam = 1;
  /// Scale all tables by a common factor and one per stage, chosen with vectors held out: with a beam the first stages
  /// may reach further. Only for beams above 1.
  bool scale = true;
  /// Rounds of encoding all vectors and moving all codewords to the least-squares solution for these codes.
  index_t refine_rounds = 0;
  /// Vectors added to every codeword in the refinement that ask for no change; negative: estimated from the data, so
  /// that a change is made as far as it is more than the noise of a mean.
  double ridge = -1.0;
  /// Share of the vectors held out when something is chosen with them.
  double validation_share = 0.1;
  /// Called after every stage.
  std::function<void(const StageTraining&)> on_stage;
};

template <PlainTensor V>
struct TrainedTables {
  std::vector<V> tables;              ///< [K_q, d] each
  std::vector<StageTraining> stages;  ///< one report each
  double mse = 0.0;                   ///< of the training vectors with all stages and the beam, per element
  std::vector<std::string> warnings;
};

namespace detail {

inline void check_train_tables(const std::vector<index_t>& codes, const TrainTablesOptions& o) {
  const char* name = "train_tables: ";
  if (codes.empty()) throw ArgumentError(std::string(name) + "no stages given; give the number of codes of each");
  for (const index_t k : codes)
    if (k < 1) throw ArgumentError(name + ("a stage needs at least one code, given " + std::to_string(k)));
  if (o.iterations < 0 || o.refine_rounds < 0 || o.beam < 1 || o.subspaces < 0)
    throw ArgumentError(std::string(name) +
                        "iterations, refine_rounds and subspaces must not be negative and beam must "
                        "be at least 1");
  if (!(o.validation_share > 0.0 && o.validation_share < 1.0) || o.ridge != o.ridge || !(o.tolerance >= 0.0))
    throw ArgumentError(std::string(name) +
                        "validation_share must lie between 0 and 1, ridge be a number and tolerance not be negative");
}

/// Every `parts`-th coordinate, from `part` on, of the rows of x.
template <PlainTensor V>
V coordinates(const V& x, index_t part, index_t parts) {
  if (parts == 1) return x.contiguous();
  const index_t d = divide_up(x.extent(1) - part, parts);
  return x.contiguous().view(Shape{x.extent(0), d}, Strides{x.extent(1), parts}, part).contiguous();
}

/// Codewords of every `parts`-th coordinate among zeros.
template <PlainTensor V>
V among_zeros(const V& codewords, index_t part, index_t parts, index_t d) {
  using T = typename V::Scalar;
  if (parts == 1) return codewords;
  const std::vector<T> values = codewords.to_vector();
  const index_t own = codewords.extent(1);
  std::vector<T> all(static_cast<std::size_t>(codewords.extent(0) * d), T(0));
  for (std::size_t i = 0; i < values.size(); ++i) {
    const auto row = static_cast<index_t>(i) / own, j = static_cast<index_t>(i) % own;
    all[static_cast<std::size_t>(row * d + part + j * parts)] = values[i];
  }
  return V::from(std::span<const T>(all), Shape{codewords.extent(0), d});
}

template <PlainTensor V>
V without_codewords(const V& x, const V& codewords) {
  return x - take(codewords, nearest_rows(x, codewords, half_squared_norms(codewords)).index);
}

/// Codewords for the rows of x.
template <PlainTensor V>
V train_stage(const V& x, index_t codes, const TrainTablesOptions& options, Key key,
              std::vector<std::string>& warnings) {
  KMeansOptions start;
  start.start = options.start;
  start.start_vectors_per_code = 16;
  Lloyd<V> lloyd(x, start_codewords(x, codes, start, key, warnings));
  double before = 0.0;
  for (index_t iteration = 0; iteration < options.iterations; ++iteration) {
    if (options.leave_one_out)
      lloyd.assign_leave_one_out();
    else
      lloyd.assign();
    lloyd.update();
    if (iteration > 1 && !(before - lloyd.mse() > options.tolerance * before)) break;
    before = lloyd.mse();
  }
  return lloyd.codewords();
}

template <PlainTensor V>
class TableTrainer {
 public:
  TableTrainer(const V& x, const std::vector<index_t>& codes, const TrainTablesOptions& options, Key key)
      : codes_(codes), options_(options), key_(key) {
    const bool holds_out = x.extent(0) >= 10 && (options.subspaces == 0 || (options.beam > 1 && options.scale));
    index_t held_out =
        holds_out ? static_cast<index_t>(options.validation_share * static_cast<double>(x.extent(0))) : 0;
    held_out = smaller(held_out, index_t{10000});
    if (held_out == 0) {
      x_ = x.contiguous();
    } else {
      std::vector<index_t> order = permutation(fold_in(key, 0), x.extent(0));
      const auto border = order.begin() + static_cast<std::ptrdiff_t>(held_out);
      held_out_ = rows_at(x, std::vector<index_t>(order.begin(), border));
      std::sort(border, order.end());
      x_ = rows_at(x, std::vector<index_t>(border, order.end()));
    }
    residual_ = x_;
    held_out_residual_ = held_out_;
  }

  TrainedTables<V> run() {
    const index_t d = x_.extent(1);
    index_t part = 0, parts = 1;
    for (std::size_t q = 0; q < codes_.size(); ++q) {
      const Key key = fold_in(key_, q + 1);
      std::vector<V> own;
      if (part == 0) parts = choose_subspaces(q, key, own);
      const V codewords = part == 0 && !own.empty() ? own.front()
                                                    : train_stage(coordinates(residual_, part, parts), codes_[q],
                                                                  options_, key, result_.warnings);
      accept(among_zeros(codewords, part, parts, d), parts);
      part = (part + 1) % parts;
    }
    if (options_.beam > 1 && options_.scale && held_out_.has_value())
      scale_tables(result_.tables, held_out_, options_.beam);
    for (index_t round = 0; round < options_.refine_rounds; ++round) {
      const auto codes = encode_residual(result_.tables, x_, options_.beam);
      refine_tables(result_.tables, x_, codes, options_.ridge);
    }
    if (options_.beam > 1 || options_.refine_rounds > 0)
      result_.mse = mean_error(encode_residual(result_.tables, x_, options_.beam));
    return std::move(result_);
  }

 private:
  double mean_error(const CodesOf<V>& codes) const {
    double sum = 0.0;
    for (const auto e : squared_errors(result_.tables, x_, codes).to_vector()) sum += static_cast<double>(e);
    return sum / static_cast<double>(x_.size());
  }

  /// How many parts the next round has. The codewords of its first stage come along where they were trained for that.
  index_t choose_subspaces(std::size_t stage, Key key, std::vector<V>& codewords) {
    const index_t d = x_.extent(1), left = static_cast<index_t>(codes_.size() - stage);
    if (options_.subspaces > 0) return smaller(options_.subspaces, smaller(left, d));
    index_t best = 1;
    double least = 0.0;
    for (const index_t parts : {1, 2, 4, 8}) {
      if (parts > left || parts > d) break;
      const V tried = train_stage(coordinates(residual_, 0, parts), codes_[stage], options_, key, result_.warnings);
      const V judged = coordinates(held_out_residual_, 0, parts);
      const double before = mean_square(judged);
      if (!(before > 0.0)) break;
      const double bits = std::log2(nearest_mse(judged, tried) / before) / static_cast<double>(parts);
      if (!codewords.empty() && !(bits < least)) break;
      best = parts;
      least = bits;
      codewords = {tried};
    }
    return best;
  }

  static double mean_square(const V& x) {
    double sum = 0.0;
    for (const auto value : x.to_vector()) sum += static_cast<double>(value) * static_cast<double>(value);
    return sum / static_cast<double>(x.size());
  }

  void accept(const V& table, index_t parts) {
    Lloyd<V> last(residual_, table);
    last.assign();
    residual_ = residual_ - take(table, last.codes());
    if (held_out_.has_value()) held_out_residual_ = without_codewords(held_out_residual_, table);
    StageTraining report;
    report.stage = static_cast<index_t>(result_.tables.size());
    report.subspaces = parts;
    report.mse = result_.mse = last.mse();
    report.unused = std::count(last.counts().begin(), last.counts().end(), index_t{0});
    result_.tables.push_back(table);
    result_.stages.push_back(report);
    if (options_.on_stage) options_.on_stage(report);
  }

  std::vector<index_t> codes_;
  TrainTablesOptions options_;
  Key key_;
  V x_, residual_, held_out_, held_out_residual_;
  TrainedTables<V> result_;
};

}  // namespace detail

/// Tables [K_q, d] of a residual quantizer for vectors x [n, d], with the numbers of codes per stage. Deterministic for
/// a key, for any number of threads. Throws as k_means, and ArgumentError for options outside their ranges.
template <PlainTensor V>
TrainedTables<V> train_tables(const V& x, const std::vector<index_t>& codes, const TrainTablesOptions& options,
                              Key key) {
  detail::check_vectors(x, "train_tables");
  detail::check_train_tables(codes, options);
  return detail::TableTrainer<V>(x, codes, options, key).run();
}

}  // namespace kolmo::rvq
