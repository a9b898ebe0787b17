// Compiled once for each instruction set: -DISA=name -DWIDTH=bytes, and the flags of the compiler for it.
#include "single.h"

#define JOIN_(a, b) a##b
#define JOIN(a, b) JOIN_(a, b)

extern "C" void JOIN(mimar_execute_, ISA)(const void *program, std::int64_t pass) {
  const auto *head = static_cast<const ISA::Head *>(program);
  head->is_double ? ISA::execute_as<double>(head, pass) : ISA::execute_as<float>(head, pass);
}

extern "C" void JOIN(mimar_depthwise_, ISA)(const void *call) {
  const auto &p = *static_cast<const ISA::Call *>(call);
  p.is_double ? ISA::depthwise_as<double>(p) : ISA::depthwise_as<float>(p);
}
