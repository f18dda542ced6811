// One layer of an LSTM over all steps, and its gradients, of one row after another.
//
// The four gates of a vector's width of units are one product whose sums stay in registers, where they are activated
// and become the next state: nothing of a step is written but what the gradient needs. Every number is summed in the
// order of its index, so a row's results are the same whatever other rows, samples' tiles or threads there are.
//
// Units are padded to whole vectors: a padded unit has weights of zero, and so state and gradients of zero.

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC push_options
#pragma GCC optimize("O3", "fp-contract=fast")
#endif

namespace lstm {

using namespace vectors;

#ifdef __AVX512F__
constexpr int kGateRows = 4, kRows = 8;
#else
constexpr int kGateRows = 2, kRows = 4;
#endif
constexpr int kKept = 5;      // of each unit and step: entry, forget, new, out, cell
constexpr int64_t kPadded = 16;  // units are kept in multiples of this, whatever a vector's width

// Strides are in numbers. Of weights, biases and states only the row's stride is free.
struct Layer {
  int64_t rows, steps, samples, width, units, reverse;
  const float* inputs;
  int64_t inputs_row, inputs_step, inputs_sample;
  const float* of_input;
  int64_t of_input_row;
  const float* of_state;
  int64_t of_state_row;
  const float* input_bias;
  int64_t input_bias_row;
  const float* state_bias;
  int64_t state_bias_row;
  const float* hidden;
  int64_t hidden_row;
  const float* cell;
  int64_t cell_row;
  float* outputs;
  int64_t outputs_step, outputs_sample;
  float* last_cell;
  float* kept;  // null where no gradient will be asked for
  const int64_t* tokens;  // which of `entries` inputs each step and sample has; null where each has its own
  int64_t tokens_row, tokens_step, tokens_sample, entries;
};

struct Gradients {
  const float* by_outputs;  // null where nothing depends on them
  int64_t by_outputs_row, by_outputs_step, by_outputs_sample;
  const float* by_last_cell;
  int64_t by_last_cell_row;
  float* by_inputs;  // null where it is not wanted
  int64_t by_inputs_step, by_inputs_sample;
  float *by_of_input, *by_of_state, *by_bias, *by_hidden, *by_cell;
};

inline Vector inverse_sigmoid(Vector x) { return 1.0f + exponential(-x); }
inline Vector sigmoid(Vector x) { return 1.0f / inverse_sigmoid(x); }

struct Fraction {
  Vector above, below;
};

// Rational approximation of Eigen, within a few units of the last digit.
inline Fraction tangent_fraction(Vector x) {
  x = clamped(x, 7.90531110763549805f);
  const Vector s = x * x;
  Vector p = s * -2.76076847742355e-16f + 2.00018790482477e-13f;
  p = p * s + -8.60467152213735e-11f;
  p = p * s + 5.12229709037114e-08f;
  p = p * s + 1.48572235717979e-05f;
  p = p * s + 6.37261928935436e-04f;
  p = p * s + 4.89352455891786e-03f;
  Vector q = s * 1.19825839466702e-06f + 1.18534705686654e-04f;
  q = q * s + 2.26843463243900e-03f;
  q = q * s + 4.89352518554385e-03f;
  return {x * p, q};
}

inline Vector hyperbolic_tangent(Vector x) {
  const Fraction found = tangent_fraction(x);
  return found.above / found.below;
}

// σ(x) tanh(y), with one division.
inline Vector gated(Vector x, Vector y) {
  const Fraction found = tangent_fraction(y);
  return found.above / (found.below * inverse_sigmoid(x));
}

inline int64_t kept_numbers(int64_t steps, int64_t samples, int64_t units) {
  return steps * samples * kKept * ((units + kPadded - 1) / kPadded * kPadded);
}

// Forward

struct ForwardRoom {
  Room room;
  float *weights, *bias, *cells, *gates;
  static int64_t numbers(const Layer& of) {
    return vectors_of(of.units) * kLanes * (4 * (of.width + of.units + 1 + of.entries) + of.samples);
  }
  explicit ForwardRoom(const Layer& of) : room(numbers(of)) {
    const int64_t padded = vectors_of(of.units) * kLanes;
    weights = room.take(4 * padded * (of.width + of.units));
    bias = room.take(4 * padded);
    cells = room.take(padded * of.samples);
    gates = room.take(4 * padded * of.entries);  // [vector of units][entry][gate][lane], before the state's part
  }
};

// Weights [4 units, K] as [vector of units][k][gate][lane], from place `first` of the k on.
inline void pack_gates(const float* from, int64_t K, int64_t units, float* to, int64_t first, int64_t all) {
  for (int64_t u = 0; u < units; ++u) {
    float* column = to + u / kLanes * all * 4 * kLanes + first * 4 * kLanes + u % kLanes;
    for (int gate = 0; gate < 4; ++gate) {
      const float* line = from + (gate * units + u) * K;
      for (int64_t k = 0; k < K; ++k) column[(k * 4 + gate) * kLanes] = line[k];
    }
  }
}

template <int R>
inline void add_gates(Vector (&sums)[R][4], const float* a, int64_t a_row, int64_t K, const float* weights) {
  for (int64_t k = 0; k < K; ++k, weights += 4 * kLanes) {
    Vector columns[4];
#pragma GCC unroll 4
    for (int g = 0; g < 4; ++g) columns[g] = load(weights + g * kLanes);
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      const float factor = a[r * a_row + k];
#pragma GCC unroll 4
      for (int g = 0; g < 4; ++g) sums[r][g] += factor * columns[g];
    }
  }
}

template <int R>
inline void begin_gates(Vector (&sums)[R][4], const float* from, int64_t next) {
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int g = 0; g < 4; ++g) sums[r][g] = load(from + r * next + g * kLanes);
  }
}

// What R entries of a table contribute to the gates of one vector of units.
template <int R>
inline void entry_tile(const Layer& of, const float* entries, const float* weights, const float* bias, float* to) {
  Vector sums[R][4];
  begin_gates<R>(sums, bias, 0);
  add_gates<R>(sums, entries, of.inputs_step, of.width, weights);
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int g = 0; g < 4; ++g) store(to + (r * 4 + g) * kLanes, sums[r][g]);
  }
}

inline void find_gates(const Layer& of, const float* entries, const ForwardRoom& room) {
  const int64_t all = of.width + of.units;
  for (int64_t v = 0; v < vectors_of(of.units); ++v) {
    const float *weights = room.weights + v * all * 4 * kLanes, *bias = room.bias + v * 4 * kLanes;
    float* to = room.gates + v * of.entries * 4 * kLanes;
    int64_t e = 0;
    for (; e + kGateRows <= of.entries; e += kGateRows)
      entry_tile<kGateRows>(of, entries + e * of.inputs_step, weights, bias, to + e * 4 * kLanes);
    for (; e < of.entries; ++e) entry_tile<1>(of, entries + e * of.inputs_step, weights, bias, to + e * 4 * kLanes);
  }
}

inline bool are_entries(const Layer& of, int64_t row) {
  bool are = true;
  for (int64_t t = 0; t < of.steps; ++t) {
    for (int64_t s = 0; s < of.samples; ++s) {
      const int64_t token = of.tokens[row * of.tokens_row + t * of.tokens_step + s * of.tokens_sample];
      are &= token >= 0 && token < of.entries;
    }
  }
  return are;
}

struct Step {
  const float *inputs, *hidden, *weights, *bias, *gates;
  const int64_t* tokens;
  int64_t inputs_sample, hidden_sample;
  float *cells, *outputs, *kept;
  int64_t count;  // of the vector's units that there are
};

// R samples from `s` on: their gates, cells and outputs of one vector of units.
template <int R>
inline void step_tile(const Layer& of, const Step& now, int64_t s) {
  Vector sums[R][4];
  if (now.tokens) {
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      const float* from = now.gates + now.tokens[(s + r) * of.tokens_sample] * 4 * kLanes;
#pragma GCC unroll 4
      for (int g = 0; g < 4; ++g) sums[r][g] = load(from + g * kLanes);
    }
  } else {
    begin_gates<R>(sums, now.bias, 0);
    add_gates<R>(sums, now.inputs + s * now.inputs_sample, now.inputs_sample, of.width, now.weights);
  }
  add_gates<R>(sums, now.hidden + s * now.hidden_sample, now.hidden_sample, of.units,
               now.weights + of.width * 4 * kLanes);
  for (int r = 0; r < R; ++r) {
    float *at = now.cells + (s + r) * kLanes, *to = now.outputs + (s + r) * of.outputs_sample;
    if (!now.kept) {
      const Vector cell = load(at) / inverse_sigmoid(sums[r][1]) + gated(sums[r][0], sums[r][2]);
      store(at, cell);
      store_some(to, gated(sums[r][3], cell), now.count);
      continue;
    }
    const Vector entry = sigmoid(sums[r][0]), forget = sigmoid(sums[r][1]);
    const Vector fresh = hyperbolic_tangent(sums[r][2]), out = sigmoid(sums[r][3]);
    const Vector cell = forget * load(at) + entry * fresh;
    store(at, cell);
    store_some(to, out * hyperbolic_tangent(cell), now.count);
    float* kept = now.kept + (s + r) * kKept * kLanes;
    store(kept, entry);
    store(kept + kLanes, forget);
    store(kept + 2 * kLanes, fresh);
    store(kept + 3 * kLanes, out);
    store(kept + 4 * kLanes, cell);
  }
}

inline void forward_row(const Layer& of, int64_t row, ForwardRoom& room) {
  const int64_t units = of.units, vectors = vectors_of(units), all = of.width + units;
  pack_gates(of.of_input + row * of.of_input_row, of.width, units, room.weights, 0, all);
  pack_gates(of.of_state + row * of.of_state_row, units, units, room.weights, of.width, all);
  if (of.input_bias) {
    const float *one = of.input_bias + row * of.input_bias_row, *other = of.state_bias + row * of.state_bias_row;
    for (int64_t u = 0; u < units; ++u) {
      for (int g = 0; g < 4; ++g)
        room.bias[(u / kLanes * 4 + g) * kLanes + u % kLanes] = one[g * units + u] + other[g * units + u];
    }
  }
  const float* cell = of.cell + row * of.cell_row;
  for (int64_t s = 0; s < of.samples; ++s) {
    for (int64_t u = 0; u < units; ++u)
      room.cells[(u / kLanes * of.samples + s) * kLanes + u % kLanes] = cell[s * units + u];
  }
  if (of.tokens) find_gates(of, of.inputs + row * of.inputs_row, room);
  float* outputs = of.outputs + row * of.steps * of.samples * units;
  float* kept = of.kept ? of.kept + row * kept_numbers(of.steps, of.samples, units) : nullptr;
  for (int64_t k = 0; k < of.steps; ++k) {
    const int64_t t = of.reverse ? of.steps - 1 - k : k, before = of.reverse ? t + 1 : t - 1;
    Step now;
    now.inputs = of.inputs + row * of.inputs_row + t * of.inputs_step;
    now.inputs_sample = of.inputs_sample;
    now.hidden = k ? outputs + before * of.outputs_step : of.hidden + row * of.hidden_row;
    now.hidden_sample = k ? of.outputs_sample : units;
    for (int64_t v = 0; v < vectors; ++v) {
      now.weights = room.weights + v * all * 4 * kLanes;
      now.bias = room.bias + v * 4 * kLanes;
      now.gates = room.gates + v * of.entries * 4 * kLanes;
      now.tokens = of.tokens ? of.tokens + row * of.tokens_row + t * of.tokens_step : nullptr;
      now.cells = room.cells + v * of.samples * kLanes;
      now.outputs = outputs + t * of.outputs_step + v * kLanes;
      now.kept = kept ? kept + (k * vectors + v) * of.samples * kKept * kLanes : nullptr;
      now.count = units - v * kLanes;
      int64_t s = 0;
      for (; s + kGateRows <= of.samples; s += kGateRows) step_tile<kGateRows>(of, now, s);
      for (; s < of.samples; ++s) step_tile<1>(of, now, s);
    }
  }
  float* last = of.last_cell + row * of.samples * units;
  for (int64_t s = 0; s < of.samples; ++s) {
    for (int64_t u = 0; u < units; ++u)
      last[s * units + u] = room.cells[(u / kLanes * of.samples + s) * kLanes + u % kLanes];
  }
}

// Backward. Matrices lie in groups of two vectors' columns, [group][line][2 vectors], the last perhaps of one.

constexpr int kPair = 2;

inline int64_t in_group(int64_t group, int64_t vectors) {
  return vectors - group * kPair < kPair ? vectors - group * kPair : kPair;
}

// Line of a matrix in groups.
inline void pack_line(const float* from, int64_t numbers, float* to, int64_t lines, int64_t line) {
  const int64_t vectors = vectors_of(numbers);
  for (int64_t v = 0; v < vectors; ++v) {
    const int64_t group = v / kPair, wide = in_group(group, vectors);
    float* at = to + group * kPair * lines * kLanes + (line * wide + v % kPair) * kLanes;
    store(at, load_some(from + v * kLanes, numbers - v * kLanes));
  }
}

// Weights [4 units, N], each gate's padded to whole vectors.
inline void pack_weights(const float* from, int64_t units, int64_t N, float* to) {
  const int64_t padded = vectors_of(units) * kLanes;
  for (int64_t line = 0; line < 4 * units; ++line)
    pack_line(from + line * N, N, to, 4 * padded, line / units * padded + line % units);
}

// sums[r][v] += Σ_k a[r, k] b[k, v], of R lines and K numbers.
template <int R, int V>
inline void add_products(Vector (&sums)[R][V], const float* a, int64_t a_row, int64_t a_next, const float* b,
                         int64_t K) {
  for (int64_t k = 0; k < K; ++k, a += a_next, b += V * kLanes) {
    Vector columns[V];
#pragma GCC unroll 2
    for (int v = 0; v < V; ++v) columns[v] = load(b + v * kLanes);
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      const float factor = a[r * a_row];
#pragma GCC unroll 2
      for (int v = 0; v < V; ++v) sums[r][v] += factor * columns[v];
    }
  }
}

template <int R, int V>
inline void cleared(Vector (&sums)[R][V]) {
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 2
    for (int v = 0; v < V; ++v) sums[r][v] = Vector{};
  }
}

struct BackwardRoom {
  Room room;
  float *of_input, *of_state, *inputs, *states, *by_gates, *by_cells;
  static int64_t padded(int64_t numbers) { return vectors_of(numbers) * kLanes; }
  static int64_t numbers(const Layer& of) {
    const int64_t width = padded(of.width), units = padded(of.units), lines = of.steps * of.samples;
    return (4 * units + lines) * (width + units) + 4 * vectors_of(of.units) * block(lines) + units * of.samples;
  }
  // Numbers from one vector of gates to the next: were they a power of two, lines would share few places of the cache.
  static int64_t block(int64_t lines) { return (lines + kRows) * kLanes; }
  explicit BackwardRoom(const Layer& of) : room(numbers(of)) {
    const int64_t width = padded(of.width), units = padded(of.units), lines = of.steps * of.samples;
    of_input = room.take(4 * units * width);
    of_state = room.take(4 * units * units);
    inputs = room.take(lines * width);
    states = room.take(lines * units);
    by_gates = room.take(4 * vectors_of(of.units) * block(lines));  // [gate][vector of units][step][sample][lane]
    by_cells = room.take(units * of.samples);
  }
};

// Products of R lines' gradients by gates with a group of weights.
template <int R, int V>
inline void add_through(Vector (&sums)[R][V], const float* by_gates, int64_t lines, int64_t line, const float* weights,
                        int64_t blocks) {
  for (int64_t block = 0; block < blocks; ++block)
    add_products<R, V>(sums, by_gates + block * BackwardRoom::block(lines) + line * kLanes, kLanes, 1,
                       weights + block * kLanes * V * kLanes, kLanes);
}

struct StepBack {
  const float *kept, *before, *by_outputs, *of_state;
  int64_t before_sample, group, k;
  bool is_last, is_first;
};

template <int R, int V>
inline void step_back_tile(const Layer& of, const Gradients& by, const StepBack& now, BackwardRoom& room, int64_t s) {
  const int64_t units = of.units, vectors = vectors_of(units), lines = of.steps * of.samples;
  Vector sums[R][V];
  cleared<R, V>(sums);
  if (!now.is_last)
    add_through<R, V>(sums, room.by_gates, lines, (now.k + 1) * of.samples + s, now.of_state, 4 * vectors);
  for (int v = 0; v < V; ++v) {
    const int64_t at = now.group * kPair + v, count = units - at * kLanes;
    for (int r = 0; r < R; ++r) {
      const float* kept = now.kept + (at * of.samples + s + r) * kKept * kLanes;
      const Vector entry = load(kept), forget = load(kept + kLanes), fresh = load(kept + 2 * kLanes);
      const Vector out = load(kept + 3 * kLanes), squashed = hyperbolic_tangent(load(kept + 4 * kLanes));
      const Vector before = now.is_first
                                ? load_some(now.before + (s + r) * units + at * kLanes, count)
                                : load(now.before + (at * of.samples + s + r) * kKept * kLanes + 4 * kLanes);
      Vector by_hidden = sums[r][v];
      if (now.by_outputs)
        by_hidden += load_some(now.by_outputs + (s + r) * by.by_outputs_sample + at * kLanes, count);
      float* carried = room.by_cells + (at * of.samples + s + r) * kLanes;
      const Vector by_cell = load(carried) + by_hidden * out * (1.0f - squashed * squashed);
      store(carried, by_cell * forget);
      const int64_t block = BackwardRoom::block(lines), gate = vectors * block;
      float* to = room.by_gates + at * block + (now.k * of.samples + s + r) * kLanes;
      store(to, by_cell * fresh * (entry * (1.0f - entry)));
      store(to + gate, by_cell * before * (forget * (1.0f - forget)));
      store(to + 2 * gate, by_cell * entry * (1.0f - fresh * fresh));
      store(to + 3 * gate, by_hidden * squashed * (out * (1.0f - out)));
    }
  }
}

template <int V>
inline void step_back_group(const Layer& of, const Gradients& by, const StepBack& now, BackwardRoom& room) {
  int64_t s = 0;
  for (; s + kRows <= of.samples; s += kRows) step_back_tile<kRows, V>(of, by, now, room, s);
  for (; s < of.samples; ++s) step_back_tile<1, V>(of, by, now, room, s);
}

// Lines [first, last) of the gradients by gates times a group of weights, each to where `place(line)` is.
template <int R, int V, typename Place>
inline void through_tile(const BackwardRoom& room, int64_t lines, int64_t line, const float* weights, int64_t blocks,
                         int64_t count, Place place) {
  Vector sums[R][V];
  cleared<R, V>(sums);
  add_through<R, V>(sums, room.by_gates, lines, line, weights, blocks);
  for (int r = 0; r < R; ++r) {
    float* to = place(line + r);
    for (int v = 0; v < V; ++v) store_some(to + v * kLanes, sums[r][v], count - v * kLanes);
  }
}

template <int V, typename Place>
inline void through_group(const BackwardRoom& room, int64_t lines, int64_t last, const float* weights, int64_t blocks,
                          int64_t count, Place place) {
  int64_t line = 0;
  for (; line + kRows <= last; line += kRows)
    through_tile<kRows, V>(room, lines, line, weights, blocks, count, place);
  for (; line < last; ++line) through_tile<1, V>(room, lines, line, weights, blocks, count, place);
}

template <typename Place>
inline void through(const BackwardRoom& room, int64_t lines, int64_t last, const float* weights, int64_t units,
                    int64_t numbers, Place place) {
  const int64_t vectors = vectors_of(numbers), blocks = 4 * vectors_of(units);
  for (int64_t group = 0; group * kPair < vectors; ++group) {
    const float* own = weights + group * kPair * blocks * kLanes * kLanes;
    const int64_t first = group * kPair * kLanes;
    const auto placed = [=](int64_t line) { return place(line) + first; };
    if (in_group(group, vectors) == kPair)
      through_group<kPair>(room, lines, last, own, blocks, numbers - first, placed);
    else
      through_group<1>(room, lines, last, own, blocks, numbers - first, placed);
  }
}

// kRows lines of a weight's gradient: Σ over all steps and samples of by_gates[line] read[column].
template <int V>
inline void weight_tile(const float* by_gates, const float* read, int64_t lines, float* to, int64_t N, int64_t rows,
                        int64_t count) {
  Vector sums[kRows][V];
  cleared<kRows, V>(sums);
  add_products<kRows, V>(sums, by_gates, 1, kLanes, read, lines);
  float found[kRows][V * kLanes];  // branches on what is whole would keep sums out of registers
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 2
    for (int v = 0; v < V; ++v) store(found[r] + v * kLanes, sums[r][v]);
  }
  for (int64_t r = 0; r < kRows && r < rows; ++r) {
    for (int v = 0; v < V; ++v) store_some(to + r * N + v * kLanes, load(found[r] + v * kLanes), count - v * kLanes);
  }
}

template <int V>
inline void weight_group(const BackwardRoom& room, int64_t lines, int64_t units, const float* read, int64_t N,
                         float* to, int64_t count) {
  const int64_t blocks = vectors_of(units);
  for (int64_t block = 0; block < 4 * blocks; ++block) {
    const int64_t first = block % blocks * kLanes, line = block / blocks * units + first;
    for (int64_t lane = 0; lane < kLanes && first + lane < units; lane += kRows)
      weight_tile<V>(room.by_gates + block * BackwardRoom::block(lines) + lane, read, lines, to + (line + lane) * N, N,
                     units - first - lane, count);
  }
}

inline void weight_gradient(const BackwardRoom& room, int64_t lines, int64_t units, const float* read, int64_t N,
                            float* to) {
  const int64_t vectors = vectors_of(N);
  for (int64_t group = 0; group * kPair < vectors; ++group) {
    const int64_t column = group * kPair * kLanes;
    const float* own = read + column * lines;
    if (in_group(group, vectors) == kPair) weight_group<kPair>(room, lines, units, own, N, to + column, N - column);
    else weight_group<1>(room, lines, units, own, N, to + column, N - column);
  }
}

inline void backward_row(const Layer& of, const Gradients& by, int64_t row, BackwardRoom& room) {
  const int64_t units = of.units, width = of.width, vectors = vectors_of(units), samples = of.samples;
  const int64_t lines = of.steps * samples;
  const float* outputs = of.outputs + row * lines * units;
  const float* kept = of.kept + row * kept_numbers(of.steps, samples, units);
  const float *hidden = of.hidden + row * of.hidden_row, *cell = of.cell + row * of.cell_row;
  if (by.by_inputs) pack_weights(of.of_input + row * of.of_input_row, units, width, room.of_input);
  pack_weights(of.of_state + row * of.of_state_row, units, units, room.of_state);
  for (int64_t k = 0; k < of.steps; ++k) {
    const int64_t t = of.reverse ? of.steps - 1 - k : k, before = of.reverse ? t + 1 : t - 1;
    for (int64_t s = 0; s < samples; ++s) {
      const float* input = of.inputs + row * of.inputs_row + t * of.inputs_step + s * of.inputs_sample;
      const float* state = k ? outputs + before * of.outputs_step + s * of.outputs_sample : hidden + s * units;
      pack_line(input, width, room.inputs, lines, k * samples + s);
      pack_line(state, units, room.states, lines, k * samples + s);
    }
  }
  const float* by_last = by.by_last_cell ? by.by_last_cell + row * by.by_last_cell_row : nullptr;
  for (int64_t s = 0; s < samples; ++s) {
    for (int64_t v = 0; v < vectors; ++v)
      store(room.by_cells + (v * samples + s) * kLanes,
            by_last ? load_some(by_last + s * units + v * kLanes, units - v * kLanes) : Vector{});
  }
  StepBack now;
  for (int64_t k = of.steps - 1; k >= 0; --k) {
    const int64_t t = of.reverse ? of.steps - 1 - k : k, each = vectors * samples * kKept * kLanes;
    now.k = k, now.is_last = k == of.steps - 1, now.is_first = k == 0;
    now.kept = kept + k * each;
    now.before = k ? kept + (k - 1) * each : cell;
    now.by_outputs = by.by_outputs ? by.by_outputs + row * by.by_outputs_row + t * by.by_outputs_step : nullptr;
    for (now.group = 0; now.group * kPair < vectors; ++now.group) {
      now.of_state = room.of_state + now.group * kPair * 4 * vectors * kLanes * kLanes;
      if (in_group(now.group, vectors) == kPair) step_back_group<kPair>(of, by, now, room);
      else step_back_group<1>(of, by, now, room);
    }
  }
  float* by_hidden = by.by_hidden + row * samples * units;
  through(room, lines, samples, room.of_state, units, units, [=](int64_t line) { return by_hidden + line * units; });
  float* by_cell = by.by_cell + row * samples * units;
  for (int64_t s = 0; s < samples; ++s) {
    for (int64_t v = 0; v < vectors; ++v)
      store_some(by_cell + s * units + v * kLanes, load(room.by_cells + (v * samples + s) * kLanes),
                 units - v * kLanes);
  }
  if (by.by_inputs) {
    float* by_inputs = by.by_inputs + row * lines * width;
    const auto place = [&, by_inputs](int64_t line) {
      const int64_t k = line / samples, t = of.reverse ? of.steps - 1 - k : k;
      return by_inputs + t * by.by_inputs_step + line % samples * by.by_inputs_sample;
    };
    through(room, lines, lines, room.of_input, units, width, place);
  }
  weight_gradient(room, lines, units, room.inputs, width, by.by_of_input + row * 4 * units * width);
  weight_gradient(room, lines, units, room.states, units, by.by_of_state + row * 4 * units * units);
  float* by_bias = by.by_bias + row * 4 * units;
  for (int64_t block = 0; block < 4 * vectors; ++block) {
    const int64_t first = block % vectors * kLanes;
    Vector sum{};
    for (int64_t line = 0; line < lines; ++line) sum += load(room.by_gates + block * BackwardRoom::block(lines) + line * kLanes);
    store_some(by_bias + block / vectors * units + first, sum, units - first);
  }
}

enum Outcome { kNoMemory = 0, kDone = 1, kNoEntry = 2 };

inline int forward(const Layer& of) {
  try {
    ForwardRoom room(of);
    for (int64_t row = 0; row < of.rows; ++row) {
      if (of.tokens && !are_entries(of, row)) return kNoEntry;
      forward_row(of, row, room);
    }
  } catch (const std::bad_alloc&) {
    return kNoMemory;
  }
  return kDone;
}

inline int backward(const Layer& of, const Gradients& by) {
  try {
    BackwardRoom room(of);
    for (int64_t row = 0; row < of.rows; ++row) backward_row(of, by, row, room);
  } catch (const std::bad_alloc&) {
    return kNoMemory;
  }
  return kDone;
}

}  // namespace lstm

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC pop_options
#endif
