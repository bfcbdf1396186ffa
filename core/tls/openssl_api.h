// The functions of OpenSSL that the engine calls, as pointers into whichever copy of the library
// the SSL objects come from. Nothing here is linked: a process may hold several copies, and an
// object of one must never meet the functions of another.
//
// Every function exists since OpenSSL 1.1.1, with this signature.
#pragma once

#include <cstddef>

namespace penstock::tls {

struct OpenSslApi {
    struct Ssl;        // SSL
    struct Bio;        // BIO
    struct BioMethod;  // BIO_METHOD

    unsigned long (*OpenSSL_version_num)();
    unsigned long (*ERR_peek_error)();
    void (*ERR_clear_error)();

    void* (*SSL_get_ex_data)(const Ssl*, int);
    const void* (*SSL_get_ssl_method)(const Ssl*);  // of the copy that made the object
    void (*SSL_set_bio)(Ssl*, Bio*, Bio*);
    void (*SSL_set_read_ahead)(Ssl*, int);
    int (*SSL_read_ex)(Ssl*, void*, std::size_t, std::size_t*);
    int (*SSL_write_ex)(Ssl*, const void*, std::size_t, std::size_t*);
    int (*SSL_has_pending)(const Ssl*);
    int (*SSL_get_error)(const Ssl*, int);
    int (*SSL_get_shutdown)(const Ssl*);

    int (*BIO_get_new_index)();
    BioMethod* (*BIO_meth_new)(int, const char*);
    int (*BIO_meth_set_read_ex)(BioMethod*, int (*)(Bio*, char*, std::size_t, std::size_t*));
    int (*BIO_meth_set_write_ex)(BioMethod*, int (*)(Bio*, const char*, std::size_t, std::size_t*));
    int (*BIO_meth_set_ctrl)(BioMethod*, long (*)(Bio*, int, long, void*));
    Bio* (*BIO_new)(const BioMethod*);
    void (*BIO_set_init)(Bio*, int);
    void (*BIO_set_data)(Bio*, void*);
    void* (*BIO_get_data)(Bio*);
    void (*BIO_set_flags)(Bio*, int);

    // Looks every function up with `find(context, name)`; the name of the first that is missing,
    // or nullptr.
    const char* load(void* (*find)(void* context, const char* name), void* context) noexcept;
};

// Constants of <openssl/ssl.h> and <openssl/bio.h>, the same in every version.
namespace openssl {
constexpr int kErrorWantRead = 2, kErrorWantWrite = 3, kErrorZeroReturn = 6;
constexpr int kReceivedShutdown = 2;
constexpr int kBioSourceSink = 0x0400;
constexpr int kBioShouldRetry = 0x08, kBioRetryRead = 0x01, kBioRetryFlags = 0x0f;
constexpr int kBioControlFlush = 11;
}  // namespace openssl

}  // namespace penstock::tls
