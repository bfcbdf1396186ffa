// Rows of the method tables of more than one kind of transport.
#pragma once

#include "py/arguments.h"
#include "py/types.h"
#include "transport/socket_transport.h"

namespace penstock::py {

inline const PyMethodDef kIsClosing = {
    "is_closing", transport_is_closing, METH_NOARGS,
    "is_closing($self)\n--\n\nWhether the transport is closed or being closed."};
inline const PyMethodDef kIsReading = {"is_reading", transport_is_reading, METH_NOARGS,
                                       "is_reading($self)\n--\n\nWhether data is received."};
inline const PyMethodDef kPauseReading = {
    "pause_reading", transport_pause_reading, METH_NOARGS,
    "pause_reading($self)\n--\n\nReceive nothing until resume_reading()."};
inline const PyMethodDef kResumeReading = {"resume_reading", transport_resume_reading, METH_NOARGS,
                                           "resume_reading($self)\n--\n\nReceive again."};
inline const PyMethodDef kSetProtocol = {
    "set_protocol", method(one_argument<"set_protocol", "protocol", transport_set_protocol>), kFast,
    "set_protocol($self, protocol)\n--\n\nChange who is told of what happens."};
inline const PyMethodDef kGetProtocol = {"get_protocol", transport_get_protocol, METH_NOARGS,
                                         "get_protocol($self)\n--\n\nWho is told of what happens."};
inline const PyMethodDef kGetWriteBufferSize = {
    "get_write_buffer_size", transport_get_write_buffer_size, METH_NOARGS,
    "get_write_buffer_size($self)\n--\n\nBytes that are queued."};
inline const PyMethodDef kGetWriteBufferLimits = {
    "get_write_buffer_limits", transport_get_write_buffer_limits, METH_NOARGS,
    "get_write_buffer_limits($self)\n--\n\n(low, high)"};
inline const PyMethodDef kSetWriteBufferLimits = {
    "set_write_buffer_limits", method(transport_set_write_buffer_limits), kFast,
    "set_write_buffer_limits($self, high=None, low=None)\n--\n\nSet the marks of flow control, in "
    "bytes."};
inline const PyMethodDef kStart = {"_start", transport_start, METH_O, nullptr};
inline const PyMethodDef kCallConnectionLost = {"_call_connection_lost",
                                                transport_call_connection_lost, METH_O, nullptr};

}  // namespace penstock::py
