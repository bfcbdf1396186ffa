// Makes one system call of penstock's native half fail, for tests: loaded into a Python process by
// LD_PRELOAD, it stands in front of libc's functions and counts the calls that come from the module
// _core, or from libstdc++ on its behalf (threads). What Python itself calls is left alone.
//
// PENSTOCK_FAULT=call:number:errno[:count] lets the number-th call (from 1 on) of that name fail,
// and the count - 1 that follow. getaddrinfo fails with an EAI_ code instead of an errno. A call
// that is to fail is not made; close(2) is, for Linux frees the number whatever it answers.
//
// At the end each name's count goes to the file that PENSTOCK_FAULT_COUNTS names; a child of fork()
// goes on counting, and writes none.
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <netdb.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <atomic>

namespace {

#define CALLS(X)                                                                              \
    X(accept4)                                                                                \
    X(close)                                                                                  \
    X(dup3)                                                                                   \
    X(epoll_create1) X(epoll_ctl) X(epoll_pwait2) X(epoll_wait) X(eventfd) X(eventfd_read)    \
        X(eventfd_write) X(fcntl) X(fstat) X(getaddrinfo) X(getpeername) X(getsockname)       \
            X(pidfd_open) X(pthread_create) X(read) X(recv) X(recvfrom) X(send) X(sendmsg)    \
                X(sendto) X(setsockopt) X(shutdown) X(socketpair) X(write) X(writev)

enum Call {
#define X(name) k_##name,
    CALLS(X)
#undef X
        kCalls
};

const char* const names[] = {
#define X(name) #name,
    CALLS(X)
#undef X
};

std::atomic<int> counts[kCalls];
std::atomic<uintptr_t> module_begin{0}, module_end{0};
int failing = -1, first = 0, last = 0, error = 0;
pid_t process = 0;

template <class Function>
Function* real(const char* name) {
    return reinterpret_cast<Function*>(dlsym(RTLD_NEXT, name));
}

bool ends_in_core(const char* path) {
    const char* base = strrchr(path, '/');
    base = base != nullptr ? base + 1 : path;
    return strncmp(base, "_core.", 6) == 0 && strstr(path, "penstock") != nullptr;
}

int look_at(dl_phdr_info* info, size_t, void*) {
    if (info->dlpi_name == nullptr || !ends_in_core(info->dlpi_name)) return 0;
    uintptr_t begin = UINTPTR_MAX, end = 0;
    for (int i = 0; i < info->dlpi_phnum; ++i) {
        const auto& part = info->dlpi_phdr[i];
        if (part.p_type != PT_LOAD) continue;
        uintptr_t at = info->dlpi_addr + part.p_vaddr;
        if (at < begin) begin = at;
        if (at + part.p_memsz > end) end = at + part.p_memsz;
    }
    module_begin = begin;
    module_end = end;
    return 1;
}

bool is_in_core(const void* caller) {
    // Until the module is there each call looks for it; dlopen() itself makes few that count.
    if (module_end == 0 && dl_iterate_phdr(look_at, nullptr) == 0) return false;
    auto at = reinterpret_cast<uintptr_t>(caller);
    return at >= module_begin && at < module_end;
}

bool is_to_fail(Call call, const void* caller) {
    if (!is_in_core(caller)) return false;
    int number = ++counts[call];
    return call == failing && number >= first && number <= last;
}

bool fails(Call call, const void* caller) {
    if (!is_to_fail(call, caller)) return false;
    errno = error;
    return true;
}

__attribute__((constructor)) void begin() {
    process = getpid();
    const char* fault = getenv("PENSTOCK_FAULT");
    if (fault == nullptr) return;
    char name[32];
    int count = 1;
    if (sscanf(fault, "%31[^:]:%d:%d:%d", name, &first, &error, &count) < 3) abort();
    last = first + count - 1;
    for (int i = 0; i < kCalls; ++i)
        if (strcmp(names[i], name) == 0) failing = i;
    if (failing < 0) abort();
}

__attribute__((destructor)) void end() {
    const char* path = getenv("PENSTOCK_FAULT_COUNTS");
    if (path == nullptr || getpid() != process) return;
    FILE* file = fopen(path, "w");
    if (file == nullptr) return;
    for (int i = 0; i < kCalls; ++i) fprintf(file, "%s %d\n", names[i], counts[i].load());
    fclose(file);
}

}  // namespace

#define CALLER __builtin_return_address(0)

// FORWARD(result, name, parameters, arguments)
#define FORWARD(result, name, parameters, arguments)              \
    extern "C" result name parameters {                           \
        static auto* const next = real<result parameters>(#name); \
        if (fails(k_##name, CALLER)) return -1;                   \
        return next arguments;                                    \
    }

FORWARD(int, accept4, (int fd, sockaddr* address, socklen_t* size, int flags),
        (fd, address, size, flags))
FORWARD(int, dup3, (int from, int to, int flags), (from, to, flags))
FORWARD(int, epoll_create1, (int flags), (flags))
FORWARD(int, epoll_ctl, (int epoll, int operation, int fd, epoll_event* event),
        (epoll, operation, fd, event))
FORWARD(int, epoll_wait, (int epoll, epoll_event* events, int most, int timeout),
        (epoll, events, most, timeout))
FORWARD(int, eventfd, (unsigned count, int flags), (count, flags))
FORWARD(int, eventfd_read, (int fd, eventfd_t* value), (fd, value))
FORWARD(int, eventfd_write, (int fd, eventfd_t value), (fd, value))
FORWARD(int, fstat, (int fd, struct stat* status), (fd, status))
FORWARD(int, getpeername, (int fd, sockaddr* address, socklen_t* size), (fd, address, size))
FORWARD(int, getsockname, (int fd, sockaddr* address, socklen_t* size), (fd, address, size))
FORWARD(ssize_t, read, (int fd, void* bytes, size_t size), (fd, bytes, size))
FORWARD(ssize_t, recv, (int fd, void* bytes, size_t size, int flags), (fd, bytes, size, flags))
FORWARD(ssize_t, recvfrom,
        (int fd, void* bytes, size_t size, int flags, sockaddr* address, socklen_t* address_size),
        (fd, bytes, size, flags, address, address_size))
FORWARD(ssize_t, send, (int fd, const void* bytes, size_t size, int flags),
        (fd, bytes, size, flags))
FORWARD(ssize_t, sendmsg, (int fd, const msghdr* message, int flags), (fd, message, flags))
FORWARD(ssize_t, sendto,
        (int fd, const void* bytes, size_t size, int flags, const sockaddr* address,
         socklen_t address_size),
        (fd, bytes, size, flags, address, address_size))
FORWARD(int, setsockopt, (int fd, int level, int option, const void* value, socklen_t size),
        (fd, level, option, value, size))
FORWARD(int, shutdown, (int fd, int how), (fd, how))
FORWARD(int, socketpair, (int family, int type, int protocol, int* ends),
        (family, type, protocol, ends))
FORWARD(ssize_t, write, (int fd, const void* bytes, size_t size), (fd, bytes, size))
FORWARD(ssize_t, writev, (int fd, const iovec* pieces, int count), (fd, pieces, count))

extern "C" int close(int fd) {
    static auto* const next = real<int(int)>("close");
    int result = next(fd);
    return fails(k_close, CALLER) ? -1 : result;
}

// What libc's headers make of fcntl() depends on how large a file may be.
#define FORWARD_FCNTL(name)                                              \
    extern "C" int name(int fd, int command, ...) {                      \
        static auto* const next = real<int(int, int, ...)>(#name);       \
        va_list rest;                                                    \
        va_start(rest, command);                                         \
        void* argument = va_arg(rest, void*);                            \
        va_end(rest);                                                    \
        return fails(k_fcntl, CALLER) ? -1 : next(fd, command, argument); \
    }

FORWARD_FCNTL(fcntl)
FORWARD_FCNTL(fcntl64)

extern "C" long syscall(long number, ...) {
    static auto* const next = real<long(long, ...)>("syscall");
    va_list rest;
    va_start(rest, number);
    long arguments[6];
    for (long& argument : arguments) argument = va_arg(rest, long);
    va_end(rest);
    if (number == 441 && fails(k_epoll_pwait2, CALLER)) return -1;
    if (number == SYS_pidfd_open && fails(k_pidfd_open, CALLER)) return -1;
    return next(number, arguments[0], arguments[1], arguments[2], arguments[3], arguments[4],
                arguments[5]);
}

extern "C" int getaddrinfo(const char* host, const char* service, const addrinfo* hints,
                           addrinfo** list) {
    static auto* const next =
        real<int(const char*, const char*, const addrinfo*, addrinfo**)>("getaddrinfo");
    if (!is_to_fail(k_getaddrinfo, CALLER)) return next(host, service, hints, list);
    errno = EMFILE;  // for EAI_SYSTEM
    return error;
}

// std::thread makes it for us: whose it is, its first function's argument can't tell; so those
// count that neither Python's executable nor its library asks for.
extern "C" int pthread_create(pthread_t* thread, const pthread_attr_t* attributes,
                              void* (*body)(void*), void* argument) {
    static auto* const next =
        real<int(pthread_t*, const pthread_attr_t*, void* (*)(void*), void*)>("pthread_create");
    Dl_info info;
    bool is_ours = is_in_core(CALLER) || (module_end != 0 && dladdr(CALLER, &info) != 0 &&
                                          strstr(info.dli_fname, "libstdc++") != nullptr);
    if (is_ours && ++counts[k_pthread_create] >= first && failing == k_pthread_create &&
        counts[k_pthread_create] <= last)
        return error;
    return next(thread, attributes, body, argument);
}
