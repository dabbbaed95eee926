/* The application of the recorded pipelines, a few kilobytes with nothing below it, so that its images fit into the
 * fixture. "/app serve" answers every request with what /version says, "/app migrate" and "/app check" say a line. It
 * prints the secret that it was given, so that the recorded logs show whether that was redacted.
 * cc -Os -static -nostdlib -ffreestanding -fno-stack-protector -fno-builtin app.c -o app
 */

#define LINUX_READ 0
#define LINUX_WRITE 1
#define LINUX_OPEN 2
#define LINUX_CLOSE 3
#define LINUX_SOCKET 41
#define LINUX_ACCEPT 43
#define LINUX_BIND 49
#define LINUX_LISTEN 50
#define LINUX_SETSOCKOPT 54
#define LINUX_EXIT 60

static long call(long number, long a, long b, long c, long d, long e) {
    long answer;
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    __asm__ volatile("syscall"
                     : "=a"(answer)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8)
                     : "rcx", "r11", "memory");
    return answer;
}

static long length(const char *text) {
    long count = 0;
    while (text[count]) count++;
    return count;
}

static int begins(const char *text, const char *with) {
    while (*with)
        if (*text++ != *with++) return 0;
    return 1;
}

static void say(long to, const char *text) { call(LINUX_WRITE, to, (long)text, length(text), 0, 0); }

static void serve(void) {
    static char version[64], request[4096];
    static unsigned char address[16] = {2, 0, 8080 >> 8, 8080 & 255};
    static long second[2] = {1, 0};
    long one = 1, file = call(LINUX_OPEN, (long)"/version", 0, 0, 0, 0);
    call(LINUX_READ, file, (long)version, sizeof version - 1, 0, 0);
    long server = call(LINUX_SOCKET, 2, 1, 0, 0, 0);
    call(LINUX_SETSOCKOPT, server, 1, 2, (long)&one, sizeof(int)); /* SO_REUSEADDR */
    if (call(LINUX_BIND, server, (long)address, sizeof address, 0, 0)) call(LINUX_EXIT, 1, 0, 0, 0, 0);
    call(LINUX_LISTEN, server, 128, 0, 0, 0);
    for (;;) {
        long client = call(LINUX_ACCEPT, server, 0, 0, 0, 0);
        call(LINUX_SETSOCKOPT, client, 1, 20, (long)second, sizeof second); /* SO_RCVTIMEO */
        if (call(LINUX_READ, client, (long)request, sizeof request, 0, 0) > 0) {
            say(client, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n");
            say(client, version);
        }
        call(LINUX_CLOSE, client, 0, 0, 0, 0);
    }
}

void begin(long *stack) {
    char **arguments = (char **)(stack + 1), **environment = arguments + stack[0] + 1;
    for (; *environment; environment++)
        if (begins(*environment, "PASSWORD=")) {
            say(1, *environment);
            say(1, "\n");
        }
    if (stack[0] > 1 && begins(arguments[1], "serve")) serve();
    say(1, stack[0] > 1 ? arguments[1] : "nothing to do");
    say(1, " is done\n");
    call(LINUX_EXIT, 0, 0, 0, 0, 0);
}

__asm__(".globl _start\n_start: mov %rsp, %rdi\nand $-16, %rsp\ncall begin\n");
