"""gunicorn's workers: uvicorn on penstock."""

from uvicorn_worker import UvicornWorker


class PenstockWorker(UvicornWorker):
    CONFIG_KWARGS = {"loop": "penstock:new_event_loop"}  # noqa: RUF012  # as its base has it
