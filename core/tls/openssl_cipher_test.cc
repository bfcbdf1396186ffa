#include "tls/openssl_cipher.h"

#include <dlfcn.h>
#include <gtest/gtest.h>

#include <array>
#include <memory>
#include <string>
#include <string_view>

namespace penstock::tls {
namespace {

std::span<const std::byte> bytes(std::string_view text) {
    return std::as_bytes(std::span(text.data(), text.size()));
}

// Whichever OpenSSL the machine has, and what its handshakes need besides the engine's functions.
class Library {
public:
    Library() {
        for (const char* name : {"libssl.so.3", "libssl.so.1.1"})
            if (handle_ == nullptr) handle_ = ::dlopen(name, RTLD_LAZY);
        is_there = handle_ != nullptr && openssl.api.load(find, handle_) == nullptr &&
                   openssl.make_method() == nullptr;
    }

    template <class Result, class... Args>
    Result call(const char* name, Args... args) const {
        auto function = reinterpret_cast<Result (*)(Args...)>(::dlsym(handle_, name));
        return function(args...);
    }

    OpenSsl openssl;
    bool is_there = false;

private:
    static void* find(void* handle, const char* name) { return ::dlsym(handle, name); }
    void* handle_ = nullptr;
};

// One end, of TLS 1.2 without certificates.
class End {
public:
    End(const Library& library, BufferPool& pool, bool is_server)
        : library_(library), cipher(std::make_unique<OpenSslCipher>(library.openssl, pool)) {
        context_ = library.call<void*>("SSL_CTX_new", library.call<void*>("TLS_method"));
        library.call<long>("SSL_CTX_ctrl", context_, 124, 0x0303L, static_cast<void*>(nullptr));
        library.call<int>("SSL_CTX_set_cipher_list", context_, "ADH-AES128-GCM-SHA256:@SECLEVEL=0");
        ssl = library.call<OpenSslApi::Ssl*>("SSL_new", context_);
        library.call<void>(is_server ? "SSL_set_accept_state" : "SSL_set_connect_state", ssl);
        if (is_server) library.call<long>("SSL_ctrl", ssl, 118, 1L, static_cast<void*>(nullptr));
        EXPECT_TRUE(cipher->attach(ssl));
    }
    ~End() {
        cipher.reset();
        library_.call<void>("SSL_free", ssl);
        library_.call<void>("SSL_CTX_free", context_);
    }

    int handshake() { return library_.call<int>("SSL_do_handshake", ssl); }
    int shut_down() { return library_.call<int>("SSL_shutdown", ssl); }
    std::string read(std::size_t most = 100) {
        std::string text(most, '\0');
        Transfer read = cipher->read(std::as_writable_bytes(std::span(text.data(), most)));
        outcome = read.outcome;
        return text.substr(0, read.count);
    }

    OpenSslApi::Ssl* ssl;
    Outcome outcome{};

private:
    const Library& library_;
    void* context_;

public:
    std::unique_ptr<OpenSslCipher> cipher;
};

class OpenSslCipherTest : public testing::Test {
protected:
    void SetUp() override {
        if (!library.is_there) GTEST_SKIP() << "this machine has no OpenSSL to load";
        client = std::make_unique<End>(library, pool, false);
        server = std::make_unique<End>(library, pool, true);
        for (int i = 0; i < 4; ++i) {
            client->handshake();
            carry(*client, *server);
            server->handshake();
            carry(*server, *client);
        }
        ASSERT_EQ(client->handshake(), 1);
    }
    void carry(End& from, End& to) {
        Buffer output = from.cipher->take_output();
        ASSERT_TRUE(to.cipher->feed(output.bytes()));
        ASSERT_TRUE(to.cipher->keep());
    }

    // Once a process, as the module does it: OpenSSL's objects may outlive whoever made them, so a
    // method is never freed.
    static inline Library library;
    BufferPool pool;
    std::unique_ptr<End> client, server;
};

TEST_F(OpenSslCipherTest, CarriesBytes) {
    EXPECT_FALSE(client->cipher->has_output());
    EXPECT_EQ(client->cipher->write(bytes("hello")).count, 5u);
    EXPECT_TRUE(client->cipher->has_output());
    carry(*client, *server);
    EXPECT_TRUE(server->cipher->has_input());
    EXPECT_EQ(server->read(), "hello");
    EXPECT_FALSE(server->cipher->has_input());
    server->read();
    EXPECT_EQ(server->outcome, Outcome::kWantsMore);
}

TEST_F(OpenSslCipherTest, ReadsFromTheMemoryThatItIsFed) {
    client->cipher->write(bytes("first"));
    client->cipher->write(bytes("second"));
    Buffer output = client->cipher->take_output();
    ASSERT_TRUE(server->cipher->feed(output.bytes()));
    EXPECT_EQ(server->cipher->buffered(), output.size());
    EXPECT_EQ(server->read(), "first");
    // The rest is kept when the memory is needed for something else.
    ASSERT_TRUE(server->cipher->keep());
    output.clear();
    ASSERT_TRUE(output.append(bytes(std::string(100, 'Z'))));
    EXPECT_EQ(server->read(), "second");
    EXPECT_EQ(server->cipher->buffered(), 0u);
}

TEST_F(OpenSslCipherTest, TakesCiphertextByteByByte) {
    client->cipher->write(bytes("slowly"));
    Buffer output = client->cipher->take_output();
    std::string received;
    for (std::byte byte : output.bytes()) {
        std::array<std::byte, 1> one{byte};
        ASSERT_TRUE(server->cipher->feed(one));
        received += server->read();
        ASSERT_TRUE(server->cipher->keep());
    }
    EXPECT_EQ(received, "slowly");
}

TEST_F(OpenSslCipherTest, TakesARecordACall) {
    client->cipher->write(bytes("first"));
    std::size_t first = client->cipher->take_output().size();
    client->cipher->write(bytes("again"));
    client->cipher->write(bytes("second"));
    Buffer output = client->cipher->take_output();
    ASSERT_TRUE(server->cipher->feed(output.bytes()));
    EXPECT_EQ(library.call<int>("SSL_get_read_ahead", server->ssl), 1);
    std::array<std::byte, 1000> memory;
    auto take = [&](std::size_t most) {
        void* bio = library.call<void*>("SSL_get_rbio", server->ssl);
        return library.call<int>("BIO_read", bio, memory.data(), static_cast<int>(most));
    };
    EXPECT_EQ(take(memory.size()), first);
    // In pieces, and then what has come of it.
    std::size_t second = output.size() - first;
    EXPECT_EQ(take(3), 3);
    EXPECT_EQ(take(4), 4);
    EXPECT_EQ(take(memory.size()), second - 7);
    EXPECT_EQ(take(memory.size()), 0);
    ASSERT_TRUE(server->cipher->feed(output.bytes().first(2)));
    EXPECT_EQ(take(memory.size()), 2);
    ASSERT_TRUE(server->cipher->feed(output.bytes().subspan(2)));
    EXPECT_EQ(take(memory.size()), first - 2);
}

TEST_F(OpenSslCipherTest, ErrorsOfOthersAreNotItsOwn) {
    void* context = library.call<void*>("SSL_get_SSL_CTX", client->ssl);
    EXPECT_EQ(library.call<int>("SSL_CTX_use_certificate_chain_file", context, "/does/not/exist"),
              0);
    ASSERT_NE(library.openssl.api.ERR_peek_error(), 0u);
    client->read();
    EXPECT_EQ(client->outcome, Outcome::kWantsMore);
}

TEST_F(OpenSslCipherTest, TellsTheEndFromAFailure) {
    client->shut_down();
    carry(*client, *server);
    server->read();
    EXPECT_EQ(server->outcome, Outcome::kClosed);

    ASSERT_TRUE(client->cipher->feed(bytes("this is no record of TLS")));
    client->read();
    EXPECT_EQ(client->outcome, Outcome::kFailed);
}

TEST_F(OpenSslCipherTest, AnSslObjectMayOutliveIt) {
    client->cipher.reset();
    std::size_t count = 0;
    EXPECT_EQ(library.openssl.api.SSL_write_ex(client->ssl, "x", 1, &count), 1);
    EXPECT_EQ(library.openssl.api.SSL_read_ex(client->ssl, &count, 1, &count), 0);
}

TEST(BufferPoolTest, KeepsTheLargestOfReasonableSize) {
    BufferPool pool;
    Buffer small = pool.take();
    EXPECT_EQ(small.capacity(), 0u);
    ASSERT_TRUE(small.append(bytes("x")));
    std::size_t capacity = small.capacity();
    pool.give(std::move(small));
    Buffer again = pool.take();
    EXPECT_TRUE(again.empty());
    EXPECT_EQ(again.capacity(), capacity);
    ASSERT_TRUE(again.append(bytes(std::string(1 << 20, 'x'))));
    pool.give(std::move(again));
    EXPECT_EQ(pool.take().capacity(), 0u);
}

}  // namespace
}  // namespace penstock::tls
