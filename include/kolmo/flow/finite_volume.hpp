#pragma once
// FiniteVolume: the Kolmogorov flow on a staggered grid, as in the data set of Rozet and Louppe (2023) made with the
// scheme of Kochkov et al. (2021): Van Leer limited advection of the velocity, explicit diffusion, forcing and drag,
// forward Euler, then a projection by FFT onto velocities free of divergence.
//
//   FiniteVolume<float> solver(KolmogorovOptions{});
//   auto x = filtered_velocity<Tensor<float, Cpu>>(solver.flow(), key);   // flow/filtered_noise.hpp
//   x = solver.transition(x, 0.2);                                        // 82 inner steps
//
// Velocities are [batch, 2, n, n] or [2, n, n]: u at ((i+1) h, (j+1/2) h), v at ((i+1/2) h, (j+1) h). The functions
// take tensors, jets and variables. One trajectory runs on one core; the bits do not depend on the number of threads.

#include <kolmo/backend/cpu.hpp>
#include <kolmo/backend/parts.hpp>
#include <kolmo/flow/finite_volume_adjoint.hpp>
#include <kolmo/flow/finite_volume_run.hpp>

namespace kolmo::flow {

template <class T, class B = Cpu>
class FiniteVolume {
 public:
  /// Throws ArgumentError for options out of their domain.
  explicit FiniteVolume(const KolmogorovOptions& flow = {}, const FiniteVolumeOptions& options = {}) {
    validate(flow);
    const auto require = [](bool good, const std::string& what) {
      if (!good) throw ArgumentError("FiniteVolumeOptions: " + what);
    };
    require(options.courant > 0 && options.courant <= 1,
            "courant must be in (0, 1], given " + std::to_string(options.courant));
    require(options.assumed_speed > 0 && is_finite(options.assumed_speed),
            "assumed_speed must be positive and finite, given " + std::to_string(options.assumed_speed));
    require(options.stored_steps >= 1,
            "stored_steps must be at least 1, given " + std::to_string(options.stored_steps));
    core_ = std::make_shared<const Core>(flow, options);
  }

  const KolmogorovOptions& flow() const { return core_->flow; }
  const FiniteVolumeOptions& options() const { return core_->options; }

  /// The longest inner step by the rule courant h / assumed_speed.
  double stable_step() const { return options().courant * flow().spacing() / options().assumed_speed; }

  /// Equal inner steps that a step of length dt is cut into by the rule. Throws ArgumentError unless dt is positive,
  /// and where explicit diffusion needs shorter steps than the rule gives.
  index_t inner_steps(double dt) const {
    require_step(dt, 1);
    if (dt < stable_step()) {
      require_diffusion(dt);
      return 1;
    }
    const double count = std::ceil(dt / stable_step());
    if (!(count < 1e12))
      throw ArgumentError("FiniteVolume: dt = " + io::to_text(dt, 5) + " would be cut into " + io::to_text(count, 5) +
                          " inner steps; give a shorter one");
    require_diffusion(dt / count);
    return static_cast<index_t>(count);
  }

  /// x after one inner step of length dt. Throws ShapeError unless x is [batch, 2, size, size] or [2, size, size],
  /// ArgumentError for a dt that is not positive or too long for explicit diffusion, and UnstableStep where the Courant
  /// number dt (|u| + |v|) / h of a cell is above 1 or a value is not finite.
  template <TensorLike X>
  auto step(const X& x, double dt) const {
    return transition(x, dt, 1);
  }

  /// x after the time dt, in `steps` equal inner steps; as many as the rule gives unless told. Throws as `step` does.
  template <TensorLike X>
  auto transition(const X& x, double dt, index_t steps = 0) const {
    using V = ValueOf<X>;
    static_assert(std::is_same_v<typename V::Base, Tensor<T, B>>,
                  "the solver and the velocity must have one scalar and one backend");
    if (steps == 0) steps = inner_steps(dt);
    require_step(dt, steps);
    require_diffusion(dt / static_cast<double>(steps));
    require_shape(x.shape());
    const V plain = value(x);
    return record(advance(plain, dt / static_cast<double>(steps), steps),
                  detail::FiniteVolumePullBack<T, B, V>{core_, plain, dt / static_cast<double>(steps), steps}, x);
  }

 private:
  using Core = detail::FiniteVolumeCore<T, B>;

  template <Value V>
  V advance(const V& x, double dt, index_t steps) const {
    if constexpr (JetLike<V>)
      return kolmo::detail::unzip_dual(advance_plain(kolmo::detail::zip_dual(x), dt, steps));
    else
      return advance_plain(x.contiguous(), dt, steps);
  }

  template <class S>
  Tensor<S, B> advance_plain(const Tensor<S, B>& x, double dt, index_t steps) const {
    auto y = Tensor<S, B>::uninitialized(x.shape());
    const index_t cells = 2 * flow().size * flow().size;
    const S* source = x.data();
    S* target = y.mutable_data();
    const Core& core = *core_;
    kolmo::detail::for_each_part<B>(x.size() / cells, [&](index_t begin, index_t count) {
      detail::FiniteVolumeRun<T, B, S> run(core, count, dt);
      auto a = run.state(), b = run.state();
      S *now = a.mutable_data(), *next = b.mutable_data();
      run.load(source + begin * cells, now);
      run.watch(now, 0);
      for (index_t s = 1; s <= steps; ++s) {
        run.step(now, next, s, s == steps);
        std::swap(now, next);
      }
      run.check(begin, x.size() / cells);
      run.store(now, target + begin * cells);
    });
    return y;
  }

  void require_step(double dt, index_t steps) const {
    if (!(dt > 0) || !is_finite(dt))
      throw ArgumentError("FiniteVolume: dt must be positive and finite, given " + std::to_string(dt));
    if (steps < 1)
      throw ArgumentError("FiniteVolume: the number of inner steps must be at least 1, given " + std::to_string(steps));
  }

  void require_diffusion(double dt) const {
    const double h = flow().spacing(), limit = h * h / (4 * flow().viscosity());
    if (!options().implicit_diffusion && dt > limit)
      throw ArgumentError("FiniteVolume: explicit diffusion is stable up to steps of " + std::to_string(limit) +
                          " (h^2 / 4 nu), given " + std::to_string(dt) +
                          "; take more inner steps (or a larger assumed_speed), or implicit_diffusion");
  }

  void require_shape(const Shape& shape) const {
    const index_t n = flow().size;
    const bool fits = (shape.rank() == 3 || shape.rank() == 4) && shape[-1] == n && shape[-2] == n && shape[-3] == 2;
    if (!fits)
      throw ShapeError("FiniteVolume: expected velocities of shape [batch, 2, " + std::to_string(n) + ", " +
                       std::to_string(n) + "] or [2, " + std::to_string(n) + ", " + std::to_string(n) + "], given " +
                       shape.to_string());
  }

  std::shared_ptr<const Core> core_;
};

}  // namespace kolmo::flow
