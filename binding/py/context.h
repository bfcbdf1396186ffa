// Running callbacks and steps in their contextvars context without a Context object each.
//
// A Context is an immutable mapping (its "vars") behind an object. Every Handle and every Task
// needs a snapshot, hardly any needs the object. So they keep the bare vars, and the loop enters
// one scratch Context for as long as it runs and switches what is in it. Whoever gets hold of
// the scratch object itself (a Token of ContextVar.set(), a greenlet) is noticed by its
// reference count when the callback returns: the object then becomes the task's own, and the
// loop makes itself a new one.
//
// The layout of Context has been the same since 3.7; probe() in probe.cc verifies it, and where
// it does not hold every Handle and Task has a Context object, as in asyncio.
#pragma once

#include <utility>

#include "py/python.h"

namespace penstock::py {

struct ContextObject {
    PyObject_HEAD ContextObject* previous;
    PyObject* vars;
    PyObject* weakrefs;
    int entered;
};

inline bool is_context(PyObject* candidate) noexcept { return PyContext_CheckExact(candidate); }

// Enters a Context object as PyContext_Enter() does, false where it is entered already. Inline
// below 3.14, where nobody can watch contexts; it is half of what such a step costs.
inline bool enter_context(PyThreadState* thread, PyObject* context, bool is_known) noexcept {
    auto* entered = reinterpret_cast<ContextObject*>(context);
    if (kHas314 || !is_known || entered->entered) return PyContext_Enter(context) == 0;
    entered->previous = reinterpret_cast<ContextObject*>(thread->context);
    entered->entered = 1;
    thread->context = Py_NewRef(context);
    ++thread->context_ver;
    return true;
}

inline void exit_context(PyThreadState* thread, PyObject* context, bool is_known) noexcept {
    auto* entered = reinterpret_cast<ContextObject*>(context);
    if (kHas314 || !is_known || thread->context != context || !entered->entered) {
        PyContext_Exit(context);
        return;
    }
    thread->context = object(std::exchange(entered->previous, nullptr));
    entered->entered = 0;
    ++thread->context_ver;
    Py_DECREF(context);
}

class Scratch {
public:
    // What a new Handle or Task that is made in `thread` remembers: new references. With `bare`
    // only the vars.
    static PyObject* snapshot(PyThreadState* thread, bool bare, PyObject* empty_vars) noexcept {
        if (!bare) [[unlikely]]
            return PyContext_CopyCurrent();
        auto* current = reinterpret_cast<ContextObject*>(thread->context);
        return Py_NewRef(current != nullptr ? current->vars : empty_vars);
    }

    // A Context object with the given vars.
    static PyObject* context_with(PyObject* vars) noexcept {
        PyObject* made = PyContext_New();
        if (made == nullptr) return nullptr;
        auto* context = reinterpret_cast<ContextObject*>(made);
        Py_SETREF(context->vars, Py_NewRef(vars));
        return made;
    }

    // Enters a fresh Context on this thread for the time of a run.
    bool enter(PyThreadState* thread) noexcept {
        PyObject* made = PyContext_CopyCurrent();
        if (made == nullptr) return false;
        if (PyContext_Enter(made) < 0) {
            Py_DECREF(made);
            return false;
        }
        thread_ = thread;
        context_ = reinterpret_cast<ContextObject*>(made);
        return true;
    }
    void leave() noexcept {
        PyContext_Exit(object(context_));
        Py_CLEAR(context_);
    }

    void switch_to(PyObject* vars) noexcept {
        if (context_->vars == vars) return;
        Py_INCREF(vars);
        PyObject* old = context_->vars;
        context_->vars = vars;
        ++thread_->context_ver;  // ContextVar caches by (thread, version)
        Py_DECREF(old);
    }

    PyObject* context() const noexcept { return object(context_); }  // borrowed
    PyObject* vars() const noexcept { return context_->vars; }       // borrowed

    // Two references are ours: this object's and the thread's.
    bool has_escaped() const noexcept { return Py_REFCNT(object(context_)) != 2; }

    // Puts a new Context in the place of the escaped one, which the caller gets.
    PyObject* replace_escaped() noexcept {
        ContextObject* escaped = context_;
        PyObject* made = context_with(escaped->vars);
        if (made == nullptr) return nullptr;
        context_ = reinterpret_cast<ContextObject*>(made);
        context_->entered = 1;
        context_->previous = escaped->previous;
        escaped->previous = nullptr;
        escaped->entered = 0;
        Py_SETREF(thread_->context, Py_NewRef(made));
        ++thread_->context_ver;
        return object(escaped);
    }

private:
    PyThreadState* thread_ = nullptr;
    ContextObject* context_ = nullptr;
};

}  // namespace penstock::py
