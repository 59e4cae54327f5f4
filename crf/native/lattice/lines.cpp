#include "lattice/lines.hpp"

#include <algorithm>

#include "runtime/parallel.hpp"

namespace atrous {
namespace {

constexpr std::size_t kBand = 32;  // lines per task

// Splats and blurs a range of lines. Each line is blurred along all axes while it is in the cache.
class LineFilter {
 public:
  LineFilter(const Lines& lines, const Splat& splat, float* values)
      : lines_(lines), splat_(splat), values_(values), row_(splat.channels), width_(lines.width * row_) {}

  void operator()(std::size_t begin, std::size_t end) const {
    Buffer<float> memory(7 * width_);
    float* splatted = memory.data();          // splatted and blurred hold three lines each; line l is at l mod 3
    float* blurred = splatted + 3 * width_;
    float* between = splatted + 6 * width_;
    const Kernels& run = kernels();
    const auto at = [&](float* lines, std::ptrdiff_t l, std::ptrdiff_t n) {
      return lines + static_cast<std::size_t>((l + 3) % 3) * width_ + n * row_;
    };
    const auto first = static_cast<std::ptrdiff_t>(begin), last = static_cast<std::ptrdiff_t>(end);
    for (std::ptrdiff_t l = first - 2; l <= last + 1; ++l) {
      const Lines::Line line = line_at(l);
      float* target = at(splatted, l, line.first);
      if (line.count > 0) run.splat(splat_, target, line.start, line.start + line.count);
      clear_around(at(splatted, l, 0), l);
      if (l < first) continue;

      // Along axis 0 the neighbours of n_1 are n_1 - 1 of the previous line and n_1 + 1 of the next; axis 1 is the line
      // itself.
      const Lines::Line middle = line_at(l - 1);
      if (middle.count > 0) {
        const std::ptrdiff_t n = middle.first;
        const std::size_t count = middle.count * row_;
        run.blur_line(between + n * row_, at(splatted, l - 1, n), at(splatted, l - 2, n - 1), at(splatted, l, n + 1),
                      count);
        clear_around(between, l - 1);
        run.blur_line(at(blurred, l - 1, n), between + n * row_, between + (n - 1) * row_, between + (n + 1) * row_,
                      count);
      }
      clear_around(at(blurred, l - 1, 0), l - 1);

      const Lines::Line done = line_at(l - 2);
      if (l - 2 < first || done.count == 0) continue;
      const std::ptrdiff_t n = done.first;
      run.blur_line(values_ + done.start * row_, at(blurred, l - 2, n), at(blurred, l - 3, n), at(blurred, l - 1, n),
                    done.count * row_);
    }
  }

 private:
  Lines::Line line_at(std::ptrdiff_t l) const {
    const bool is_inside = l >= 0 && l < static_cast<std::ptrdiff_t>(lines_.lines.size());
    return is_inside ? lines_.lines[static_cast<std::size_t>(l)] : Lines::Line{};
  }

  // Writes zeros where the blur of the adjacent lines reads beyond the ends of line l.
  void clear_around(float* buffer, std::ptrdiff_t l) const {
    std::size_t low = lines_.width, high = 0;
    for (std::ptrdiff_t k = l - 1; k <= l + 1; ++k) {
      const Lines::Line line = line_at(k);
      if (line.count == 0) continue;
      low = std::min<std::size_t>(low, line.first - 1);
      high = std::max<std::size_t>(high, line.first + line.count + 1);
    }
    if (low >= high) return;
    const Lines::Line line = line_at(l);
    const std::size_t begin = line.count > 0 ? line.first : high, end = line.count > 0 ? line.first + line.count : high;
    std::fill(buffer + low * row_, buffer + begin * row_, 0.0f);
    std::fill(buffer + end * row_, buffer + high * row_, 0.0f);
  }

  const Lines& lines_;
  const Splat& splat_;
  float* values_;
  std::size_t row_, width_;
};

}  // namespace

bool find_lines(const std::vector<Key64>& keys, const Packing<Key64>& packing, Lines& found) {
  std::vector<Lines::Line> lines;
  Index widest = 0;
  std::uint64_t row_begin = 0;
  for (std::size_t v = 0; v < keys.size(); ++v) {
    for (; lines.empty() || keys[v].a - row_begin >= packing.width; lines.emplace_back())
      if (!lines.empty()) row_begin += packing.width;
    const auto column = static_cast<Index>(keys[v].a - row_begin);
    Lines::Line& line = lines.back();
    if (line.count == 0) line = {static_cast<Index>(v), column, 0};
    if (column != line.first + line.count) return false;
    ++line.count;
    widest = std::max(widest, column + 1);
  }
  found.lines = std::move(lines);
  found.width = widest + 2;
  return true;
}

void splat_and_blur_lines(const Lines& lines, const Splat& splat, float* values, int threads) {
  const LineFilter filter(lines, splat, values);
  const std::size_t count = lines.lines.size();
  // n_2 decreases as the last feature grows, so the last lines belong to the first points: count down, so that a thread
  // gets the lines of its own points.
  parallel_ranges(threads, count, kBand,
                  [&](std::size_t begin, std::size_t end) { filter(count - end, count - begin); });
}

}  // namespace atrous
