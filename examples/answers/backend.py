"""The backend: serves the page, issues tokens, takes questions, and publishes answers word by word."""
import base64
import hashlib
import hmac
import itertools
import json
import os
import re
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

PORT = int(os.environ.get("PORT", "8001"))
CORECAST_URL = os.environ.get("CORECAST_URL", "http://127.0.0.1:8000")
SECRET = b"only-for-the-examples-never-elsewhere"  # client.token_hmac_secret
HERE = Path(__file__).parent
FILES = {
    "/": (HERE / "index.html", "text/html"),
    "/centrifuge.js": (HERE / "../../src/http/assets/vendor/centrifuge-5.8.0.js", "text/javascript"),
}
numbers = itertools.count(1)


def part(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def sign(claims):
    """A JSON Web Token, signed with HS256; any JWT library makes the same."""
    signed = part(b'{"alg":"HS256"}') + b"." + part(json.dumps(claims).encode())
    return (signed + b"." + part(hmac.new(SECRET, signed, hashlib.sha256).digest())).decode()


def words(question):
    """The model. A real one yields its tokens in the same way, as they are generated."""
    text = f"You asked: {question} That is a good question. " + "Let me think about it for a while. " * 9
    for word in (text + "Here is the end of the answer.").split():
        time.sleep(0.03)
        yield word + " "


def publish(user, data):
    body = json.dumps({"channel": f"answers:#{user}", "data": data}).encode()
    headers = {"X-API-Key": "only-for-the-examples"}
    request = urllib.request.Request(f"{CORECAST_URL}/api/publish", body, headers)
    with urllib.request.urlopen(request) as response:
        answer = json.load(response)
    if "error" in answer:
        raise RuntimeError(answer["error"])


def answer(user, number, question):
    for word in words(question):
        publish(user, {"answer": number, "word": word})
    publish(user, {"answer": number, "done": True})


class Backend(BaseHTTPRequestHandler):
    def reply(self, body, kind="application/json", status=200):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def user(self):
        # A real backend takes the user from its own session, not from the request.
        name = parse_qs(urlsplit(self.path).query).get("name", [""])[0]
        return name if re.fullmatch(r"[\w-]{1,20}", name) else None

    def do_GET(self):
        path = urlsplit(self.path).path
        if path in FILES:
            file, kind = FILES[path]
            return self.reply(file.read_bytes(), kind)
        if path != "/token" or not self.user():
            return self.reply(b"{}", status=404)
        token = sign({"sub": self.user(), "exp": int(time.time()) + 600})
        self.reply(json.dumps({"token": token, "url": CORECAST_URL}).encode())

    def do_POST(self):
        question = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        if urlsplit(self.path).path != "/ask" or not self.user():
            return self.reply(b"{}", status=404)
        number = next(numbers)
        threading.Thread(target=answer, args=(self.user(), number, question), daemon=True).start()
        self.reply(json.dumps({"answer": number}).encode())

    def log_message(self, *_):
        pass


print(f"open http://127.0.0.1:{PORT}", flush=True)
ThreadingHTTPServer(("127.0.0.1", PORT), Backend).serve_forever()
