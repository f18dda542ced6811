// Logarithms of softmax at targets, and the largest of scores, of a linear layer whose scores are never held.
//
// Lines lie along the lanes, and classes follow one another: the scores of some lines and classes are sums in registers,
// go to memory that stays in the nearest cache, and become a largest score, a sum of exponentials and one logarithm
// there, all without a step across lanes. Every number is summed in the order of its index, so a line's results are the
// same whatever other lines, rows or threads there are.

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC push_options
#pragma GCC optimize("O3", "fp-contract=fast")
#endif

namespace scores {

using namespace vectors;

#ifdef __AVX512F__
constexpr int kStep = 4;
#else
constexpr int kStep = 2;
#endif
constexpr int kWide = 2, kTile = 3 * kStep;    // vectors of lines and classes whose sums are in registers
constexpr int64_t kLines = kWide * kLanes;     // of a group
constexpr int64_t kClasses = 120, kFar = 1024;  // of a block; lines for which weights of several blocks are arranged

// Strides are in numbers.
struct Layer {
  int64_t rows, lines, width, classes;
  const float* inputs;
  int64_t inputs_row, inputs_line, inputs_number;
  const float* weights;
  int64_t weights_row, weights_class, weights_number;
  const float* bias;  // null where there is none
  int64_t bias_row, bias_class;
  const int64_t* targets;
  int64_t targets_row, targets_line, ignored;
  float* logarithms;  // [rows, lines]
  int64_t* largest;   // [rows, lines]
};

struct Room {
  vectors::Room room;
  int64_t groups;
  float *inputs, *weights, *bias, *scores, *most, *sums, *at;
  int32_t* best;
  static int64_t groups_of(const Layer& of) {
    const int64_t all = (of.lines + kLines - 1) / kLines, far = of.classes > kClasses ? kFar / kLines : 1;
    return all < far ? all : far;
  }
  static int64_t classes_of(const Layer& of) {
    const int64_t most = of.classes < kClasses ? of.classes : kClasses;
    return (most + kStep - 1) / kStep * kStep;
  }
  explicit Room(const Layer& of)
      : room(groups_of(of) * kLines * (of.width + 4) + classes_of(of) * (of.width + kLines + kLanes)),
        groups(groups_of(of)) {
    inputs = room.take(groups * kLines * of.width);
    most = room.take(groups * kLines);
    sums = room.take(groups * kLines);
    at = room.take(groups * kLines);
    best = reinterpret_cast<int32_t*>(room.take(groups * kLines));
    scores = room.take(classes_of(of) * kLines);
    bias = room.take(classes_of(of) * kLanes);  // of a class in all lanes
    weights = room.take(classes_of(of) * of.width);
  }
};

// Lines as [number][line], those that there are not as zeros.
inline void pack_lines(const float* from, int64_t line, int64_t number, int64_t count, int64_t width, float* to) {
  const int64_t whole = number == 1 && count == kLines ? width / kLanes * kLanes : 0;
  for (int w = 0; w < kWide; ++w) {
    for (int64_t k = 0; k < whole; k += kLanes)
      turn_square(from + w * kLanes * line + k, line, to + k * kLines + w * kLanes, kLines);
  }
  for (int64_t k = whole; k < width; ++k) {
    for (int64_t l = 0; l < kLines; ++l) to[k * kLines + l] = l < count ? from[l * line + k * number] : 0.0f;
  }
}

inline int64_t tile_of(int64_t left) {
  const int64_t most = (left + kStep - 1) / kStep * kStep;
  return most < kTile ? most : kTile;
}

// Weights of classes [first, last) as [tile][number][class].
inline void pack_weights(const Layer& of, const float* from, int64_t first, int64_t last, float* to) {
  for (int64_t c = first; c < last;) {
    const int64_t tile = tile_of(last - c), there = tile < last - c ? tile : last - c;
    for (int64_t t = 0; t < tile; ++t) {
      const float* one = from + (c + t) * of.weights_class;
      for (int64_t k = 0; k < of.width; ++k) to[k * tile + t] = t < there ? one[k * of.weights_number] : 0.0f;
    }
    to += of.width * tile, c += tile;
  }
}

template <int C>
inline void score_tile(const float* lines, const float* weights, const float* bias, int64_t width, float* to) {
  Vector sums[C][kWide];
#pragma GCC unroll 12
  for (int c = 0; c < C; ++c) {
#pragma GCC unroll 2
    for (int w = 0; w < kWide; ++w) sums[c][w] = load(bias + c * kLanes);
  }
  for (int64_t k = 0; k < width; ++k, lines += kLines, weights += C) {
    Vector columns[kWide];
#pragma GCC unroll 2
    for (int w = 0; w < kWide; ++w) columns[w] = load(lines + w * kLanes);
#pragma GCC unroll 12
    for (int c = 0; c < C; ++c) {
      const float factor = weights[c];
#pragma GCC unroll 2
      for (int w = 0; w < kWide; ++w) sums[c][w] += factor * columns[w];
    }
  }
#pragma GCC unroll 12
  for (int c = 0; c < C; ++c) {
#pragma GCC unroll 2
    for (int w = 0; w < kWide; ++w) store(to + c * kLines + w * kLanes, sums[c][w]);
  }
}

inline void score(const float* lines, const float* weights, const float* bias, int64_t width, int64_t classes,
                  float* to) {
  for (int64_t c = 0; c < classes;) {
    const int64_t tile = tile_of(classes - c);
    if (tile == kTile) score_tile<kTile>(lines, weights, bias, width, to);
    else if (tile == 2 * kStep) score_tile<2 * kStep>(lines, weights, bias, width, to);
    else score_tile<kStep>(lines, weights, bias, width, to);
    weights += width * tile, bias += tile * kLanes, to += tile * kLines, c += tile;
  }
}

// A score that is no number is the largest, and the first of them stays so.
inline void take_in_missing(const float* scores, int64_t first, int64_t classes, float* most, int32_t* best) {
  for (int64_t c = 0; c < classes; ++c) {
    if (scores[c * kLines] != scores[c * kLines] && *most == *most) *most = scores[c * kLines], *best = first + c;
  }
}

// Largest scores and sums of exponentials so far, with the scores of classes [first, first + classes).
inline void take_in(const float* scores, int64_t first, int64_t classes, float* most_, float* sums_, int32_t* best_) {
  const float least = -std::numeric_limits<float>::infinity();
  Vector before[kWide], most[kWide], shift[kWide], sums[kWide];
  Bits best[kWide];
#pragma GCC unroll 2
  for (int w = 0; w < kWide; ++w) {
    most[w] = before[w] = load(most_ + w * kLanes);
    std::memcpy(&best[w], best_ + w * kLanes, sizeof best[w]);
  }
  for (int64_t c = 0; c < classes; ++c) {
#pragma GCC unroll 2
    for (int w = 0; w < kWide; ++w) {
      const Vector now = load(scores + c * kLines + w * kLanes);
      best[w] = now > most[w] ? Bits{} + int32_t(first + c) : best[w];
      most[w] = now > most[w] ? now : most[w];
    }
  }
#pragma GCC unroll 2
  for (int w = 0; w < kWide; ++w) {
    shift[w] = most[w] == least ? Vector{} : most[w];
    sums[w] = first ? load(sums_ + w * kLanes) * exponential_of_negative(before[w] - shift[w]) : Vector{};
  }
  for (int64_t c = 0; c < classes; ++c) {
#pragma GCC unroll 2
    for (int w = 0; w < kWide; ++w)
      sums[w] += exponential_of_negative(load(scores + c * kLines + w * kLanes) - shift[w]);
  }
  float missing = 0.0f;
  for (int w = 0; w < kWide; ++w) {
    store(most_ + w * kLanes, most[w]);
    store(sums_ + w * kLanes, sums[w]);
    std::memcpy(best_ + w * kLanes, &best[w], sizeof best[w]);
    for (int lane = 0; lane < kLanes; ++lane) missing += sums[w][lane];
  }
  if (missing == missing) return;
  for (int64_t l = 0; l < kLines; ++l) take_in_missing(scores + l, first, classes, most_ + l, best_ + l);
}

// Whether all targets of a group that count are classes; notes the scores of those within [first, last).
inline bool look_up(const Layer& of, const int64_t* targets, int64_t count, const float* scores, int64_t first,
                    int64_t last, float* at) {
  bool are_classes = true;
  for (int64_t l = 0; l < count; ++l) {
    const int64_t target = targets[l * of.targets_line];
    if (target >= first && target < last) at[l] = scores[(target - first) * kLines + l];
    are_classes &= (target >= 0 && target < of.classes) || target == of.ignored;
  }
  return are_classes;
}

inline void finish(const Layer& of, const int64_t* targets, int64_t count, const float* most, const float* sums,
                   const float* at, const int32_t* best, float* logarithms, int64_t* largest) {
  float found[kLines];
  for (int w = 0; w < kWide; ++w) {
    const int at_lane = w * kLanes;
    store(found + at_lane, load(at + at_lane) - load(most + at_lane) - logarithm(load(sums + at_lane)));
  }
  for (int64_t l = 0; l < count; ++l) {
    logarithms[l] = targets[l * of.targets_line] == of.ignored ? 0.0f : found[l];
    largest[l] = best[l];
  }
}

inline bool row_of(const Layer& of, int64_t row, Room& room) {
  const float *inputs = of.inputs + row * of.inputs_row, *weights = of.weights + row * of.weights_row;
  const float* bias = of.bias ? of.bias + row * of.bias_row : nullptr;
  const int64_t* targets = of.targets + row * of.targets_row;
  const int64_t each = kLines * of.width;
  const auto count = [&](int64_t line) { return of.lines - line < kLines ? of.lines - line : kLines; };
  for (int64_t begin = 0; begin < of.lines; begin += room.groups * kLines) {
    const int64_t left = (of.lines - begin + kLines - 1) / kLines, groups = left < room.groups ? left : room.groups;
    for (int64_t g = 0; g < groups; ++g) {
      const int64_t line = begin + g * kLines;
      pack_lines(inputs + line * of.inputs_line, of.inputs_line, of.inputs_number, count(line), of.width,
                 room.inputs + g * each);
    }
    for (int64_t i = 0; i < groups * kLines; ++i) {
      room.most[i] = -std::numeric_limits<float>::infinity();
      room.sums[i] = room.at[i] = 0.0f;
      room.best[i] = 0;
    }
    for (int64_t first = 0; first < of.classes; first += kClasses) {
      const int64_t last = of.classes - first < kClasses ? of.classes : first + kClasses;
      if (!begin || of.classes > kClasses) {
        pack_weights(of, weights, first, last, room.weights);
        for (int64_t c = first; bias && c < last; ++c)
          store(room.bias + (c - first) * kLanes, Vector{} + bias[c * of.bias_class]);
      }
      for (int64_t g = 0; g < groups; ++g) {
        const int64_t line = begin + g * kLines, at = g * kLines;
        score(room.inputs + g * each, room.weights, room.bias, of.width, last - first, room.scores);
        take_in(room.scores, first, last - first, room.most + at, room.sums + at, room.best + at);
        if (!look_up(of, targets + line * of.targets_line, count(line), room.scores, first, last, room.at + at))
          return false;
      }
    }
    for (int64_t g = 0; g < groups; ++g) {
      const int64_t line = begin + g * kLines, at = g * kLines, to = row * of.lines + line;
      finish(of, targets + line * of.targets_line, count(line), room.most + at, room.sums + at, room.at + at,
             room.best + at, of.logarithms + to, of.largest + to);
    }
  }
  return true;
}

enum Outcome { kNoMemory = 0, kDone = 1, kNoClass = 2 };

inline int at_targets(const Layer& of) {
  try {
    Room room(of);
    for (int64_t row = 0; row < of.rows; ++row) {
      if (!row_of(of, row, room)) return kNoClass;
    }
  } catch (const std::bad_alloc&) {
    return kNoMemory;
  }
  return kDone;
}

}  // namespace scores

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC pop_options
#endif
