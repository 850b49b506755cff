"""The Llama forward pass in numpy and double precision, written from the model's definition: RMSNorm, rotary embedding on
adjacent pairs (the convention of llama-architecture GGUF files), grouped-query attention, SwiGLU. Full attention."""
import numpy as np


class Llama:
    def __init__(self, gguf):
        meta, self.g = gguf.meta, gguf
        arch = meta["general.architecture"]
        if arch != "llama":
            raise ValueError(f"architecture {arch}: only llama is written here")

        def key(name, default=None):
            return meta.get(f"{arch}.{name}", default)

        self.n_layers, self.n_embd = key("block_count"), key("embedding_length")
        self.n_heads = key("attention.head_count")
        self.n_kv = key("attention.head_count_kv", self.n_heads)
        self.head_dim = key("attention.key_length", self.n_embd // self.n_heads)
        self.eps = key("attention.layer_norm_rms_epsilon")
        theta = key("rope.freq_base", 10000.0)
        self.freq = theta ** (-np.arange(0, self.head_dim, 2) / self.head_dim)
        self.embd = gguf.tensor("token_embd.weight").astype(np.float64)
        self.output = gguf.tensor("output.weight").astype(np.float64) if "output.weight" in gguf else self.embd

    def weight(self, layer, name):
        return self.g.tensor(f"blk.{layer}.{name}.weight").astype(np.float64)

    def norm(self, x, g):
        return x / np.sqrt((x * x).mean(-1, keepdims=True) + self.eps) * g

    def rotate(self, x):
        """x [tokens][heads][head_dim], pairs (2i, 2i + 1)."""
        angle = np.arange(x.shape[0])[:, None, None] * self.freq
        a, b = x[..., 0::2], x[..., 1::2]
        out = np.empty_like(x)
        out[..., 0::2] = a * np.cos(angle) - b * np.sin(angle)
        out[..., 1::2] = a * np.sin(angle) + b * np.cos(angle)
        return out

    def attention(self, layer, x):
        n, d = x.shape[0], self.head_dim
        q = self.rotate((x @ self.weight(layer, "attn_q").T).reshape(n, self.n_heads, d))
        k = self.rotate((x @ self.weight(layer, "attn_k").T).reshape(n, self.n_kv, d))
        v = (x @ self.weight(layer, "attn_v").T).reshape(n, self.n_kv, d)
        k, v = (np.repeat(t, self.n_heads // self.n_kv, axis=1) for t in (k, v))
        scores = np.einsum("ihd,jhd->hij", q, k) / np.sqrt(d)
        scores[:, np.triu(np.ones((n, n), bool), 1)] = -np.inf
        p = np.exp(scores - scores.max(-1, keepdims=True))
        p /= p.sum(-1, keepdims=True)
        return np.einsum("hij,jhd->ihd", p, v).reshape(n, -1) @ self.weight(layer, "attn_output").T

    def logits(self, ids):
        x = self.embd[ids]
        for layer in range(self.n_layers):
            x = x + self.attention(layer, self.norm(x, self.weight(layer, "attn_norm")))
            h = self.norm(x, self.weight(layer, "ffn_norm"))
            gate = h @ self.weight(layer, "ffn_gate").T
            up = h @ self.weight(layer, "ffn_up").T
            x = x + (gate / (1 + np.exp(-gate)) * up) @ self.weight(layer, "ffn_down").T
        return self.norm(x, self.g.tensor("output_norm.weight").astype(np.float64)) @ self.output.T
