/* The program that lighttpd starts for each request. */
#include <unistd.h>

int main(void) {
    static const char answer[] = "Status: 200\r\nContent-Length: 5\r\n\r\nhello";
    return write(1, answer, sizeof answer - 1) != sizeof answer - 1;
}
