"""What the doors say while a fault lasts."""

import httpx2

from tests.chaos.clients import End, ask, code_of, recording, speak
from tests.chaos.scene import Scene
from tests.chaos.server import DIRECT

ANSWER_S = 60.0


def submit(scene: Scene) -> httpx2.Response:
    """Hand a recording over as a job. Where it is accepted, the load waits for its end too."""
    answer = httpx2.post(
        f"{scene.server.url}/jobs",
        files={"audio": ("speech.wav", recording("job", 0))},
        data={"webhook_url": scene.load.submitter.hook},
        timeout=ANSWER_S,
        **DIRECT,
    )
    if answer.status_code == 202:
        scene.load.submitter.jobs[answer.json()["job_id"]] = 0
    return answer


def refused(scene: Scene, status: int, code: str) -> None:
    """Whether a job is refused, and so: no fault that passes unnoticed counts."""
    answer = submit(scene)
    got = (answer.status_code, code_of(answer))
    scene.expect(got == (status, code), f"a job is answered with {got} instead of {(status, code)}")


def serves(scene: Scene) -> None:
    """Whether the doors that need nothing of what has failed go on."""
    for act in (ask, speak):
        account, _ = act(scene.server, 0)
        scene.expect(account.end == End.DONE, f"meanwhile: {account.door}: {account.end} {account.detail}")
