/* Vectors of the compiler's own kind (GCC, Clang): REAL is float or double, VL numbers make one vector, and a panel of a
 * packed matrix is NV vectors wide. No header guard: it is included once per number type and instruction set. */

#define JOIN3_(a, b, c) a##_##b##_##c
#define JOIN3(a, b, c) JOIN3_(a, b, c)
#define NAMED(name) JOIN3(name, KIND, ISA)

#define vec NAMED(vec)
#define ivec NAMED(ivec)

typedef REAL vec __attribute__((vector_size(VL * sizeof(REAL)), aligned(sizeof(REAL)), may_alias));
typedef INTEGER ivec __attribute__((vector_size(VL * sizeof(REAL)), aligned(sizeof(REAL)), may_alias));

#define NR (VL * NV)
#define INLINE static inline __attribute__((always_inline))
#define LOAD(p) (*(const vec *)(p))
#define STORE(p, x) (*(vec *)(p) = (x))
#define SPLAT(x) ((vec){} + (REAL)(x))
/* yes where `mask` (a comparison) holds, else no */
#define CHOOSE(mask, yes, no) ((vec)(((mask) & (ivec)(yes)) | (~(mask) & (ivec)(no))))
#ifdef __clang__ /* has only shuffles with constants; a loop is right, if slow */
INLINE vec NAMED(shuffle)(vec a, vec b, ivec from) {
    vec out;
    for (int l = 0; l < VL; l++) out[l] = from[l] < VL ? a[from[l]] : b[from[l] - VL];
    return out;
}
#define SHUFFLE(a, b, from) NAMED(shuffle)(a, b, from)
#else
#define SHUFFLE(a, b, from) __builtin_shuffle(a, b, from)
#endif
#define PADDED(n) (((n) + NR - 1) / NR * NR)
