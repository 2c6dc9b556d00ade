// uWebSockets as a peer: raw echo at /echo, rooms at /room/NAME. What is set here is what the other
// peers and Corecast have too; the rest is the library's default.
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "App.h"

struct Member {
    std::string room;
};

template <typename UserData>
uWS::App::WebSocketBehavior<UserData> behavior() {
    uWS::App::WebSocketBehavior<UserData> settings;
    settings.compression = uWS::DISABLED;
    settings.maxPayloadLength = 64 * 1024;
    settings.maxBackpressure = 1024 * 1024;
    settings.closeOnBackpressureLimit = true;
    // 24 s of silence, a ping, 16 s to answer it.
    settings.idleTimeout = 40;
    return settings;
}

int main(int argc, char **argv) {
    if (argc != 3 || std::strcmp(argv[1], "--port") != 0) {
        std::fprintf(stderr, "usage: uwebsockets --port N\n");
        return 2;
    }
    const int port = std::atoi(argv[2]);

    auto echo = behavior<int>();
    echo.message = [](auto *ws, std::string_view message, uWS::OpCode opcode) {
        ws->send(message, opcode);
    };

    auto room = behavior<Member>();
    room.upgrade = [](auto *res, auto *req, auto *context) {
        res->template upgrade<Member>({std::string(req->getParameter(0))},
            req->getHeader("sec-websocket-key"), req->getHeader("sec-websocket-protocol"),
            req->getHeader("sec-websocket-extensions"), context);
    };
    room.open = [](auto *ws) { ws->subscribe(ws->getUserData()->room); };
    room.message = [](auto *ws, std::string_view message, uWS::OpCode opcode) {
        ws->publish(ws->getUserData()->room, message, opcode);
    };

    bool listening = false;
    auto app = uWS::App();
    app.ws<int>("/echo", std::move(echo));
    app.ws<Member>("/room/:name", std::move(room));
    // Without the option a second server would share the port and take half of the clients.
    app.listen("127.0.0.1", port, LIBUS_LISTEN_EXCLUSIVE_PORT, [&](auto *socket) {
        listening = socket != nullptr;
    });
    if (!listening) {
        std::fprintf(stderr, "uwebsockets: port %d is in use\n", port);
        return 1;
    }
    std::signal(SIGTERM, [](int) { std::_Exit(0); });
    std::puts("ready");
    std::fflush(stdout);
    app.run();
    return 0;
}
