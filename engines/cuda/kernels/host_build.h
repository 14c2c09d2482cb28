// What lets preprocess.cu be compiled by a plain C++ compiler too, so that its arithmetic is tested without a GPU.
//
// A kernel is written as phases between barriers, each for all threads of a block. On the device a phase is run once by
// every thread; on the host a phase is a loop over them, so that a barrier is simply the end of the loop.
#pragma once

#ifdef __CUDACC__

#define KERNEL extern "C" __global__ void
#define DEVICE static __device__ __forceinline__
#define SHARED __shared__
#define BARRIER() __syncthreads()
#define FOR_THREADS(tx, ty) for (int tx = threadIdx.x, ty = threadIdx.y, once = 1; once; once = 0)
#define BLOCK_X blockIdx.x
#define BLOCK_Y blockIdx.y
#define BLOCK_Z blockIdx.z

#else

#include <cmath>
#include <cstdint>

#define KERNEL static void
#define DEVICE static inline
#define SHARED
#define BARRIER()
#define FOR_THREADS(tx, ty)           \
    for (int ty = 0; ty < BLOCK_H; ++ty) \
        for (int tx = 0; tx < BLOCK_W; ++tx)
#define BLOCK_X host_block.x
#define BLOCK_Y host_block.y
#define BLOCK_Z host_block.z

struct HostBlock {
    int x, y, z;
};
static thread_local HostBlock host_block;

// Runs `kernel` once for every block of a grid.
template <typename Kernel>
static void run_on_host(int grid_x, int grid_y, int grid_z, Kernel kernel) {
    for (host_block.z = 0; host_block.z < grid_z; ++host_block.z)
        for (host_block.y = 0; host_block.y < grid_y; ++host_block.y)
            for (host_block.x = 0; host_block.x < grid_x; ++host_block.x) kernel();
}

#endif
