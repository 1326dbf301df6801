"""Passes connections of a loopback port on to a Unix socket, for programs that speak TCP only.

What follows until it is ended (`?follow`) is ended here, once nothing has come for a moment.

usage: bridge.py SOCKET, which prints the port
"""

import socket
import sys
import threading

# Silent for so long, in seconds, what follows has nothing more to say.
PAUSE = 0.05


def requests(client, master, follows):
    """Passes requests on; says of each whether its answer goes on."""
    try:
        while data := client.recv(65536):
            line = data.split(b"\r\n", 1)[0]
            if line.endswith(b"HTTP/1.1"):
                (follows.set if b"follow" in line else follows.clear)()
            master.sendall(data)
        master.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def answers(client, master, follows):
    """Passes answers on."""
    chunked = False
    try:
        while True:
            master.settimeout(PAUSE if chunked else None)
            try:
                data = master.recv(65536)
            except TimeoutError:
                client.sendall(b"0\r\n\r\n")
                break
            if not data:
                break
            client.sendall(data)
            chunked = follows.is_set() and (chunked or b"transfer-encoding: chunked" in data)
    except OSError:
        pass
    for end in (client, master):
        try:
            end.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        end.close()


def main():
    server = socket.create_server(("127.0.0.1", 0), backlog=64)
    print(server.getsockname()[1], flush=True)
    while True:
        client, _ = server.accept()
        master = socket.socket(socket.AF_UNIX)
        master.connect(sys.argv[1])
        follows = threading.Event()
        for pump in (requests, answers):
            threading.Thread(target=pump, args=(client, master, follows), daemon=True).start()


main()
