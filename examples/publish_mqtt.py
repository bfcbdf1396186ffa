"""MQTT through aiomqtt: sensors that publish, one that listens to them all, and a last will."""

import asyncio
import os
from urllib.parse import urlsplit

import aiomqtt

URL = urlsplit(os.environ.get("MQTT_URL", "mqtt://127.0.0.1:1883"))
TOPIC = f"examples/{os.getpid()}"


def client(**options: object) -> aiomqtt.Client:
    return aiomqtt.Client(URL.hostname or "", URL.port or 1883, **options)


async def sensor(name: str) -> None:
    async with client() as mqtt:
        for value in range(20):
            await mqtt.publish(f"{TOPIC}/values/{name}", value, qos=value % 3)


async def main() -> None:
    async with client() as mqtt:
        await mqtt.subscribe(f"{TOPIC}/#", qos=2)
        sensors = asyncio.gather(*(sensor(name) for name in ("north", "south", "west")))
        values: dict[str, list[int]] = {}
        async with asyncio.timeout(30):
            async for message in mqtt.messages:
                values.setdefault(message.topic.value.rpartition("/")[2], []).append(
                    int(str(message.payload, "ascii"))
                )
                if sum(map(len, values.values())) == 60:
                    break
        await sensors
        for name in sorted(values):
            print(f"{name}: {len(values[name])} values, the sum {sum(values[name])}")

        large = bytes(range(256)) * 4096
        await mqtt.publish(f"{TOPIC}/large", large, qos=1)
        message = await anext(mqtt.messages)
        print(f"{len(large)} bytes came back whole: {message.payload == large}")

        try:
            async with client(will=aiomqtt.Will(f"{TOPIC}/will", "gone", qos=1)):
                raise RuntimeError("went wrong")
        except RuntimeError as error:
            print(f"another client {error}")
        try:
            async with asyncio.timeout(0.2):
                await anext(mqtt.messages)
        except TimeoutError:
            # It said goodbye even so.
            print("and left no will")


if __name__ == "__main__":
    asyncio.run(main())
