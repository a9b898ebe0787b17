// Vectors of V numbers of type T by the compiler's own extension, so that one text serves every instruction set.
#pragma once
#include <cstdint>
#include <cstdlib>
#include <cstring>

#ifndef WIDTH
#define WIDTH 16 // bytes of a register of the instruction set that this file is compiled for
#endif
#ifndef ISA
#define ISA generic
#endif

#define INLINE inline __attribute__((always_inline))

namespace ISA {

using std::int64_t;

constexpr int REGISTERS = WIDTH == 64 ? 32 : 16;

template <class T, int V> struct Vectors {
  typedef T vec __attribute__((vector_size(V * sizeof(T))));
  typedef T loose __attribute__((vector_size(V * sizeof(T)), aligned(sizeof(T)), may_alias));
  static INLINE vec load(const T *p) { return *reinterpret_cast<const loose *>(p); }
  static INLINE void store(T *p, vec v) { *reinterpret_cast<loose *>(p) = v; }
  static INLINE vec zero() { return vec{}; }
  static INLINE vec splat(T s) { return vec{} + s; }
  static INLINE vec positive(vec v) { return v <= zero() ? zero() : v; }  // NaN stays NaN
  // v but 0 where mask is 0 or less
  static INLINE vec where(vec mask, vec v) { return mask <= zero() ? zero() : v; }
};

// A picture in scratch memory: rows of pixels of `channels` numbers each, `channels` a multiple of V.
template <class T> struct Picture {
  T *data;
  int64_t row;    // numbers from one row to the next
  int64_t pixel;  // numbers from one pixel to the next
};

// A list of fixed length, zero at first. Not std::vector: its functions would be merged between the instruction sets.
template <class T> class Array {
  T *data_ = nullptr;
  size_t size_ = 0;

 public:
  Array() = default;
  explicit Array(int64_t n) : data_(static_cast<T *>(std::calloc(size_t(n > 0 ? n : 1), sizeof(T)))), size_(size_t(n)) {}
  Array(Array &&o) noexcept : data_(o.data_), size_(o.size_) { o.data_ = nullptr, o.size_ = 0; }
  Array(const Array &) = delete;
  Array &operator=(Array &&o) noexcept { T *d = data_; data_ = o.data_, o.data_ = d; size_t n = size_; size_ = o.size_, o.size_ = n; return *this; }
  ~Array() {
    for (size_t i = 0; data_ && i < size_; i++) data_[i].~T();
    std::free(data_);
  }
  T &operator[](int64_t i) { return data_[i]; }
  const T &operator[](int64_t i) const { return data_[i]; }
  T *data() { return data_; }
  const T *data() const { return data_; }
  int64_t size() const { return int64_t(size_); }
  const T *begin() const { return data_; }
  const T *end() const { return data_ + size_; }
};

} // namespace ISA
