// Vectors of numbers as wide as the processor's, their exponentials and memory aligned for them: what kernels share.

#ifndef GOSSIPFL_VECTORS
#define GOSSIPFL_VECTORS

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <new>
#ifdef __AVX__
#include <immintrin.h>
#endif

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC push_options
#pragma GCC optimize("O3", "fp-contract=fast")
#endif

namespace vectors {

#ifdef __AVX512F__
constexpr int kLanes = 16;
#else
constexpr int kLanes = 8;
#endif

typedef float Vector __attribute__((vector_size(4 * kLanes)));
typedef float Anywhere __attribute__((vector_size(4 * kLanes), aligned(4), may_alias));
typedef int32_t Bits __attribute__((vector_size(4 * kLanes)));

inline Vector load(const float* from) { return *reinterpret_cast<const Anywhere*>(from); }
inline void store(float* to, Vector values) { *reinterpret_cast<Anywhere*>(to) = values; }

#ifdef __AVX512F__
inline __mmask16 mask_of(int64_t count) { return __mmask16(count > 0 ? (1u << count) - 1 : 0); }  // of at most 15
#endif

inline Vector load_some(const float* from, int64_t count) {
  if (count >= kLanes) return load(from);
#ifdef __AVX512F__
  return _mm512_maskz_loadu_ps(mask_of(count), from);
#else
  float found[kLanes] = {};
  for (int64_t lane = 0; lane < count; ++lane) found[lane] = from[lane];
  return load(found);
#endif
}

inline void store_some(float* to, Vector values, int64_t count) {
  if (count >= kLanes) return store(to, values);
#ifdef __AVX512F__
  _mm512_mask_storeu_ps(to, mask_of(count), values);
#else
  float found[kLanes];
  store(found, values);
  for (int64_t lane = 0; lane < count; ++lane) to[lane] = found[lane];
#endif
}

// Of these three, NaN stays.
inline Vector at_most(Vector x, float most) {
  const Vector high = Vector{} + most;
#if defined(__AVX512F__)
  return _mm512_min_ps(high, x);  // compilers make two instructions of the comparison
#elif defined(__AVX__)
  return _mm256_min_ps(high, x);
#else
  return high < x ? high : x;
#endif
}

inline Vector at_least(Vector x, float least) {
  const Vector low = Vector{} + least;
#if defined(__AVX512F__)
  return _mm512_max_ps(low, x);
#elif defined(__AVX__)
  return _mm256_max_ps(low, x);
#else
  return low > x ? low : x;
#endif
}

inline Vector clamped(Vector x, float most) { return at_least(at_most(x, most), -most); }

inline Vector root(Vector x) {
#if defined(__AVX512F__)
  return _mm512_sqrt_ps(x);
#elif defined(__AVX__)
  return _mm256_sqrt_ps(x);
#else
  for (int lane = 0; lane < kLanes; ++lane) x[lane] = __builtin_sqrtf(x[lane]);
  return x;
#endif
}

constexpr float kMostExponent = 87.0f;

// e^x of Cephes, of |x| ≤ 87: 2^n times a polynomial of what is left.
inline Vector bounded_exponential(Vector x) {
  constexpr float kShift = 12582912.0f;  // its last digit is 1: added, it rounds
  const Vector shifted = x * 1.44269504088896341f + kShift, n = shifted - kShift;
  const Vector r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
  Vector p = r * 1.9875691500e-4f + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * (r * r) + r + 1.0f;
  const Bits power = (reinterpret_cast<Bits>(shifted) << 23) + 0x3f800000;
  return p * reinterpret_cast<Vector>(power);
}

inline Vector exponential(Vector x) { return bounded_exponential(clamped(x, kMostExponent)); }

inline Vector exponential_of_negative(Vector x) {
  return bounded_exponential(at_least(x, -kMostExponent));
}

// ln x of Cephes, of x ≥ 1: the exponent's part, and a polynomial of what is left. NaN and infinity stay.
inline Vector logarithm(Vector x) {
  Bits bits = reinterpret_cast<Bits>(x);
  Bits exponent = (bits >> 23) - 127;
  Vector m = reinterpret_cast<Vector>((bits & 0x007fffff) | 0x3f800000);  // 1 … 2
  const Bits above = m > 1.41421356237f;
  m = above ? m * 0.5f : m;
  exponent -= above;
  const Vector r = m - 1.0f, s = r * r, e = __builtin_convertvector(exponent, Vector);
  Vector p = r * 7.0376836292e-2f - 1.1514610310e-1f;
  p = p * r + 1.1676998740e-1f;
  p = p * r - 1.2420140846e-1f;
  p = p * r + 1.4249322787e-1f;
  p = p * r - 1.6668057665e-1f;
  p = p * r + 2.0000714765e-1f;
  p = p * r - 2.4999993993e-1f;
  p = p * r + 3.3333331174e-1f;
  const Vector found = (p * r * s + e * -2.12194440e-4f - s * 0.5f) + r + e * 0.693359375f;
  return x < std::numeric_limits<float>::infinity() ? found : x;
}

inline int64_t vectors_of(int64_t numbers) { return (numbers + kLanes - 1) / kLanes; }

#define PICK __builtin_shufflevector
#ifdef __AVX512F__
inline Vector low_of(Vector a, Vector b) { return PICK(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23); }
inline Vector high_of(Vector a, Vector b) {
  return PICK(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
}
#else
inline Vector low_of(Vector a, Vector b) { return PICK(a, b, 0, 8, 1, 9, 2, 10, 3, 11); }
inline Vector high_of(Vector a, Vector b) { return PICK(a, b, 4, 12, 5, 13, 6, 14, 7, 15); }
#endif
#undef PICK

// A square of numbers, turned: each round interleaves the halves' lines.
__attribute__((always_inline)) inline void turn(Vector (&lines)[kLanes]) {
  Vector turned[kLanes];
#pragma GCC unroll 4
  for (int left = kLanes; left > 1; left /= 2) {
#pragma GCC unroll 8
    for (int i = 0; i < kLanes / 2; ++i) {
      turned[2 * i] = low_of(lines[i], lines[i + kLanes / 2]);
      turned[2 * i + 1] = high_of(lines[i], lines[i + kLanes / 2]);
    }
#pragma GCC unroll 16
    for (int i = 0; i < kLanes; ++i) lines[i] = turned[i];
  }
}

inline void turn_square(const float* from, int64_t line, float* to, int64_t to_line) {
  Vector lines[kLanes];
#pragma GCC unroll 16
  for (int i = 0; i < kLanes; ++i) lines[i] = load(from + i * line);
  turn(lines);
#pragma GCC unroll 16
  for (int i = 0; i < kLanes; ++i) store(to + i * to_line, lines[i]);
}

// Some lines of some numbers, turned and scaled, as a whole square: what there is not is zero.
inline void turn_some(const float* from, int64_t line, int64_t count, int64_t numbers, float scale, float* to) {
  Vector lines[kLanes];
#pragma GCC unroll 16
  for (int i = 0; i < kLanes; ++i) lines[i] = i < count ? load_some(from + i * line, numbers) : Vector{};
  turn(lines);
#pragma GCC unroll 16
  for (int i = 0; i < kLanes; ++i) store(to + i * kLanes, lines[i] * scale);
}

// Memory of one call, zero at first: what is padded stays so.
class Room {
 public:
  explicit Room(int64_t numbers) {
    const size_t bytes = (size_t(numbers) * 4 + 63) / 64 * 64;
    memory_ = static_cast<float*>(std::aligned_alloc(64, bytes ? bytes : 64));
    if (!memory_) throw std::bad_alloc();
    std::memset(memory_, 0, bytes);
    next_ = memory_;
  }
  ~Room() { std::free(memory_); }
  Room(const Room&) = delete;
  Room& operator=(const Room&) = delete;
  float* take(int64_t numbers) {
    float* taken = next_;
    next_ += numbers;
    return taken;
  }

 private:
  float *memory_, *next_;
};

}  // namespace vectors

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC pop_options
#endif

#endif
