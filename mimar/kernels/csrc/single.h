// A depthwise convolution by itself, and its gradients to the input and to the weights. Tensors are NHWC, weights
// [channels][k·k] as torch stores them. Pictures are packed into padded scratch memory one at a time, as in node.h.
#pragma once
#include "node.h"

namespace ISA {

enum Direction : int64_t { OUTPUT, TO_INPUT, TO_WEIGHTS };

// The layout of a call, in 64-bit words; mimar/kernels/depthwise.py writes it.
struct Call {
  int64_t direction, is_double, threads, batch, c, h, w, k, s, d;
  const void *a, *b;  // OUTPUT: x, weights    TO_INPUT: g, weights    TO_WEIGHTS: x, g
  void *out;
};

template <class T, int V> struct Single : Vectors<T, V> {
  using B = Vectors<T, V>;
  using vec = typename B::vec;
  using B::load; using B::store; using B::zero;
  using DW = Depthwise<T, V>;
  using N = Node<T, V>;
  struct Tap { int64_t at, weight; };  // offsets in the padded picture and in the weights

  const Call &p;
  const int64_t ho = (p.h - 1) / p.s + 1, wo = (p.w - 1) / p.s + 1, cp = round_up(p.c, V), taps = p.k * p.k;
  const int64_t pad = p.d * (p.k / 2), urow = (p.w + 2 * pad) * cp, usize = (p.h + 2 * pad) * urow;
  const bool whole = p.c == cp, quick = p.s == 1 && (p.k < 7 || p.d == 1);  // quick: Depthwise has registers for it

  // tight pixels of c channels to pixels of cp channels in rows `row` apart, and back
  void pack(const void *from, int64_t b, T *out, int64_t row, int64_t h, int64_t w) const {
    const T *in = static_cast<const T *>(from) + b * h * w * p.c;
    for (int64_t i = 0; i < h; i++)
      if (whole) std::memcpy(out + i * row, in + i * w * cp, size_t(w * cp) * sizeof(T));
      else for (int64_t j = 0; j < w; j++) for (int64_t c = 0; c < p.c; c++) out[i * row + j * cp + c] = in[(i * w + j) * p.c + c];
  }
  void unpack(const T *in, int64_t b, int64_t h, int64_t w) const {
    T *out = static_cast<T *>(p.out) + b * h * w * p.c;
    for (int64_t i = 0; i < h * w; i++) for (int64_t c = 0; c < p.c; c++) out[i * p.c + c] = in[i * cp + c];
  }
  // where the result of a picture is made: in its place, if its channels are whole vectors
  T *target(int64_t b, int64_t h, int64_t w) const {
    return whole ? static_cast<T *>(p.out) + b * h * w * cp : N::scratch(N::OUT, h * w * cp);
  }
  Array<T> kernel(bool flip) const {
    Array<T> out(taps * cp);
    for (int64_t c = 0; c < p.c; c++)
      for (int64_t t = 0; t < taps; t++) out[(flip ? taps - 1 - t : t) * cp + c] = static_cast<const T *>(p.b)[c * taps + t];
    return out;
  }

  // M outputs, `to` apart: each the sum over the taps of its pixel; the pixels are `step` apart
  template <int M> INLINE void combine(const T *u, int64_t step, const Tap *tap, int64_t count, const T *w, T *out, int64_t to) const {
    vec acc[M];
    for (int m = 0; m < M; m++) acc[m] = zero();
    for (int64_t t = 0; t < count; t++) {
      const vec f = load(w + tap[t].weight);
      const T *from = u + tap[t].at;
      for (int m = 0; m < M; m++) acc[m] += f * load(from + m * step);
    }
    for (int m = 0; m < M; m++) store(out + m * to, acc[m]);
  }
  void row(const T *u, int64_t step, const Tap *tap, int64_t count, const T *w, T *out, int64_t to, int64_t width) const {
    for (int64_t v = 0; v < cp; v += V) {
      int64_t j = 0;
      for (; j + 8 <= width; j += 8) combine<8>(u + j * step + v, step, tap, count, w + v, out + j * to + v, to);
      for (; j + 2 <= width; j += 2) combine<2>(u + j * step + v, step, tap, count, w + v, out + j * to + v, to);
      for (; j < width; j++) combine<1>(u + j * step + v, step, tap, count, w + v, out + j * to + v, to);
    }
  }

  // a * kernel at `stride`, h × w → oh × ow
  void forward(const Array<T> &w, int64_t s, int64_t oh, int64_t ow) const {
    Array<Tap> tap(taps);
    for (int64_t t = 0; t < taps; t++) tap[t] = {t / p.k * p.d * urow + t % p.k * p.d * cp, t * cp};
    parallel(p.threads, p.batch, [&](int64_t, int64_t from, int64_t end) {
      T *u = N::cleared(N::U, usize);
      for (int64_t b = from; b < end; b++) {
        pack(p.a, b, u + pad * (urow + cp), urow, p.h, p.w);
        T *out = target(b, oh, ow);
        if (quick) DW::forward(u, urow, w.data(), out, ow * cp, int(oh), int(ow), int(cp), int(p.k), 1, int(p.d), false);
        else for (int64_t i = 0; i < oh; i++) row(u + i * s * urow, s * cp, tap.data(), taps, w.data(), out + i * ow * cp, cp, ow);
        if (!whole) unpack(out, b, oh, ow);
      }
    });
  }

  // Pixels (i, j) of the input with the same remainders modulo the stride see the same taps: those that lie at an output.
  void to_input() const {
    if (p.s == 1) return forward(kernel(true), 1, p.h, p.w);
    const Array<T> w = kernel(false);
    const int64_t border = (pad + p.s - 1) / p.s, grow = (wo + 2 * border) * cp;
    const int64_t rows = p.s < p.h ? p.s : p.h, columns = p.s < p.w ? p.s : p.w;
    Array<Tap> seen(rows * columns * taps);
    Array<int64_t> many(rows * columns);
    for (int64_t n = 0; n < rows * columns; n++)
      for (int64_t t = 0; t < taps; t++) {
        const int64_t y = n / columns + pad + border * p.s - t / p.k * p.d, x = n % columns + pad + border * p.s - t % p.k * p.d;
        if (y % p.s == 0 && x % p.s == 0) seen[n * taps + many[n]++] = {y / p.s * grow + x / p.s * cp, t * cp};
      }
    parallel(p.threads, p.batch, [&](int64_t, int64_t from, int64_t end) {
      T *g = N::cleared(N::GT, (ho + 2 * border) * grow);
      for (int64_t b = from; b < end; b++) {
        pack(p.a, b, g + border * (grow + cp), grow, ho, wo);
        T *out = target(b, p.h, p.w);
        for (int64_t i = 0; i < p.h; i++)
          for (int64_t j = 0; j < columns; j++) {
            const int64_t n = i % p.s * columns + j;
            row(g + i / p.s * grow, cp, seen.data() + n * taps, many[n], w.data(), out + (i * p.w + j) * cp, p.s * cp, (p.w - j + p.s - 1) / p.s);
          }
        if (!whole) unpack(out, b, p.h, p.w);
      }
    });
  }

  // sum[y, x] += Σ u[i·s + y·d, j·s + x·d] · g[i, j], K taps of ROWS rows at once in registers
  template <int K, int ROWS> void correlate(const T *u, const T *g, T *sum) const {
    for (int64_t v = 0; v < cp; v += V)
      for (int64_t y = 0; y < K; y += ROWS) {
        vec acc[ROWS][K];
        for (int r = 0; r < ROWS; r++) for (int x = 0; x < K; x++) acc[r][x] = zero();
        for (int64_t i = 0; i < ho; i++) {
          const T *from = u + (i * p.s + y * p.d) * urow + v, *by = g + i * wo * cp + v;
          for (int64_t j = 0; j < wo; j++, from += p.s * cp, by += cp) {
            const vec f = load(by);
            for (int r = 0; r < ROWS; r++) for (int x = 0; x < K; x++) acc[r][x] += f * load(from + r * p.d * urow + x * p.d * cp);
          }
        }
        for (int r = 0; r < ROWS; r++)
          for (int x = 0; x < K; x++) {
            T *to = sum + ((y + r) * K + x) * cp + v;
            store(to, load(to) + acc[r][x]);
          }
      }
  }
  void to_weights() const {
    const int64_t threads = p.threads < p.batch ? p.threads : p.batch;
    Array<T> sums(threads * taps * cp);
    parallel(threads, p.batch, [&](int64_t t, int64_t from, int64_t end) {
      T *u = N::cleared(N::U, usize), *held = whole ? nullptr : N::cleared(N::GT, ho * wo * cp), *sum = sums.data() + t * taps * cp;
      for (int64_t b = from; b < end; b++) {
        pack(p.a, b, u + pad * (urow + cp), urow, p.h, p.w);
        const T *g = whole ? static_cast<const T *>(p.b) + b * ho * wo * cp : held;
        if (!whole) pack(p.b, b, held, wo * cp, ho, wo);
        if (!quick && p.k == 3) correlate<3, 3>(u, g, sum);
        else if (!quick && p.k == 5) correlate<5, 1>(u, g, sum);
        else if (!quick && p.k == 7) correlate<7, 1>(u, g, sum);
        else DW::weights(u, urow, g, wo * cp, sum, int(ho), int(wo), int(cp), int(p.k), int(p.s), int(p.d));
      }
    });
    for (int64_t c = 0; c < p.c; c++)
      for (int64_t t = 0; t < taps; t++) {
        T total = 0;
        for (int64_t n = 0; n < threads; n++) total += sums[(n * taps + t) * cp + c];
        static_cast<T *>(p.out)[c * taps + t] = total;
      }
  }
};

template <class T, int V> void depthwise(const Call &p) {
  const Single<T, V> all{{}, p};
  if (p.direction == OUTPUT) all.forward(all.kernel(false), p.s, all.ho, all.wo);
  if (p.direction == TO_INPUT) all.to_input();
  if (p.direction == TO_WEIGHTS) all.to_weights();
}

template <class T> void depthwise_as(const Call &p) {
  constexpr int V = WIDTH / int(sizeof(T));
  p.c <= V / 2 ? depthwise<T, V / 2>(p) : depthwise<T, V>(p);
}

} // namespace ISA
