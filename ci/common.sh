# What the legs share: `. ci/common.sh`. A leg makes an environment of its own beside the others.
set -eu
cd "$(dirname "$0")/.."
PYTHON="${PYTHON:-python3}"

# environment NAME REQUIREMENT...: make .venv-NAME anew with what is asked for; sets BIN.
environment() {
    name=$1; shift
    "$PYTHON" -m venv --clear ".venv-$name"
    BIN="$PWD/.venv-$name/bin"
    "$BIN/python" -m pip install --quiet "$@"
}

# tests ARGUMENT...: the quick tests of this tree.
tests() {
    "$BIN/python" -m pytest -q "$@"
}
