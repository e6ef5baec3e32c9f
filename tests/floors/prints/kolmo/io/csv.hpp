#pragma once
inline void f() { std::cout << 1; }
