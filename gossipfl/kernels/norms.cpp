// Layer norms without gradients: lines less their mean, by their standard deviation, scaled and moved.
//
// A line's numbers lie along the lanes; the lanes' sums of several lines are turned, so that all lines' sums come of one
// step each. A line's sums have the order of its numbers, so its results are the same whatever other lines there are.

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC push_options
#pragma GCC optimize("O3", "fp-contract=fast")
#endif

namespace norms {

using namespace vectors;

// Lines follow one another.
struct Layer {
  int64_t lines, width;
  const float* inputs;
  const float* weights;  // null where there are none
  const float* bias;
  float* outputs;
  float epsilon;
};

constexpr int64_t kSquare = kLanes * kLanes;

struct Room {
  vectors::Room room;
  float *sums, *squares, *turned, *means, *rests, *factors, *weights, *bias;
  explicit Room(const Layer& of) : room(3 * kSquare + 3 * kLanes + 2 * kLanes * vectors_of(of.width)) {
    sums = room.take(kSquare);
    squares = room.take(kSquare);
    turned = room.take(kSquare);
    means = room.take(kLanes);
    rests = room.take(kLanes);
    factors = room.take(kLanes);
    weights = room.take(kLanes * vectors_of(of.width));
    bias = room.take(kLanes * vectors_of(of.width));
    for (int64_t n = 0; n < of.width; ++n) {
      weights[n] = of.weights ? of.weights[n] : 1.0f;
      bias[n] = of.bias ? of.bias[n] : 0.0f;
    }
  }
  // One sum for each line.
  Vector summed(const float* from) {
    turn_square(from, kLanes, turned, kLanes);
    Vector found = load(turned);
    for (int lane = 1; lane < kLanes; ++lane) found += load(turned + lane * kLanes);
    return found;
  }
};

inline void group(const Layer& of, const float* from, int64_t count, Bits rest, float* to, Room& room) {
  const int64_t whole = of.width / kLanes * kLanes, left = of.width - whole;
  const float width = float(of.width);
  for (int64_t l = 0; l < count; ++l) {
    const float* line = from + l * of.width;
    Vector sum{};
    for (int64_t n = 0; n < whole; n += kLanes) sum += load(line + n);
    if (left) sum += load_some(line + whole, left);
    store(room.sums + l * kLanes, sum);
  }
  store(room.means, room.summed(room.sums) / width);
  for (int64_t l = 0; l < count; ++l) {
    const float *line = from + l * of.width, mean = room.means[l];
    Vector sum{}, square{};
    for (int64_t n = 0; n < whole; n += kLanes) {
      const Vector apart = load(line + n) - mean;
      sum += apart, square += apart * apart;
    }
    if (left) {
      const Vector apart = rest ? load_some(line + whole, left) - mean : Vector{};
      sum += apart, square += apart * apart;
    }
    store(room.sums + l * kLanes, sum);
    store(room.squares + l * kLanes, square);
  }
  const Vector missed = room.summed(room.sums) / width;  // by the mean, which is rounded
  store(room.rests, missed);
  store(room.factors, 1.0f / root(room.summed(room.squares) / width - missed * missed + of.epsilon));
  for (int64_t l = 0; l < count; ++l) {
    const float *line = from + l * of.width, mean = room.means[l], missed = room.rests[l], factor = room.factors[l];
    float* result = to + l * of.width;
    const auto found = [&](int64_t n, Vector numbers) {
      return (numbers - mean - missed) * factor * load(room.weights + n) + load(room.bias + n);
    };
    for (int64_t n = 0; n < whole; n += kLanes) store(result + n, found(n, load(line + n)));
    if (left) store_some(result + whole, found(whole, load_some(line + whole, left)), left);
  }
}

// Whether there was memory for it.
inline bool norm(const Layer& of) {
  try {
    Room room(of);
    Bits rest;  // lanes that a line's last vector has
    for (int lane = 0; lane < kLanes; ++lane) rest[lane] = lane < of.width % kLanes ? -1 : 0;
    for (int64_t line = 0; line < of.lines; line += kLanes) {
      const int64_t left = of.lines - line, at = line * of.width;
      group(of, of.inputs + at, left < kLanes ? left : kLanes, rest, of.outputs + at, room);
    }
  } catch (const std::bad_alloc&) {
    return false;
  }
  return true;
}

}  // namespace norms

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC pop_options
#endif
