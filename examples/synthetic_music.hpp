#pragma once
// Music-like sound: chords and a melody of tones whose partials decay each at its own speed (plucked strings, bells)
// or are held under an envelope (organ, strings), a bass, and a drum set of swept tones and bursts of noise.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

#include "sound_parts.hpp"

namespace sound {

namespace detail {

enum class Timbre { plucked, bell, organ, strings };

struct Note {
  double start = 0, seconds = 0;  ///< may start before the sound does
  double frequency = 0, amplitude = 0;
  Timbre timbre = Timbre::plucked;
};

/// Adds amplitude * e^(-t / decay) * envelope(t) * sin(2 pi frequency t) from the note's start on.
inline void add_partial(std::vector<double>& out, double rate, const Note& note, double frequency, double amplitude,
                        double decay, double phase) {
  if (frequency > 0.46 * rate) return;
  const bool held = note.timbre == Timbre::organ || note.timbre == Timbre::strings;
  const double attack = note.timbre == Timbre::strings ? 0.08 : note.timbre == Timbre::organ ? 0.02 : 0.002;
  const double release = held ? 0.1 : 0.03;
  // After nine decay times a partial is 78 dB down.
  const double end = std::min(note.seconds + release, 9 * decay);
  const index_t first = std::max<index_t>(0, static_cast<index_t>(std::ceil(note.start * rate)));
  const index_t last = std::min(static_cast<index_t>(out.size()), static_cast<index_t>((note.start + end) * rate));
  if (first >= last) return;
  // The decaying oscillation is one complex product a sample.
  const double begin = static_cast<double>(first) / rate - note.start, size = amplitude * kolmo::exp(-begin / decay);
  double re = size * kolmo::cos(2 * pi * frequency * begin + phase);
  double im = size * kolmo::sin(2 * pi * frequency * begin + phase);
  const double shrink = kolmo::exp(-1 / (decay * rate));
  const double turn_re = shrink * kolmo::cos(2 * pi * frequency / rate);
  const double turn_im = shrink * kolmo::sin(2 * pi * frequency / rate);
  for (index_t i = first; i < last; ++i) {
    const double t = static_cast<double>(i) / rate - note.start;
    const double envelope = std::min(1.0, t / attack) * std::clamp((end - t) / release, 0.0, 1.0);
    out[static_cast<std::size_t>(i)] += envelope * im;
    const double next = re * turn_re - im * turn_im;
    im = re * turn_im + im * turn_re;
    re = next;
  }
}

inline void add_note(std::vector<double>& out, double rate, const Note& note, Draws& draws) {
  // A struck bell: partials where a circular plate has them, not at multiples.
  constexpr double bell[] = {0.5, 1, 1.19, 1.56, 2, 2.51, 2.66, 3.01, 4.1};
  const bool held = note.timbre == Timbre::organ || note.timbre == Timbre::strings;
  const double slope = draws.uniform(0.8, 1.6), stiffness = note.timbre == Timbre::plucked ? 3e-4 : 0;
  const double decay = held ? 1e3 : draws.uniform(0.3, 1.2) * std::sqrt(220 / note.frequency);
  const int partials = note.timbre == Timbre::bell ? 9 : 16;
  for (int k = 1; k <= partials; ++k) {
    const double order = k,
                 ratio = note.timbre == Timbre::bell ? bell[k - 1] : order * std::sqrt(1 + stiffness * order * order);
    double amplitude = note.amplitude * kolmo::exp(-slope * kolmo::log(order));
    if (note.timbre == Timbre::organ && (k & (k - 1)) != 0) amplitude *= 0.15;  // octaves stand out
    const double own_decay = held ? decay : decay / (0.5 + 0.5 * order);
    add_partial(out, rate, note, note.frequency * ratio, amplitude, own_decay, draws.uniform(0, 2 * pi));
    // A second player, slightly out of tune, makes the strings beat.
    if (note.timbre == Timbre::strings)
      add_partial(out, rate, note, note.frequency * ratio * 1.003, amplitude, own_decay, draws.uniform(0, 2 * pi));
  }
}

/// A drum: a tone that falls from `high` to `low` Hz and band-passed noise, both dying away.
struct Drum {
  double start, high, low, tone, noise, centre, width, decay;
};

inline void add_drum(std::vector<double>& out, double rate, const Drum& drum, Draws& noise) {
  Resonator band;
  band.band_pass(std::min(drum.centre, 0.42 * rate), drum.width, rate);
  double phase = 0;
  const auto first = static_cast<index_t>(std::ceil(drum.start * rate));
  const auto count = static_cast<index_t>(6 * drum.decay * rate);
  for (index_t j = 0; j < count && first + j < static_cast<index_t>(out.size()); ++j) {
    const double t = static_cast<double>(j) / rate;
    phase += 2 * pi * (drum.low + (drum.high - drum.low) * kolmo::exp(-t / 0.03)) / rate;
    const double envelope = std::min(1.0, t / 0.001) * kolmo::exp(-t / drum.decay);
    const double value = envelope * (drum.tone * kolmo::sin(phase) + drum.noise * band(noise.noise()));
    if (first + j >= 0) out[static_cast<std::size_t>(first + j)] += value;
  }
}

}  // namespace detail

/// `samples` samples of one piece, of root mean square 1.
inline std::vector<double> music(index_t samples, double rate, Key key) {
  using namespace detail;
  const auto keys = kolmo::split<3>(key);
  Draws draws(keys.elements[0]), tones(keys.elements[1]), noise(keys.elements[2]);
  std::vector<double> out(static_cast<std::size_t>(samples));
  const double length = static_cast<double>(samples) / rate, beat = 60 / draws.uniform(70, 150);
  const bool minor = draws.chance(0.4), drums = draws.chance(0.6);
  const double root = 55 * kolmo::exp(draws.uniform(0, 1) * kolmo::log(2.0));
  const int major_scale[] = {0, 2, 4, 5, 7, 9, 11}, minor_scale[] = {0, 2, 3, 5, 7, 8, 10};
  const auto pitch = [&](index_t degree) {
    const int semitones = static_cast<int>(degree / 7) * 12 + (minor ? minor_scale : major_scale)[degree % 7];
    return root * kolmo::exp(semitones * kolmo::log(2.0) / 12);
  };
  const auto timbre = [&] { return static_cast<Timbre>(draws.below(4)); };
  const Timbre chord_timbre = timbre(), melody_timbre = timbre();
  const index_t harmony[] = {0, 3, 4, 5, 1};
  index_t degree = 14 + draws.below(7);
  // It has been playing for four beats when the sound sets in, at any place of the bar.
  index_t count = draws.below(4);
  for (double t = -(4 + draws.uniform(0, 1)) * beat; t < length; t += beat, ++count) {
    if (count % 4 == 0 || draws.chance(0.2)) {
      const index_t base = harmony[draws.below(5)];
      for (const index_t step : {0, 2, 4})
        add_note(out, rate, {t, beat * draws.uniform(1.5, 3.8), pitch(base + step + 7), 0.35, chord_timbre}, tones);
      add_note(out, rate, {t, beat * draws.uniform(0.8, 1.8), pitch(base), 0.7, Timbre::plucked}, tones);
    }
    const index_t parts = draws.chance(0.5) ? 1 : draws.chance(0.6) ? 2 : 4;
    for (index_t p = 0; p < parts; ++p) {
      degree = std::clamp<index_t>(degree + draws.below(5) - 2, 10, 24);
      const double seconds = beat / static_cast<double>(parts);
      if (draws.chance(0.85))
        add_note(out, rate,
                 {t + static_cast<double>(p) * seconds, 0.9 * seconds, pitch(degree), draws.uniform(0.3, 0.8),
                  melody_timbre},
                 tones);
    }
    if (!drums) continue;
    if (count % 2 == 0) add_drum(out, rate, {t, 160, 48, 1.2, 0.05, 3000, 2000, 0.09}, noise);
    if (count % 2 == 1) add_drum(out, rate, {t, 240, 180, 0.4, 1.2, 2200, 2500, 0.06}, noise);
    for (const double half : {0.0, 0.5})
      add_drum(out, rate, {t + half * beat, 100, 100, 0, draws.uniform(0.2, 0.7), 6400, 2500, 0.02}, noise);
  }
  set_level(out, 1);
  return out;
}

}  // namespace sound
