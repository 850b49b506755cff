"""A small GGUF reader of its own, for checks that must not share code with the project: metadata, and tensors as float32
in the file's row order (F32, F16, BF16, Q4_0, Q4_1, Q8_0)."""
import struct

import numpy as np

SCALARS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
# type: (bytes per block, values per block)
BLOCKS = {0: (4, 1), 1: (2, 1), 2: (18, 32), 3: (20, 32), 8: (34, 32), 30: (2, 1)}


class Gguf:
    def __init__(self, path):
        self.data = np.memmap(path, dtype=np.uint8, mode="r")
        self.at = 0
        magic, version, n_tensors, n_keys = self._take("<4sIQQ")
        if magic != b"GGUF" or version not in (2, 3):
            raise ValueError(f"{path}: not a GGUF file of version 2 or 3")
        self.meta = {}
        for _ in range(n_keys):
            key = self._string()
            self.meta[key] = self._value(self._take("<I")[0])
        self.tensors = {}
        for _ in range(n_tensors):
            name = self._string()
            dims = self._take("<%dQ" % self._take("<I")[0])
            self.tensors[name] = (dims, *self._take("<IQ"))
        align = self.meta.get("general.alignment", 32)
        self.base = (self.at + align - 1) // align * align

    def _take(self, form):
        size = struct.calcsize(form)
        out = struct.unpack_from(form, self.data, self.at)
        self.at += size
        return out

    def _string(self):
        n = self._take("<Q")[0]
        self.at += n
        return bytes(self.data[self.at - n:self.at]).decode("utf-8", "replace")

    def _value(self, kind):
        if kind == 8:
            return self._string()
        if kind == 9:
            inner, n = self._take("<IQ")
            return [self._value(inner) for _ in range(n)]
        return self._take(SCALARS[kind])[0]

    def __contains__(self, name):
        return name in self.tensors

    def tensor(self, name):
        """float32, shape (rows, columns) or (columns,)."""
        dims, kind, offset = self.tensors[name]
        size, values = BLOCKS[kind]
        n = int(np.prod(dims))
        raw = np.array(self.data[self.base + offset:self.base + offset + n // values * size])
        return self._floats(kind, raw.reshape(-1, size) if values > 1 else raw).reshape(dims[::-1])

    @staticmethod
    def _floats(kind, raw):
        if kind == 0:
            return raw.view("<f4").copy()
        if kind == 1:
            return raw.view("<f2").astype(np.float32)
        if kind == 30:
            return (raw.view("<u2").astype(np.uint32) << 16).view(np.float32)
        d = raw[:, :2].copy().view("<f2").astype(np.float32)
        if kind == 8:
            return d * raw[:, 2:].view(np.int8).astype(np.float32)
        codes = raw[:, 4:] if kind == 3 else raw[:, 2:]
        both = np.concatenate([codes & 15, codes >> 4], axis=1).astype(np.float32)
        if kind == 2:
            return d * (both - 8)
        return d * both + raw[:, 2:4].copy().view("<f2").astype(np.float32)
