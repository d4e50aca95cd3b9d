// What activations are in memory: f16 where HALF is 1, else f32. Kernels compute with them in f32. To be included before
// anything is declared, since that is where WGSL wants its extensions; F16 stands for f16 in workgroup memory, SIDE for
// cooperative matrices.

#if SIDE > 0
enable wgpu_cooperative_matrix;
#endif
#if HALF == 1
enable f16;
alias Stored = f16;
#else
#if F16 == 1
enable f16;
#endif
alias Stored = f32;
#endif
