// The C interface: one binary, the best instruction set of this processor chosen when it is loaded.
#include <cstdint>

using Execute = void(const void *, std::int64_t);
using Depthwise = void(const void *);
#pragma GCC visibility push(default)
extern "C" {
Execute mimar_execute_generic;
Depthwise mimar_depthwise_generic;
#ifdef MIMAR_X86
Execute mimar_execute_avx2, mimar_execute_avx512;
Depthwise mimar_depthwise_avx2, mimar_depthwise_avx512;
#endif

std::int64_t mimar_interface() { return 3; }  // raised with every change of the layout of programs

// 0 generic, 1 AVX2, 2 AVX-512
std::int64_t mimar_best() {
#ifdef MIMAR_X86
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("fma"))
    return 3;
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return 1;
#endif
  return 0;
}

void mimar_execute(const void *program, std::int64_t pass, std::int64_t set) {
#ifdef MIMAR_X86
  if (set == 2) return mimar_execute_avx512(program, pass);
  if (set == 1) return mimar_execute_avx2(program, pass);
#endif
  mimar_execute_generic(program, pass);
}

void mimar_depthwise(const void *call, std::int64_t set) {
#ifdef MIMAR_X86
  if (set == 2) return mimar_depthwise_avx512(call);
  if (set == 1) return mimar_depthwise_avx2(call);
#endif
  mimar_depthwise_generic(call);
}
}
