// Products of many small matrices, [B, M, K] by [B, K, N], each in order of k and so the same whatever B is.
//
// A library's batched product costs as much as two or three of these, for matrices of tens by tens. Two kernels, both
// in tiles that stay in registers: `rows_of_b` where the second matrix lies along n, `dots` where both lie along k; of
// many rows the second is turned first, which is little beside what follows. A bias has N numbers.

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC push_options
#pragma GCC optimize("O3", "fp-contract=fast")
#endif

namespace products {

#ifdef __AVX512F__
constexpr int kLanes = 16, kVectors = 4;
#else
constexpr int kLanes = 8, kVectors = 2;
#endif
constexpr int kRows = 5;

template <int L>
struct Lanes {
  typedef float Vector __attribute__((vector_size(4 * L)));
  typedef float Anywhere __attribute__((vector_size(4 * L), aligned(4), may_alias));
  typedef int Mask __attribute__((vector_size(4 * L)));
};

template <int L>
using Vector = typename Lanes<L>::Vector;

template <int L>
inline Vector<L> load(const float* from) {
  return *reinterpret_cast<const typename Lanes<L>::Anywhere*>(from);
}

template <int L>
inline void store(float* to, Vector<L> values) {
  *reinterpret_cast<typename Lanes<L>::Anywhere*>(to) = values;
}

// R rows by V vectors from column n on; the last vector of a matrix overlaps the one before it.
template <int L, int R, int V>
inline void tile(const float* a, int64_t am, int64_t ak, const float* b, int64_t bk, const float* bias, float* out,
                 int64_t K, int64_t N, int64_t n) {
  Vector<L> sums[R][V];
  int64_t at[V];
#pragma GCC unroll 8
  for (int v = 0; v < V; ++v) {
    at[v] = n + v * L + L <= N ? n + v * L : N - L;
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) sums[r][v] = bias ? load<L>(bias + at[v]) : Vector<L>{};
  }
  for (int64_t k = 0; k < K; ++k) {
    Vector<L> columns[V];
#pragma GCC unroll 8
    for (int v = 0; v < V; ++v) columns[v] = load<L>(b + k * bk + at[v]);
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      const float factor = a[r * am + k * ak];
#pragma GCC unroll 8
      for (int v = 0; v < V; ++v) sums[r][v] += factor * columns[v];
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 8
    for (int v = 0; v < V; ++v) store<L>(out + r * N + at[v], sums[r][v]);
  }
}

template <int L, int R>
inline void strip(const float* a, int64_t am, int64_t ak, const float* b, int64_t bk, const float* bias, float* out,
                  int64_t K, int64_t N) {
  int64_t n = 0;
  for (; n + kVectors * L <= N; n += kVectors * L) tile<L, R, kVectors>(a, am, ak, b, bk, bias, out, K, N, n);
  switch ((N - n + L - 1) / L) {
    case 4: tile<L, R, 4>(a, am, ak, b, bk, bias, out, K, N, n); break;
    case 3: tile<L, R, 3>(a, am, ak, b, bk, bias, out, K, N, n); break;
    case 2: tile<L, R, 2>(a, am, ak, b, bk, bias, out, K, N, n); break;
    case 1: tile<L, R, 1>(a, am, ak, b, bk, bias, out, K, N, n); break;
  }
}

template <int L>
inline void rows_of_b(const float* a, int64_t am, int64_t ak, const float* b, int64_t bk, const float* bias, float* out,
                      int64_t M, int64_t K, int64_t N) {
  int64_t m = 0;
  for (; m + kRows <= M; m += kRows) strip<L, kRows>(a + m * am, am, ak, b, bk, bias, out + m * N, K, N);
  a += m * am, out += m * N;
  switch (M - m) {
    case 4: strip<L, 4>(a, am, ak, b, bk, bias, out, K, N); break;
    case 3: strip<L, 3>(a, am, ak, b, bk, bias, out, K, N); break;
    case 2: strip<L, 2>(a, am, ak, b, bk, bias, out, K, N); break;
    case 1: strip<L, 1>(a, am, ak, b, bk, bias, out, K, N); break;
  }
}

template <typename V>
inline V mask_of(int64_t first) {
  V mask;
  for (int lane = 0; lane < int(sizeof(V) / 4); ++lane) mask[lane] = lane < first ? 0 : -1;
  return mask;
}

template <int L>
inline Vector<L> masked(Vector<L> values, typename Lanes<L>::Mask mask) {
  return reinterpret_cast<Vector<L>>(reinterpret_cast<typename Lanes<L>::Mask>(values) & mask);
}

#define PICK __builtin_shufflevector

// The sums of four vectors.
inline Vector<4> sums_of(Vector<8> a, Vector<8> b, Vector<8> c, Vector<8> d) {
  const Vector<8> ab = PICK(a, b, 0, 8, 2, 10, 4, 12, 6, 14) + PICK(a, b, 1, 9, 3, 11, 5, 13, 7, 15);
  const Vector<8> cd = PICK(c, d, 0, 8, 2, 10, 4, 12, 6, 14) + PICK(c, d, 1, 9, 3, 11, 5, 13, 7, 15);
  const Vector<8> all = PICK(ab, cd, 0, 1, 8, 9, 4, 5, 12, 13) + PICK(ab, cd, 2, 3, 10, 11, 6, 7, 14, 15);
  return PICK(all, all, 0, 1, 2, 3) + PICK(all, all, 4, 5, 6, 7);
}

inline Vector<4> sums_of(Vector<16> a, Vector<16> b, Vector<16> c, Vector<16> d) {
  const Vector<16> ab = PICK(a, b, 0, 16, 2, 18, 4, 20, 6, 22, 8, 24, 10, 26, 12, 28, 14, 30) +
                        PICK(a, b, 1, 17, 3, 19, 5, 21, 7, 23, 9, 25, 11, 27, 13, 29, 15, 31);
  const Vector<16> cd = PICK(c, d, 0, 16, 2, 18, 4, 20, 6, 22, 8, 24, 10, 26, 12, 28, 14, 30) +
                        PICK(c, d, 1, 17, 3, 19, 5, 21, 7, 23, 9, 25, 11, 27, 13, 29, 15, 31);
  const Vector<16> all = PICK(ab, cd, 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29) +
                         PICK(ab, cd, 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31);
  const Vector<8> half = PICK(all, all, 0, 1, 2, 3, 4, 5, 6, 7) + PICK(all, all, 8, 9, 10, 11, 12, 13, 14, 15);
  return PICK(half, half, 0, 1, 2, 3) + PICK(half, half, 4, 5, 6, 7);
}

#undef PICK

// R rows by C ≤ 4 columns of scalar products.
template <int L, int R, int C>
inline void dot_tile(const float* a, int64_t am, const float* b, int64_t bn, float* out, int64_t K, int64_t N,
                     typename Lanes<L>::Mask mask) {
  Vector<L> sums[R][4];
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int c = 0; c < 4; ++c) sums[r][c] = Vector<L>{};
  }
  const int64_t whole = K / L * L;
  for (int64_t k = 0; k < whole; k += L) {
    Vector<L> columns[C];
#pragma GCC unroll 4
    for (int c = 0; c < C; ++c) columns[c] = load<L>(b + c * bn + k);
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      const Vector<L> row = load<L>(a + r * am + k);
#pragma GCC unroll 4
      for (int c = 0; c < C; ++c) sums[r][c] += row * columns[c];
    }
  }
  if (whole < K) {  // the last L numbers, without those that were counted
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      const Vector<L> row = masked<L>(load<L>(a + r * am + K - L), mask);
#pragma GCC unroll 4
      for (int c = 0; c < C; ++c) sums[r][c] += row * masked<L>(load<L>(b + c * bn + K - L), mask);
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
    const Vector<4> found = sums_of(sums[r][0], sums[r][1], sums[r][2], sums[r][3]);
    if (C == 4) {
      store<4>(out + r * N, found);
    } else {
#pragma GCC unroll 4
      for (int c = 0; c < C; ++c) out[r * N + c] = found[c];
    }
  }
}

template <int L, int R>
inline void dot_strip(const float* a, int64_t am, const float* b, int64_t bn, float* out, int64_t K, int64_t N,
                      typename Lanes<L>::Mask mask) {
  int64_t n = 0;
  for (; n + 4 <= N; n += 4) dot_tile<L, R, 4>(a, am, b + n * bn, bn, out + n, K, N, mask);
  b += n * bn, out += n;
  switch (N - n) {
    case 3: dot_tile<L, R, 3>(a, am, b, bn, out, K, N, mask); break;
    case 2: dot_tile<L, R, 2>(a, am, b, bn, out, K, N, mask); break;
    case 1: dot_tile<L, R, 1>(a, am, b, bn, out, K, N, mask); break;
  }
}

template <int L>
inline void dots(const float* a, int64_t am, const float* b, int64_t bn, float* out, int64_t M, int64_t K, int64_t N) {
  constexpr int rows = L == 16 ? kRows : 2;
  const auto mask = mask_of<typename Lanes<L>::Mask>(L - K % L);
  int64_t m = 0;
  for (; m + rows <= M; m += rows) dot_strip<L, rows>(a + m * am, am, b, bn, out + m * N, K, N, mask);
  for (; m < M; ++m) dot_strip<L, 1>(a + m * am, am, b, bn, out + m * N, K, N, mask);
}

constexpr int64_t kMostTurned = 1 << 16, kWorthTurning = 128;

// Matrix that lies along k, as one that lies along n.
inline void turn(const float* b, int64_t bn, float* to, int64_t K, int64_t N) {
  for (int64_t n = 0; n < N; ++n) {
    for (int64_t k = 0; k < K; ++k) to[k * N + n] = b[n * bn + k];
  }
}

// Whether there is a kernel for matrices that lie so, and their products if so.
inline bool product(const float* a, const int64_t* as, const float* b, const int64_t* bs, const float* bias, float* out,
                    int64_t B, int64_t M, int64_t K, int64_t N) {
  const bool along_n = bs[2] == 1 && N >= 4;
  const bool turned = !along_n && bs[1] == 1 && M >= kWorthTurning && N >= kLanes && K * N <= kMostTurned;
  const bool along_k = as[2] == 1 && bs[1] == 1 && K >= 8;
  if (!along_n && !turned && !along_k) return false;
  alignas(64) static thread_local float room[kMostTurned];
  for (int64_t i = 0; i < B; ++i, a += as[0], b += bs[0], out += M * N) {
    if (turned) {
      if (!i || bs[0]) turn(b, bs[2], room, K, N);
      rows_of_b<kLanes>(a, as[1], as[2], room, N, bias, out, M, K, N);
    } else if (along_n) {
      if (N >= kLanes) rows_of_b<kLanes>(a, as[1], as[2], b, bs[1], bias, out, M, K, N);
      else if (N >= 8) rows_of_b<8>(a, as[1], as[2], b, bs[1], bias, out, M, K, N);
      else rows_of_b<4>(a, as[1], as[2], b, bs[1], bias, out, M, K, N);
    } else if (K >= kLanes) {
      dots<kLanes>(a, as[1], b, bs[2], out, M, K, N);
    } else {
      dots<8>(a, as[1], b, bs[2], out, M, K, N);
    }
    if (bias && !turned && !along_n) {
      for (int64_t m = 0; m < M; ++m) {
        for (int64_t n = 0; n < N; ++n) out[m * N + n] += bias[n];
      }
    }
  }
  return true;
}

}  // namespace products

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC pop_options
#endif
