#!/bin/sh
# Train, freeze and check a network on a machine with a GPU, and leave what is worth carrying away in pieces:
#
#     tools/train_gpu.sh DATA OUT [NETWORK [EPOCHS [DEVICE]]]
#
# DATA is a folder of CIFAR-10; NETWORK is reactnet18, EPOCHS 100 and DEVICE cuda by default. OUT gets the frozen
# network, the log, the integer scores, and model.pt in parts of 15 MiB (cat OUT/model.pt.?? > model.pt puts them
# together). A run that stops goes on where it was when the same command is given again. Not run on a GPU so far.
set -eu

data=$1 out=$2 network=${3:-reactnet18} epochs=${4:-100} device=${5:-cuda}
cd "$(dirname "$0")/.."
python=${PYTHON:-.venv/bin/python}
[ -x "$python" ] || python=python3

resume=
[ ! -e "$out/run/resume.pt" ] || resume=--resume
"$python" -m train --network "$network" --data "$data" --out "$out/run" --preset flagship --sides "" \
    --epochs "$epochs" --cooldown 1 --device "$device" $resume
"$python" -m export freeze "$out/run/model.pt" --network "$network" --out "$out/$network.safetensors"
cp "$out/run/log.jsonl" "$out/$network.log.jsonl"
split -b 15m "$out/run/model.pt" "$out/model.pt."
"$python" -m golden "$out/$network.safetensors" "$data" --out "$out/scores.npy"
