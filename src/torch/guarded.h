// Exceptions end here: what is thrown becomes the message that a C function returns.
#pragma once
#include <cstring>
#include <exception>

template <class Work>
char* guarded(Work&& work) noexcept {
  try {
    work();
    return nullptr;
  } catch (const std::exception& error) {
    return strdup(error.what());
  } catch (...) {
    return strdup("an exception of unknown kind");
  }
}
