#pragma once
// Bodies as the text that geometry_file.hpp reads: all points one by one, so that every number comes back as it was.

#include <string>
#include <variant>
#include <vector>

#include <kolmo/flow/geometry_file.hpp>

namespace kolmo::flow {

namespace detail {

/// The motion command of each motion. Throws ArgumentError for one that the format has no command for.
struct MotionText {
  std::string operator()(const FixedPosition& m) const {
    return m.x == 0 && m.y == 0 && m.angle == 0 ? "" : "fixed" + numbers({m.x, m.y, m.angle});
  }
  std::string operator()(const FixedVelocity& m) const {
    return "fixedvel" + numbers({m.velocity_x, m.velocity_y, m.angular_velocity});
  }
  std::string operator()(const PitchPlunge& m) const {
    return "pitchplunge" + numbers({m.pitch_amplitude, m.pitch_frequency, m.pitch_phase, m.plunge_amplitude,
                                    m.plunge_frequency, m.plunge_phase});
  }
  std::string operator()(const SigmoidalStep& m) const {
    require(m.x == 0 && m.y == 0, "sigmoidal steps of the position");
    return "sigmoidalstep" + numbers({m.angle / geometry_degree, m.duration, m.start});
  }
  std::string operator()(const LaggedStep& m) const {
    require(m.x == 0 && m.y == 0, "lagged steps of the position");
    return (m.order == 1 ? "lagstep1" : "lagstep2") +
           numbers({m.angle / geometry_degree, m.width, m.time_constant, m.start});
  }
  std::string operator()(const EldredgeManoeuvre& m) const {
    require(m.x == 0 && (m.y == 0 || m.angle == 0), "manoeuvres of more than one of y and the angle");
    return m.angle != 0 ? "eldredge" + ramp(m.angle / geometry_degree, m) : "eldredge1" + ramp(m.y, m);
  }
  std::string operator()(const EldredgePitchPlunge& m) const {
    return "eldredgecombined2" + ramp(m.speed.y, m.speed) + ramp(m.pitch.angle / geometry_degree, m.pitch);
  }
  std::string operator()(const MotionTable&) const {
    throw ArgumentError(
        "a table of motions is a file of its own in this format; write it and name it by motion motionfile");
  }

 private:
  static void require(bool good, const char* what) {
    if (!good)
      throw ArgumentError(std::string("the geometry format has no command for ") + what + "; use a motion file");
  }
  static std::string numbers(const std::vector<double>& values) {
    std::string text;
    for (const double value : values) text += " " + io::to_text(value);
    return text;
  }
  static std::string ramp(double amplitude, const EldredgeManoeuvre& m) {
    return numbers({amplitude, m.sharpness, m.t1, m.t2, m.t3, m.t4});
  }
};

}  // namespace detail

/// The text of a geometry file. Throws ArgumentError for a motion that the format cannot say.
inline std::string to_geometry(const std::vector<Body>& bodies) {
  std::string text;
  for (const Body& body : bodies) {
    text += "body " + body.name + "\n";
    for (std::size_t k = 0; k < body.x.size(); ++k)
      text += "  point " + io::to_text(body.x[k]) + " " + io::to_text(body.y[k]) + "\n";
    text += "  center " + io::to_text(body.centre_x) + " " + io::to_text(body.centre_y) + "\n";
    const std::string motion = std::visit(detail::MotionText{}, body.motion);
    if (!motion.empty()) text += "  motion " + motion + "\n";
    text += "end\n";
  }
  return text;
}

}  // namespace kolmo::flow
