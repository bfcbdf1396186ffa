#include "http1/request_parser.h"

#include <gtest/gtest.h>

#include "http1/testing/splits.h"

namespace penstock::http1 {
namespace {

using testing::expect_told;

TEST(RequestParser, Hello) {
    expect_told("GET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET / HTTP/1.1 [Host: a] keep\nend\n");
    expect_told(
        "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhelloGET / HTTP/1.0\r\n\r\n",
        "POST /x HTTP/1.1 [Host: a][Content-Length: 5] length=5 keep\ndata hello\nend\nGET / "
        "HTTP/1.0  close\nend\n");
    expect_told(
        "POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: "
        "chunked\r\n\r\n5;a=\"b\\\"\"\r\nhello\r\n2\r\n!!\r\n0\r\nX: y \r\n\r\n",
        "POST /x HTTP/1.1 [Host: a][Transfer-Encoding: chunked] chunked keep\ndata "
        "hello!!\ntrailers [X: y]\nend\n");
}

}  // namespace
}  // namespace penstock::http1
