// Refuses memory to penstock's native half, for tests: loaded into a Python process by LD_PRELOAD,
// it stands in front of operator new and, once shortage_install() was called, of Python's
// allocators.
//
// Counted is what _core asks for: between it and the allocator no Python code runs, and the thread
// is the one that called shortage_begin(). The n-th such allocation (from 0 on) fails; with
// `lasting` all that this thread asks for from then on too, Python's own included, until
// shortage_end() or until a lasting shortage has been met by so many refusals, or for so long, that
// whoever waits for what is lost would wait forever.
#include <dlfcn.h>
#include <execinfo.h>
#include <link.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <unwind.h>

#include <new>

namespace {

constexpr int kMostRefused = 2000;
constexpr int64_t kLongest = 50'000'000;  // ns

// As Python.h has it.
struct Allocator {
    void* context;
    void* (*malloc)(void*, size_t);
    void* (*calloc)(void*, size_t, size_t);
    void* (*realloc)(void*, void*, size_t);
    void (*free)(void*, void*);
};

struct Range {
    uintptr_t begin = UINTPTR_MAX, end = 0;
    bool has(uintptr_t at) const { return begin <= at && at < end; }
};

Allocator real[3];  // raw, mem, object
Range core;
void* (*default_evaluate)(void*, void*, int);  // _PyEval_EvalFrameDefault()
// CPython 3.12 and 3.13 drop one reference too many to the code of a function that there is no
// memory for (gh-122752), and some refusals later the code is gone: `def` is always granted there.
uintptr_t new_function = 0;  // PyFunction_NewWithQualName(), of these
thread_local bool is_armed = false;
bool is_lasting, is_short, shows;
int wanted, counted, refused;
int64_t latest;

int64_t now() {
    timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1'000'000'000 + time.tv_nsec;
}

int look_at(dl_phdr_info* info, size_t, void*) {
    const char* base = info->dlpi_name != nullptr ? strrchr(info->dlpi_name, '/') : nullptr;
    if (base == nullptr || strncmp(base + 1, "_core.", 6) != 0 ||
        strstr(info->dlpi_name, "penstock") == nullptr)
        return 0;
    for (int i = 0; i < info->dlpi_phnum; ++i) {
        const auto& part = info->dlpi_phdr[i];
        if (part.p_type != PT_LOAD) continue;
        uintptr_t begin = info->dlpi_addr + part.p_vaddr;
        if (begin < core.begin) core.begin = begin;
        if (begin + part.p_memsz > core.end) core.end = begin + part.p_memsz;
    }
    return 0;
}

// What all Python code runs through: CPython's own function has parts that unwinding finds under no
// known name. Not the last call here, for then the frame would be gone.
__attribute__((noinline)) void* evaluate(void* thread, void* frame, int thrown) {
    void* result = default_evaluate(thread, frame, thrown);
    asm volatile("");
    return result;
}

_Unwind_Reason_Code look_at_frame(_Unwind_Context* context, void* found) {
    uintptr_t at = _Unwind_GetIP(context);
    if (core.has(at)) {
        *static_cast<bool*>(found) = true;
        return _URC_END_OF_STACK;
    }
    bool is_python = _Unwind_GetRegionStart(context) == reinterpret_cast<uintptr_t>(evaluate);
    return is_python ? _URC_END_OF_STACK : _URC_NO_REASON;
}

bool is_asked_by_core() {
    bool found = false;
    _Unwind_Backtrace(look_at_frame, &found);
    return found;
}

_Unwind_Reason_Code look_for_function(_Unwind_Context* context, void* found) {
    uintptr_t begin = _Unwind_GetRegionStart(context);
    if (begin == new_function) *static_cast<bool*>(found) = true;
    bool is_over = begin == new_function || begin == reinterpret_cast<uintptr_t>(evaluate);
    return is_over ? _URC_END_OF_STACK : _URC_NO_REASON;
}

bool is_for_function() {
    bool found = false;
    if (new_function != 0) _Unwind_Backtrace(look_for_function, &found);
    return found;
}

bool refuses() {
    if (!is_armed) return false;
    if (is_short) {
        if (is_lasting && refused < kMostRefused && now() < latest)
            return !is_for_function() && ++refused > 0;
        is_armed = is_lasting;  // still counts as begun, but memory is back
        is_short = false;
        wanted = -1;
        return false;
    }
    if (wanted < 0 || !is_asked_by_core() || counted++ != wanted) return false;
    is_short = true;
    latest = now() + kLongest;
    ++refused;
    if (shows) {
        void* frames[40];
        is_armed = false;
        backtrace_symbols_fd(frames, backtrace(frames, 40), 2);
        is_armed = true;
    }
    return true;
}

void* py_malloc(void* which, size_t size) {
    const Allocator& to = *static_cast<Allocator*>(which);
    return refuses() ? nullptr : to.malloc(to.context, size);
}
void* py_calloc(void* which, size_t count, size_t size) {
    const Allocator& to = *static_cast<Allocator*>(which);
    return refuses() ? nullptr : to.calloc(to.context, count, size);
}
void* py_realloc(void* which, void* old, size_t size) {
    const Allocator& to = *static_cast<Allocator*>(which);
    return refuses() ? nullptr : to.realloc(to.context, old, size);
}
void py_free(void* which, void* memory) {
    const Allocator& to = *static_cast<Allocator*>(which);
    to.free(to.context, memory);
}

void* new_or_null(size_t size) { return refuses() ? nullptr : malloc(size != 0 ? size : 1); }

void* new_or_throw(size_t size) {
    void* memory = new_or_null(size);
    if (memory == nullptr) throw std::bad_alloc();
    return memory;
}

}  // namespace

void* operator new(size_t size) { return new_or_throw(size); }
void* operator new[](size_t size) { return new_or_throw(size); }
void* operator new(size_t size, const std::nothrow_t&) noexcept { return new_or_null(size); }
void* operator new[](size_t size, const std::nothrow_t&) noexcept { return new_or_null(size); }
void operator delete(void* memory) noexcept { free(memory); }
void operator delete[](void* memory) noexcept { free(memory); }
void operator delete(void* memory, size_t) noexcept { free(memory); }
void operator delete[](void* memory, size_t) noexcept { free(memory); }

extern "C" {

void shortage_install() {
    dl_iterate_phdr(look_at, nullptr);
    default_evaluate = reinterpret_cast<void* (*)(void*, void*, int)>(
        dlsym(RTLD_DEFAULT, "_PyEval_EvalFrameDefault"));
    auto interpreter = reinterpret_cast<void* (*)()>(dlsym(RTLD_DEFAULT, "PyInterpreterState_Get"));
    auto set_evaluate = reinterpret_cast<void (*)(void*, void* (*)(void*, void*, int))>(
        dlsym(RTLD_DEFAULT, "_PyInterpreterState_SetEvalFrameFunc"));
    set_evaluate(interpreter(), evaluate);
    unsigned long version = *static_cast<unsigned long*>(dlsym(RTLD_DEFAULT, "Py_Version"));
    if (version >= 0x030C0000 && version < 0x030E0000)
        new_function =
            reinterpret_cast<uintptr_t>(dlsym(RTLD_DEFAULT, "PyFunction_NewWithQualName"));
    shows = getenv("PENSTOCK_SHORTAGE_SHOWS") != nullptr;
    auto get =
        reinterpret_cast<void (*)(int, Allocator*)>(dlsym(RTLD_DEFAULT, "PyMem_GetAllocator"));
    auto set =
        reinterpret_cast<void (*)(int, Allocator*)>(dlsym(RTLD_DEFAULT, "PyMem_SetAllocator"));
    for (int domain = 0; domain < 3; ++domain) {
        get(domain, &real[domain]);
        Allocator ours = {&real[domain], py_malloc, py_calloc, py_realloc, py_free};
        set(domain, &ours);
    }
}

void shortage_begin(int number, int lasting) {
    wanted = number;
    is_lasting = lasting != 0;
    counted = refused = 0;
    is_short = false;
    is_armed = true;
}

// How many allocations there were, of those that count.
int shortage_counted() { return counted; }

// How many were refused.
int shortage_end() {
    is_armed = false;
    return refused;
}
}
