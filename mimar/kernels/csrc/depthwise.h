// Depthwise convolution of one picture and its two gradients. `u` is padded: tap (y, x) of output (i, j) lies at
// (i·s + y·d, j·s + x·d). Weights are [k·k][channels]. Channels are a multiple of V.
#pragma once
#include "vectors.h"

namespace ISA {

template <class T, int V> struct Depthwise : Vectors<T, V> {
  using B = Vectors<T, V>;
  using vec = typename B::vec;
  using B::load; using B::store; using B::zero;
  static constexpr int WIDE = REGISTERS == 32 ? 8 : 4;  // neighbouring outputs held in registers

  // out[m] += Σ_x w[x] · u[m + x·D] for N neighbours, every u loaded once
  template <int K, int D, int N> static INLINE void row(vec *acc, const T *u, const T *w, int64_t px) {
    vec x[N + (K - 1) * D];
    for (int m = 0; m < N + (K - 1) * D; m++) x[m] = load(u + m * px);
    for (int t = 0; t < K; t++) {
      const vec f = load(w + t * px);
      for (int m = 0; m < N; m++) acc[m] += f * x[m + t * D];
    }
  }

  template <int K, int D, int N, bool ADD>
  static INLINE void block(const T *u, int64_t urow, const T *w, T *out, int64_t px) {
    vec acc[N];
    for (int m = 0; m < N; m++) acc[m] = ADD ? load(out + m * px) : zero();
    for (int y = 0; y < K; y++) row<K, D, N>(acc, u + y * D * urow, w + y * K * px, px);
    for (int m = 0; m < N; m++) store(out + m * px, acc[m]);
  }

  template <int K, int D, bool ADD>
  static void dense(const T *u, int64_t urow, const T *w, T *out, int64_t orow, int h, int wd, int c) {
    for (int64_t v = 0; v < c; v += V)
      for (int i = 0; i < h; i++) {
        const T *from = u + i * urow + v;
        T *to = out + i * orow + v;
        int j = 0;
        for (; j + WIDE <= wd; j += WIDE) block<K, D, WIDE, ADD>(from + j * int64_t(c), urow, w + v, to + j * int64_t(c), c);
        for (; j + 2 <= wd; j += 2) block<K, D, 2, ADD>(from + j * int64_t(c), urow, w + v, to + j * int64_t(c), c);
        for (; j < wd; j++) block<K, D, 1, ADD>(from + j * int64_t(c), urow, w + v, to + j * int64_t(c), c);
      }
  }

  // out (+)= u * w, any kernel, stride and dilation
  static void forward(const T *u, int64_t urow, const T *w, T *out, int64_t orow, int h, int wd, int c, int k, int s, int d,
                      bool add) {
    if (s == 1 && k == 3 && d == 1) return add ? dense<3, 1, true>(u, urow, w, out, orow, h, wd, c) : dense<3, 1, false>(u, urow, w, out, orow, h, wd, c);
    if (s == 1 && k == 3 && d == 2) return add ? dense<3, 2, true>(u, urow, w, out, orow, h, wd, c) : dense<3, 2, false>(u, urow, w, out, orow, h, wd, c);
    if (s == 1 && k == 5 && d == 1) return add ? dense<5, 1, true>(u, urow, w, out, orow, h, wd, c) : dense<5, 1, false>(u, urow, w, out, orow, h, wd, c);
    if (s == 1 && k == 5 && d == 2) return add ? dense<5, 2, true>(u, urow, w, out, orow, h, wd, c) : dense<5, 2, false>(u, urow, w, out, orow, h, wd, c);
    if (s == 1 && k == 7 && d == 1) return add ? dense<7, 1, true>(u, urow, w, out, orow, h, wd, c) : dense<7, 1, false>(u, urow, w, out, orow, h, wd, c);
    for (int64_t v = 0; v < c; v += V)
      for (int i = 0; i < h; i++)
        for (int j = 0; j < wd; j++) {
          T *to = out + i * orow + j * int64_t(c) + v;
          const T *from = u + i * s * urow + j * int64_t(s) * c + v;
          vec acc = add ? load(to) : zero();
          for (int y = 0; y < k; y++)
            for (int x = 0; x < k; x++) acc += load(from + y * d * urow + x * int64_t(d) * c) * load(w + (y * k + x) * int64_t(c) + v);
          store(to, acc);
        }
  }

  // gu[i·s + y·d, j·s + x·d] += w[y, x] · g[i, j]: the input gradient where the stride forbids the forward form
  static void scatter(const T *g, int64_t grow, const T *w, T *gu, int64_t urow, int h, int wd, int c, int k, int s, int d) {
    for (int64_t v = 0; v < c; v += V)
      for (int i = 0; i < h; i++)
        for (int y = 0; y < k; y++)
          for (int j = 0; j < wd; j++) {
            const vec f = load(g + i * grow + j * int64_t(c) + v);
            T *to = gu + (i * s + y * d) * urow + j * int64_t(s) * c + v;
            for (int x = 0; x < k; x++) store(to + x * int64_t(d) * c, load(to + x * int64_t(d) * c) + f * load(w + (y * k + x) * int64_t(c) + v));
          }
  }

  // gw[y, x] += Σ u[i·s + y·d, j·s + x·d] · g[i, j]; ROWS rows of taps at once, all accumulators in registers
  template <int K, int D, int ROWS>
  static void correlate(const T *u, int64_t urow, const T *g, int64_t grow, T *gw, int h, int wd, int c) {
    constexpr int N = 4;
    for (int64_t v = 0; v < c; v += V)
      for (int y0 = 0; y0 < K; y0 += ROWS) {
        vec acc[ROWS][K];
        for (int r = 0; r < ROWS; r++) for (int t = 0; t < K; t++) acc[r][t] = zero();
        for (int i = 0; i < h; i++) {
          int j = 0;
          for (; j + N <= wd; j += N) {
            vec f[N];
            for (int m = 0; m < N; m++) f[m] = load(g + i * grow + (j + m) * int64_t(c) + v);
            for (int r = 0; r < ROWS; r++) {
              const T *from = u + (i + (y0 + r) * D) * urow + j * int64_t(c) + v;
              vec x[N + (K - 1) * D];
              for (int m = 0; m < N + (K - 1) * D; m++) x[m] = load(from + m * int64_t(c));
              for (int m = 0; m < N; m++)
                for (int t = 0; t < K; t++) acc[r][t] += x[m + t * D] * f[m];
            }
          }
          for (; j < wd; j++) {
            const vec f = load(g + i * grow + j * int64_t(c) + v);
            for (int r = 0; r < ROWS; r++)
              for (int t = 0; t < K; t++) acc[r][t] += load(u + (i + (y0 + r) * D) * urow + (j + t * D) * int64_t(c) + v) * f;
          }
        }
        for (int r = 0; r < ROWS; r++)
          for (int t = 0; t < K; t++) {
            T *to = gw + ((y0 + r) * K + t) * int64_t(c) + v;
            store(to, load(to) + acc[r][t]);
          }
      }
  }

  static void weights(const T *u, int64_t urow, const T *g, int64_t grow, T *gw, int h, int wd, int c, int k, int s, int d) {
    constexpr int R3 = REGISTERS == 32 ? 3 : 1;
    if (s == 1 && k == 3 && d == 1) return correlate<3, 1, R3>(u, urow, g, grow, gw, h, wd, c);
    if (s == 1 && k == 3 && d == 2) return correlate<3, 2, R3>(u, urow, g, grow, gw, h, wd, c);
    if (s == 1 && k == 5 && d == 1) return correlate<5, 1, 1>(u, urow, g, grow, gw, h, wd, c);
    if (s == 1 && k == 5 && d == 2) return correlate<5, 2, 1>(u, urow, g, grow, gw, h, wd, c);
    if (s == 1 && k == 7 && d == 1) return correlate<7, 1, 1>(u, urow, g, grow, gw, h, wd, c);
    for (int64_t v = 0; v < c; v += V)
      for (int y = 0; y < k; y++)
        for (int x = 0; x < k; x++) {
          vec acc = zero();
          for (int i = 0; i < h; i++)
            for (int j = 0; j < wd; j++)
              acc += load(u + (i * s + y * d) * urow + (j * s + x * d) * int64_t(c) + v) * load(g + i * grow + j * int64_t(c) + v);
          T *to = gw + (y * k + x) * int64_t(c) + v;
          store(to, load(to) + acc);
        }
  }
};

} // namespace ISA
