"""asyncssh, server and client: a command, one that is fed and one that is killed, and files copied.

The server is on loopback and has keys of its own, which the client knows; nothing is read from or
written to the user's own settings.
"""

import asyncio
import subprocess
import tempfile
from pathlib import Path
from subprocess import PIPE

import asyncssh


class OneUser(asyncssh.SSHServer):
    def begin_auth(self, username: str) -> bool:
        return True


async def handle(process: asyncssh.SSHServerProcess[bytes]) -> None:
    """Runs the client's command with the client's ends as its own."""
    shell = subprocess.Popen(
        process.command or "true", shell=True, stdin=PIPE, stdout=PIPE, stderr=PIPE
    )
    await process.redirect(shell.stdin, shell.stdout, shell.stderr, send_eof=False)
    ended = asyncio.create_task(asyncio.to_thread(shell.wait))
    left = asyncio.create_task(process.channel.wait_closed())
    await asyncio.wait((ended, left), return_when=asyncio.FIRST_COMPLETED)
    if left.done():
        shell.kill()
        await ended
    else:
        await asyncio.gather(process.stdout.drain(), process.stderr.drain())
        process.exit(await ended)
    await process.wait_closed()


async def commands(connection: asyncssh.SSHClientConnection) -> None:
    hello = await connection.run("echo hello; echo trouble >&2; exit 3")
    print("run:", repr(hello.stdout), repr(hello.stderr), hello.exit_status)
    async with connection.create_process("tr a-z A-Z") as tr:
        for word in ("one", "two"):
            tr.stdin.write(f"{word}\n")
        tr.stdin.write_eof()
        print("fed:", (await tr.stdout.read()).split())
    many = await asyncio.gather(*(connection.run(f"expr {n} '*' {n}") for n in range(1, 6)))
    print("five at once:", *(str(result.stdout).strip() for result in many))
    async with connection.create_process("sleep 30") as sleep:
        try:
            async with asyncio.timeout(0.3):
                await sleep.wait()
        except TimeoutError:
            print("left a command half-way")


async def files(connection: asyncssh.SSHClientConnection, folder: Path) -> None:
    there, back = folder / "there", folder / "back"
    content = bytes(range(256)) * 8192
    (folder / "here").write_bytes(content)
    async with connection.start_sftp_client() as sftp:
        await sftp.put(str(folder / "here"), str(there))
        await sftp.get(str(there), str(back))
        print(f"copied there and back: {len(content)} bytes, {back.read_bytes() == content}")
        print("in the folder:", sorted(set(await sftp.listdir(str(folder))) - {".", ".."}))
        try:
            await sftp.get(str(folder / "nothing"), str(back))
        except asyncssh.SFTPNoSuchFile:
            print("no such file")


async def main() -> None:
    host_key = asyncssh.generate_private_key("ssh-ed25519")
    user_key = asyncssh.generate_private_key("ssh-ed25519")
    server = await asyncssh.listen(
        "127.0.0.1",
        0,
        server_factory=OneUser,
        server_host_keys=[host_key],
        authorized_client_keys=asyncssh.import_authorized_keys(
            user_key.export_public_key().decode()
        ),
        process_factory=handle,
        sftp_factory=True,
        encoding=None,
    )
    known = asyncssh.import_known_hosts(f"127.0.0.1 {host_key.export_public_key().decode()}")
    with tempfile.TemporaryDirectory() as folder:
        async with asyncssh.connect(
            "127.0.0.1",
            server.get_port(),
            username="ada",
            client_keys=[user_key],
            known_hosts=known,
            config=None,
            agent_path=None,
        ) as connection:
            await commands(connection)
            await files(connection, Path(folder))
    server.close()
    await server.wait_closed()


if __name__ == "__main__":
    asyncio.run(main())
