#pragma once
// Speech-like sound: syllables of a voice whose pitch walks between 80 and 300 Hz, its thirty harmonics shaped by four
// formants that glide from vowel to vowel; hissing and bursting consonants of band-passed noise; pauses.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

#include "sound_parts.hpp"

namespace sound {

namespace detail {

inline constexpr std::size_t formant_count = 4;

/// What the voice does for a while.
struct Segment {
  double seconds = 0;
  double voice = 0;   ///< amplitude of the harmonics
  double breath = 0;  ///< of noise that goes through the formants
  double hiss = 0;    ///< of noise that does not
  double formants[formant_count]{};
  double hiss_centre = 4000, hiss_width = 2000;
  bool burst = false;  ///< the hiss dies away after its start
};

struct Voice {
  double pitch, range, tract, tilt, pace;
  explicit Voice(Draws& draws)
      : pitch(draws.log_uniform(95, 240)),
        range(draws.uniform(0.08, 0.22)),
        tract(draws.uniform(0.88, 1.16)),
        tilt(draws.uniform(1.0, 1.5)),
        pace(draws.uniform(0.75, 1.3)) {}
};

/// Appends a syllable: perhaps a pause, perhaps a consonant, and a vowel.
inline void add_syllable(std::vector<Segment>& segments, const Voice& voice, Draws& draws) {
  Segment vowel;
  // The ranges of the vowels of many speakers, lowest formant first.
  const double ranges[formant_count][2] = {{260, 850}, {750, 2400}, {2200, 3100}, {3200, 4200}};
  for (std::size_t f = 0; f < formant_count; ++f)
    vowel.formants[f] = voice.tract * draws.uniform(ranges[f][0], ranges[f][1]);
  if (draws.chance(0.12)) {
    Segment pause = vowel;
    pause.seconds = draws.uniform(0.06, 0.3);
    segments.push_back(pause);
  }
  const double kind = draws.uniform(0, 1);
  Segment consonant = vowel;
  if (kind < 0.3) {  // as s, sh, f, z
    consonant.seconds = draws.uniform(0.05, 0.14) * voice.pace;
    consonant.hiss = draws.log_uniform(0.15, 0.6);
    consonant.hiss_centre = draws.log_uniform(1800, 6500);
    consonant.hiss_width = consonant.hiss_centre * draws.uniform(0.2, 0.8);
    if (draws.chance(0.3)) consonant.voice = 0.25;
    segments.push_back(consonant);
  } else if (kind < 0.55) {  // as p, t, k
    consonant.seconds = draws.uniform(0.03, 0.07) * voice.pace;
    segments.push_back(consonant);
    consonant.seconds = draws.uniform(0.02, 0.05);
    consonant.burst = true;
    consonant.hiss = draws.log_uniform(0.4, 1.5);
    consonant.hiss_centre = draws.log_uniform(700, 4500);
    consonant.hiss_width = consonant.hiss_centre * draws.uniform(0.4, 1.0);
    segments.push_back(consonant);
  } else if (kind < 0.75) {  // as m, n, l
    consonant.seconds = draws.uniform(0.05, 0.1) * voice.pace;
    consonant.voice = draws.uniform(0.2, 0.45);
    consonant.formants[0] = voice.tract * draws.uniform(240, 320);
    segments.push_back(consonant);
  }
  vowel.seconds = draws.uniform(0.07, 0.24) * voice.pace;
  vowel.voice = draws.log_uniform(0.55, 1.2);
  vowel.breath = draws.log_uniform(0.02, 0.2);
  segments.push_back(vowel);
  if (draws.chance(0.35)) {  // glides on to a second vowel
    for (std::size_t f = 0; f < formant_count; ++f)
      vowel.formants[f] = 0.5 * (vowel.formants[f] + voice.tract * draws.uniform(ranges[f][0], ranges[f][1]));
    vowel.seconds *= 0.7;
    segments.push_back(vowel);
  }
}

/// Sum over k of weight_k sin(k phase), by the recurrence sin(k+1)p = 2 cos p sin kp - sin(k-1)p.
inline double harmonics(double phase, const std::vector<double>& weights) {
  const double twice = 2 * kolmo::cos(phase);
  double before = 0, now = kolmo::sin(phase), sum = 0;
  for (const double weight : weights) {
    sum += weight * now;
    const double next = twice * now - before;
    before = now;
    now = next;
  }
  return sum;
}

}  // namespace detail

/// `samples` samples of one speaker, of root mean square 1.
inline std::vector<double> speech(index_t samples, double rate, Key key) {
  using namespace detail;
  const auto keys = kolmo::split<4>(key);
  Draws draws(keys.elements[0]), walk(keys.elements[1]), noise(keys.elements[2]), hiss_noise(keys.elements[3]);
  const Voice voice(draws);
  const auto n = static_cast<std::size_t>(samples);
  // The sound sets in somewhere in its first syllable, so that crops are not all beginnings.
  const auto skipped = static_cast<std::size_t>(draws.uniform(0, 0.25) * rate);

  // Controls change a thousand times a second and follow their targets with the inertia of a mouth.
  const auto block = static_cast<std::size_t>(std::max(1.0, rate / 1000));
  const double seconds = static_cast<double>(block) / rate;
  const double mouth = 1 - kolmo::exp(-seconds / 0.022), throat = 1 - kolmo::exp(-seconds / 0.009);
  Segment now;
  std::vector<Segment> segments;
  add_syllable(segments, voice, draws);
  for (std::size_t f = 0; f < formant_count; ++f) now.formants[f] = segments[0].formants[f];
  const double widths[formant_count] = {70, 100, 150, 220};
  Resonator formants[formant_count], band;
  std::vector<double> weights(30), voiced(n), hissed(n);
  double log_pitch = 0, speed = 0, pitch = voice.pitch, phase = 0, left = segments[0].seconds;
  std::size_t at = 0;
  for (std::size_t i = 0; i < n + skipped; ++i) {
    if (i % block == 0) {
      left -= seconds;
      if (left <= 0) {
        if (++at == segments.size()) add_syllable(segments, voice, draws);
        left = segments[at].seconds;
        now.hiss_centre = segments[at].hiss_centre;
        now.hiss_width = segments[at].hiss_width;
        // A noise the band of which reaches the end of the spectrum would fold back.
        band.band_pass(std::min(now.hiss_centre, 0.42 * rate), now.hiss_width, rate);
        if (segments[at].burst) now.hiss = segments[at].hiss;
      }
      const Segment& target = segments[at];
      now.voice += throat * (target.voice - now.voice);
      now.breath += throat * (target.breath - now.breath);
      now.hiss += (target.burst ? mouth : throat) * ((target.burst ? 0 : target.hiss) - now.hiss);
      for (std::size_t f = 0; f < formant_count; ++f) {
        now.formants[f] += mouth * (target.formants[f] - now.formants[f]);
        formants[f].formant(std::min(now.formants[f], 0.45 * rate), widths[f], rate);
      }
      // The logarithm of the pitch: a walk whose speed changes at random, drawn back to the speaker's own.
      speed += seconds * (-speed / 0.08 - 60 * log_pitch) + std::sqrt(seconds) * 9.0 * voice.range * walk.normal() * 2;
      log_pitch += seconds * speed;
      pitch = std::clamp(voice.pitch * kolmo::exp(log_pitch), 80.0, 300.0);
      for (std::size_t k = 0; k < weights.size(); ++k) {
        const double order = static_cast<double>(k + 1);
        const double room = std::clamp((0.48 * rate - order * pitch) / (0.04 * rate), 0.0, 1.0);
        weights[k] = room * kolmo::exp(-voice.tilt * kolmo::log(order));
      }
    }
    phase += 2 * pi * pitch / rate;
    if (phase > 2 * pi) phase -= 2 * pi;
    // Breath comes with the opening of the glottis, once a period.
    double source = now.voice * harmonics(phase, weights) + now.breath * (1 + kolmo::sin(phase)) * noise.noise();
    for (Resonator& formant : formants) source = formant(source);
    const double hiss = now.hiss * band(hiss_noise.noise());
    if (i < skipped) continue;
    voiced[i - skipped] = source;
    hissed[i - skipped] = hiss;
  }
  set_level(voiced, 1);
  for (std::size_t i = 0; i < n; ++i) voiced[i] += hissed[i];
  set_level(voiced, 1);
  return voiced;
}

}  // namespace sound
