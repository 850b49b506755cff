"""accllm serve goes on from what its sessions have read: the same answers as without, to the last digit of every
log-probability; states saved over a restart, refused where they are damaged, whole after kill -9."""
import glob
import os
import random
import tempfile
import threading
import time
import unittest

import server
from server import Models, Server, common

MODELS = Models()
SHAPE = ("--window", "96", "--chunk", "32")
FLUSH = [7, 8, 9, 10]


def ids(seed, n):
    r = random.Random(seed)
    return [r.randrange(10, 250) for _ in range(n)]


def ask(s, prompt, **more):
    """(what was answered, reused tokens)"""
    body = {"prompt": prompt, "max_tokens": 8, "temperature": 0, "logprobs": 5, "ignore_eos": True, **more}
    r = s.json("/v1/completions", body)
    usage = r["usage"]
    assert usage["prompt_tokens"] == len(prompt), usage
    return r["choices"], usage["prompt_tokens_details"]["cached_tokens"]


class Fresh:
    """Answers of a session that has just read something else."""

    def __init__(self, *options):
        self.s = Server(MODELS.tiny, "--parallel", "1", *options)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.s.__exit__(*exc)

    def ask(self, prompt, **more):
        ask(self.s, FLUSH, max_tokens=1, echo=True)
        answer, reused = ask(self.s, prompt, **more)
        assert reused == 0, reused
        return answer


class Reuse(unittest.TestCase):
    def check(self, *options):
        """A conversation far beyond the window; every answer is that of a session that knows nothing."""
        with Server(MODELS.tiny, "--parallel", "1", *options) as s, Fresh(*options) as fresh:
            text = ids(1, 50)
            for turn in range(8):
                answer, reused = ask(s, text)
                self.assertEqual(answer, fresh.ask(text))
                self.assertEqual(reused, 0 if turn == 0 else last)
                last = len(text)  # all but what follows was read; of the answer nothing stands in the next prompt
                text = text + ids(100 + turn, 40 + turn)
            self.assertGreater(s.metric("prompt_tokens_reused_total"), 1000)

    def test_a_conversation(self):
        self.check(*SHAPE)

    def test_eight_bits(self):
        self.check(*SHAPE, "--kv", "8")

    def test_full_attention(self):
        self.check("--full-attention")

    def test_what_a_prompt_may_do(self):
        """The same again, parting ways near the end and far from it, shorter, one token, penalties, seeds, scores."""
        with Server(MODELS.tiny, "--parallel", "1", *SHAPE) as s, Fresh(*SHAPE) as fresh:
            base = ids(2, 300)
            cases = [
                (base, {}, 0),
                (base, {}, 299),
                (base[:295] + ids(3, 9), {}, 295),
                (base[:290], {"temperature": 1, "seed": 5}, 289),
                (base[:290] + ids(4, 3), {"repeat_penalty": 1.5, "repeat_last_n": 200}, 290),
                (base[:100] + ids(5, 50), {}, 4),  # only the sinks can be had
                (base[:100] + ids(5, 50), {"echo": True}, 0),
                (base[:1], {}, 0),
                (base[:2], {"max_tokens": 0, "echo": True}, 0),
                (base[:2], {"max_tokens": 1}, 1),
            ]
            for prompt, more, want in cases:
                answer, reused = ask(s, prompt, **more)
                self.assertEqual((answer, reused), (fresh.ask(prompt, **more), want), (len(prompt), more))

    def test_the_longest_match_else_the_one_left_longest_ago(self):
        with Server(MODELS.tiny, "--parallel", "2", *SHAPE) as s:
            a, b, c = (ids(10 + i, 60) for i in range(3))
            more = ids(20, 30)
            self.assertEqual(ask(s, a)[1], 0)
            self.assertEqual(ask(s, b)[1], 0)
            self.assertEqual(ask(s, a + more)[1], 60)
            self.assertEqual(ask(s, b + more)[1], 60)
            self.assertEqual(ask(s, c)[1], 0)  # takes the place of a
            self.assertEqual(ask(s, b + more + more)[1], 90)
            self.assertEqual(ask(s, a)[1], 0)  # takes the place of c
            self.assertEqual(ask(s, b[:10] + c)[1], 4)  # too little for a match, but b's place is next: its sinks

    def test_tokens_that_are_not_read_again_are_penalised(self):
        penalty = {"max_tokens": 1, "repeat_penalty": 1000, "repeat_last_n": 64}
        with Server(MODELS.tiny, "--parallel", "1", *SHAPE) as s, Fresh(*SHAPE) as fresh:
            text = ids(60, 40)
            text += ask(s, text, max_tokens=60, return_token_ids=True)[0][0]["token_ids"][:50]
            plain, _ = ask(s, text, max_tokens=1)
            answer, reused = ask(s, text, **penalty)
            self.assertEqual((answer, reused), (fresh.ask(text, **penalty), 89))
            self.assertNotEqual(answer, plain)  # the model repeats itself: the penalty is felt

    def test_half_a_prompt_is_no_match(self):
        """It goes where nothing is lost; one token more, and it goes on from what is shared."""
        with Server(MODELS.tiny, "--parallel", "2", *SHAPE) as s:
            b = ids(26, 100)
            self.assertEqual(ask(s, ids(25, 60))[1], 0)
            self.assertEqual(ask(s, b)[1], 0)
            self.assertEqual(ask(s, b[:50] + ids(27, 50))[1], 0)
            self.assertEqual(ask(s, b[:51] + ids(28, 49))[1], 51)

    def test_answers_of_one_request_count_a_prompt_once(self):
        with Server(MODELS.tiny, "--parallel", "2", *SHAPE) as s:
            text = ids(30, 80)
            ask(s, text, n=2, temperature=1, seed=1)
            _, reused = ask(s, text, n=2, temperature=1, seed=1)
            self.assertEqual(reused, 79)

    def test_a_session_that_was_cut_off(self):
        """What a client that went away has left is gone on from."""
        with Server(MODELS.tiny, "--parallel", "1", *SHAPE) as s, Fresh(*SHAPE) as fresh:
            text = ids(40, 3000)
            c = s.open("/v1/completions", {"prompt": text, "max_tokens": 1000000, "temperature": 1, "ignore_eos": True})
            s.wait_for("sessions_running", 1)
            c.close()
            s.wait_for("sessions_running", 0)
            self.assertEqual(ask(s, text)[0], fresh.ask(text))

    def test_the_reference_begins_anew(self):
        with Server(MODELS.tiny, "--parallel", "1", "--numerics", "float") as s:
            text = ids(50, 40)
            first, _ = ask(s, text)
            self.assertEqual(ask(s, text), (first, 0))


class States(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory(prefix="accllm-states-")
        self.addCleanup(self.folder.cleanup)
        self.dir = os.path.join(self.folder.name, "states")

    def server(self, *more, model=MODELS.tiny):
        return Server(model, "--parallel", "2", *SHAPE, "--state-dir", self.dir, "--state-every", "1", *more)

    def files(self):
        return sorted(glob.glob(os.path.join(self.dir, "*.state")))

    def wait_for_files(self, n):
        end = time.monotonic() + 60
        while len(self.files()) < n:
            assert time.monotonic() < end
            time.sleep(0.05)

    def test_a_restart(self):
        a, b, more = ids(1, 70), ids(2, 400), ids(3, 20)
        with Fresh(*SHAPE) as fresh:
            want = fresh.ask(a + more), fresh.ask(b + more)
        with self.server() as s:
            self.assertEqual((ask(s, a)[1], ask(s, b)[1]), (0, 0))
            session_bytes = s.info["session_bytes"]
        self.assertEqual([os.path.basename(f) for f in self.files()], ["session-0000.state", "session-0001.state"])
        self.assertEqual([os.stat(p).st_mode & 0o777 for p in (self.dir, *self.files())], [0o700, 0o600, 0o600])
        self.assertLess(os.path.getsize(self.files()[0]), session_bytes)
        for _ in range(2):  # the second time from what the first has saved
            with self.server() as s:
                self.assertEqual(ask(s, a + more), (want[0], 70 if _ == 0 else 89))
                self.assertEqual(ask(s, b + more), (want[1], 400 if _ == 0 else 419))
                self.assertIn("states of 2 sessions were restored", s.stderr())
        self.assertEqual(len(self.files()), 2)

    def test_a_restored_session_is_not_the_next_to_go(self):
        a = ids(1, 70)
        with self.server() as s:
            ask(s, a)
        with self.server() as s:
            self.assertEqual(ask(s, ids(2, 70))[1], 0)  # in the session that has read nothing
            self.assertEqual(ask(s, a + [11])[1], 70)

    def test_saved_while_it_runs(self):
        s = self.server()
        ask(s, ids(1, 70))
        self.wait_for_files(1)
        ask(s, ids(2, 70))
        self.wait_for_files(2)
        s.stop(kill=True)
        with self.server() as s:
            self.assertEqual(ask(s, ids(1, 70) + [11])[1], 70)

    def test_what_is_refused(self):
        text, more = ids(1, 200), ids(3, 20)
        with self.server() as s:
            ask(s, text)
        good = open(self.files()[0], "rb").read()
        with self.server("--model-name", "x", model=MODELS.chat) as s:
            self.assertIn("session-0000.state is not used: the state is of another model", s.stderr())
        with Fresh(*SHAPE) as fresh:
            want = fresh.ask(text + more)
        r = random.Random(7)
        flips = [good[:i] + bytes([good[i] ^ 1 << r.randrange(8)]) + good[i + 1:]
                 for i in (60, len(good) // 2)]
        for bad in (*flips, b"", good[:len(good) // 2], good + b"\0"):  # more in tests/model/test_state.c
            with open(self.files()[0], "wb") as f:
                f.write(bad)
            s = self.server()
            self.assertIn("session-0000.state is not used: ", s.stderr())
            self.assertNotIn("restored", s.stderr())
            self.assertEqual(ask(s, text + more), (want, 0))
            s.stop(kill=True)
        with open(self.files()[0], "wb") as f:
            f.write(good)
        with self.server("--window", "97") as s:
            self.assertIn("is not used: the state is of a session with 4 sinks, window 96", s.stderr())

    def test_a_folder_has_one_server(self):
        with self.server():
            with self.assertRaisesRegex(RuntimeError, "another server uses this folder"):
                self.server()
        for where, says in (("/proc/none", "cannot make the folder"), ("/proc", "cannot write there")):
            with self.assertRaisesRegex(RuntimeError, says):
                Server(MODELS.tiny, "--state-dir", where)
        with self.assertRaisesRegex(RuntimeError, "states exist for AccLLM files"):
            Server(MODELS.tiny, "--numerics", "float", "--state-dir", self.dir)

    def test_kill_at_any_moment(self):
        """Whatever the moment, what is found is whole: nothing is refused, and answers are right."""
        r = random.Random(3)
        prompts, more = [ids(i, 300) for i in range(4)], ids(99, 5)
        with Fresh(*SHAPE) as fresh:
            want = [fresh.ask(p + more) for p in prompts]
        seen = 0
        for _ in range(6):
            s = self.server()
            self.assertNotIn("is not used", s.stderr())
            begun = time.monotonic()
            for p, w in zip(prompts, want):
                answer, reused = ask(s, p + more)
                self.assertEqual(answer, w)
                seen += reused > 0
            pace = max(1.5, time.monotonic() - begun)  # a slow machine saves later, too
            stop = threading.Event()

            def work():
                while not stop.is_set():
                    try:
                        ask(s, r.choice(prompts))
                    except Exception:  # noqa: BLE001 - the server is killed meanwhile
                        return
            t = threading.Thread(target=work)
            t.start()
            time.sleep(r.random() * pace)
            s.stop(kill=True)
            stop.set()
            t.join()
        self.assertGreater(seen, 0)


common.main()
