/* Functions with a clone for each kind of processor; all that they call is inlined into them. */

#if defined(__x86_64__) && defined(__ELF__) && defined(__GNUC__) && !defined(__clang__) /* which has no `flatten` of them */
#define FOR_EACH_PROCESSOR __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default"), flatten))
#else
#define FOR_EACH_PROCESSOR
#endif
