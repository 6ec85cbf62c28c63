#!/usr/bin/env bash
# Checks assay on a machine with an NVIDIA GPU, and leaves what others need to believe it.
#
#   scripts/device_check.sh -o OUT [--wheels DIR] [--device cuda] [--sizes 1,8,64] [--limit SECONDS] [--dry-run]
#
# The machine needs this source tree (`git archive`), Python 3.11 or later with torch, numpy, pyarrow, rich,
# jinja2 and pytest, and in DIR the wheels of what else assay needs and the machine lacks; no network, no OpenVINO.
# It takes eight minutes at most. Every step has a limit of its own; one that fails is named at the end and hides
# none of the others. The exit status is 0 where all passed, 1 where one failed, 2 where it was called wrongly.
#
# OUT gets summary.md, check.log, the streamed rates and a bundle for each precision, which `assay verify` checks.
# --dry-run does the same on the CPU with few images and short repeats, and waits longer: its figures mean nothing.
set -u
export PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
root=$(cd "$(dirname "$0")/.." && pwd)
python=${PYTHON:-python3}
out= wheels= sizes= device=cuda dry_run=
limit_s=480 patience=1

usage() { sed -n '2,13s/^# \{0,1\}//p' "$0" >&2; exit 2; }

while [ $# -gt 0 ]; do
    case $1 in
        -o) out=${2:-}; shift 2 || usage ;;
        --wheels) wheels=${2:-}; shift 2 || usage ;;
        --device) device=${2:-}; shift 2 || usage ;;
        --sizes) sizes=${2:-}; shift 2 || usage ;;
        --limit) limit_s=${2:-}; shift 2 || usage ;;
        --dry-run) dry_run=yes; device=cpu; limit_s=3600; patience=8; shift ;;
        *) usage ;;
    esac
done
[ -n "$out" ] || usage
[ -z "$wheels" ] || [ -d "$wheels" ] || usage

mkdir -p "$out"
out=$(cd "$out" && pwd)
[ -z "$wheels" ] || wheels=$(cd "$wheels" && pwd)
work=$(mktemp -d -t assay_device_check_XXXXXX)
trap 'rm -rf "$work"' EXIT
log=$out/check.log
: >"$log"
failed=()
assay=("$python" -m assay)
check=("$python" "$root/scripts/device_check.py")

# step NAME SECONDS COMMAND...: runs it within its limit and what is left of all
step() {
    local name=$1 own_s=$((patience * $2)) left_s=$((limit_s - SECONDS)) begun=$SECONDS status
    shift 2
    if [ "$left_s" -le 0 ]; then
        echo "NOT RUN  $name: the $limit_s s are over" | tee -a "$log"
        failed+=("$name")
        return 1
    fi
    printf '\n==== %s\n' "$name" >>"$log"
    timeout --kill-after=5 "$((own_s < left_s ? own_s : left_s))" "$@" >>"$log" 2>&1 </dev/null
    status=$?
    if [ "$status" -eq 0 ]; then
        echo "passed   $name ($((SECONDS - begun)) s)" | tee -a "$log"
        return 0
    fi
    echo "FAILED   $name: exit status $status after $((SECONDS - begun)) s" | tee -a "$log"
    failed+=("$name")
    return 1
}

install_wheels() {
    "$python" -m pip install -q --no-index --no-deps --no-compile --no-cache-dir --disable-pip-version-check \
        --target "$work/site" "$wheels"/*.whl
}

# The C extension, where there is a compiler; without it Pillow makes the same pixels, only slower.
build_extension() {
    (cd "$work/tree" && "$python" -c 'from setuptools import setup; setup()' -q build_ext --inplace) &&
        PYTHONPATH=$work/tree/src:${PYTHONPATH:-} "$python" -c 'import assay.images._resample'
}

describe_machine() {
    uname -srm
    "$python" -VV
    command -v nvidia-smi >/dev/null && nvidia-smi
    "$python" -m assay engines
}
export -f install_wheels build_extension describe_machine

contract() {
    local name=$1
    shift
    step "contract of engines: $name" 120 "$python" -m pytest -q -p no:cacheprovider -o filterwarnings=default \
        "$work/tree/tests/engines/engine_contract.py" -k torch --engine torch --device "$device" "$@"
}

# twice NAME COMPILED: the logits of the same noise by two processes
twice() {
    for number in 1 2; do
        step "logits of $1, process $number" 40 "${check[@]}" logits "$2" "$streamed_batch" "$work/logits-$1-$number.npy"
    done
}

# bench NAME SIZES: the speed alone, of a model compiled with other settings
bench() {
    step "speed of $1" 120 "${assay[@]}" benchmark "$work/$1" --batch-size "$2" --seconds "$seconds" \
        -o "$work/bench-$1" --quiet
}

if [ -n "$dry_run" ]; then
    precisions=fp32 sizes=${sizes:-1,2} seconds=0.1 training=60 held_out=20 streamed=40 streamed_batch=4
else
    precisions="fp32 fp16 bf16" sizes=${sizes:-1,4,8,16,32,64,128} seconds=0.7
    training=240 held_out=160 streamed=8000 streamed_batch=64
fi

mkdir -p "$work/tree" "$work/site"
cp -r "$root/src" "$root/tests" "$root/pyproject.toml" "$root/README.md" "$root/LICENSE" "$work/tree/"
export python work wheels
if [ -n "$wheels" ]; then
    step "install the wheels" 60 bash -c install_wheels
    export PYTHONPATH=$work/site:${PYTHONPATH:-}
fi
step "build the C extension" 60 bash -c build_extension
export PYTHONPATH=$work/tree/src:${PYTHONPATH:-}
step "the machine" 60 bash -c describe_machine
contract "$device"
[ -n "$dry_run" ] || contract "$device, without graphs" --setting mode=eager
[ -n "$dry_run" ] || contract "$device, two streams" --setting streams=2

if step "draw the images and fit the demo's network" 150 "${check[@]}" make "$work/demo" "$training" "$held_out"; then
    for precision in $precisions; do
        if step "run in $precision" 150 "${assay[@]}" run --weights "$work/demo/demo_weights.pth" \
            --images "$work/demo/held_out" --labels "$work/demo/held_out.txt" --engine torch --device "$device" \
            --precision "$precision" --batch-size "$sizes" --seconds "$seconds" --compare-with-torch \
            -o "$work/run-$precision" --quiet; then
            step "bundle of $precision" 30 "${assay[@]}" bundle "$work/run-$precision" "$out/$device-$precision.zip"
            step "verify the bundle of $precision" 60 "${assay[@]}" verify "$out/$device-$precision.zip"
            step "decode to prediction in $precision" 90 "${check[@]}" stream "$work/run-$precision/compiled" \
                "$work/demo" "$streamed" "$streamed_batch" "$work/stream-$precision.json"
            [ "$precision" = bf16 ] || twice "$precision" "$work/run-$precision/compiled"
        fi
    done
    if [ -z "$dry_run" ]; then
        step "compile with other settings" 60 "${check[@]}" variants "$work/demo/demo_weights.pth" "$work" "$device"
        bench compiled 1,64
        bench fastest 1,64
        twice fastest "$work/fastest"
        bench eager 1,64
        bench streams 1,8,64
        bench on_host 64
        bench contiguous 64
    fi
fi

limit_s=$((SECONDS + 60)) # whatever was not run, the rest is said
step "summary" 60 "${check[@]}" summarise "$work" "$out/summary.md"
cp "$work"/stream-*.json "$out" 2>/dev/null
{
    printf '\n## Steps\n\n```text\n'
    grep -E '^(passed|FAILED|NOT RUN) ' "$log"
    printf '```\n'
} >>"$out/summary.md"
cat "$out/summary.md"
if [ ${#failed[@]} -gt 0 ]; then
    echo "device check: ${#failed[@]} steps failed after $SECONDS s; see $log" >&2
    exit 1
fi
echo "device check: all steps passed in $SECONDS s"
