/// Included by the compiler before every file of an instrumented build (-include; CMake option PPMM_INSTRUMENT).
///
/// ThreadSanitizer's pass does not look at calls, and the compiler makes a few moves of a memcpy of constant size behind
/// the pass. So calls of memcpy and the like are given another name (instrument.cpp defines it), also those that the
/// standard library writes as builtins. Copies that the compiler makes of assignments keep the C library's name: the
/// pass has seen them. In files compiled with -fno-sanitize=thread nothing changes.
#pragma once

#if defined(__SANITIZE_THREAD__)
#undef __SANITIZE_THREAD__  // no ThreadSanitizer is there: it is what code asks by this macro

extern "C" {
void* ppmm_observed_memcpy(void* to, const void* from, __SIZE_TYPE__ n) noexcept;
void* ppmm_observed_memmove(void* to, const void* from, __SIZE_TYPE__ n) noexcept;
void* ppmm_observed_memset(void* to, int value, __SIZE_TYPE__ n) noexcept;
int ppmm_observed_memcmp(const void* a, const void* b, __SIZE_TYPE__ n) noexcept;
void* memcpy(void* to, const void* from, __SIZE_TYPE__ n) noexcept __asm__("ppmm_observed_memcpy");
void* memmove(void* to, const void* from, __SIZE_TYPE__ n) noexcept __asm__("ppmm_observed_memmove");
void* memset(void* to, int value, __SIZE_TYPE__ n) noexcept __asm__("ppmm_observed_memset");
int memcmp(const void* a, const void* b, __SIZE_TYPE__ n) noexcept __asm__("ppmm_observed_memcmp");
}
#define __builtin_memcpy ppmm_observed_memcpy
#define __builtin_memmove ppmm_observed_memmove
#define __builtin_memset ppmm_observed_memset
#define __builtin_memcmp ppmm_observed_memcmp
#endif
