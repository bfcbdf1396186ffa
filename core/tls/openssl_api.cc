#include "tls/openssl_api.h"

#include <type_traits>

namespace penstock::tls {

const char* OpenSslApi::load(void* (*find)(void* context, const char* name),
                             void* context) noexcept {
    auto set = [&](auto& function, const char* name) {
        function =
            reinterpret_cast<std::remove_reference_t<decltype(function)>>(find(context, name));
        return function != nullptr;
    };
#define FIND(name) \
    if (!set(name, #name)) return #name
    FIND(OpenSSL_version_num);
    FIND(ERR_peek_error);
    FIND(ERR_clear_error);
    FIND(SSL_get_ex_data);
    FIND(SSL_get_ssl_method);
    FIND(SSL_set_bio);
    FIND(SSL_set_read_ahead);
    FIND(SSL_read_ex);
    FIND(SSL_write_ex);
    FIND(SSL_has_pending);
    FIND(SSL_get_error);
    FIND(SSL_get_shutdown);
    FIND(BIO_get_new_index);
    FIND(BIO_meth_new);
    FIND(BIO_meth_set_read_ex);
    FIND(BIO_meth_set_write_ex);
    FIND(BIO_meth_set_ctrl);
    FIND(BIO_new);
    FIND(BIO_set_init);
    FIND(BIO_set_data);
    FIND(BIO_get_data);
    FIND(BIO_set_flags);
#undef FIND
    return nullptr;
}

}  // namespace penstock::tls
