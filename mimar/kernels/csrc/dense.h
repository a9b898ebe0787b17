// Dense convolution of stride 1 of one picture (a 1×1 is a matrix product) and its weight gradient.
// `in` is padded: tap (y, x) of output (i, j) lies at (i + y, j + x). Weights are [q·q][inputs][outputs]; the outputs
// are a multiple of V, the inputs any number up to the pixel stride of `in`.
#pragma once
#include "vectors.h"

namespace ISA {

template <class T, int V> struct Dense : Vectors<T, V> {
  using B = Vectors<T, V>;
  using vec = typename B::vec;
  using B::load; using B::store; using B::zero;

  template <int M, int N, bool ADD>
  static INLINE void block(Picture<const T> in, const T *w, int64_t co, T *out, int64_t opx, int ci, int q) {
    vec acc[M][N];
    for (int m = 0; m < M; m++) for (int n = 0; n < N; n++) acc[m][n] = ADD ? load(out + m * opx + n * V) : zero();
    for (int y = 0; y < q; y++)
      for (int x = 0; x < q; x++) {
        const T *from = in.data + y * in.row + x * in.pixel;
        for (int64_t i = 0; i < ci; i++, w += co) {
          vec f[N];
          for (int n = 0; n < N; n++) f[n] = load(w + n * V);
          for (int m = 0; m < M; m++) {
            const T s = from[m * in.pixel + i];
            for (int n = 0; n < N; n++) acc[m][n] += s * f[n];
          }
        }
      }
    for (int m = 0; m < M; m++) for (int n = 0; n < N; n++) store(out + m * opx + n * V, acc[m][n]);
  }

  template <int M, int N, bool ADD>
  static void panel(Picture<const T> in, const T *w, int64_t co, Picture<T> out, int h, int wd, int ci, int q) {
    for (int i = 0; i < h; i++) {
      int j = 0;
      auto at = [&](int j) { return Picture<const T>{in.data + i * in.row + j * in.pixel, in.row, in.pixel}; };
      T *to = out.data + i * out.row;
      for (; j + M <= wd; j += M) block<M, N, ADD>(at(j), w, co, to + j * out.pixel, out.pixel, ci, q);
      if (M > 4) for (; j + 4 <= wd; j += 4) block<4, N, ADD>(at(j), w, co, to + j * out.pixel, out.pixel, ci, q);
      for (; j < wd; j++) block<1, N, ADD>(at(j), w, co, to + j * out.pixel, out.pixel, ci, q);
    }
  }

  template <bool ADD> static void run(Picture<const T> in, const T *w, Picture<T> out, int h, int wd, int ci, int co, int q) {
    constexpr bool MANY = REGISTERS == 32;
    if (q == 1 && in.row == wd * in.pixel && out.row == wd * out.pixel) wd *= h, h = 1;  // no rows: one long one
    int64_t o = 0;
    auto to = [&](int64_t o) { return Picture<T>{out.data + o, out.row, out.pixel}; };
    if (MANY && q == 1) for (; o + 4 * V <= co; o += 4 * V) panel<6, 4, ADD>(in, w + o, co, to(o), h, wd, ci, q);
    for (; o + 2 * V <= co; o += 2 * V) panel<MANY ? 8 : 4, 2, ADD>(in, w + o, co, to(o), h, wd, ci, q);
    for (; o < co; o += V) panel<MANY ? 16 : 8, 1, ADD>(in, w + o, co, to(o), h, wd, ci, q);
  }

  // out (+)= in * w
  static void forward(Picture<const T> in, const T *w, Picture<T> out, int h, int wd, int ci, int co, int q, bool add) {
    add ? run<true>(in, w, out, h, wd, ci, co, q) : run<false>(in, w, out, h, wd, ci, co, q);
  }

  template <int M, int N>
  static INLINE void outer(Picture<const T> in, Picture<const T> g, T *gw, int64_t co, int h, int wd) {
    vec acc[M][N];
    for (int m = 0; m < M; m++) for (int n = 0; n < N; n++) acc[m][n] = load(gw + m * co + n * V);
    for (int i = 0; i < h; i++) {
      const T *from = in.data + i * in.row, *by = g.data + i * g.row;
      for (int j = 0; j < wd; j++, from += in.pixel, by += g.pixel) {
        vec f[N];
        for (int n = 0; n < N; n++) f[n] = load(by + n * V);
        for (int m = 0; m < M; m++) for (int n = 0; n < N; n++) acc[m][n] += from[m] * f[n];
      }
    }
    for (int m = 0; m < M; m++) for (int n = 0; n < N; n++) store(gw + m * co + n * V, acc[m][n]);
  }

  template <int M, int N>
  static void strip(Picture<const T> in, Picture<const T> g, T *gw, int h, int wd, int ci, int64_t co, int q) {
    for (int y = 0; y < q; y++)
      for (int x = 0; x < q; x++, gw += ci * co) {
        int i = 0;
        auto at = [&](int i) { return Picture<const T>{in.data + y * in.row + x * in.pixel + i, in.row, in.pixel}; };
        for (; i + M <= ci; i += M) outer<M, N>(at(i), g, gw + i * co, co, h, wd);
        if (M > 4) for (; i + 4 <= ci; i += 4) outer<4, N>(at(i), g, gw + i * co, co, h, wd);
        for (; i < ci; i++) outer<1, N>(at(i), g, gw + i * co, co, h, wd);
      }
  }

  // gw[tap][i][o] += Σ in[pixel + tap, i] · g[pixel, o]
  static void weights(Picture<const T> in, Picture<const T> g, T *gw, int h, int wd, int ci, int co, int q) {
    constexpr bool MANY = REGISTERS == 32;
    if (q == 1 && in.row == wd * in.pixel && g.row == wd * g.pixel) wd *= h, h = 1;
    int64_t o = 0;
    auto at = [&](int64_t o) { return Picture<const T>{g.data + o, g.row, g.pixel}; };
    if (MANY) for (; o + 4 * V <= co; o += 4 * V) strip<6, 4>(in, at(o), gw + o, h, wd, ci, co, q);
    for (; o + 2 * V <= co; o += 2 * V) strip<MANY ? 8 : 4, 2>(in, at(o), gw + o, h, wd, ci, co, q);
    for (; o < co; o += V) strip<MANY ? 16 : 8, 1>(in, at(o), gw + o, h, wd, ci, co, q);
  }
};

} // namespace ISA
