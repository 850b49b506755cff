"""What accllm serve tells a service manager: a socket in NOTIFY_SOCKET takes systemd's place."""
import os
import select
import signal
import socket
import unittest

from server import Models, Server
import common

MODELS = Models()


class Manager:
    """The socket that a service manager listens on."""

    def __init__(self, address):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address)
        self.socket.settimeout(60)

    def message(self):
        return dict(line.split("=", 1) for line in self.socket.recv(4096).decode().splitlines())

    def silent(self):
        return select.select([self.socket], [], [], 0.5)[0] == []


class Notify(unittest.TestCase):
    def life(self, address, variable):
        manager = Manager(address)
        with Server(MODELS.tiny, env={"NOTIFY_SOCKET": variable}) as s:
            ready = manager.message()
            self.assertEqual(ready["READY"], "1")
            self.assertIn(s.info["url"], ready["STATUS"])
            self.assertEqual(s.json("/health"), {"status": "ok"})
            self.assertTrue(manager.silent())
        self.assertEqual(manager.message()["STOPPING"], "1") # of the SIGTERM that ended it
        self.assertTrue(manager.silent())
        manager.socket.close()

    def test_ready_and_stopping_at_a_path(self):
        path = MODELS.path("notify")
        self.life(path, path)

    def test_ready_and_stopping_at_an_abstract_name(self):
        name = f"accllm-test-{os.getpid()}"
        self.life("\0" + name, "@" + name)

    def test_stopping_is_said_while_an_answer_ends(self):
        path = MODELS.path("notify-busy")
        manager = Manager(path)
        with Server(MODELS.tiny, "--drain", "30", env={"NOTIFY_SOCKET": path}) as s:
            self.assertEqual(manager.message()["READY"], "1")
            client = s.open("/v1/completions", {"prompt": "Once", "max_tokens": 100000, "ignore_eos": True, "stream": True})
            self.assertTrue(client.recv(16))
            s.process.send_signal(signal.SIGTERM)
            self.assertEqual(manager.message()["STOPPING"], "1")
            self.assertIsNone(s.process.poll())
            s.process.send_signal(signal.SIGTERM) # cuts it off
            self.assertEqual(manager.message()["STOPPING"], "1")
            client.close()
        manager.socket.close()

    def test_a_manager_that_is_not_there_is_a_note_and_no_more(self):
        for variable in (MODELS.path("nobody"), "relative", "/" + "x" * 200):
            with Server(MODELS.tiny, env={"NOTIFY_SOCKET": variable}) as s:
                self.assertEqual(s.json("/health"), {"status": "ok"})
            self.assertIn(f"note: NOTIFY_SOCKET {variable}", s.stderr())

    def test_a_manager_that_goes_away_is_no_error(self):
        path = MODELS.path("notify-gone")
        manager = Manager(path)
        with Server(MODELS.tiny, env={"NOTIFY_SOCKET": path}) as s:
            self.assertEqual(manager.message()["READY"], "1")
            manager.socket.close()
            os.unlink(path)
            self.assertEqual(s.json("/health"), {"status": "ok"})


if __name__ == "__main__":
    common.main()
