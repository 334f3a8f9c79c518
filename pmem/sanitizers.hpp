/// Which sanitizer the code is compiled for, whatever the compiler's way to say so: PPMM_ADDRESS_SANITIZER and
/// PPMM_THREAD_SANITIZER are 1 or 0.
#pragma once

#if defined(__has_feature)  // clang
#define PPMM_HAS_FEATURE(feature) __has_feature(feature)
#else
#define PPMM_HAS_FEATURE(feature) 0
#endif

#if defined(__SANITIZE_ADDRESS__) || PPMM_HAS_FEATURE(address_sanitizer)
#define PPMM_ADDRESS_SANITIZER 1
#else
#define PPMM_ADDRESS_SANITIZER 0
#endif
#if defined(__SANITIZE_THREAD__) || PPMM_HAS_FEATURE(thread_sanitizer)
#define PPMM_THREAD_SANITIZER 1
#else
#define PPMM_THREAD_SANITIZER 0
#endif
#undef PPMM_HAS_FEATURE
