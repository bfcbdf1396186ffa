// What the module keeps, one an interpreter: its types, what it uses of asyncio, its free lists.
// There is nothing mutable outside of it.
#pragma once

#include <cstdint>

#include "futures/layout.h"
#include "futures/task_names.h"
#include "py/free_list.h"
#include "py/python.h"

namespace penstock::py {

#define PENSTOCK_NAMES(NAME)       \
    NAME(add_done_callback)        \
    NAME(append)                   \
    NAME(asyncio)                  \
    NAME(_asyncio_future_blocking) \
    NAME(_attach)                  \
    NAME(_begin)                   \
    NAME(buffer_updated)           \
    NAME(_call_connection_lost)    \
    NAME(call_exception_handler)   \
    NAME(call_at)                  \
    NAME(call_later)               \
    NAME(call_soon)                \
    NAME(time)                     \
    NAME(cancel)                   \
    NAME(cancelled)                \
    NAME(close)                    \
    NAME(connect)                  \
    NAME(connection_lost)          \
    NAME(connection_made)          \
    NAME(context)                  \
    NAME(create_task)              \
    NAME(data_received)            \
    NAME(datagram_received)        \
    NAME(delay)                    \
    NAME(_detach)                  \
    NAME(_drain_helper)            \
    NAME(done)                     \
    NAME(eager_start)              \
    NAME(empty)                    \
    NAME(eof_received)             \
    NAME(error_received)           \
    NAME(family)                   \
    NAME(feed_data)                \
    NAME(feed_eof)                 \
    NAME(fileno)                   \
    NAME(full)                     \
    NAME(fut)                      \
    NAME(_get)                     \
    NAME(gettimeout)               \
    NAME(get_buffer)               \
    NAME(get_debug)                \
    NAME(get_loop)                 \
    NAME(get_nowait)               \
    NAME(_loop)                    \
    NAME(loop)                     \
    NAME(_lost)                    \
    NAME(msg)                      \
    NAME(name)                     \
    NAME(pause_reading)            \
    NAME(_on_task_done)            \
    NAME(pause_writing)            \
    NAME(peername)                 \
    NAME(pipe)                     \
    NAME(pop)                      \
    NAME(popleft)                  \
    NAME(proto)                    \
    NAME(_put)                     \
    NAME(put_nowait)               \
    NAME(qsize)                    \
    NAME(result)                   \
    NAME(resume_reading)           \
    NAME(resume_writing)           \
    NAME(return_exceptions)        \
    NAME(send)                     \
    NAME(server_hostname)          \
    NAME(setblocking)              \
    NAME(set_exception)            \
    NAME(set_name)                 \
    NAME(set_result)               \
    NAME(sock)                     \
    NAME(socket)                   \
    NAME(sockname)                 \
    NAME(ssl)                      \
    NAME(_start)                   \
    NAME(timeout)                  \
    NAME(throw_)                   \
    NAME(type)                     \
    NAME(write)

struct TlsLibrary;

using FreeCoroutines = FreeList<1024>;

struct State {
    PyObject* module;  // borrowed: it owns us

    PyTypeObject* future;
    PyTypeObject* task;
    PyTypeObject* future_iter;
    PyTypeObject* handle;
    PyTypeObject* timer_handle;
    PyTypeObject* loop;
    PyTypeObject* plain_loop;  // borrowed: the subclass that is_plain was found true for last
    PyTypeObject* coroutine_iter;
    PyTypeObject* sleep;
    PyTypeObject* wait;
    PyTypeObject* waiters;
    PyTypeObject* queue_wait;
    PyTypeObject* queue_part;
    PyTypeObject* done_callback;
    PyTypeObject* gathering;
    PyTypeObject* timeout;
    PyTypeObject* timeout_step;
    PyTypeObject* wait_for;
    PyTypeObject* sock_call;
    PyTypeObject* reader;  // the native parts of the streams
    PyTypeObject* reader_protocol_part;
    PyTypeObject* writer_part;
    PyTypeObject* read;
    PyTypeObject* drain;
    PyTypeObject* stream_reader;  // and the classes in Python that have them
    PyTypeObject* stream_writer;
    PyTypeObject* stream_reader_protocol;
    PyTypeObject* group_part;
    PyTypeObject* coroutine_function;
    PyTypeObject* transport;
    PyTypeObject* read_pipe;
    PyTypeObject* write_pipe;
    PyTypeObject* datagram_transport;
    PyTypeObject* acceptor;
    PyTypeObject* tls_transport;
    PyTypeObject* http_server;
    PyTypeObject* http_connection;
    PyTypeObject* exchange;
    PyTypeObject* receiver;
    PyTypeObject* receive;
    PyTypeObject* send_message;
    TlsLibrary* tls;  // nullptr until TLS is first used

    PyTypeObject* base_future;  // _asyncio's, or asyncio's where there is no C module
    PyTypeObject* base_task;
    PyObject* cancelled_error;
    PyObject* invalid_state_error;
    PyObject* iscoroutine;
    PyObject* iscoroutinefunction;
    PyObject* extract_stack;        // traceback's, of futures and tasks
    PyObject* extract_short_stack;  // asyncio's, of handles
    PyObject* format_callback_source;
    PyObject* abstract_handle;        // asyncio.Handle
    PyObject* abstract_timer_handle;  // asyncio.TimerHandle
    PyObject* stock_sleep;            // asyncio.sleep as it was
    PyObject* stock_gather;           // and asyncio.gather
    PyObject* stock_group;            // and asyncio.TaskGroup
    PyObject* group_callback;         // its `_on_task_done`
    PyObject* gather_callback;        // the function within, which is for show only
    PyObject* stock_wait_for;
    PyObject* stock_cancel_and_wait;  // asyncio.tasks._cancel_and_wait
    PyObject* stock_timeout;          // and asyncio.timeout
    PyObject* stock_timeout_at;
    PyObject* stock_timeout_class;  // asyncio.Timeout, and its methods
    PyObject* stock_timeout_enter;
    PyObject* stock_timeout_exit;
    PyObject* stock_timeout_reschedule;
    PyObject* stock_timeout_expires;
    PyObject* timeout_created;  // its states
    PyObject* timeout_entered;
    PyObject* timeout_exited;
    PyObject* queue_empty;  // asyncio's exceptions
    PyObject* queue_full;
    PyObject* queue_shut_down;
    PyObject* incomplete_read_error;  // asyncio's exceptions
    PyObject* limit_overrun_error;
    PyObject* python_sock_recv;  // methods of penstock's, as Python has them
    PyObject* python_sock_recv_into;
    PyObject* python_sock_sendall;
    PyObject* python_sock_connect;
    PyObject* python_create_connection;
    PyObject* newline;         // b"\n"
    PyObject* deque;           // collections.deque
    PyCFunction deque_append;  // its methods, nullptr where they are not called like that
    PyCFunction deque_popleft;
    PyObject* heappush;  // heapq's
    PyObject* heappop;
    PyObject* buffered_protocol;      // asyncio.BufferedProtocol
    PyObject* transport_socket;       // asyncio.trsock.TransportSocket
    PyObject* socket_class;           // socket.socket
    PyTypeObject* base_socket;        // _socket.socket
    PyObject* gaierror;               // socket.gaierror
    PyObject* make_handler_callback;  // of the package's; nullptr before the first is put off
    PyObject* get_running_loop;       // _asyncio._get_running_loop, returns None where none runs
    PyObject* register_task;
    PyObject* current_tasks;             // {loop: task} below 3.14, else nullptr
    Py_ssize_t running_task_offset;      // from 3.14: of the thread state's asyncio_running_task
    PyObject* future_add_to_awaited_by;  // from 3.14
    PyObject* future_discard_from_awaited_by;

    PyObject* empty_vars;       // the vars of an empty Context
    PyObject* coroutine_types;  // set of types that asyncio.iscoroutine() accepted
    PyObject* stop_iteration;   // reused, see py/stop_iteration.h
    PyObject* context_keyword;  // ("context",)

    bool native_task;      // the probe passed: Future and Task are ours
    bool bare_context;     // the same for Context: see py/context.h
    bool knows_frames;     // the same for 3.11's frames: see futures/site.h
    bool shows_arguments;  // in debug mode, of a callback: asyncio since 3.13
    PyObject* why_stock;   // str or nullptr: what the probe found

    Loop* running;                  // the loop that began to run last, and the thread it runs in:
    PyThreadState* running_thread;  // a cache, see running_loop()
    unsigned running_process;       // as fork_count() numbers them
    std::size_t running_loops;      // in all threads
    std::uint64_t tasks_made;
    unsigned clearing_depth;  // see py/trashcan.h
    ListNode tasks;           // below 3.14: all native tasks that are not done

    TaskNames task_names;
    FreeList<4096> free_futures;
    FreeList<4096> free_tasks;
    FreeList<1024> free_iters;
    FreeList<8192> free_handles;
    FreeList<8192> free_timer_handles;
    FreeCoroutines free_sleeps;
    FreeCoroutines free_waits;
    FreeCoroutines free_puts;
    FreeCoroutines free_timeout_steps;
    FreeCoroutines free_wait_fors;
    FreeList<1024> free_timeouts;
    FreeCoroutines free_reads;
    FreeCoroutines free_sock_calls;
    FreeCoroutines free_drains;
    FreeCoroutines free_receives;
    FreeCoroutines free_sends;

#define NAME(name) PyObject* str_##name;
    PENSTOCK_NAMES(NAME)
#undef NAME
};

inline State* state_of(PyObject* module) noexcept {
    return static_cast<State*>(PyModule_GetState(module));
}
// For `type` or a subclass of one of ours; nullptr with an exception set.
State* find_state(PyTypeObject* type) noexcept;

extern PyModuleDef module_definition;

// The same without a search: nullptr for a subclass.
inline State* state_of_exact_type(PyTypeObject* type) noexcept {
    PyObject* module = reinterpret_cast<PyHeapTypeObject*>(type)->ht_module;
    return module != nullptr ? state_of(module) : nullptr;
}

inline State* state_of_type(PyTypeObject* type) noexcept {
    State* state = state_of_exact_type(type);
    return state != nullptr ? state : find_state(type);
}

// The loop that runs in this thread, borrowed; nullptr without an exception where none does, or
// where it is not ours.
Loop* running_loop(State* state) noexcept;

}  // namespace penstock::py
