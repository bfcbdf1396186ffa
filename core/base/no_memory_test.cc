#include "base/testing/no_memory.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <memory>
#include <new>
#include <vector>

namespace {

constexpr std::size_t kUnlimited = ~std::size_t{0};
thread_local std::size_t allowed_now = kUnlimited;
thread_local std::size_t refused_now = 0;

void* allocate(std::size_t size) noexcept {
    if (allowed_now == 0) {
        ++refused_now;
        return nullptr;
    }
    if (allowed_now != kUnlimited) --allowed_now;
    return std::malloc(size != 0 ? size : 1);
}

void* allocate_or_throw(std::size_t size) {
    void* memory = allocate(size);
    if (memory == nullptr) throw std::bad_alloc();
    return memory;
}

}  // namespace

void* operator new(std::size_t size) { return allocate_or_throw(size); }
void* operator new[](std::size_t size) { return allocate_or_throw(size); }
void* operator new(std::size_t size, const std::nothrow_t&) noexcept { return allocate(size); }
void* operator new[](std::size_t size, const std::nothrow_t&) noexcept { return allocate(size); }
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete(void* memory, const std::nothrow_t&) noexcept { std::free(memory); }
void operator delete[](void* memory, const std::nothrow_t&) noexcept { std::free(memory); }

namespace penstock::testing {

NoMemory::NoMemory(std::size_t allowed) noexcept {
    allowed_now = allowed;
    refused_now = 0;
}
NoMemory::~NoMemory() { allowed_now = kUnlimited; }
std::size_t NoMemory::refused() const noexcept { return refused_now; }

namespace {

TEST(NoMemory, RefusesFromThereOn) {
    bool has_thrown = false;
    std::unique_ptr<int> first, second;
    std::size_t refused;
    {
        NoMemory no_memory(1);
        first.reset(new (std::nothrow) int(1));
        second.reset(new (std::nothrow) int(2));
        try {
            std::vector<int> numbers(100);
        } catch (const std::bad_alloc&) {
            has_thrown = true;
        }
        refused = no_memory.refused();
    }
    EXPECT_TRUE(first != nullptr && second == nullptr && has_thrown);
    EXPECT_EQ(refused, 2u);
}

}  // namespace
}  // namespace penstock::testing
