// A 3×3 convolution of stride 1 by the minimal filtering algorithm of Winograd, F(2×2, 3×3) (Lavin, Gray 2016, section 4.1):
// every 2×2 outputs take 16 products a pair of channels instead of 36. Its gradient in the weights is the transpose of it.
// Pictures as in dense.h; outputs have an even number of rows and columns. Transformed weights are [16][inputs][outputs].
#pragma once
#include "dense.h"

namespace ISA {

template <class T, int V> struct Winograd : Vectors<T, V> {
  using B = Vectors<T, V>;
  using vec = typename B::vec;
  using B::load; using B::store;
  using DN = Dense<T, V>;
  static constexpr int64_t HELD = 8192;  // numbers of a strip on either side of the products, to stay in the nearest cache

  static bool serves(int64_t q, int64_t h, int64_t w, int64_t ci, int64_t co) {
    return q == 3 && h % 2 == 0 && w % 2 == 0 && ci >= 8 && co >= 8;  // with fewer channels the transforms cost more than they save
  }

  // Gᵀ-side: [9][n] → [16][n], n = inputs · outputs
  static void weights_in(const T *g, T *u, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
      T half[4][3];
      for (int x = 0; x < 3; x++) {
        const T a = g[x * n + i], b = g[(3 + x) * n + i], c = g[(6 + x) * n + i];
        half[0][x] = a, half[1][x] = (a + b + c) / 2, half[2][x] = (a - b + c) / 2, half[3][x] = c;
      }
      for (int y = 0; y < 4; y++) {
        const T a = half[y][0], b = half[y][1], c = half[y][2];
        u[(y * 4) * n + i] = a, u[(y * 4 + 1) * n + i] = (a + b + c) / 2, u[(y * 4 + 2) * n + i] = (a - b + c) / 2, u[(y * 4 + 3) * n + i] = c;
      }
    }
  }
  // its transpose: [16][n] → [9][n]
  static void weights_out(const T *u, T *g, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
      T half[3][4];
      for (int x = 0; x < 4; x++) {
        const T a = u[x * n + i], b = u[(4 + x) * n + i], c = u[(8 + x) * n + i], d = u[(12 + x) * n + i];
        half[0][x] = a + (b + c) / 2, half[1][x] = (b - c) / 2, half[2][x] = (b + c) / 2 + d;
      }
      for (int y = 0; y < 3; y++) {
        const T a = half[y][0], b = half[y][1], c = half[y][2], d = half[y][3];
        g[(y * 3) * n + i] = a + (b + c) / 2, g[(y * 3 + 1) * n + i] = (b - c) / 2, g[(y * 3 + 2) * n + i] = (b + c) / 2 + d;
      }
    }
  }

  // Bᵀ d B of every tile of a strip: [16][tiles][channels]
  static void pictures_in(Picture<const T> in, T *to, int rows, int columns, int64_t c) {
    const int64_t plane = int64_t(rows) * columns * c;
    for (int i = 0; i < rows; i++)
      for (int j = 0; j < columns; j++, to += c)
        for (int64_t v = 0; v < c; v += V) {
          const T *from = in.data + 2 * i * in.row + 2 * j * in.pixel + v;
          vec half[4][4];
          for (int x = 0; x < 4; x++) {
            const T *p = from + x * in.pixel;
            const vec a = load(p), b = load(p + in.row), d = load(p + 2 * in.row), e = load(p + 3 * in.row);
            half[0][x] = a - d, half[1][x] = b + d, half[2][x] = d - b, half[3][x] = b - e;
          }
          for (int y = 0; y < 4; y++) {
            T *at = to + 4 * y * plane + v;
            store(at, half[y][0] - half[y][2]), store(at + plane, half[y][1] + half[y][2]);
            store(at + 2 * plane, half[y][2] - half[y][1]), store(at + 3 * plane, half[y][1] - half[y][3]);
          }
        }
  }
  // Aᵀ m A of every tile
  template <bool ADD> static void pictures_out(const T *from, Picture<T> out, int rows, int columns, int64_t c) {
    const int64_t plane = int64_t(rows) * columns * c;
    for (int i = 0; i < rows; i++)
      for (int j = 0; j < columns; j++, from += c)
        for (int64_t v = 0; v < c; v += V) {
          T *to = out.data + 2 * i * out.row + 2 * j * out.pixel + v;
          vec half[2][4];
          for (int x = 0; x < 4; x++) {
            const T *p = from + x * plane + v;
            const vec a = load(p), b = load(p + 4 * plane), d = load(p + 8 * plane), e = load(p + 12 * plane);
            half[0][x] = a + (b + d), half[1][x] = (b - d) - e;
          }
          for (int y = 0; y < 2; y++) {
            T *at = to + y * out.row;
            const vec p = half[y][0] + (half[y][1] + half[y][2]), q = (half[y][1] - half[y][2]) - half[y][3];
            store(at, ADD ? load(at) + p : p), store(at + out.pixel, ADD ? load(at + out.pixel) + q : q);
          }
        }
  }
  // A g Aᵀ of every tile, the transpose of that
  static void gradients_in(Picture<const T> in, T *to, int rows, int columns, int64_t c) {
    const int64_t plane = int64_t(rows) * columns * c;
    for (int i = 0; i < rows; i++)
      for (int j = 0; j < columns; j++, to += c)
        for (int64_t v = 0; v < c; v += V) {
          const T *from = in.data + 2 * i * in.row + 2 * j * in.pixel + v;
          vec half[4][2];
          for (int x = 0; x < 2; x++) {
            const vec a = load(from + x * in.pixel), b = load(from + in.row + x * in.pixel);
            half[0][x] = a, half[1][x] = a + b, half[2][x] = a - b, half[3][x] = -b;
          }
          for (int y = 0; y < 4; y++) {
            T *at = to + 4 * y * plane + v;
            const vec a = half[y][0], b = half[y][1];
            store(at, a), store(at + plane, a + b), store(at + 2 * plane, a - b), store(at + 3 * plane, -b);
          }
        }
  }

  static int64_t strip(int h, int w, int64_t widest) {  // rows of tiles at once
    const int64_t rows = HELD / (16 * (w / 2) * widest);
    return rows < 1 ? 1 : rows > h / 2 ? h / 2 : rows;
  }
  static int64_t room(int h, int w, int64_t cip, int64_t cop) {  // numbers of scratch
    return strip(h, w, cip > cop ? cip : cop) * (w / 2) * 16 * (cip + cop);
  }

  // out (+)= in * w; `u` are transformed weights, `scratch` has `room`
  static void forward(Picture<const T> in, const T *u, Picture<T> out, int h, int w, int ci, int64_t cip, int64_t cop, bool add, T *scratch) {
    const int columns = w / 2;
    const int64_t step = strip(h, w, cip > cop ? cip : cop);
    for (int64_t i = 0; i < h / 2; i += step) {
      const int rows = int(i + step > h / 2 ? h / 2 - i : step), tiles = rows * columns;
      T *products = scratch + 16 * tiles * cip;
      pictures_in({in.data + 2 * i * in.row, in.row, in.pixel}, scratch, rows, columns, cip);
      for (int64_t n = 0; n < 16; n++)
        DN::forward({scratch + n * tiles * cip, tiles * cip, cip}, u + n * ci * cop, {products + n * tiles * cop, tiles * cop, cop}, 1, tiles, ci, int(cop), 1, false);
      const Picture<T> to{out.data + 2 * i * out.row, out.row, out.pixel};
      add ? pictures_out<true>(products, to, rows, columns, cop) : pictures_out<false>(products, to, rows, columns, cop);
    }
  }

  // gu[16][i][o] += the transformed weight gradient
  static void weights(Picture<const T> in, Picture<const T> g, T *gu, int h, int w, int ci, int64_t cip, int64_t cop, T *scratch) {
    const int columns = w / 2;
    const int64_t step = strip(h, w, cip > cop ? cip : cop);
    for (int64_t i = 0; i < h / 2; i += step) {
      const int rows = int(i + step > h / 2 ? h / 2 - i : step), tiles = rows * columns;
      T *turned = scratch + 16 * tiles * cip;
      pictures_in({in.data + 2 * i * in.row, in.row, in.pixel}, scratch, rows, columns, cip);
      gradients_in({g.data + 2 * i * g.row, g.row, g.pixel}, turned, rows, columns, cop);
      for (int64_t n = 0; n < 16; n++)
        DN::weights({scratch + n * tiles * cip, tiles * cip, cip}, {turned + n * tiles * cop, tiles * cop, cop}, gu + n * ci * cop, 1, tiles, ci, int(cop), 1);
    }
  }
};

} // namespace ISA
