#include "http1/scanner.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <random>
#include <string>

#include "http1/byte_class.h"

namespace penstock::http1 {
namespace {

constexpr Scanner::Scan Scanner::*kScans[] = {&Scanner::token, &Scanner::target, &Scanner::value};

// Two pages with none before and none behind: what is read outside of them is a fault.
class Pages {
public:
    Pages() {
        char* all = static_cast<char*>(
            mmap(nullptr, 4 * page_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
        start_ = all + page_;
        mprotect(start_, 2 * page_, PROT_READ | PROT_WRITE);
    }
    ~Pages() { munmap(start_ - page_, 4 * page_); }
    Pages(const Pages&) = delete;
    Pages& operator=(const Pages&) = delete;

    char* start() const noexcept { return start_; }
    char* end() const noexcept { return start_ + 2 * page_; }

private:
    std::size_t page_ = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
    char* start_;
};

void expect_alike(const char* at, const char* end) {
    for (auto scan : kScans) {
        const char* expected = (scanners()[0].*scan)(at, end);
        for (const Scanner& each : scanners().subspan(1))
            ASSERT_EQ((each.*scan)(at, end) - at, expected - at)
                << each.name << ", " << ::testing::PrintToString(std::string(at, end));
    }
}

TEST(Scanner, TheFirstIsTheTable) {
    std::string bytes(1, 0);
    for (int byte = 0; byte < 256; ++byte) {
        bytes[0] = static_cast<char>(byte);
        const Scanner& scalar = scanners()[0];
        const char* at = bytes.data();
        EXPECT_EQ(scalar.token(at, at + 1) == at + 1, is(ByteClass::kToken, bytes[0])) << byte;
        EXPECT_EQ(scalar.target(at, at + 1) == at + 1, is(ByteClass::kTarget, bytes[0])) << byte;
        EXPECT_EQ(scalar.value(at, at + 1) == at + 1, is(ByteClass::kValue, bytes[0])) << byte;
    }
}

TEST(Scanner, ClassesAreThoseOfTheRfc) {
    std::string tokens, others;
    for (int byte = 0; byte < 256; ++byte)
        (is(ByteClass::kToken, static_cast<char>(byte)) ? tokens : others) +=
            static_cast<char>(byte);
    EXPECT_EQ(tokens,
              "!#$%&'*+-.0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ^_`abcdefghijklmnopqrstuvwxyz|~");
    for (char byte : {'\0', '\x01', '\n', '\r', '\x1F', '\x7F'})
        EXPECT_FALSE(is(ByteClass::kValue, byte) || is(ByteClass::kTarget, byte));
    for (char byte : {'\t', ' ', '\x80', '\xFF'}) {
        EXPECT_TRUE(is(ByteClass::kValue, byte));
        EXPECT_FALSE(is(ByteClass::kTarget, byte));
    }
    EXPECT_FALSE(is(ByteClass::kTarget, '#'));
}

TEST(Scanner, EachByteAtEachPlaceBetweenTwoPagesThatAreNotThere) {
    Pages pages;
    for (std::size_t size = 0; size <= 70; ++size) {
        for (char* at : {pages.start(), pages.end() - size}) {
            std::fill_n(at, size, 'a');
            expect_alike(at, at + size);
            for (std::size_t place = 0; place < size; ++place) {
                for (int byte = 0; byte < 256; ++byte) {
                    at[place] = static_cast<char>(byte);
                    expect_alike(at, at + size);
                }
                at[place] = 'a';
            }
        }
    }
}

TEST(Scanner, RandomBytes) {
    std::mt19937 random(1);
    // Mostly of all classes, or one run would seldom be longer than a vector.
    for (int i = 0; i < 20000; ++i) {
        std::string text(random() % 200, 'a');
        unsigned often = 1 + random() % 64;
        for (char& byte : text)
            byte =
                random() % often == 0 ? static_cast<char>(random()) : "abcXYZ019-_."[random() % 12];
        expect_alike(text.data(), text.data() + text.size());
    }
}

TEST(Scanner, TheWidestIsUsed) { EXPECT_STREQ(scanner().name, scanners().back().name); }

}  // namespace
}  // namespace penstock::http1
