// What an echo server of one thread costs by the ways of io_uring(7), and by epoll(7): CPU of the
// server and its system calls, a message. It is what docs/design/009-io-uring.md decides by.
//
//     uring_echo [ROUNDS [MESSAGES]]
//
// Each server is a process of its own that serves this one's connections until the last of them
// ends. All ways take turns, and the table has the medians of the rounds. What came in is copied
// once where a loop for Python would have to: out of the memory that small reads share, and out of
// the kernel's ring of buffers.
#include <fcntl.h>
#include <liburing.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <deque>
#include <memory>
#include <vector>

namespace {

constexpr std::size_t kKiB = 1024;
constexpr std::size_t kMostAtOnce = 256 * kKiB;
constexpr std::size_t kLarge = 16 * kKiB;  // what is read without a copy

int checked(int result, const char* call) {
    if (result >= 0) return result;
    std::perror(call);
    std::exit(1);
}

std::uint64_t cpu_time() {
    timespec used;
    ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    return static_cast<std::uint64_t>(used.tv_sec) * 1'000'000'000 +
           static_cast<std::uint64_t>(used.tv_nsec);
}

void set_nodelay(int fd) {
    int on = 1;
    ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

class Server {
public:
    explicit Server(int listener) : listener_(listener) {}
    virtual ~Server() = default;
    Server(const Server&) = delete;
    Server& operator=(const Server&) = delete;
    virtual void turn() = 0;
    bool is_over() const { return has_begun_ && connections_ == 0; }
    std::uint64_t calls() const { return calls_; }

protected:
    void opened(int fd) {
        set_nodelay(fd);
        has_begun_ = true;
        ++connections_;
    }
    void closed(int fd) {
        ++calls_;
        ::close(fd);
        --connections_;
    }
    int accept() {
        ++calls_;
        return ::accept4(listener_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    }
    void send_all(int fd, const char* data, std::size_t size) {
        while (size > 0) {
            ++calls_;
            ssize_t sent = ::send(fd, data, size, MSG_NOSIGNAL | MSG_DONTWAIT);
            if (sent > 0) {
                data += sent;
                size -= static_cast<std::size_t>(sent);
            } else if (errno == EAGAIN) {
                pollfd full{fd, POLLOUT, 0};
                ++calls_;
                ::poll(&full, 1, -1);
            } else {
                return;
            }
        }
    }
    // False at the end.
    bool receive_and_send(int fd) {
        ++calls_;
        ssize_t received = ::recv(fd, shared_.data(), shared_.size(), 0);
        if (received < 0 && errno == EAGAIN) return true;
        if (received <= 0) return false;
        auto size = static_cast<std::size_t>(received);
        const char* data = shared_.data();
        if (size < kLarge) data = static_cast<char*>(std::memcpy(block_.data(), data, size));
        send_all(fd, data, size);
        return true;
    }

    int listener_;
    std::uint64_t calls_ = 0;
    std::vector<char> shared_ = std::vector<char>(kMostAtOnce);
    std::vector<char> block_ = std::vector<char>(kMostAtOnce);

private:
    bool has_begun_ = false;
    int connections_ = 0;
};

class EpollServer final : public Server {
public:
    explicit EpollServer(int listener) : Server(listener) { watch(listener); }

    void turn() override {
        std::array<epoll_event, 256> events;
        ++calls_;
        int count = ::epoll_wait(epoll_, events.data(), events.size(), -1);
        for (int i = 0; i < count; ++i) {
            int fd = events[static_cast<std::size_t>(i)].data.fd;
            if (fd == listener_) {
                int accepted = accept();
                if (accepted < 0) continue;
                opened(accepted);
                watch(accepted);
            } else if (!receive_and_send(fd)) {
                ++calls_;
                ::epoll_ctl(epoll_, EPOLL_CTL_DEL, fd, nullptr);
                closed(fd);
            }
        }
    }

private:
    void watch(int fd) {
        epoll_event event{EPOLLIN, {.fd = fd}};
        ++calls_;
        checked(::epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event), "epoll_ctl");
    }

    int epoll_ = checked(::epoll_create1(EPOLL_CLOEXEC), "epoll_create1");
};

// What the servers over a ring share. A request's user_data is its fd and what it does.
class RingServer : public Server {
public:
    explicit RingServer(int listener) : Server(listener) {
        io_uring_params params{};
        params.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
                       IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_CQSIZE;
        params.cq_entries = 4096;
        errno = -::io_uring_queue_init_params(1024, &ring_, &params);
        checked(errno == 0 ? 0 : -1, "io_uring_setup");
    }
    ~RingServer() override { ::io_uring_queue_exit(&ring_); }

    void turn() override {
        ++calls_;
        ::io_uring_submit_and_wait(&ring_, 1);
        unsigned head, taken = 0;
        io_uring_cqe* completion;
        io_uring_for_each_cqe(&ring_, head, completion) {
            take(*completion);
            ++taken;
        }
        ::io_uring_cq_advance(&ring_, taken);
        end_turn();
    }

protected:
    enum What : std::uint64_t { kAccept, kPoll, kReceive, kSend };

    virtual void take(const io_uring_cqe& completion) = 0;
    virtual void end_turn() {}

    io_uring_sqe* request(int fd, What what) {
        if (::io_uring_sq_space_left(&ring_) == 0) {
            ++calls_;
            ::io_uring_submit(&ring_);
        }
        io_uring_sqe* entry = ::io_uring_get_sqe(&ring_);
        entry->user_data = static_cast<std::uint64_t>(fd) << 8 | what;
        return entry;
    }
    // Preparing clears what request() has set.
    template <class Prepare>
    io_uring_sqe* prepare(int fd, What what, Prepare prepare) {
        io_uring_sqe* entry = request(fd, what);
        std::uint64_t data = entry->user_data;
        prepare(entry);
        entry->user_data = data;
        return entry;
    }
    static int fd_of(const io_uring_cqe& completion) {
        return static_cast<int>(completion.user_data >> 8);
    }
    static What what_of(const io_uring_cqe& completion) {
        return static_cast<What>(completion.user_data & 0xff);
    }

    io_uring ring_{};
};

// One-shot, made anew by each wait, as UringBackend does.
class PollServer final : public RingServer {
public:
    explicit PollServer(int listener) : RingServer(listener) { watch(listener); }

private:
    void watch(int fd) {
        prepare(fd, kPoll, [&](auto* entry) { ::io_uring_prep_poll_add(entry, fd, POLLIN); });
    }
    void take(const io_uring_cqe& completion) override {
        int fd = fd_of(completion);
        if (fd == listener_) {
            int accepted = accept();
            if (accepted >= 0) {
                opened(accepted);
                watch(accepted);
            }
        } else if (!receive_and_send(fd)) {
            return closed(fd);
        }
        watch(fd);
    }
};

// Multishot accept, multishot receive out of a ring of buffers.
class MultishotServer : public RingServer {
public:
    MultishotServer(int listener, std::size_t buffer_size)
        : RingServer(listener), size_(buffer_size), count_(kBytesOfBuffers / buffer_size) {
        memory_ = map(size_ * count_);
        buffers_ = static_cast<io_uring_buf_ring*>(map(count_ * sizeof(io_uring_buf)));
        ::io_uring_buf_ring_init(buffers_);
        io_uring_buf_reg registration{};
        registration.ring_addr = reinterpret_cast<std::uint64_t>(buffers_);
        registration.ring_entries = static_cast<std::uint32_t>(count_);
        errno = -::io_uring_register_buf_ring(&ring_, &registration, 0);
        checked(errno == 0 ? 0 : -1, "io_uring_register");
        for (std::size_t i = 0; i < count_; ++i) give_back(static_cast<unsigned short>(i));
        prepare(listener, kAccept, [&](auto* entry) {
            ::io_uring_prep_multishot_accept(entry, listener, nullptr, nullptr,
                                             SOCK_NONBLOCK | SOCK_CLOEXEC);
        });
    }

protected:
    virtual void received(int fd, unsigned short buffer, std::size_t count) {
        if (fd != joined_fd_ || joined_ + count > block_.size()) flush();
        joined_fd_ = fd;
        std::memcpy(block_.data() + joined_, at(buffer), count);
        joined_ += count;
        give_back(buffer);
    }
    virtual void ended(int fd) {
        flush();
        closed(fd);
    }
    void take(const io_uring_cqe& completion) override {
        int fd = fd_of(completion);
        if (what_of(completion) == kAccept) {
            opened(completion.res);
            receive(completion.res);
        } else if (completion.res > 0) {
            auto buffer = static_cast<unsigned short>(completion.flags >> IORING_CQE_BUFFER_SHIFT);
            received(fd, buffer, static_cast<std::size_t>(completion.res));
            if (!(completion.flags & IORING_CQE_F_MORE)) receive(fd);
        } else if (completion.res == -ENOBUFS) {
            receive(fd);
        } else {
            ended(fd);
        }
    }
    void end_turn() override { flush(); }

    void receive(int fd) {
        io_uring_sqe* entry = prepare(fd, kReceive, [&](auto* each) {
            ::io_uring_prep_recv_multishot(each, fd, nullptr, 0, 0);
        });
        entry->flags |= IOSQE_BUFFER_SELECT;
        entry->buf_group = 0;
    }
    char* at(unsigned short buffer) { return static_cast<char*>(memory_) + buffer * size_; }
    void give_back(unsigned short buffer) {
        ::io_uring_buf_ring_add(buffers_, at(buffer), static_cast<unsigned>(size_), buffer,
                                ::io_uring_buf_ring_mask(static_cast<unsigned>(count_)), 0);
        ::io_uring_buf_ring_advance(buffers_, 1);
    }

private:
    static constexpr std::size_t kBytesOfBuffers = 4096 * kKiB;

    static void* map(std::size_t size) {
        return ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    }
    // What one connection has brought in successive buffers leaves at once.
    void flush() {
        if (joined_ > 0) send_all(joined_fd_, block_.data(), joined_);
        joined_ = 0;
    }

    std::size_t size_, count_;
    void* memory_;
    io_uring_buf_ring* buffers_;
    int joined_fd_ = -1;
    std::size_t joined_ = 0;
};

// What came in leaves by requests, from the very buffer: those of a turn linked to one another.
class SendingServer final : public MultishotServer {
public:
    SendingServer(int listener, std::size_t buffer_size, bool is_zero_copy)
        : MultishotServer(listener, buffer_size), is_zero_copy_(is_zero_copy) {}

private:
    struct Piece {
        unsigned short buffer;
        std::size_t size;
    };
    struct Connection {
        std::deque<Piece> pieces;  // the first `sending` are the kernel's
        std::size_t sending = 0;
        std::size_t sent = 0;  // of them
        std::deque<unsigned short> unreleased;
        bool has_ended = false;
    };

    void received(int fd, unsigned short buffer, std::size_t count) override {
        Connection& connection = of(fd);
        connection.pieces.push_back({buffer, count});
        if (connection.sending == 0) touched_.push_back(fd);
    }
    void ended(int fd) override {
        of(fd).has_ended = true;
        end_if_done(fd);
    }
    void end_if_done(int fd) {
        Connection& connection = of(fd);
        if (!connection.has_ended || !connection.pieces.empty() || !connection.unreleased.empty())
            return;
        connection.has_ended = false;
        closed(fd);
    }
    void take(const io_uring_cqe& completion) override {
        if (what_of(completion) != kSend) return MultishotServer::take(completion);
        int fd = fd_of(completion);
        Connection& connection = of(fd);
        if (completion.flags & IORING_CQE_F_NOTIF) {
            give_back(connection.unreleased.front());
            connection.unreleased.pop_front();
            return end_if_done(fd);
        }
        if (completion.flags & IORING_CQE_F_MORE)
            connection.unreleased.push_back(connection.pieces[connection.sent].buffer);
        else
            give_back(connection.pieces[connection.sent].buffer);
        if (++connection.sent < connection.sending) return;
        for (; connection.sending > 0; --connection.sending) connection.pieces.pop_front();
        connection.sent = 0;
        if (!connection.pieces.empty()) touched_.push_back(fd);
        end_if_done(fd);
    }
    void end_turn() override {
        for (int fd : touched_) {
            Connection& connection = of(fd);
            if (connection.sending > 0) continue;
            for (const Piece& piece : connection.pieces) {
                bool is_last = ++connection.sending == connection.pieces.size();
                io_uring_sqe* entry = prepare(fd, kSend, [&](auto* each) {
                    if (is_zero_copy_)
                        ::io_uring_prep_send_zc(each, fd, at(piece.buffer), piece.size,
                                                MSG_NOSIGNAL | MSG_WAITALL, 0);
                    else
                        ::io_uring_prep_send(each, fd, at(piece.buffer), piece.size,
                                             MSG_NOSIGNAL | MSG_WAITALL);
                });
                if (!is_last) entry->flags |= IOSQE_IO_LINK;
            }
        }
        touched_.clear();
    }
    Connection& of(int fd) {
        auto index = static_cast<std::size_t>(fd);
        if (index >= connections_.size()) connections_.resize(index + 1);
        return connections_[index];
    }

    bool is_zero_copy_;
    std::vector<Connection> connections_;
    std::vector<int> touched_;
};

using Make = std::unique_ptr<Server> (*)(int listener);

struct Way {
    const char* name;
    Make make;
};

constexpr Way kWays[] = {
    {"epoll, `recv`, `send`",
     [](int listener) -> std::unique_ptr<Server> {
         return std::make_unique<EpollServer>(listener);
     }},
    {"poll requests, `recv`, `send`: the backend",
     [](int listener) -> std::unique_ptr<Server> {
         return std::make_unique<PollServer>(listener);
     }},
    {"multishot receive, 4 KiB buffers, `send`",
     [](int listener) -> std::unique_ptr<Server> {
         return std::make_unique<MultishotServer>(listener, 4 * kKiB);
     }},
    {"multishot receive, 64 KiB buffers, `send`",
     [](int listener) -> std::unique_ptr<Server> {
         return std::make_unique<MultishotServer>(listener, 64 * kKiB);
     }},
    {"multishot receive, 64 KiB buffers, linked SEND",
     [](int listener) -> std::unique_ptr<Server> {
         return std::make_unique<SendingServer>(listener, 64 * kKiB, false);
     }},
    {"multishot receive, 64 KiB buffers, linked SEND_ZC",
     [](int listener) -> std::unique_ptr<Server> {
         return std::make_unique<SendingServer>(listener, 64 * kKiB, true);
     }},
};

struct Load {
    const char* name;
    std::size_t size;
    int connections;
    bool reconnects;  // a connection a message
    int share;        // of the messages
};

constexpr Load kLoads[] = {
    {"1 KiB, 1 connection", kKiB, 1, false, 2},
    {"1 KiB, 50 connections", kKiB, 50, false, 1},
    {"64 KiB, 1 connection", 64 * kKiB, 1, false, 8},
    {"64 KiB, 50 connections", 64 * kKiB, 50, false, 8},
    {"1 KiB, a connection each", kKiB, 8, true, 8},
};

struct Cost {
    double cpu, calls;  // µs and calls, a message
};

// The client: each connection has one message on its way.
class Client {
public:
    Client(const sockaddr_in& server, const Load& load)
        : server_(server), load_(load), message_(load.size, 'x') {}

    void exchange(int messages) {
        left_ = messages;
        for (int i = 0; i < load_.connections; ++i) open();
        std::array<epoll_event, 64> events;
        while (open_ > 0) {
            int count = ::epoll_wait(epoll_, events.data(), events.size(), -1);
            for (int i = 0; i < count; ++i) go_on(events[static_cast<std::size_t>(i)].data.fd);
        }
        ::close(epoll_);
    }

private:
    struct Progress {
        std::size_t sent = 0, received = 0;
    };

    void open() {
        int fd = checked(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket");
        // The end of a connection leaves no port behind that waits.
        linger at_once{1, 0};
        if (load_.reconnects) ::setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
        checked(::connect(fd, reinterpret_cast<const sockaddr*>(&server_), sizeof server_),
                "connect");
        checked(::fcntl(fd, F_SETFL, O_NONBLOCK), "fcntl");
        set_nodelay(fd);
        epoll_event event{EPOLLIN | EPOLLOUT | EPOLLET, {.fd = fd}};
        checked(::epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event), "epoll_ctl");
        if (progress_.size() <= static_cast<std::size_t>(fd))
            progress_.resize(static_cast<std::size_t>(fd) + 1);
        progress_[static_cast<std::size_t>(fd)] = {};
        ++open_;
        go_on(fd);
    }

    void go_on(int fd) {
        for (;;) {
            Progress& now = progress_[static_cast<std::size_t>(fd)];
            if (now.sent < load_.size) {
                ssize_t sent = ::send(fd, message_.data() + now.sent, load_.size - now.sent, 0);
                if (sent > 0) now.sent += static_cast<std::size_t>(sent);
            }
            ssize_t received = ::recv(fd, buffer_.data(), buffer_.size(), 0);
            if (received <= 0) return;
            now.received += static_cast<std::size_t>(received);
            if (now.received < load_.size) continue;
            now = {};
            if (--left_ >= load_.connections && !load_.reconnects) continue;
            ::close(fd);
            --open_;
            if (left_ >= load_.connections) open();
            return;
        }
    }

    const sockaddr_in& server_;
    const Load& load_;
    std::vector<char> message_;
    std::vector<char> buffer_ = std::vector<char>(kMostAtOnce);
    std::vector<Progress> progress_;  // by fd
    int epoll_ = checked(::epoll_create1(EPOLL_CLOEXEC), "epoll_create1");
    int left_ = 0, open_ = 0;
};

[[noreturn]] void serve(Make make, int listener, int report) {
    ::alarm(120);
    std::unique_ptr<Server> server = make(listener);
    std::uint64_t begin = cpu_time();
    while (!server->is_over()) server->turn();
    std::uint64_t found[] = {cpu_time() - begin, server->calls()};
    ::_exit(::write(report, found, sizeof found) == sizeof found ? 0 : 1);
}

Cost measure(const Way& way, const Load& load, int messages) {
    int listener = checked(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket");
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    checked(::bind(listener, reinterpret_cast<sockaddr*>(&address), sizeof address), "bind");
    checked(::listen(listener, 128), "listen");
    socklen_t length = sizeof address;
    ::getsockname(listener, reinterpret_cast<sockaddr*>(&address), &length);
    int report[2];
    checked(::pipe2(report, O_CLOEXEC), "pipe2");
    pid_t server = checked(::fork(), "fork");
    if (server == 0) serve(way.make, listener, report[1]);
    ::close(listener);
    ::close(report[1]);
    Client(address, load).exchange(messages);
    std::uint64_t found[2];
    bool is_told = ::read(report[0], found, sizeof found) == sizeof found;
    ::close(report[0]);
    ::waitpid(server, nullptr, 0);
    if (!is_told) {
        std::fprintf(stderr, "%s: the server failed\n", way.name);
        std::exit(1);
    }
    return {static_cast<double>(found[0]) / 1e3 / messages,
            static_cast<double>(found[1]) / messages};
}

double median(std::vector<double> values) {
    std::sort(values.begin(), values.end());
    return values[values.size() / 2];
}

}  // namespace

int main(int count, char** arguments) {
    int rounds = count > 1 ? std::atoi(arguments[1]) : 5;
    int messages = count > 2 ? std::atoi(arguments[2]) : 100'000;
    for (const Load& load : kLoads) {
        std::vector<std::vector<double>> cpu(std::size(kWays)), calls(std::size(kWays)),
            ratios(std::size(kWays));
        for (int round = 0; round < rounds; ++round) {
            for (std::size_t i = 0; i < std::size(kWays); ++i) {
                Cost cost = measure(kWays[i], load, messages / load.share);
                cpu[i].push_back(cost.cpu);
                calls[i].push_back(cost.calls);
                ratios[i].push_back(cost.cpu / cpu[0].back());
            }
        }
        std::printf("| %s | CPU, µs | to epoll's | calls |\n|---|---|---|---|\n", load.name);
        for (std::size_t i = 0; i < std::size(kWays); ++i) {
            auto [least, most] = std::minmax_element(ratios[i].begin(), ratios[i].end());
            std::printf("| %s | %.2f | %.2f (%.2f-%.2f) | %.2f |\n", kWays[i].name, median(cpu[i]),
                        median(ratios[i]), *least, *most, median(calls[i]));
        }
        std::printf("\n");
        std::fflush(stdout);
    }
}
