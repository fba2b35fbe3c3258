"""What users of Celery do: Redis as the broker and for results; tasks, retries, groups, chords. Takes the port."""

import sys

from celery import Celery, chord, group
from celery.contrib.testing.worker import start_worker

port = int(sys.argv[1])
app = Celery("tasks", broker=f"redis://127.0.0.1:{port}/0", backend=f"redis://127.0.0.1:{port}/1")
app.conf.update(task_acks_late=True, worker_prefetch_multiplier=2, broker_connection_retry_on_startup=True)
SECONDS = 30


@app.task
def add(one, other):
    return one + other


@app.task
def total(numbers):
    return sum(numbers)


@app.task(bind=True, max_retries=3, default_retry_delay=0)
def fails_twice(self):
    if self.request.retries < 2:
        raise self.retry(exc=ValueError("not yet"))
    return self.request.retries


def check(what, got, expected):
    assert got == expected, f"{what}: {got!r}, not {expected!r}"


with start_worker(app, perform_ping_check=False, concurrency=2, pool="threads", loglevel="error"):
    check("a task", add.delay(2, 3).get(timeout=SECONDS), 5)
    many = group(add.s(number, number) for number in range(100)).apply_async()
    check("a group", many.get(timeout=SECONDS), [2 * number for number in range(100)])
    check("a chord", chord(add.s(number, 1) for number in range(20))(total.s()).get(timeout=SECONDS), 210)
    check("a chain", (add.s(1, 1) | add.s(10)).apply_async().get(timeout=SECONDS), 12)
    check("retries", fails_twice.delay().get(timeout=SECONDS), 2)
    check("later", add.apply_async((1, 2), countdown=1).get(timeout=SECONDS), 3)
print("all good")
