// Attention over few steps without gradients: scores, softmax and sums of values of one head at a time, never held.
//
// Queries' steps lie along the lanes where keys follow one another, so that softmax takes no step across lanes; values'
// numbers lie along them in the last product. Every number is summed in the order of its index, so a head's results
// are the same whatever other heads, samples or threads there are.

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC push_options
#pragma GCC optimize("O3", "fp-contract=fast")
#endif

namespace attention {

using namespace vectors;

constexpr int kTile = 8;  // keys, or queries, whose sums are in registers

// Strides are in numbers; those of a step's numbers are 1.
struct Layer {
  int64_t samples, heads, queries, keys, width, values_width, is_causal;
  const float* query;
  int64_t query_sample, query_head, query_step;
  const float* key;
  int64_t key_sample, key_head, key_step;
  const float* value;
  int64_t value_sample, value_head, value_step;
  float* result;
  int64_t result_sample, result_head, result_step;
  float scale;
};

struct Room {
  vectors::Room room;
  float *queries, *shares;
  explicit Room(const Layer& of) : room(kLanes * (kLanes * vectors_of(of.width) + of.keys)) {
    queries = room.take(kLanes * kLanes * vectors_of(of.width));  // [number][step]
    shares = room.take(kLanes * of.keys);                        // [key][step]
  }
};

template <int K>
inline void score_tile(const float* queries, const float* keys, int64_t step, int64_t width, float* to) {
  Vector sums[K];
#pragma GCC unroll 8
  for (int k = 0; k < K; ++k) sums[k] = Vector{};
  for (int64_t n = 0; n < width; ++n) {
    const Vector numbers = load(queries + n * kLanes);
#pragma GCC unroll 8
    for (int k = 0; k < K; ++k) sums[k] += keys[k * step + n] * numbers;
  }
#pragma GCC unroll 8
  for (int k = 0; k < K; ++k) store(to + k * kLanes, sums[k]);
}

inline void score(const Layer& of, const float* queries, const float* keys, float* to) {
  int64_t k = 0;
  for (; k + kTile <= of.keys; k += kTile)
    score_tile<kTile>(queries, keys + k * of.key_step, of.key_step, of.width, to + k * kLanes);
  for (; k < of.keys; ++k) score_tile<1>(queries, keys + k * of.key_step, of.key_step, of.width, to + k * kLanes);
}

// Scores become shares, of each lane of the keys up to its last.
inline void share(float* scores, int64_t keys, Bits last) {
  const Vector least = Vector{} - std::numeric_limits<float>::infinity();
  Vector most = least, sum{};
  for (int64_t k = 0; k < keys; ++k) {
    const Vector now = Bits{} + int32_t(k) <= last ? load(scores + k * kLanes) : least;
    most = now > most ? now : most;
  }
  for (int64_t k = 0; k < keys; ++k) {
    const Vector found = exponential_of_negative(load(scores + k * kLanes) - most);
    const Vector now = Bits{} + int32_t(k) <= last ? found : Vector{};
    store(scores + k * kLanes, now);
    sum += now;
  }
  const Vector factor = 1.0f / sum;
  for (int64_t k = 0; k < keys; ++k) store(scores + k * kLanes, load(scores + k * kLanes) * factor);
}

// Sums of values, numbers [n, n + count), of Q queries.
template <int Q>
inline void sum_tile(const Layer& of, const float* shares, const float* values, int64_t count, float* to) {
  Vector sums[Q];
#pragma GCC unroll 8
  for (int q = 0; q < Q; ++q) sums[q] = Vector{};
  for (int64_t k = 0; k < of.keys; ++k) {
    const Vector numbers = load_some(values + k * of.value_step, count);
#pragma GCC unroll 8
    for (int q = 0; q < Q; ++q) sums[q] += shares[k * kLanes + q] * numbers;
  }
#pragma GCC unroll 8
  for (int q = 0; q < Q; ++q) store_some(to + q * of.result_step, sums[q], count);
}

inline void sum_values(const Layer& of, const float* shares, const float* values, int64_t queries, float* to) {
  for (int64_t n = 0; n < of.values_width; n += kLanes) {
    const int64_t count = of.values_width - n < kLanes ? of.values_width - n : kLanes;
    int64_t q = 0;
    for (; q + kTile <= queries; q += kTile)
      sum_tile<kTile>(of, shares + q, values + n, count, to + q * of.result_step + n);
    for (; q < queries; ++q) sum_tile<1>(of, shares + q, values + n, count, to + q * of.result_step + n);
  }
}

inline void head(const Layer& of, const float* query, const float* key, const float* value, float* to, Room& room) {
  for (int64_t first = 0; first < of.queries; first += kLanes) {
    const int64_t count = of.queries - first < kLanes ? of.queries - first : kLanes;
    const float* from = query + first * of.query_step;
    for (int64_t n = 0; n < of.width; n += kLanes)
      turn_some(from + n, of.query_step, count, of.width - n, of.scale, room.queries + n * kLanes);
    score(of, room.queries, key, room.shares);
    Bits last = Bits{} + int32_t(of.keys);
    for (int lane = 0; of.is_causal && lane < kLanes; ++lane) last[lane] = int32_t(first) + lane;
    share(room.shares, of.keys, last);
    sum_values(of, room.shares, value, count, to + first * of.result_step);
  }
}

// Whether there was memory for it.
inline bool attend(const Layer& of) {
  try {
    Room room(of);
    for (int64_t s = 0; s < of.samples; ++s) {
      for (int64_t h = 0; h < of.heads; ++h)
        head(of, of.query + s * of.query_sample + h * of.query_head, of.key + s * of.key_sample + h * of.key_head,
             of.value + s * of.value_sample + h * of.value_head,
             of.result + s * of.result_sample + h * of.result_head, room);
    }
  } catch (const std::bad_alloc&) {
    return false;
  }
  return true;
}

}  // namespace attention

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC pop_options
#endif
