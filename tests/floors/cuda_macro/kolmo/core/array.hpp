#pragma once
#ifdef __CUDACC__
#endif
