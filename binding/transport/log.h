// asyncio's logger, for what asyncio logs.
#pragma once

#include "py/python.h"
#include "py/ref.h"

namespace penstock::py {

// asyncio.log.logger.<level>(*args, **keywords). An exception is left pending where logging raises.
inline bool log_call(const char* level, PyObject* args, PyObject* keywords) noexcept {
    Ref<> log = Ref<>::steal(PyImport_ImportModule("asyncio.log"));
    Ref<> logger = Ref<>::steal(log ? PyObject_GetAttrString(log.get(), "logger") : nullptr);
    Ref<> function = Ref<>::steal(logger ? PyObject_GetAttrString(logger.get(), level) : nullptr);
    Ref<> done =
        Ref<>::steal(function && args ? PyObject_Call(function.get(), args, keywords) : nullptr);
    return static_cast<bool>(done);
}

// A line for debug mode: where logging raises, that is reported and contained.
template <class... Args>
void log_debug(const char* format, Args*... args) noexcept {
    Ref<> text = Ref<>::steal(PyUnicode_FromString(format));
    Ref<> tuple =
        Ref<>::steal(text ? PyTuple_Pack(1 + sizeof...(args), text.get(), args...) : nullptr);
    if (!log_call("debug", tuple.get(), nullptr)) PyErr_WriteUnraisable(nullptr);
}

}  // namespace penstock::py
