# Sourced by the other scripts: paths and small helpers. Everything lives inside the checkout, but for the model cache.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
top=$PWD
venv=$top/.venv
cache=${XDG_CACHE_HOME:-$HOME/.cache}/accllm
model_file=${ACCLLM_MODEL:-$cache/SmolLM2-135M-Instruct.Q4_1.gguf}
accllm=$top/build/apps/cli/accllm

say() { printf '%s\n' "$*" >&2; }
die() { say "$(basename "$0"): $*"; exit 1; }

# Runs a command as root where that is needed and possible.
as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; elif command -v sudo >/dev/null; then sudo "$@"; else
        die "needs root to run: $*"
    fi
}
