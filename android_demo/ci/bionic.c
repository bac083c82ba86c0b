/* What an Android x86_64 JNI library asks of bionic (symbol version LIBC), passed on to glibc. */
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

extern int __cxa_atexit(void (*function)(void *), void *argument, void *object);
extern void __cxa_finalize(void *object);
extern int __register_atfork(void (*before)(void), void (*parent)(void), void (*child)(void), void *object);
extern void __stack_chk_fail(void);

#define FORWARD(type, name, parameters, call)                 \
    type bionic_##name parameters { return call; }            \
    __asm__(".symver bionic_" #name "," #name "@LIBC");

FORWARD(int, __cxa_atexit, (void (*f)(void *), void *a, void *o), __cxa_atexit(f, a, o))
FORWARD(void, __cxa_finalize, (void *o), __cxa_finalize(o))
FORWARD(int, __register_atfork, (void (*b)(void), void (*p)(void), void (*c)(void), void *o), __register_atfork(b, p, c, o))
FORWARD(void, __stack_chk_fail, (void), __stack_chk_fail())
FORWARD(int, dlclose, (void *handle), dlclose(handle))
FORWARD(void, free, (void *block), free(block))
FORWARD(void *, malloc, (size_t size), malloc(size))
FORWARD(void *, memcpy, (void *to, const void *from, size_t size), memcpy(to, from, size))
FORWARD(void *, realloc, (void *block, size_t size), realloc(block, size))
FORWARD(size_t, strlen, (const char *text), strlen(text))
