// A node of a cell: y = Σ_j p_j · chain_j(x_src(j)), a chain being [relu, convolution or pooling, batch norm] repeated,
// with its gradient, and the tangents of both (which together are the second derivative).
//
// Everything is done picture by picture in scratch memory that stays in the cache; only what batch norm needs of the whole
// batch (z, the output of a stage before its norm) goes to memory. Tensors are NHWC. Sums over pictures are taken in
// double, in the order of the pictures; weight gradients by thread, in the order of the threads: equal runs give equal bits.
#pragma once
#ifdef _OPENMP
#include <omp.h>
#endif
#include <initializer_list>
#include "depthwise.h"
#include "scalars.h"
#include "winograd.h"

namespace ISA {

enum Kind : int64_t { CONV, AVERAGE, MAXIMUM, PHASES };  // PHASES: pixels (2i, 2j) and (2i+1, 2j+1) side by side, then 1×1

// The layout of a program, in 64-bit words; mimar/kernels/programs.py writes it.
struct Stage {
  int64_t kind, relu, k, s, d, q, ci, co, h, w, ho, wo, norm, batch;
  double eps, momentum;
  int64_t update;
  const void *kernel, *matrix, *gamma, *beta;
  void *running_mean, *running_var;
  double *stats;  // mean, variance: [2][co]
  void *z;
  void *g_kernel, *g_matrix, *g_gamma, *g_beta;
  const void *t_kernel, *t_matrix, *t_gamma, *t_beta;  // tangents
  double *t_stats;
  void *t_z;
};
struct Term { int64_t source, coef, stages; };  // followed by its stages
struct Source { const void *x, *t_x; void *g_x; int64_t h, w, c, add; };  // add: to what g_x holds
struct Head {
  int64_t words, is_double, threads, batch, h, w, c, terms, sources;
  const void *coef, *t_coef; void *g_coef;
  void *y, *t_y; const void *g_y, *t_g_y;
};  // followed by the sources, then the terms

constexpr int64_t round_up(int64_t n, int64_t v) { return (n + v - 1) / v * v; }

// Scratch memory of a thread: a few slots, kept between calls.
struct Slots {
  void *data[16] = {};
  size_t size[16] = {};
  void *get(size_t slot, size_t bytes) {
    if (size[slot] < bytes) {
      std::free(data[slot]);
      size[slot] = round_up(bytes, 64);
      data[slot] = std::aligned_alloc(64, size[slot]);
    }
    return data[slot];
  }
  ~Slots() { for (void *p : data) std::free(p); }
};
inline Slots &slots() { static thread_local Slots held; return held; }
inline Slots &shared_slots() { static thread_local Slots held; return held; }  // of the thread that calls

template <class F> void parallel(int64_t threads, int64_t batch, F work) {
  if (threads > batch) threads = batch;
#ifdef _OPENMP
  if (threads > 1) {
#pragma omp parallel num_threads(int(threads))
    {
      const int64_t t = omp_get_thread_num(), n = omp_get_num_threads();
      work(t, batch * t / n, batch * (t + 1) / n);
    }
    return;
  }
#endif
  work(int64_t(0), int64_t(0), batch);
}

template <class T, int V> struct Node : Vectors<T, V> {
  using B = Vectors<T, V>;
  using vec = typename B::vec;
  using B::load; using B::store; using B::zero; using B::splat; using B::positive; using B::where;
  using DW = Depthwise<T, V>;
  using DN = Dense<T, V>;
  using WG = Winograd<T, V>;

  static constexpr int64_t STRIP = 4096;  // numbers

  const Head &head;
  const Source *sources;
  Array<const Term *> terms;
  Array<Stage *> first;  // of each term
  Array<char> seen;      // sources whose gradient has been begun

  explicit Node(const Head *h) : head(*h), sources(reinterpret_cast<const Source *>(h + 1)), terms(h->terms), first(h->terms), seen(h->sources) {
    for (int64_t i = 0; i < head.sources; i++) seen[i] = sources[i].add != 0;
    const char *at = reinterpret_cast<const char *>(sources + head.sources);
    for (int64_t j = 0; j < head.terms; j++) {
      const Term *term = reinterpret_cast<const Term *>(at);
      terms[j] = term;
      first[j] = reinterpret_cast<Stage *>(const_cast<Term *>(term + 1));
      at = reinterpret_cast<const char *>(first[j] + term->stages);
    }
  }

  static int64_t up(int64_t c) { return round_up(c, V); }

  // ---- one channel vector at a time, whatever the number of channels ----------------------------------------------
  template <class F> static INLINE void pixels(const T *in, T *out, int64_t n, int64_t c, int64_t cp, F f) {
    // in: tight pixels of c channels; out: pixels of cp channels; f(vec, offset) → vec
    if (c == cp) {
      for (int64_t i = 0; i < n; i++)
        for (int64_t v = 0; v < c; v += V) store(out + i * c + v, f(load(in + i * c + v), i, v));
      return;
    }
    for (int64_t i = 0; i < n; i++)
      for (int64_t v = 0; v < cp; v += V) store(out + i * cp + v, f(partial(in + i * c + v, c - v), i, v));
  }
  static INLINE vec partial(const T *p, int64_t n) {
    if (n >= V) return load(p);
    alignas(64) T held[V] = {};
    for (int64_t i = 0; i < n; i++) held[i] = p[i];
    return load(held);
  }
  template <bool WHOLE> static INLINE vec take(const T *p, int64_t n) { return WHOLE ? load(p) : partial(p, n); }
  template <bool WHOLE> static INLINE void give(T *p, vec v, int64_t n) { WHOLE ? store(p, v) : put(p, v, n); }
  static INLINE void put(T *p, vec v, int64_t n) {
    if (n >= V) return store(p, v);
    alignas(64) T held[V];
    store(held, v);
    for (int64_t i = 0; i < n; i++) p[i] = held[i];
  }

  // ---- what a stage needs while it runs ---------------------------------------------------------------------------
  struct Work {
    Stage *s;
    const Source *x;      // of the first stage; null in the others
    Stage *before;        // of the others
    int64_t cip, cop, mip, mid_channels, pad, urow, usize, osize, isize, grow, gsize, gpad;
    int64_t batch;        // pictures, or strips of pictures
    bool dw, phases, winograd;
    Array<Stage> cut;     // the stage as it looks to a strip
    Array<T> kernel, flipped, matrix, turned;          // packed weights
    Array<T> t_kernel, t_flipped, t_matrix, t_turned;  // packed tangents
    Array<T> scale, shift, t_scale, t_shift;           // norm of the stage before
    Array<T> share;                                    // of an average
  };

  static Array<T> pack_kernel(const void *from, const Stage &s, bool flip) {
    const int64_t n = s.k * s.k, cp = up(s.ci);
    Array<T> out(n * cp);
    if (!from) return out;
    for (int64_t c = 0; c < s.ci; c++)
      for (int64_t t = 0; t < n; t++) out[size_t((flip ? n - 1 - t : t) * cp + c)] = static_cast<const T *>(from)[c * n + t];
    return out;
  }
  static Array<T> pack_matrix(const void *from, const Stage &s, bool turn) {  // [co][ci][q·q] as stored by torch
    const int64_t n = s.q * s.q, cp = up(turn ? s.ci : s.co), rows = turn ? s.co : s.ci;
    Array<T> out(n * rows * cp);
    if (!from) return out;
    const T *p = static_cast<const T *>(from);
    for (int64_t o = 0; o < s.co; o++)
      for (int64_t i = 0; i < s.ci; i++)
        for (int64_t t = 0; t < n; t++) {
          const int64_t row = turn ? (n - 1 - t) * rows + o : t * rows + i;
          out[size_t(row * cp + (turn ? i : o))] = p[(o * s.ci + i) * n + t];
        }
    return out;
  }

  static Array<T> transformed(Array<T> packed, bool winograd) {
    if (!winograd) return packed;
    const int64_t n = packed.size() / 9;
    Array<T> out(16 * n);
    WG::weights_in(packed.data(), out.data(), n);
    return out;
  }

  // The 1×1 of both phases: [co / 2][ci] of the even pixels to the first outputs, the rest of the odd ones to the others
  static Array<T> pack_phases(const void *even, const void *odd, const Stage &s, bool turn) {
    const int64_t cip = up(s.ci), cop = up(s.co), half = s.co / 2;
    Array<T> out(turn ? s.co * 2 * cip : 2 * cip * cop);
    for (int64_t o = 0; o < s.co; o++) {
      const T *from = static_cast<const T *>(o < half ? even : odd);
      if (!from) continue;
      from += (o < half ? o : o - half) * s.ci;
      const int64_t row = o < half ? 0 : cip;
      for (int64_t c = 0; c < s.ci; c++) out[turn ? o * 2 * cip + row + c : (row + c) * cop + o] = from[c];
    }
    return out;
  }
  static void spread(const Work &k, const T *u, T *mid) {
    const Stage &s = *k.s;
    for (int64_t i = 0; i < s.ho; i++)
      for (int64_t j = 0; j < s.wo; j++) {
        T *to = mid + (i * s.wo + j) * k.mip;
        std::memcpy(to, u + 2 * i * k.urow + 2 * j * k.cip, size_t(k.cip) * sizeof(T));
        std::memcpy(to + k.cip, u + (2 * i + 1) * k.urow + (2 * j + 1) * k.cip, size_t(k.cip) * sizeof(T));
      }
  }
  static void gather(const Work &k, const T *mid, T *gu) {
    const Stage &s = *k.s;
    std::memset(gu, 0, size_t(k.usize) * sizeof(T));
    for (int64_t i = 0; i < s.ho; i++)
      for (int64_t j = 0; j < s.wo; j++) {
        const T *from = mid + (i * s.wo + j) * k.mip;
        std::memcpy(gu + 2 * i * k.urow + 2 * j * k.cip, from, size_t(k.cip) * sizeof(T));
        std::memcpy(gu + (2 * i + 1) * k.urow + (2 * j + 1) * k.cip, from + k.cip, size_t(k.cip) * sizeof(T));
      }
  }

  Work work(int64_t j, int64_t n, bool back, bool tangent) const {
    Work k{};
    Stage *s = first[j] + n;
    k.batch = head.batch;
    if (n == 0 && s->kind == CONV && s->k == 0 && s->q == 1) {  // a 1×1 knows no neighbours: strips of rows stay in a nearer cache
      const int64_t row = s->w * (s->ci > s->co ? s->ci : s->co);
      int64_t rows = s->h;
      for (int64_t m = 1; m <= s->h && rows * row > STRIP; m++) if (s->h % m == 0) rows = s->h / m;
      k.cut = Array<Stage>(1), k.cut[0] = *s;
      k.batch *= s->h / rows;
      s = k.cut.data(), s->h = s->ho = rows;
    }
    k.s = s, k.x = n ? nullptr : sources + terms[j]->source, k.before = n ? first[j] + n - 1 : nullptr;
    k.cip = up(s->ci), k.cop = up(s->co), k.phases = s->kind == PHASES, k.dw = !k.phases && (s->kind != CONV || s->k > 0);
    k.mip = k.phases ? 2 * k.cip : k.cip, k.mid_channels = k.phases ? k.mip : s->ci;
    k.pad = k.phases ? 0 : k.dw ? s->d * (s->k / 2) : s->q / 2;
    k.urow = (s->w + 2 * k.pad + k.phases) * k.cip, k.usize = (s->h + 2 * k.pad + k.phases) * k.urow;
    k.winograd = s->kind == CONV && !k.dw && WG::serves(s->q, s->ho, s->wo, s->ci, s->co);
    k.isize = s->ho * s->wo * k.mip, k.osize = s->ho * s->wo * k.cop;
    k.gpad = s->kind == MAXIMUM && s->s == 1 ? k.pad : s->q / 2, k.grow = (s->wo + 2 * k.gpad) * k.cop, k.gsize = (s->ho + 2 * k.gpad) * k.grow;
    if (k.phases) {
      k.matrix = pack_phases(s->kernel, s->matrix, *s, false);
      if (back) k.turned = pack_phases(s->kernel, s->matrix, *s, true);
      if (tangent) k.t_matrix = pack_phases(s->t_kernel, s->t_matrix, *s, false);
      if (tangent && back) k.t_turned = pack_phases(s->t_kernel, s->t_matrix, *s, true);
    } else if (s->kind == CONV) {
      if (s->k) k.kernel = pack_kernel(s->kernel, *s, false);
      k.matrix = transformed(pack_matrix(s->matrix, *s, false), k.winograd);
      if (back && s->k) k.flipped = pack_kernel(s->kernel, *s, true);
      if (back) k.turned = transformed(pack_matrix(s->matrix, *s, true), k.winograd);
      if (tangent) {
        if (s->k) k.t_kernel = pack_kernel(s->t_kernel, *s, false);
        k.t_matrix = transformed(pack_matrix(s->t_matrix, *s, false), k.winograd);
        if (back && s->k) k.t_flipped = pack_kernel(s->t_kernel, *s, true);
        if (back) k.t_turned = transformed(pack_matrix(s->t_matrix, *s, true), k.winograd);
      }
    } else {
      k.kernel = Array<T>(s->k * s->k * k.cip);
      for (int64_t i = 0; i < k.kernel.size(); i++) k.kernel[i] = T(1);  // an average is a depthwise convolution with ones
      if (s->kind == AVERAGE) k.share = shares(*s);
    }
    if (k.before) {
      k.scale = Array<T>(k.cip), k.shift = Array<T>(k.cip), k.t_scale = Array<T>(k.cip), k.t_shift = Array<T>(k.cip);
      for (int64_t c = 0; c < s->ci; c++) {
        const Affine<Dual> a = norm(*k.before, c, tangent);
        k.scale[c] = T(a.scale.v), k.shift[c] = T(a.shift.v);
        k.t_scale[c] = T(a.scale.d), k.t_shift[c] = T(a.shift.d);
      }
    }
    return k;
  }

  static double at(const void *p, int64_t c, double other) { return p ? double(static_cast<const T *>(p)[c]) : other; }
  static Dual gamma(const Stage &s, int64_t c) { return {at(s.gamma, c, 1), at(s.t_gamma, c, 0)}; }
  static Dual beta(const Stage &s, int64_t c) { return {at(s.beta, c, 0), at(s.t_beta, c, 0)}; }
  static Dual mean(const Stage &s, int64_t c, bool tangent) { return {s.stats[c], tangent && s.t_stats ? s.t_stats[c] : 0}; }
  static Dual var(const Stage &s, int64_t c, bool tangent) { return {s.stats[s.co + c], tangent && s.t_stats ? s.t_stats[s.co + c] : 0}; }

  static Affine<Dual> norm(const Stage &s, int64_t c, bool tangent) {
    if (!s.norm) return {{1, 0}, {0, 0}};
    return affine(gamma(s, c), beta(s, c), mean(s, c, tangent), var(s, c, tangent), s.eps);
  }

  // ---- pictures in scratch ----------------------------------------------------------------------------------------
  enum Slot { U, TU, MID, TMID, OUT, TOUT, GZ, TGZ, GT, TGT, GU, TGU, GK, GM, INDEX, TILES };
  static T *scratch(Slot slot, int64_t n) { return static_cast<T *>(slots().get(slot, size_t(n) * sizeof(T))); }
  static T *cleared(Slot slot, int64_t n) {
    T *p = scratch(slot, n);
    std::memset(p, 0, size_t(n) * sizeof(T));
    return p;
  }

  // The padded input of a stage; the border is zero already (−∞ for a maximum).
  static void input(const Work &k, int64_t picture, T *u) {
    const Stage &s = *k.s;
    const T *from = static_cast<const T *>(k.x ? k.x->x : k.before->z) + picture * s.h * s.w * s.ci;
    for (int64_t i = 0; i < s.h; i++) {
      const T *in = from + i * s.w * s.ci;
      T *out = u + (i + k.pad) * k.urow + k.pad * k.cip;
      if (k.before) {
        const T *a = k.scale.data(), *b = k.shift.data();
        if (s.relu) pixels(in, out, s.w, s.ci, k.cip, [&](vec x, int64_t, int64_t v) { return positive(load(a + v) * x + load(b + v)); });
        else pixels(in, out, s.w, s.ci, k.cip, [&](vec x, int64_t, int64_t v) { return load(a + v) * x + load(b + v); });
      } else {
        if (s.relu) pixels(in, out, s.w, s.ci, k.cip, [&](vec x, int64_t, int64_t) { return positive(x); });
        else pixels(in, out, s.w, s.ci, k.cip, [&](vec x, int64_t, int64_t) { return x; });
      }
    }
  }

  // Its tangent; `u` is the input itself, whose sign is the mask of the relu.
  static void t_input(const Work &k, int64_t picture, const T *u, T *tu) {
    const Stage &s = *k.s;
    const T *from = static_cast<const T *>(k.x ? k.x->x : k.before->z) + picture * s.h * s.w * s.ci;
    const T *t_from = static_cast<const T *>(k.x ? k.x->t_x : k.before->t_z);
    if (t_from) t_from += picture * s.h * s.w * s.ci;
    s.ci == k.cip ? t_input_as<true>(k, from, t_from, u, tu) : t_input_as<false>(k, from, t_from, u, tu);
  }
  template <bool WHOLE> static void t_input_as(const Work &k, const T *from, const T *t_from, const T *u, T *tu) {
    const Stage &s = *k.s;
    for (int64_t i = 0; i < s.h; i++) {
      const int64_t at = (i + k.pad) * k.urow + k.pad * k.cip;
      for (int64_t j = 0; j < s.w; j++)
        for (int64_t v = 0; v < k.cip; v += V) {
          const int64_t p = (i * s.w + j) * s.ci + v;
          vec t = t_from ? take<WHOLE>(t_from + p, s.ci - v) : zero();
          if (k.before) t = load(k.scale.data() + v) * t + load(k.t_scale.data() + v) * take<WHOLE>(from + p, s.ci - v) + load(k.t_shift.data() + v);
          const int64_t o = at + j * k.cip + v;
          store(tu + o, s.relu ? where(load(u + o), t) : t);
        }
    }
  }

  static T *padded(Slot slot, const Work &k) {
    if (k.s->kind != MAXIMUM || slot != U) return cleared(slot, k.usize);
    T *u = scratch(slot, k.usize);
    for (int64_t i = 0; i < k.usize; i++) u[i] = -INFINITY;
    return u;
  }

  // For every output of an average: one over the number of pixels of the input that it sees
  static Array<T> shares(const Stage &s) {
    Array<T> out(s.ho * s.wo);
    auto seen = [&](int64_t o, int64_t n) {
      int64_t count = 0;
      for (int64_t t = 0; t < s.k; t++) { const int64_t at = o * s.s + t * s.d - s.d * (s.k / 2); count += at >= 0 && at < n; }
      return count;
    };
    for (int64_t i = 0; i < s.ho; i++)
      for (int64_t j = 0; j < s.wo; j++) out[i * s.wo + j] = T(1) / T(seen(i, s.h) * seen(j, s.w));
    return out;
  }
  static void averaged(const Work &k, T *picture, int64_t row) {
    const Stage &s = *k.s;
    for (int64_t i = 0; i < s.ho; i++)
      for (int64_t j = 0; j < s.wo; j++) {
        const T f = k.share[i * s.wo + j];
        T *p = picture + i * row + j * k.cip;
        for (int64_t v = 0; v < k.cip; v += V) store(p + v, load(p + v) * f);
      }
  }

  // Maximum and the number of the first tap that attains it
  static void maxima(const Work &k, const T *u, T *out, T *index, int64_t irow = 0) {
    const Stage &s = *k.s;
    if (!irow) irow = s.wo * k.cip;
    s.k == 3 ? maxima_of<3>(k, u, out, index, irow, 3) : maxima_of<0>(k, u, out, index, irow, int(s.k));
  }
  template <int K> static void maxima_of(const Work &k, const T *u, T *out, T *index, int64_t irow, int kernel) {
    const Stage &s = *k.s;
    const int n = K ? K : kernel;
    for (int64_t i = 0; i < s.ho; i++)
      for (int64_t j = 0; j < s.wo; j++)
        for (int64_t v = 0; v < k.cip; v += V) {
          const T *from = u + i * s.s * k.urow + j * s.s * k.cip + v;
          vec best = splat(T(-INFINITY)), which = zero();
          for (int y = 0; y < n; y++)
            for (int x = 0; x < n; x++) {
              const vec here = load(from + y * s.d * k.urow + x * s.d * k.cip);
              const auto better = (here > best) | (here != here);  // NaN wins, as in torch
              which = better ? splat(T(y * n + x)) : which;
              best = better ? here : best;
            }
          if (out) store(out + (i * s.wo + j) * k.cip + v, best);
          if (index) store(index + i * irow + j * k.cip + v, which);
        }
  }
  // What comes back to the input of a maximum of stride 1: every pixel asks the windows that see it. `g` and `index` are
  // padded by the same border, where g is zero; gu is tight.
  static void unpool(const Work &k, const T *g, const T *index, T *gu) {
    k.s->k == 3 ? unpool_of<3>(k, g, index, gu, 3) : unpool_of<0>(k, g, index, gu, int(k.s->k));
  }
  template <int K> static void unpool_of(const Work &k, const T *g, const T *index, T *gu, int kernel) {
    const Stage &s = *k.s;
    const int n = K ? K : kernel;
    for (int64_t i = 0; i < s.h; i++)
      for (int64_t j = 0; j < s.w; j++)
        for (int64_t v = 0; v < k.cip; v += V) {
          vec sum = zero();
          for (int y = 0; y < n; y++)
            for (int x = 0; x < n; x++) {
              const int64_t at = (i + (n - 1 - y) * s.d) * k.grow + (j + (n - 1 - x) * s.d) * k.cip + v;
              sum += load(index + at) == splat(T(y * n + x)) ? load(g + at) : zero();
            }
          store(gu + (i * s.w + j) * k.cip + v, sum);
        }
  }
  // The tangent of a maximum: that of the pixel which attains it
  static void choose(const Work &k, const T *tu, const T *index, T *out) {
    const Stage &s = *k.s;
    for (int64_t i = 0; i < s.ho; i++)
      for (int64_t j = 0; j < s.wo; j++)
        for (int64_t v = 0; v < k.cip; v += V) {
          const int64_t o = (i * s.wo + j) * k.cip + v;
          const vec which = load(index + o);
          const T *from = tu + i * s.s * k.urow + j * s.s * k.cip + v;
          vec sum = zero();
          for (int64_t y = 0; y < s.k; y++)
            for (int64_t x = 0; x < s.k; x++) sum += which == splat(T(y * s.k + x)) ? load(from + y * s.d * k.urow + x * s.d * k.cip) : zero();
          store(out + o, sum);
        }
  }
  template <class F> static void taps(const Work &k, F f) {  // f(output offset, offset in the padded picture, tap)
    const Stage &s = *k.s;
    for (int64_t i = 0; i < s.ho; i++)
      for (int64_t j = 0; j < s.wo; j++)
        for (int64_t v = 0; v < k.cip; v += V)
          for (int64_t y = 0; y < s.k; y++)
            for (int64_t x = 0; x < s.k; x++)
              f((i * s.wo + j) * k.cip + v, (i * s.s + y * s.d) * k.urow + (j * s.s + x * s.d) * k.cip + v, T(y * s.k + x));
  }

  static Picture<const T> in(const T *p, int64_t row, int64_t pixel) { return {p, row, pixel}; }
  static Picture<T> to(T *p, int64_t row, int64_t pixel) { return {p, row, pixel}; }

  static void dw(const Work &k, const T *u, const T *w, T *out, bool add) {
    DW::forward(u, k.urow, w, out, k.s->wo * k.cip, int(k.s->ho), int(k.s->wo), int(k.cip), int(k.s->k), int(k.s->s), int(k.s->d), add);
  }
  static T *tiles(const Work &k) { return scratch(TILES, WG::room(int(k.s->ho), int(k.s->wo), k.cip, k.cop)); }

  // the dense part, from the depthwise one's output or from the padded input
  static void mul(const Work &k, const T *u, const T *mid, const T *w, T *out, bool add) {
    const Stage &s = *k.s;
    const auto from = k.dw || k.phases ? in(mid, s.wo * k.mip, k.mip) : in(u, k.urow, k.cip);
    const auto onto = to(out, s.wo * k.cop, k.cop);
    if (k.winograd) WG::forward(from, w, onto, int(s.ho), int(s.wo), int(s.ci), k.cip, k.cop, add, tiles(k));
    else DN::forward(from, w, onto, int(s.ho), int(s.wo), int(k.mid_channels), int(k.cop), int(s.q), add);
  }

  // z of one picture, in `out`
  static void output(const Work &k, int64_t picture, T *u, T *out) {
    const Stage &s = *k.s;
    input(k, picture, u);
    if (s.kind == AVERAGE) {
      dw(k, u, k.kernel.data(), out, false);
      averaged(k, out, s.wo * k.cip);
    } else if (s.kind == MAXIMUM) {
      maxima(k, u, out, nullptr);
    } else {
      T *mid = scratch(MID, k.isize);
      if (k.dw) dw(k, u, k.kernel.data(), mid, false);
      if (k.phases) spread(k, u, mid);
      mul(k, u, mid, k.matrix.data(), out, false);
    }
  }
  // Where to put the output of one picture: straight into the tensor, unless its channels have to be rounded up
  static T *target(const Work &k, T *tensor, Slot slot) { return k.s->co == k.cop ? tensor : scratch(slot, k.osize); }
  static void strip_channels(const Work &k, const T *out, T *tensor) {
    const Stage &s = *k.s;
    if (out != tensor) for (int64_t i = 0; i < s.ho * s.wo; i++) std::memcpy(tensor + i * s.co, out + i * k.cop, size_t(s.co) * sizeof(T));
  }

  // ---- forward ----------------------------------------------------------------------------------------------------
  // Run a stage over the batch: z, and (if its norm looks at the batch) mean and variance by pairwise combination.
  void run(const Work &k) const {
    Stage &s = *k.s;
    const int64_t n = s.ho * s.wo, batch = k.batch;
    const bool stats = s.norm && s.batch;
    double *sums = static_cast<double *>(shared_slots().get(0, size_t(batch * 2 * s.co) * sizeof(double)));
    parallel(head.threads, batch, [&](int64_t, int64_t from, int64_t end) {
      T *u = padded(U, k);
      for (int64_t b = from; b < end; b++) {
        T *z = static_cast<T *>(s.z) + b * n * s.co, *out = target(k, z, OUT);
        output(k, b, u, out);
        strip_channels(k, out, z);
        if (stats)
          for (int64_t v = 0; v < s.co; v += V) {
            vec sums4[4] = {zero(), zero(), zero(), zero()}, squares[4] = {zero(), zero(), zero(), zero()};
            int64_t i = 0;
            for (; i + 4 <= n; i += 4) for (int e = 0; e < 4; e++) sums4[e] += load(out + (i + e) * k.cop + v);
            for (; i < n; i++) sums4[0] += load(out + i * k.cop + v);
            const vec sum = (sums4[0] + sums4[1]) + (sums4[2] + sums4[3]), m = sum / T(n);
            for (i = 0; i + 4 <= n; i += 4) for (int e = 0; e < 4; e++) { const vec d = load(out + (i + e) * k.cop + v) - m; squares[e] += d * d; }
            for (; i < n; i++) { const vec d = load(out + i * k.cop + v) - m; squares[0] += d * d; }
            const vec square = (squares[0] + squares[1]) + (squares[2] + squares[3]);
            for (int64_t c = v; c < s.co && c < v + V; c++) sums[(b * 2) * s.co + c] = double(sum[c - v]), sums[(b * 2 + 1) * s.co + c] = double(square[c - v]);
          }
      }
    });
    if (!s.norm) return;
    const double count = double(n) * double(batch);
    for (int64_t c = 0; c < s.co; c++) {
      if (!stats) { s.stats[c] = at(s.running_mean, c, 0), s.stats[s.co + c] = at(s.running_var, c, 1); continue; }
      double total = 0, square = 0;
      for (int64_t b = 0; b < batch; b++) total += sums[(b * 2) * s.co + c];
      const double m = total / count;
      for (int64_t b = 0; b < batch; b++) {
        const double e = sums[(b * 2) * s.co + c] / double(n) - m;
        square += sums[(b * 2 + 1) * s.co + c] + double(n) * e * e;
      }
      s.stats[c] = m, s.stats[s.co + c] = square / count;
    }
    update(s, count);
  }

  static void update(Stage &s, double count) {
    if (!s.update || !s.batch || !s.running_mean) return;
    T *m = static_cast<T *>(s.running_mean), *v = static_cast<T *>(s.running_var);
    for (int64_t c = 0; c < s.co; c++) {
      m[c] = T((1 - s.momentum) * double(m[c]) + s.momentum * s.stats[c]);
      v[c] = T((1 - s.momentum) * double(v[c]) + s.momentum * s.stats[s.co + c] * count / (count - 1));
    }
  }

  // y = Σ_j a_j · z_j + b (and, with `and_t`, the tangent of that)
  struct Mixed { const T *z, *t_z; Array<T> a, t_a; };
  Array<Mixed> mixture(Array<T> &b, Array<T> &t_b, bool tangent) const {
    const int64_t c = head.c, cp = up(c);
    Array<Mixed> all(head.terms);
    Array<Dual> total(c);
    for (int64_t j = 0; j < head.terms; j++) {
      const Dual p{at(head.coef, terms[j]->coef, 0), tangent ? at(head.t_coef, terms[j]->coef, 0) : 0};
      const int64_t n = terms[j]->stages;
      const Source &x = sources[terms[j]->source];
      Mixed &m = all[j];
      m.a = Array<T>(cp), m.t_a = Array<T>(cp);
      m.z = static_cast<const T *>(n ? first[j][n - 1].z : x.x);
      m.t_z = tangent ? static_cast<const T *>(n ? first[j][n - 1].t_z : x.t_x) : nullptr;
      for (int64_t i = 0; i < c; i++) {
        const Affine<Dual> f = n ? norm(first[j][n - 1], i, tangent) : Affine<Dual>{{1, 0}, {0, 0}};
        const Dual a = p * f.scale;
        m.a[i] = T(a.v), m.t_a[i] = T(a.d);
        total[i] = total[i] + p * f.shift;
      }
    }
    b = Array<T>(cp), t_b = Array<T>(cp);
    for (int64_t i = 0; i < c; i++) b[i] = T(total[i].v), t_b[i] = T(total[i].d);
    return all;
  }
  void mix(bool tangent) const {
    Array<T> b, t_b;
    const Array<Mixed> all = mixture(b, t_b, tangent);
    const int64_t c = head.c, size = head.h * head.w;
    T *y = static_cast<T *>(tangent ? head.t_y : head.y);
    const T *shift = tangent ? t_b.data() : b.data();
    parallel(head.threads, head.batch * size, [&](int64_t, int64_t from, int64_t end) {
      c % V ? mix_pixels<false>(all, shift, y, from, end, tangent) : mix_pixels<true>(all, shift, y, from, end, tangent);
    });
  }
  template <bool WHOLE> void mix_pixels(const Array<Mixed> &all, const T *shift, T *y, int64_t from, int64_t end, bool tangent) const {
    constexpr int N = 4;
    const int64_t c = head.c;
    int64_t i = from;
    for (; i + N <= end; i += N) mix_block<WHOLE, N>(all, shift, y, i, c, tangent);
    for (; i < end; i++) mix_block<WHOLE, 1>(all, shift, y, i, c, tangent);
  }
  template <bool WHOLE, int N> static INLINE void mix_block(const Array<Mixed> &all, const T *shift, T *y, int64_t i, int64_t c, bool tangent) {
    for (int64_t v = 0; v < c; v += V) {
      vec acc[N];
      for (int e = 0; e < N; e++) acc[e] = load(shift + v);
      for (const Mixed &m : all) {
        const vec a = load(m.a.data() + v);
        const T *z = m.z + i * c + v;
        if (!tangent) { for (int e = 0; e < N; e++) acc[e] += a * take<WHOLE>(z + e * c, c - v); continue; }
        const vec t = load(m.t_a.data() + v);
        for (int e = 0; e < N; e++) acc[e] += t * take<WHOLE>(z + e * c, c - v);
        if (m.t_z) for (int e = 0; e < N; e++) acc[e] += a * take<WHOLE>(m.t_z + (i + e) * c + v, c - v);
      }
      for (int e = 0; e < N; e++) give<WHOLE>(y + (i + e) * c + v, acc[e], c - v);
    }
  }

  void forward() const {
    for (int64_t j = 0; j < head.terms; j++)
      for (int64_t n = 0; n < terms[j]->stages; n++) {
        Stage &s = first[j][n];
        if (s.kind == CONV || s.kind == PHASES) { run(work(j, n, false, false)); continue; }
        // a pool comes with its z and statistics: it is made once for all nodes that read this source
        if (!s.norm) continue;
        if (s.batch) update(s, double(s.ho * s.wo) * double(head.batch));
        else for (int64_t c = 0; c < s.co; c++) s.stats[c] = at(s.running_mean, c, 0), s.stats[s.co + c] = at(s.running_var, c, 1);
      }
    if (head.y) mix(false);  // without y the stages only: what was not kept is made again
  }

  // z and statistics of the pool that is stage 0 of term 0
  void pool() const { run(work(0, 0, false, false)); }

  // ---- backward ---------------------------------------------------------------------------------------------------
  // Σ g and Σ g·z per channel (with tangents), over a batch
  struct Sums { Array<Dual> sum, inner; };

  static void reduce(const T *g, const T *tg, const T *z, const T *tz, int64_t n, int64_t c, double *out) {
    c % V ? reduce_as<false>(g, tg, z, tz, n, c, out) : reduce_as<true>(g, tg, z, tz, n, c, out);
  }
  template <bool WHOLE> static void reduce_as(const T *g, const T *tg, const T *z, const T *tz, int64_t n, int64_t c, double *out) {
    // out: [4][c]: Σg, Σtg, Σgz, Σ(tg·z + g·tz) of one picture
    for (int64_t v = 0; v < c; v += V) {
      vec a = zero(), b = zero(), d = zero(), e = zero();
      const int64_t left = c - v;
      if (!tg && !tz) {
        vec a2 = zero(), d2 = zero();  // two sums each: one would wait for itself
        int64_t i = 0;
        for (; i + 2 <= n; i += 2) {
          const vec f = take<WHOLE>(g + i * c + v, left), h = take<WHOLE>(g + (i + 1) * c + v, left);
          a += f, a2 += h, d += f * take<WHOLE>(z + i * c + v, left), d2 += h * take<WHOLE>(z + (i + 1) * c + v, left);
        }
        for (; i < n; i++) { const vec f = take<WHOLE>(g + i * c + v, left); a += f, d += f * take<WHOLE>(z + i * c + v, left); }
        a += a2, d += d2;
      } else {
        for (int64_t i = 0; i < n; i++) {
          const int64_t p = i * c + v;
          const vec f = take<WHOLE>(g + p, left), y = take<WHOLE>(z + p, left);
          a += f, d += f * y;
          if (tg) { const vec h = take<WHOLE>(tg + p, left); b += h, e += h * y; }
          if (tz) e += f * take<WHOLE>(tz + p, left);
        }
      }
      for (int64_t i = 0; i < V && v + i < c; i++) out[v + i] = double(a[i]), out[c + v + i] = double(b[i]), out[2 * c + v + i] = double(d[i]), out[3 * c + v + i] = double(e[i]);
    }
  }
  static Sums totals(const double *parts, int64_t batch, int64_t stride, int64_t c) {
    Sums all{Array<Dual>(c), Array<Dual>(c)};
    for (int64_t b = 0; b < batch; b++)
      for (int64_t i = 0; i < c; i++) {
        const double *p = parts + b * stride;
        all.sum[i] = all.sum[i] + Dual{p[i], p[c + i]};
        all.inner[i] = all.inner[i] + Dual{p[2 * c + i], p[3 * c + i]};
      }
    return all;
  }

  // How gz follows from g and z: per channel, values and tangents
  struct Pull { Array<T> g, z, one, t_g, t_z, t_one; };

  Pull pull(const Stage &s, Dual p, const Sums &sums, bool tangent) const {
    const int64_t cp = up(s.co);
    Pull out;
    for (Array<T> *a : {&out.g, &out.z, &out.one, &out.t_g, &out.t_z, &out.t_one}) *a = Array<T>(cp);
    const double n = double(s.ho * s.wo) * double(head.batch);
    for (int64_t c = 0; c < s.co; c++) {
      Pullback<Dual> f{p, {0, 0}, {0, 0}, {0, 0}, {0, 0}};
      if (s.norm) f = pullback<Dual>(p, gamma(s, c), mean(s, c, tangent), var(s, c, tangent), s.eps, s.batch, n, sums.sum[c], sums.inner[c], {0, 0});
      out.g[c] = T(f.of_g.v), out.z[c] = T(f.of_z.v), out.one[c] = T(f.constant.v);
      out.t_g[c] = T(f.of_g.d), out.t_z[c] = T(f.of_z.d), out.t_one[c] = T(f.constant.d);
      if (s.g_gamma) static_cast<T *>(s.g_gamma)[c] = T(tangent ? f.gamma.d : f.gamma.v);
      if (s.g_beta) static_cast<T *>(s.g_beta)[c] = T(tangent ? f.beta.d : f.beta.v);
    }
    return out;
  }

  // gz of one picture into a padded picture, and its tangent
  static void gradient_of_z(const Work &k, const Pull &f, const T *g, const T *z, T *gz) {
    k.s->co == k.cop ? gradient_as<true>(k, f, g, z, gz) : gradient_as<false>(k, f, g, z, gz);
  }
  template <bool WHOLE> static void gradient_as(const Work &k, const Pull &f, const T *g, const T *z, T *gz) {
    const Stage &s = *k.s;
    for (int64_t v = 0; v < k.cop; v += V) {
      const vec a = load(f.g.data() + v), b = load(f.z.data() + v), c = load(f.one.data() + v);
      for (int64_t i = 0; i < s.ho; i++) {
        const int64_t p = i * s.wo * s.co + v;
        T *to = gz + (i + k.gpad) * k.grow + k.gpad * k.cop + v;
        for (int64_t j = 0; j < s.wo; j++)
          store(to + j * k.cop, a * take<WHOLE>(g + p + j * s.co, s.co - v) + (b * take<WHOLE>(z + p + j * s.co, s.co - v) + c));
      }
    }
  }
  static void t_gradient_of_z(const Work &k, const Pull &f, const T *g, const T *tg, const T *z, const T *tz, T *gz) {
    k.s->co == k.cop ? t_gradient_as<true>(k, f, g, tg, z, tz, gz) : t_gradient_as<false>(k, f, g, tg, z, tz, gz);
  }
  template <bool WHOLE> static void t_gradient_as(const Work &k, const Pull &f, const T *g, const T *tg, const T *z, const T *tz, T *gz) {
    const Stage &s = *k.s;
    for (int64_t v = 0; v < k.cop; v += V) {
      const vec ta = load(f.t_g.data() + v), tb = load(f.t_z.data() + v), tc = load(f.t_one.data() + v);
      const vec a = load(f.g.data() + v), b = load(f.z.data() + v);
      for (int64_t i = 0; i < s.ho; i++)
        for (int64_t j = 0; j < s.wo; j++) {
          const int64_t p = (i * s.wo + j) * s.co + v, left = s.co - v;
          vec out = ta * take<WHOLE>(g + p, left) + (tb * take<WHOLE>(z + p, left) + tc);
          if (tg) out += a * take<WHOLE>(tg + p, left);
          if (tz) out += b * take<WHOLE>(tz + p, left);
          store(gz + (i + k.gpad) * k.grow + (j + k.gpad) * k.cop + v, out);
        }
    }
  }

  // the input gradient of the depthwise part: the forward form with the kernel flipped where the stride is 1
  static void dw_back(const Work &k, const T *gt, const T *flipped, const T *kernel, T *gu, bool add) {
    const Stage &s = *k.s;
    if (s.s == 1)  // gt is padded like u; gu is tight
      DW::forward(gt, k.urow, flipped, gu, s.w * k.cip, int(s.h), int(s.w), int(k.cip), int(s.k), 1, int(s.d), add);
    else {         // gt is tight; gu is padded
      if (!add) std::memset(gu, 0, size_t(k.usize) * sizeof(T));
      DW::scatter(gt, s.wo * k.cip, kernel, gu, k.urow, int(s.ho), int(s.wo), int(k.cip), int(s.k), int(s.s), int(s.d));
    }
  }

  // Where the gradient of the middle and of the input lie in scratch
  struct Place { T *p; int64_t row; };
  static Place middle(const Work &k, T *gt) {
    return k.s->s == 1 ? Place{gt + k.pad * k.urow + k.pad * k.cip, k.urow} : Place{gt, k.s->wo * k.cip};
  }
  static Place inside(const Work &k, T *gu) {
    return k.phases || (k.dw && k.s->s != 1) ? Place{gu + k.pad * k.urow + k.pad * k.cip, k.urow} : Place{gu, k.s->w * k.cip};
  }

  // out (+)= relu' · gu, from scratch to a tensor
  static void leave(const Work &k, const T *u, const T *gu, T *out, bool add) {
    k.s->ci == k.cip ? leave_as<true>(k, u, gu, out, add) : leave_as<false>(k, u, gu, out, add);
  }
  template <bool WHOLE> static void leave_as(const Work &k, const T *u, const T *gu, T *out, bool add) {
    const Stage &s = *k.s;
    const Place from = inside(k, const_cast<T *>(gu));
    for (int64_t i = 0; i < s.h; i++) {
      const T *g = from.p + i * from.row, *mask = u + (i + k.pad) * k.urow + k.pad * k.cip;
      T *to = out + i * s.w * s.ci;
      for (int64_t j = 0; j < s.w; j++, g += k.cip, mask += k.cip, to += s.ci)
        for (int64_t v = 0; v < s.ci; v += V) {
          vec f = load(g + v);
          if (s.relu) f = where(load(mask + v), f);
          if (add) f += take<WHOLE>(to + v, s.ci - v);
          give<WHOLE>(to + v, f, s.ci - v);
        }
    }
  }

  // Go back through stage n of term j. g: gradient of the norm's output; result: of its input (to the source or to `g_in`).
  // With `tangent` all results are tangents, and g_in carries both: values in the first, tangents in the second half.
  void back(int64_t j, int64_t n, const Pull &f, const T *g, const T *tg, T *g_in, T *tg_in, double *parts, bool tangent) {
    Work k = work(j, n, true, tangent);
    Stage &s = *k.s;
    const int64_t in_size = s.h * s.w * s.ci, out_size = s.ho * s.wo * s.co;
    const Source *x = k.x;
    T *g_x = x ? static_cast<T *>(x->g_x) : nullptr;
    const bool onward = n > 0 || g_x, add = x && seen[terms[j]->source];
    const bool to_kernel = s.g_kernel && !k.phases, to_matrix = s.g_matrix || (s.g_kernel && k.phases);
    if (!onward && !to_kernel && !to_matrix) return;
    const bool primal = n > 0 && tangent;  // the stages before need the gradient itself, too
    const int64_t kernels = s.k * s.k * k.cip, matrices = (k.winograd ? 16 : s.q * s.q) * k.mid_channels * k.cop;
    const int64_t threads = head.threads < k.batch ? head.threads : k.batch;
    T *sums = static_cast<T *>(shared_slots().get(1, size_t((threads + 1) * (kernels + matrices)) * sizeof(T)));
    std::memset(sums, 0, size_t((threads + 1) * (kernels + matrices)) * sizeof(T));
    parallel(threads, k.batch, [&](int64_t thread, int64_t from, int64_t end) {
      T *u = padded(U, k), *tu = tangent ? cleared(TU, k.usize) : nullptr;
      T *mid = scratch(MID, k.isize), *t_mid = tangent ? scratch(TMID, k.isize) : nullptr;
      T *gz = cleared(GZ, k.gsize), *t_gz = tangent ? cleared(TGZ, k.gsize) : nullptr;
      T *gt = k.dw ? cleared(GT, k.usize) : nullptr, *t_gt = k.dw && tangent ? cleared(TGT, k.usize) : nullptr;
      T *gu = scratch(GU, k.usize), *t_gu = tangent ? scratch(TGU, k.usize) : nullptr;
      T *gk = sums + thread * (kernels + matrices), *gm = gk + kernels;
      for (int64_t b = from; b < end; b++) {
        const T *gb = g + b * out_size, *tgb = tg ? tg + b * out_size : nullptr;
        const T *z = static_cast<const T *>(s.z) + b * out_size, *tz = s.t_z ? static_cast<const T *>(s.t_z) + b * out_size : nullptr;
        input(k, b, u);
        if (tangent && (s.kind == CONV || k.phases)) t_input(k, b, u, tu);
        gradient_of_z(k, f, gb, z, gz);
        if (tangent) t_gradient_of_z(k, f, gb, tgb, z, tz, t_gz);
        const T *last = tangent ? t_gz : gz;
        if (s.kind == AVERAGE) {
          T *held = tangent ? t_gz : gz;
          const Place m = middle(k, gt);
          for (int64_t i = 0; i < s.ho; i++) std::memcpy(m.p + i * m.row, held + i * s.wo * k.cip, size_t(s.wo * k.cip) * sizeof(T));
          averaged(k, m.p, m.row);
          dw_back(k, gt, k.kernel.data(), k.kernel.data(), gu, false);
          leave(k, u, gu, g_x + b * in_size, add);
          continue;
        }
        if (s.kind == MAXIMUM) {
          const bool gathers = s.s == 1;
          T *index = scratch(INDEX, gathers ? k.gsize : k.isize);
          maxima(k, u, nullptr, index + (gathers ? k.gpad * k.grow + k.gpad * k.cop : 0), gathers ? k.grow : 0);
          T *out = g_x + b * in_size;
          if (gathers) {
            unpool(k, last, index, gu);
            leave(k, u, gu, out, add);
            continue;
          }
          T *wide = cleared(GT, k.usize);
          taps(k, [&](int64_t o, int64_t at, T tap) { store(wide + at, load(wide + at) + (load(index + o) == splat(tap) ? load(last + o) : zero())); });
          leave(k, u, wide, out, add);
          continue;
        }
        const auto tight = [&](const T *p) { return in(p, s.wo * k.mip, k.mip); };
        const auto wide = [&](const T *p) { return in(p, k.urow, k.cip); };
        const auto centre = [&](const T *p) { return in(p + k.gpad * k.grow + k.gpad * k.cop, k.grow, k.cop); };
        const int ho = int(s.ho), wo = int(s.wo);
        if (to_matrix) {
          if (k.dw) {
            dw(k, u, k.kernel.data(), mid, false);
            if (tangent) dw(k, tu, k.kernel.data(), t_mid, false), dw(k, u, k.t_kernel.data(), t_mid, true);
          }
          if (k.phases) spread(k, u, mid);
          if (k.phases && tangent) spread(k, tu, t_mid);
          const bool middle_ = k.dw || k.phases;
          const auto correlate = [&](const Picture<const T> &from, const Picture<const T> &by) {
            if (k.winograd) WG::weights(from, by, gm, ho, wo, int(s.ci), k.cip, k.cop, tiles(k));
            else DN::weights(from, by, gm, ho, wo, int(k.mid_channels), int(k.cop), int(s.q));
          };
          correlate(middle_ ? tight(mid) : wide(u), centre(last));
          if (tangent) correlate(middle_ ? tight(t_mid) : wide(tu), centre(gz));
        }
        if (!onward && !to_kernel) continue;
        const auto turn = [&](const T *from, const T *w, T *out, int64_t row, bool more) {
          if (k.winograd) WG::forward(in(from, k.grow, k.cop), w, to(out, row, k.mip), ho, wo, int(s.co), k.cop, k.mip, more, tiles(k));
          else DN::forward(in(from, k.grow, k.cop), w, to(out, row, k.mip), ho, wo, int(s.co), int(k.mip), int(s.q), more);
        };
        if (k.dw) {
          const Place m = middle(k, gt), t_m = middle(k, tangent ? t_gt : gt);
          turn(gz, k.turned.data(), m.p, m.row, false);
          if (tangent) turn(t_gz, k.turned.data(), t_m.p, t_m.row, false), turn(gz, k.t_turned.data(), t_m.p, t_m.row, true);
          if (to_kernel) {
            const auto correlate = [&](const T *a, const Place &p) {
              DW::weights(a, k.urow, p.p, p.row, gk, ho, wo, int(k.cip), int(s.k), int(s.s), int(s.d));
            };
            correlate(u, tangent ? t_m : m);
            if (tangent) correlate(tu, m);
          }
          if (!onward) continue;
          if (!tangent || primal) dw_back(k, gt, k.flipped.data(), k.kernel.data(), gu, false);
          if (tangent) {
            dw_back(k, t_gt, k.flipped.data(), k.kernel.data(), t_gu, false);
            dw_back(k, gt, k.t_flipped.data(), k.t_kernel.data(), t_gu, true);
          }
        } else if (k.phases) {
          if (!onward) continue;
          if (!tangent || primal) turn(gz, k.turned.data(), mid, s.wo * k.mip, false), gather(k, mid, gu);
          if (tangent) {
            turn(t_gz, k.turned.data(), t_mid, s.wo * k.mip, false), turn(gz, k.t_turned.data(), t_mid, s.wo * k.mip, true);
            gather(k, t_mid, t_gu);
          }
        } else {
          if (!onward) continue;
          if (!tangent || primal) turn(gz, k.turned.data(), gu, s.w * k.cip, false);
          if (tangent) turn(t_gz, k.turned.data(), t_gu, s.w * k.cip, false), turn(gz, k.t_turned.data(), t_gu, s.w * k.cip, true);
        }
        if (n == 0) {
          leave(k, u, tangent ? t_gu : gu, g_x + b * in_size, add);
        } else {
          leave(k, u, gu, g_in + b * in_size, false);
          if (tangent) leave(k, u, t_gu, tg_in + b * in_size, false);
          const T *zb = static_cast<const T *>(k.before->z) + b * in_size;
          const T *tzb = tangent && k.before->t_z ? static_cast<const T *>(k.before->t_z) + b * in_size : nullptr;
          reduce(g_in + b * in_size, tangent ? tg_in + b * in_size : nullptr, zb, tzb, s.h * s.w, s.ci, parts + b * 4 * s.ci);
        }
      }
    });
    if (x && g_x) seen[terms[j]->source] = 1;
    T *total = sums + threads * (kernels + matrices);
    for (int64_t t = 0; t < threads; t++)
      for (int64_t i = 0; i < kernels + matrices; i++) total[i] += sums[t * (kernels + matrices) + i];
    if (to_kernel)
      for (int64_t c = 0; c < s.ci; c++)
        for (int64_t t = 0; t < s.k * s.k; t++) static_cast<T *>(s.g_kernel)[c * s.k * s.k + t] = total[t * k.cip + c];
    if (k.phases) {
      for (int64_t o = 0, half = s.co / 2; o < s.co; o++) {
        T *out = static_cast<T *>(o < half ? s.g_kernel : s.g_matrix);
        if (out) for (int64_t c = 0; c < s.ci; c++) out[(o < half ? o : o - half) * s.ci + c] = total[kernels + ((o < half ? 0 : k.cip) + c) * k.cop + o];
      }
    } else if (to_matrix) {
      const int64_t taps = s.q * s.q;
      const T *sum = total + kernels;
      Array<T> plain;
      if (k.winograd) plain = Array<T>(9 * s.ci * k.cop), WG::weights_out(sum, plain.data(), s.ci * k.cop), sum = plain.data();
      for (int64_t o = 0; o < s.co; o++)
        for (int64_t i = 0; i < s.ci; i++)
          for (int64_t t = 0; t < taps; t++) static_cast<T *>(s.g_matrix)[(o * s.ci + i) * taps + t] = sum[(t * s.ci + i) * k.cop + o];
    }
  }

  void backward(bool tangent) {
    const int64_t c = head.c, size = head.h * head.w, many = head.terms;
    const T *g = static_cast<const T *>(head.g_y), *tg = tangent ? static_cast<const T *>(head.t_g_y) : nullptr;
    Array<double> parts(head.batch * many * 4 * c);
    const auto last = [&](int64_t j) -> Stage * { return terms[j]->stages ? first[j] + terms[j]->stages - 1 : nullptr; };
    parallel(head.threads, head.batch, [&](int64_t, int64_t from, int64_t end) {
      for (int64_t b = from; b < end; b++)
        for (int64_t j = 0; j < many; j++) {
          const Stage *s = last(j);
          const Source &x = sources[terms[j]->source];
          const T *z = static_cast<const T *>(s ? s->z : x.x) + b * size * c;
          const T *tz = tangent ? static_cast<const T *>(s ? s->t_z : x.t_x) : nullptr;
          reduce(g + b * size * c, tg ? tg + b * size * c : nullptr, z, tz ? tz + b * size * c : nullptr, size, c, parts.data() + (b * many + j) * 4 * c);
        }
    });
    for (int64_t j = 0; j < many; j++) {
      const Sums sums = totals(parts.data() + j * 4 * c, head.batch, many * 4 * c, c);
      const Dual p{at(head.coef, terms[j]->coef, 0), tangent ? at(head.t_coef, terms[j]->coef, 0) : 0};
      Stage *s = last(j);
      if (head.g_coef) {
        Dual total{0, 0};
        for (int64_t i = 0; i < c; i++) {
          const Affine<Dual> f = s ? norm(*s, i, tangent) : Affine<Dual>{{1, 0}, {0, 0}};
          total = total + f.scale * sums.inner[i] + f.shift * sums.sum[i];
        }
        static_cast<T *>(head.g_coef)[terms[j]->coef] = T(tangent ? total.d : total.v);
      }
      if (!s) { pass(j, p, tangent); continue; }
      Pull f = pull(*s, p, sums, tangent);
      const T *here = g, *t_here = tg;
      for (int64_t n = terms[j]->stages - 1; n >= 0; n--) {
        const Stage &at_n = first[j][n];
        if (n == 0) { back(j, n, f, here, t_here, nullptr, nullptr, nullptr, tangent); break; }
        const size_t in_size = size_t(head.batch * at_n.h * at_n.w * at_n.ci);
        T *g_in = static_cast<T *>(shared_slots().get(size_t(2 + n % 2), 2 * in_size * sizeof(T)));
        Array<double> inner(head.batch * 4 * at_n.ci);
        back(j, n, f, here, t_here, g_in, g_in + in_size, inner.data(), tangent);
        f = pull(first[j][n - 1], {1, 0}, totals(inner.data(), head.batch, 4 * at_n.ci, at_n.ci), tangent);
        here = g_in, t_here = tangent ? g_in + in_size : nullptr;
      }
    }
    for (int64_t i = 0; i < head.sources; i++)
      if (!seen[i] && sources[i].g_x) std::memset(sources[i].g_x, 0, size_t(head.batch * sources[i].h * sources[i].w * sources[i].c) * sizeof(T));
  }

  // the identity: g_x += p · g
  void pass(int64_t j, Dual p, bool tangent) {
    const Source &x = sources[terms[j]->source];
    if (!x.g_x) return;
    const bool add = seen[terms[j]->source];
    const T *g = static_cast<const T *>(head.g_y), *tg = static_cast<const T *>(head.t_g_y);
    T *out = static_cast<T *>(x.g_x);
    const T a = T(p.v), b = T(p.d);
    parallel(head.threads, head.batch * x.h * x.w * x.c, [&](int64_t, int64_t from, int64_t end) {
      for (int64_t i = from; i < end; i++) {
        const T f = tangent ? b * g[i] + (tg ? a * tg[i] : T(0)) : a * g[i];
        out[i] = add ? out[i] + f : f;
      }
    });
    seen[terms[j]->source] = 1;
  }

  // ---- tangent of forward -----------------------------------------------------------------------------------------
  void t_run(const Work &k) const {
    Stage &s = *k.s;
    const int64_t n = s.ho * s.wo, batch = k.batch;
    double *sums = static_cast<double *>(shared_slots().get(0, size_t(batch * 2 * s.co) * sizeof(double)));
    parallel(head.threads, batch, [&](int64_t, int64_t from, int64_t end) {
      T *u = padded(U, k), *tu = cleared(TU, k.usize);
      for (int64_t b = from; b < end; b++) {
        input(k, b, u);
        t_input(k, b, u, tu);
        const T *z = static_cast<const T *>(s.z) + b * n * s.co;
        T *tz = static_cast<T *>(s.t_z) + b * n * s.co, *out = target(k, tz, TOUT);
        if (s.kind == AVERAGE) {
          dw(k, tu, k.kernel.data(), out, false);
          averaged(k, out, s.wo * k.cip);
        } else if (s.kind == MAXIMUM) {
          T *index = scratch(INDEX, k.isize);
          maxima(k, u, nullptr, index);
          choose(k, tu, index, out);
        } else {
          T *mid = scratch(MID, k.isize), *t_mid = scratch(TMID, k.isize);
          if (k.dw) {
            dw(k, u, k.kernel.data(), mid, false);
            dw(k, tu, k.kernel.data(), t_mid, false);
            dw(k, u, k.t_kernel.data(), t_mid, true);
          }
          if (k.phases) spread(k, u, mid), spread(k, tu, t_mid);
          mul(k, tu, t_mid, k.matrix.data(), out, false);
          mul(k, u, mid, k.t_matrix.data(), out, true);
        }
        strip_channels(k, out, tz);
        for (int64_t v = 0; v < s.co; v += V) {
          vec sum = zero(), inner = zero();
          const bool whole = s.co - v >= V;
          for (int64_t i = 0; i < n; i++) {
            const vec e = load(out + i * k.cop + v);
            sum += e, inner += e * (whole ? load(z + i * s.co + v) : partial(z + i * s.co + v, s.co - v));
          }
          for (int64_t c = v; c < s.co && c < v + V; c++) sums[(b * 2) * s.co + c] = double(sum[c - v]), sums[(b * 2 + 1) * s.co + c] = double(inner[c - v]);
        }
      }
    });
    if (!s.norm) return;
    const double count = double(n) * double(batch);
    for (int64_t c = 0; c < s.co; c++) {
      s.t_stats[c] = s.t_stats[s.co + c] = 0;
      if (!s.batch) continue;
      double sum = 0, inner = 0;
      for (int64_t b = 0; b < batch; b++) sum += sums[(b * 2) * s.co + c], inner += sums[(b * 2 + 1) * s.co + c];
      s.t_stats[c] = sum / count, s.t_stats[s.co + c] = 2 / count * (inner - s.stats[c] * sum);
    }
  }
  void t_forward() const {
    for (int64_t j = 0; j < head.terms; j++)
      for (int64_t n = 0; n < terms[j]->stages; n++) t_run(work(j, n, false, true));
    mix(true);
  }
};

enum Pass : int64_t { FORWARD, BACKWARD, T_FORWARD, T_BACKWARD, POOL };

template <class T, int V> void execute(const Head *head, int64_t pass) {
  Node<T, V> node(head);
  if (pass == FORWARD) node.forward();
  if (pass == BACKWARD) node.backward(false);
  if (pass == T_FORWARD) node.t_forward();
  if (pass == T_BACKWARD) node.backward(true);
  if (pass == POOL) node.pool();
}

template <class T> void execute_as(const Head *head, int64_t pass) {
  constexpr int V = WIDTH / int(sizeof(T));
  int64_t most = head->c;
  for (int64_t i = 0; i < head->sources; i++) {
    const int64_t c = reinterpret_cast<const Source *>(head + 1)[i].c;
    if (c > most) most = c;
  }
  most <= V / 2 ? execute<T, V / 2>(head, pass) : execute<T, V>(head, pass);
}

} // namespace ISA
