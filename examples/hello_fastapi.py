"""FastAPI under uvicorn; PORT says where it listens."""

import asyncio
import os

import uvicorn
from fastapi import FastAPI

app = FastAPI()


@app.get("/")
async def hello(name: str = "world") -> dict[str, str]:
    await asyncio.sleep(0.1)
    return {"hello": name}


if __name__ == "__main__":
    # "auto" would take uvloop where that is installed.
    port = int(os.environ.get("PORT", "8000"))
    uvicorn.run(app, host="127.0.0.1", port=port, loop="asyncio", log_level="warning")
