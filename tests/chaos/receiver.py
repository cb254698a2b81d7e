"""Who is told of jobs: by webhooks, which are not always taken at the first attempt."""

import json
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Receiver:
    """Takes webhooks, and fails one in three in one of several ways."""

    url: str = ""
    told: dict[str, set[bytes]] = field(default_factory=dict)
    """Contents by webhook id."""
    taken: dict[str, list[str]] = field(default_factory=dict)
    """Webhook ids that were answered with 200, by job."""

    def problems(self, jobs: set[str]) -> list[str]:
        """What is wrong with what was told of these jobs, once there was time for it."""
        problems = [f"nobody was told of job {job_id}" for job_id in jobs - self.taken.keys()]
        problems += [f"job {job} was told under several ids" for job, ids in self.taken.items() if len(set(ids)) > 1]
        return problems + [f"{key} came with several contents" for key, bodies in self.told.items() if len(bodies) > 1]


@contextmanager
def receiving(dice: random.Random) -> Iterator[Receiver]:
    """A receiver that listens while the context lasts."""
    receiver, lock = Receiver(), threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            event, key = json.loads(body), self.headers["webhook-id"]
            with lock:
                receiver.told.setdefault(key, set()).add(body)
                trouble = dice.choice(["", "", "", "", "error", "closed"])
            if trouble == "closed":
                self.close_connection = True
                return
            self.send_response(500 if trouble else 200)
            self.send_header("content-length", "0")
            self.end_headers()
            if not trouble and "id" in event:
                with lock:
                    receiver.taken.setdefault(event["id"], []).append(key)

        def log_message(self, *_arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        receiver.url = f"http://127.0.0.1:{server.server_port}/hook"
        yield receiver
        server.shutdown()
