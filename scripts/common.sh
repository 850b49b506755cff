# Sourced by the other scripts: paths and small helpers. Everything lives inside the checkout, but for the model cache.
set -euo pipefail
caller=$PWD
cd "$(dirname "${BASH_SOURCE[0]}")/.."
top=$PWD
venv=$top/.venv
cache=${XDG_CACHE_HOME:-$HOME/.cache}/accllm
accllm=$top/build/apps/cli/accllm

# A path that the caller gave: relative ones are taken from where the script was called.
from_caller() { case $1 in /*) printf '%s\n' "$1" ;; *) printf '%s\n' "$caller/$1" ;; esac; }
# Made whole here, since other scripts and the tests run in other folders.
for name in ACCLLM_MODEL ACCLLM_SHARED; do [ -z "${!name:-}" ] || export "$name=$(from_caller "${!name}")"; done
model_file=${ACCLLM_MODEL:-$cache/SmolLM2-135M-Instruct.Q4_1.gguf}

say() { printf '%s\n' "$*" >&2; }
die() { say "$(basename "$0"): $*"; exit 1; }

# Runs a command as root where that is needed and possible.
as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; elif command -v sudo >/dev/null; then sudo "$@"; else
        die "needs root to run: $*"
    fi
}

# need_rtl BUILD_DIR TOOL...: what simulates the accelerator; else exit 77, which skips a test.
need_rtl() {
    local build=$1 tool; shift
    [[ $top$build != *[[:space:]]* ]] || { say "rtl: Verilator's makefiles take no blanks in paths; skipped"; exit 77; }
    for tool in "$@"; do
        command -v "$tool" >/dev/null || { say "rtl: $tool is not installed (scripts/setup); skipped"; exit 77; }
    done
}
