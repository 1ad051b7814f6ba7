#!/bin/bash
# Segments a large folder with a SLURM job array of 16 jobs. Each takes its own photographs, about a sixteenth of all
# pixels, and has a report of its own, masks/report-3-of-16.json; a last job makes one report of all, masks/report.json:
#
#   array=$(sbatch --parsable examples/slurm_predict.sh images/ masks/)
#   sbatch --dependency="afterany:$array" --wrap "geseg predict images/ -o masks/ --recursive --quiet"
#
# Further options of geseg predict may follow, for both alike. To go on after a crash or the end of the time, repeat this,
# or some jobs alone: sbatch --array=3,7 examples/slurm_predict.sh images/ masks/
# Nothing that is done is done again. While jobs run, leave images/ as it is: each finds its share of it by itself.
#
#SBATCH --job-name=geseg
#SBATCH --array=1-16
#SBATCH --cpus-per-task=2
#SBATCH --mem=4G
#SBATCH --time=08:00:00
# A minute before the time is over, geseg is told to finish its photograph and to write its report:
#SBATCH --signal=B:TERM@60

set -eu
shards=16 # as in --array above, whichever of the jobs are sent
photographs=$1
masks=$2
shift 2
exec geseg predict "$photographs" -o "$masks" --recursive --quiet --shard "$SLURM_ARRAY_TASK_ID/$shards" "$@"
