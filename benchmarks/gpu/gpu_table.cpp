// The report of gpu_report: reads the JSON lines that its parts wrote and prints Markdown, the goals first, then every
// row with its share of the measured ceilings and the peers beside it.
//
//   gpu_table FILE...

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include <kolmo/io/json.hpp>

namespace {

using kolmo::io::JsonValue;

/// One measured row of one library.
struct Row {
  std::string name, who, unit, note, against, failed, left_out;
  double seconds = 0, low = 0, high = 0, bytes = 0, flops = 0, items = 0, error = 0, tolerance = 0;
  bool tiny = false;

  /// A trial run measures nothing.
  bool measured() const { return seconds > 0 && failed.empty() && left_out.empty() && !tiny; }
  double per_item() const { return seconds / (items > 0 ? items : 1); }
};

/// A build, a test program, a run of a sanitizer, a line about the machine.
struct Step {
  std::string step, name, text;
  double seconds = 0;
  int status = 0;
  bool left_out = false;
};

std::string text_of(const JsonValue& object, const char* key) {
  const JsonValue* found = object.find(key);
  const auto* text = found ? std::get_if<std::string>(&found->value) : nullptr;
  return text ? *text : "";
}
double number_of(const JsonValue& object, const char* key) {
  const JsonValue* found = object.find(key);
  if (!found) return 0;
  if (const auto* whole = std::get_if<std::int64_t>(&found->value)) return static_cast<double>(*whole);
  const auto* number = std::get_if<double>(&found->value);
  return number ? *number : 0;
}
bool flag_of(const JsonValue& object, const char* key) {
  const JsonValue* found = object.find(key);
  const auto* flag = found ? std::get_if<bool>(&found->value) : nullptr;
  return flag && *flag;
}

std::string format(const char* how, double value) {
  char text[64];
  std::snprintf(text, sizeof(text), how, value);
  return text;
}
std::string time_text(double seconds) {
  if (!(seconds > 0)) return "";
  if (seconds < 1e-3) return format("%.3g us", 1e6 * seconds);
  if (seconds < 1) return format("%.3g ms", 1e3 * seconds);
  return format(seconds < 100 ? "%.3g s" : "%.0f s", seconds);
}
std::string percent(double share) { return format("%.0f %%", 100 * share); }

class Report {
 public:
  void read(const std::string& path) {
    std::ifstream file(path);
    for (std::string line; std::getline(file, line);) {
      if (line.empty() || line[0] != '{') continue;
      try {
        take(kolmo::io::parse_json(line, path));
      } catch (const kolmo::Error&) {
        ++broken_lines_;  // a program was stopped while it wrote
      }
    }
  }

  void print() const {
    std::printf("# kolmo on a GPU\n\n");
    for (const Step& s : steps_)
      if (s.step == "machine") std::printf("- %s: %s\n", s.name.c_str(), s.text.c_str());
    if (std::any_of(rows_.begin(), rows_.end(), [](const Row& r) { return r.tiny; }))
      std::printf("\n**Sizes of a trial run (--tiny): no figure below says anything about speed.**\n");
    std::printf(
        "\nMedians. The bound of a row is the larger of its bytes over the measured copy bandwidth and its operations "
        "over the measured rate of products; the share is bound over time. Ceilings measured here:\n\n");
    for (const char* name : {"copy", "bf16", "tf32", "float", "double"}) {
      const Row* row = find(std::string("ceiling/") + name, "kolmo");
      if (row && row->measured())
        std::printf("- %s: %s\n", name,
                    row->bytes > 0 ? format("%.0f GB/s", row->bytes / row->seconds * 1e-9).c_str()
                                   : format("%.1f TFLOP/s", row->flops / row->seconds * 1e-12).c_str());
      else
        std::printf("- %s: not measured\n", name);
    }
    print_goals();
    print_rows();
    print_steps("build", "Builds", "seconds");
    print_steps("test", "Tests", "seconds");
    print_steps("sanitize", "compute-sanitizer", "seconds");
    print_left_out();
  }

  /// Whether something that ran went wrong.
  bool failed() const {
    return broken_lines_ > 0 ||
           std::any_of(rows_.begin(), rows_.end(), [](const Row& r) { return !r.failed.empty(); }) ||
           std::any_of(steps_.begin(), steps_.end(),
                       [](const Step& s) { return s.status != 0 && s.status != 77 && !s.left_out; });
  }

 private:
  void take(const JsonValue& v) {
    if (v.find("row")) {
      Row r;
      r.name = text_of(v, "row");
      r.who = text_of(v, "who");
      r.unit = text_of(v, "unit");
      r.note = text_of(v, "note");
      r.against = text_of(v, "against");
      r.failed = text_of(v, "failed");
      r.left_out = text_of(v, "left_out");
      r.seconds = number_of(v, "seconds");
      r.low = number_of(v, "low");
      r.high = number_of(v, "high");
      r.bytes = number_of(v, "bytes");
      r.flops = number_of(v, "flops");
      r.items = number_of(v, "items");
      r.error = number_of(v, "error");
      r.tolerance = number_of(v, "tolerance");
      r.tiny = flag_of(v, "tiny");
      rows_.push_back(r);
    } else if (v.find("step")) {
      const bool left_out = v.find("left_out") != nullptr;
      steps_.push_back({text_of(v, "step"), text_of(v, "name"), left_out ? text_of(v, "left_out") : text_of(v, "text"),
                        number_of(v, "seconds"), static_cast<int>(number_of(v, "status")), left_out});
    }
  }

  const Row* find(const std::string& name, const std::string& who) const {
    for (const Row& r : rows_)
      if (r.name == name && r.who.starts_with(who)) return &r;
    return nullptr;
  }

  /// Seconds that the row takes at least on this machine; none without the ceilings it needs.
  std::optional<double> bound(const Row& r) const {
    double least = 0;
    if (r.bytes > 0) {
      const Row* copy = find("ceiling/copy", "kolmo");
      if (!copy || !copy->measured()) return {};
      least = r.bytes * copy->seconds / copy->bytes;
    }
    if (r.flops > 0) {
      const Row* rate = find("ceiling/" + r.unit, "kolmo");
      if (!rate || !rate->measured()) return {};
      least = std::max(least, r.flops * rate->seconds / rate->flops);
    }
    if (!(least > 0)) return {};
    return least;
  }

  /// The row of kolmo with this beginning that takes the least time.
  const Row* fastest(const std::string& beginning, const std::string& who = "kolmo") const {
    const Row* best = nullptr;
    for (const Row& r : rows_)
      if (r.measured() && r.who == who && r.name.starts_with(beginning) && (!best || r.per_item() < best->per_item()))
        best = &r;
    return best;
  }
  /// The fastest row of another library of the same name.
  const Row* peer(const std::string& name) const {
    const Row* best = nullptr;
    for (const Row& r : rows_)
      if (r.measured() && r.who != "kolmo" && r.name == name && (!best || r.per_item() < best->per_item())) best = &r;
    return best;
  }

  static const char* verdict(bool reached) { return reached ? "reach" : "miss"; }

  static void goal_line(const std::string& what, const std::string& bound, const std::string& reach,
                        const std::string& measured, const std::string& share, const std::string& beside,
                        const std::string& outcome) {
    std::printf("| %s | %s | %s | %s | %s | %s | %s |\n", what.c_str(), bound.c_str(), reach.c_str(), measured.c_str(),
                share.c_str(), beside.c_str(), outcome.c_str());
  }

  std::string share_text(const Row* r) const {
    const auto least = r ? bound(*r) : std::optional<double>();
    return least ? percent(*least / r->seconds) : "";
  }
  std::string bound_text(const Row* r) const {
    if (!r) return "";
    std::string text;
    if (r->flops > 0) text += format("%.3g GFLOP", 1e-9 * r->flops) + " " + r->unit;
    if (r->bytes > 0) text += (text.empty() ? "" : ", ") + format("%.3g GB", 1e-9 * r->bytes);
    const auto least = bound(*r);
    return least ? text + ": " + time_text(*least) : text;
  }

  /// At least `reach` of the bound for every row of a group; the worst is shown.
  void bandwidth_goal(const std::string& what, const std::vector<std::string>& names) const {
    const Row* worst = nullptr;
    double least_share = 0;
    bool complete = true;
    for (const std::string& name : names) {
      const Row* r = find(name, "kolmo");
      const auto least = r && r->measured() ? bound(*r) : std::optional<double>();
      complete = complete && least.has_value();
      if (!least) continue;
      const double share = *least / r->seconds;
      if (worst && share >= least_share) continue;
      worst = r;
      least_share = share;
    }
    goal_line(what, bound_text(worst), ">= 90 % of the copy",
              worst ? time_text(worst->seconds) + " (" + worst->name + ")" : "", worst ? percent(least_share) : "", "",
              !worst                            ? "not measured"
              : !complete && least_share >= 0.9 ? "incomplete"
                                                : verdict(least_share >= 0.9));
  }

  /// At least `factor` times the speed of the fastest peer, per item.
  void peer_goal(const std::string& what, const std::string& row, double factor) const {
    const Row* ours = fastest(row);
    const Row* theirs = peer(row);
    const double ratio = ours && theirs ? theirs->per_item() / ours->per_item() : 0;
    goal_line(
        what, bound_text(ours), format(">= %.3g x", factor), ours ? time_text(ours->seconds) : "", share_text(ours),
        theirs ? theirs->who + ": " + time_text(theirs->seconds) + (ours ? format(", %.2f x", ratio) : "") : "none",
        !ours     ? "not measured"
        : !theirs ? "no peer"
                  : verdict(ratio >= factor));
  }

  void time_goal(const std::string& what, const std::string& row, const std::string& reach, double most,
                 bool per_item) const {
    const Row* ours = fastest(row);
    // A whole run stands before one that was extrapolated.
    for (const Row& r : rows_)
      if (r.measured() && r.who == "kolmo" && r.name == row) ours = &r;
    const double value = ours ? (per_item ? ours->per_item() : ours->seconds) : 0;
    const bool guessed = ours && ours->name.ends_with("extrapolated");
    goal_line(
        what, bound_text(ours), reach,
        ours ? (per_item ? format("%.3g us", 1e6 * value) : time_text(value)) + (guessed ? ", extrapolated" : "") : "",
        share_text(ours), "", !ours ? "not measured" : verdict(value <= most));
  }

  void print_goals() const {
    std::printf(
        "\n## Numbers to reach\n\n| what | least work: bound | goal | measured | share of the bound | peer | verdict "
        "|\n"
        "|---|---|---|---|---|---|---|\n");
    bandwidth_goal("elementwise over 1 GB",
                   {"memory/map of one tensor", "memory/x y + z", "memory/exp", "memory/rows + bias"});
    bandwidth_goal("reduce over 1 GB",
                   {"memory/sum of all", "memory/maximum of all", "memory/sums of rows", "memory/sums of columns"});
    bandwidth_goal("scan over 1 GB", {"memory/running sum of all", "memory/running sums of rows"});
    peer_goal("U-Net training step, batch 32, bf16", "U-Net/bf16/training step, batch 32", 1.2);
    peer_goal("U-Net training step, batch 32, TF32", "U-Net/TF32/training step, batch 32", 1.2);
    const Row* step = fastest("U-Net/bf16/training step, batch 32");
    const double recipe = step ? 4096 * 26 * step->seconds : 0;
    goal_line("Kolmogorov recipe, 4096 epochs x 26 batches", "293 PFLOP", "<= 30 min, validation loss <= .0059",
              step ? format("%.1f min for the steps, extrapolated from one", recipe / 60) : "", "",
              "28.4 h, as published",
              !step            ? "not measured"
              : recipe <= 1800 ? "the loss is not measured here"
                               : verdict(false));
    peer_goal("guided sampler step, 16 x 29 frames, bf16", "sampler/bf16/guided step, 16 x 29 frames", 1.3);
    peer_goal("guided sampler step, 16 x 29 frames, TF32", "sampler/TF32/guided step, 16 x 29 frames", 1.3);
    time_goal("data set, 1024 trajectories x 128 transitions, 256^2", "data set/1024 trajectories of 128 transitions",
              "<= 60 s", 60, false);
    time_goal("LAMF fit with polish, batch 65,536", "LAMF/fit with polish, batch 65536", "<= 0.15 us a fit", 0.15e-6,
              true);
    peer_goal("RVQ encode 8 x 1024 x 64, 10^6 vectors", "RVQ/encode 8 x 1024 x 64, 10^6 vectors", 3);
    for (const char* scalar : {"float", "double"})
      peer_goal(std::string("immersed boundary 400 x 200, 4 levels, 64 cases, per case, ") + scalar,
                std::string("immersed/") + scalar + "/step of 4 levels, 400 x 200 cells", 20);
  }

  void print_rows() const {
    std::printf(
        "\n## All rows\n\n| row | who | time | quartiles | TFLOP/s | GB/s | share | time over kolmo's | error (at "
        "most) | "
        "note |\n|---|---|---|---|---|---|---|---|---|---|\n");
    for (const Row& r : rows_) {
      if (!r.left_out.empty()) continue;
      if (!r.failed.empty()) {
        std::printf("| %s | %s | **failed** | | | | | | | %s |\n", r.name.c_str(), r.who.c_str(), r.failed.c_str());
        continue;
      }
      const auto least = bound(r);
      const Row* ours = r.who == "kolmo" ? nullptr : fastest(r.name);
      std::printf("| %s | %s | %s | %s - %s | %s | %s | %s | %s | %s (%s) | %s |\n", r.name.c_str(), r.who.c_str(),
                  time_text(r.seconds).c_str(), time_text(r.low).c_str(), time_text(r.high).c_str(),
                  r.flops > 0 ? format("%.3g", r.flops / r.seconds * 1e-12).c_str() : "",
                  r.bytes > 0 ? format("%.0f", r.bytes / r.seconds * 1e-9).c_str() : "",
                  least ? percent(*least / r.seconds).c_str() : "",
                  ours ? format("%.2f", r.per_item() / ours->per_item()).c_str() : "", format("%.1e", r.error).c_str(),
                  format("%.1e", r.tolerance).c_str(), r.note.c_str());
    }
  }

  void print_steps(const std::string& step, const char* title, const char* unit) const {
    bool any = false;
    for (const Step& s : steps_) {
      if (s.step != step || s.left_out) continue;
      if (!any) std::printf("\n## %s\n\n| what | %s | |\n|---|---|---|\n", title, unit);
      any = true;
      const std::string outcome = s.status == 0    ? "ok"
                                  : s.status == 77 ? "skipped"
                                                   : "**failed**, status " + std::to_string(s.status);
      std::printf("| %s | %.1f | %s%s%s |\n", s.name.c_str(), s.seconds, outcome.c_str(), s.text.empty() ? "" : ": ",
                  s.text.c_str());
    }
  }

  void print_left_out() const {
    std::printf("\n## Left out\n\n");
    bool any = broken_lines_ > 0;
    if (any) std::printf("- %d lines could not be read: a program was stopped while it wrote\n", broken_lines_);
    for (const Row& r : rows_)
      if (!r.left_out.empty())
        std::printf("- %s, %s: %s\n", r.name.c_str(), r.who.c_str(), r.left_out.c_str()), any = true;
    for (const Step& s : steps_)
      if (s.left_out) std::printf("- %s, %s: %s\n", s.step.c_str(), s.name.c_str(), s.text.c_str()), any = true;
    if (!any) std::printf("Nothing.\n");
  }

  std::vector<Row> rows_;
  std::vector<Step> steps_;
  int broken_lines_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
  Report report;
  for (int i = 1; i < argc; ++i) report.read(argv[i]);
  report.print();
  return report.failed() ? 1 : 0;
}
