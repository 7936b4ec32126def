/* Functions of NVIDIA's libraries that a program with dfdx's CUDA device is linked with instead of the libraries.
 *
 * Each function looks for its library when it is first called, and jumps to the library's function of its name. So one
 * program starts on machines with and without a driver, and with CUDA 12 and 13. Where the library is not found, each
 * function answers with an error of the library's own.
 *
 * `cargo xtask cuda-build` puts the lists SYMBOLS and FORWARDS below, from the declarations of the crate cudarc. */
#include <dlfcn.h>
#include <stddef.h>

enum { DRIVER, BLAS, COMPILER };

static const char *const libraries[][4] = {
    [DRIVER] = {"libcuda.so.1"},
    [BLAS] = {"libcublas.so.13", "libcublas.so.12", "libcublas.so"},
    [COMPILER] = {"libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so"},
};

/* CUDA_ERROR_STUB_LIBRARY, CUBLAS_STATUS_NOT_INITIALIZED, NVRTC_ERROR_INTERNAL_ERROR. */
static int no_driver(void) { return 34; }
static int no_blas(void) { return 1; }
static int no_compiler(void) { return 11; }
static int (*const absent[])(void) = {[DRIVER] = no_driver, [BLAS] = no_blas, [COMPILER] = no_compiler};

static const struct {
    const char *name;
    int library;
} symbols[] = {
SYMBOLS
};

/* Where each function jumps to, in the order of `symbols`; 0 until its first call. */
__attribute__((visibility("hidden"))) void *gnr_cuda_targets[sizeof symbols / sizeof *symbols];

/* Two threads may look for one function at once; both find the same. */
__attribute__((visibility("hidden"), used)) void *gnr_cuda_find(size_t index) {
    int library = symbols[index].library;
    void *handle = NULL, *found = NULL;
    for (int i = 0; i < 4 && libraries[library][i] && !handle; i++)
        handle = dlopen(libraries[library][i], RTLD_LAZY | RTLD_LOCAL);
    if (handle)
        found = dlsym(handle, symbols[index].name);
    if (!found)
        return (void *)absent[library];
    gnr_cuda_targets[index] = found;
    return found;
}

/* The arguments of a call stay where they are: registers are kept while the function is looked for. */
__asm__(".text\n"
        ".type gnr_cuda_forward,@function\n"
        "gnr_cuda_forward:\n"
        "  pushq %rdi\n  pushq %rsi\n  pushq %rdx\n  pushq %rcx\n  pushq %r8\n  pushq %r9\n"
        "  subq $136, %rsp\n"
        "  movaps %xmm0, (%rsp)\n  movaps %xmm1, 16(%rsp)\n  movaps %xmm2, 32(%rsp)\n  movaps %xmm3, 48(%rsp)\n"
        "  movaps %xmm4, 64(%rsp)\n  movaps %xmm5, 80(%rsp)\n  movaps %xmm6, 96(%rsp)\n  movaps %xmm7, 112(%rsp)\n"
        "  movq %rax, %rdi\n"
        "  call gnr_cuda_find\n"
        "  movaps (%rsp), %xmm0\n  movaps 16(%rsp), %xmm1\n  movaps 32(%rsp), %xmm2\n  movaps 48(%rsp), %xmm3\n"
        "  movaps 64(%rsp), %xmm4\n  movaps 80(%rsp), %xmm5\n  movaps 96(%rsp), %xmm6\n  movaps 112(%rsp), %xmm7\n"
        "  addq $136, %rsp\n"
        "  popq %r9\n  popq %r8\n  popq %rcx\n  popq %rdx\n  popq %rsi\n  popq %rdi\n"
        "  jmpq *%rax\n");

#define FORWARD(index, name)                                                                                           \
    __asm__(".globl " #name "\n"                                                                                       \
            ".type " #name ",@function\n" #name ":\n"                                                                  \
            "  movq gnr_cuda_targets+8*" #index "(%rip), %rax\n"                                                       \
            "  testq %rax, %rax\n"                                                                                     \
            "  je 1f\n"                                                                                                \
            "  jmpq *%rax\n"                                                                                           \
            "1:\n"                                                                                                     \
            "  movl $" #index ", %eax\n"                                                                               \
            "  jmp gnr_cuda_forward\n");
FORWARDS
