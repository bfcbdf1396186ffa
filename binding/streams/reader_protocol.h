// The native part of a StreamReaderProtocol: it feeds a StreamReader, and tells drain() when to
// wait. A native transport speaks to it without a call into Python.
//
// The StreamReader is not kept alive, as in asyncio: who has dropped it gets no more bytes. Its
// part is, and does not know it. It is seen by what holds it for sure, which the connection of a
// server has: strong_reader, then the writer; else by a weak reference.
#pragma once

#include "futures/layout.h"
#include "py/python.h"
#include "py/state.h"
#include "sync/primitive.h"
#include "transport/stream_protocol.h"

namespace penstock::py {

struct Reader;
struct ReaderProtocol;

class ReaderLink final : public StreamProtocol {
public:
    bool on_bytes(std::span<const std::byte> bytes) noexcept override;
    bool on_object(PyObject* bytes) noexcept override;
    int on_eof() noexcept override;
    bool on_pause_writing() noexcept override;
    bool on_resume_writing() noexcept override;
    bool on_lost(PyObject* exception) noexcept override;
    bool keeps_bytes() const noexcept override { return true; }

private:
    ReaderProtocol* protocol() noexcept;
};

// What most never have, nor need before they end: made when it is needed.
struct SeldomOfProtocol {
    PyObject* reader_ref;  // a weak reference to the reader, where it is not seen otherwise
    PyObject* closed;      // the future that wait_closed() waits for, once somebody has asked
    PyObject* drain_waiters;
    PyObject* lost_by;  // the exception that the connection was lost by, if one
};

struct ReaderProtocol {
    PyObject_HEAD ReaderLink link;
    PyObject* owner;  // the StreamReaderProtocol whose part this is; borrowed
    PyObject* loop;
    Reader* reader;       // the part of a StreamReader of ours, which may be gone; or nullptr
    PyObject* transport;  // or nullptr, as all that follow
    PyObject* handled;    // a transport: see handler_callback.h
    SeldomOfProtocol* seldom;
    PyObject* client_connected_cb;
    PyObject* strong_reader;  // until the connection is there
    PyObject* writer;
    PyObject* task;
    bool is_paused, is_lost, is_over_ssl;
    bool was_lost;  // by seldom->lost_by, and nobody had asked for `closed` yet
};

inline ReaderProtocol* ReaderLink::protocol() noexcept {
    return reinterpret_cast<ReaderProtocol*>(reinterpret_cast<std::byte*>(this) - sizeof(PyObject));
}

inline ReaderProtocol* as_reader_protocol(PyObject* part) noexcept {
    return reinterpret_cast<ReaderProtocol*>(part);
}

// The native part of a StreamReaderProtocol: as part_of().
inline ReaderProtocol* reader_protocol_of(PyObject* owner) noexcept {
    return part_of<ReaderProtocol>(owner);
}

// What holds the reader may let go of it: it stays in sight. False with MemoryError set.
bool keep_in_sight(ReaderProtocol* protocol) noexcept;

}  // namespace penstock::py
