// Numbers with a tangent, so that the formulas of batch norm are written once for values and for their derivatives.
#pragma once
#include <cmath>
#include "vectors.h"

namespace ISA {

struct Dual { double v, d; };
INLINE Dual operator+(Dual a, Dual b) { return {a.v + b.v, a.d + b.d}; }
INLINE Dual operator-(Dual a, Dual b) { return {a.v - b.v, a.d - b.d}; }
INLINE Dual operator*(Dual a, Dual b) { return {a.v * b.v, a.d * b.v + a.v * b.d}; }
INLINE Dual operator*(double a, Dual b) { return {a * b.v, a * b.d}; }
INLINE double inverse_root(double x) { return 1 / std::sqrt(x); }
INLINE Dual inverse_root(Dual x) { const double r = 1 / std::sqrt(x.v); return {r, -0.5 * r * r * r * x.d}; }
INLINE double plus(double x, double e) { return x + e; }
INLINE Dual plus(Dual x, double e) { return {x.v + e, x.d}; }

// Normalisation of one channel as out = scale · z + shift
template <class S> struct Affine { S scale, shift; };

template <class S> Affine<S> affine(S gamma, S beta, S mean, S var, double eps) {
  const S a = gamma * inverse_root(plus(var, eps));
  return {a, beta - a * mean};
}

// Gradients of Σ p · g · (scale · z + shift): of z as gz = of_g · g + of_z · z + constant, of gamma and of beta.
// sum = Σ g, inner = Σ g · z over `n` pixels; statistics of the batch depend on z, running ones do not.
template <class S> struct Pullback { S of_g, of_z, constant, gamma, beta; };

template <class S> Pullback<S> pullback(S p, S gamma, S mean, S var, double eps, bool batch, double n, S sum, S inner, S nought) {
  const S r = inverse_root(plus(var, eps)), a = gamma * r;
  const S shift = p * sum, centred = p * inner - mean * shift;
  Pullback<S> out{p * a, nought, nought, r * centred, shift};
  if (batch) {
    const S of_var = -0.5 * (r * r * r * gamma * centred);
    out.of_z = (2 / n) * of_var;
    out.constant = nought - (1 / n) * (a * shift) - mean * out.of_z;
  }
  return out;
}

} // namespace ISA
