#!/bin/sh
# Trains on several GPUs of several machines, as a SLURM job that stops when its time is over and then goes on:
#
#     sbatch --nodes 2 --gpus-per-node 4 examples/slurm_train.sh patches.h5 runs/big --batch-size 64
#
# The first two words are the patch file and the run folder, on a file system that all machines see; the others go to
# `geseg train`, whose --batch-size is that of all GPUs together. Two minutes before the end SLURM sends SIGTERM: the
# training keeps its state, and the job queues again.
#SBATCH --job-name=geseg-train
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=16
#SBATCH --time=12:00:00
#SBATCH --signal=B:TERM@120
#SBATCH --requeue
#SBATCH --open-mode=append
set -eu
patches=$1 out=$2
shift 2
[ ! -e "$out/state.safetensors" ] || set -- "$@" --resume
first=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
srun torchrun --nnodes "$SLURM_NNODES" --nproc-per-node "${SLURM_GPUS_ON_NODE:-1}" --rdzv-id "$SLURM_JOB_ID" \
    --rdzv-backend c10d --rdzv-endpoint "$first:${GESEG_PORT:-29500}" -m geseg train "$patches" -o "$out" "$@" &
training=$!
trap 'kill -TERM "$training"; wait "$training" || scontrol requeue "$SLURM_JOB_ID"; exit 0' TERM
wait "$training"
