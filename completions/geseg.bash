# bash completion of geseg, written by `python completions/generate.py`: change that, not this.
# Wants no bash-completion; without an answer of ours (`return`), bash completes file names.

# Beside what bash offers by itself; bash 3.2 does not know compopt and offers file names alone.
_geseg_shipped() {
    local name
    [[ shipped == "$word"* ]] && compopt -o filenames 2>/dev/null || return
    COMPREPLY=(shipped)
    while IFS= read -r name; do COMPREPLY+=("$name"); done < <(compgen -f -- "$word")
}

_geseg() {
    local IFS=$' \t\n' word=$2 previous=$3 command="" words i
    [[ $previous == "=" ]] && previous=${COMP_WORDS[COMP_CWORD - 2]} # --name=value is three words to bash
    for ((i = 1; i < COMP_CWORD; i++)); do
        [[ ${COMP_WORDS[i]} == -* ]] || { command=${COMP_WORDS[i]} && break; }
    done
    case $command:$previous in
    prepare:-o | prepare:--out) return ;;
    prepare:--patch-size | prepare:--patches-per-image | prepare:--diameter | prepare:--val-fraction | prepare:--protocol | prepare:--seed) words="" ;;
    prepare:*) [[ $word == -* ]] || return; words="-o --out --patch-size --patches-per-image --diameter --val-fraction --protocol --orientation-shift --seed --overwrite --quiet -q --help" ;;
    train:--group) words="c1 c2 c4 c8 d1 d2 d4 d8" ;;
    train:--fraction-of) words="images patches" ;;
    train:--loss) words="dice+bce dice+bce+cldice dice bce iou" ;;
    train:--precision) words="auto fp32 bf16" ;;
    train:--from) _geseg_shipped; return ;;
    train:-o | train:--out) return ;;
    train:--params | train:--widths | train:--fraction | train:--epochs | train:--minutes | train:--batch-size | train:--learning-rate | train:--patience | train:--seed | train:--device) words="" ;;
    train:*) [[ $word == -* ]] || return; words="-o --out --group --from --params --widths --fraction --fraction-of --loss --colour --no-colour --camera --scale --no-scale --mirror --no-mirror --rotation --no-rotation --epochs --minutes --batch-size --learning-rate --patience --seed --device --precision --resume --overwrite --quiet -q --help" ;;
    eval:--split) words="test val train" ;;
    eval:--beside | eval:--csv | eval:--report) return ;;
    eval:--turns | eval:--device) words="" ;;
    eval:*) [[ $word == -* ]] || { _geseg_shipped; return; }; words="--split --equivariance --beside --turns --json --csv --report --device --overwrite --quiet -q --help" ;;
    export:-o | export:--out) return ;;
    export:*) [[ $word == -* ]] || return; words="-o --out --overwrite --quiet -q --help" ;;
    predict:--engine) words="auto native onnx torch" ;;
    predict:--model) _geseg_shipped; return ;;
    predict:-o | predict:--out | predict:--probabilities | predict:--overlay | predict:--skeleton | predict:--measure) return ;;
    predict:--device | predict:--threshold | predict:--turns | predict:--shard | predict:--ray) words="" ;;
    predict:*) [[ $word == -* ]] || return; words="-o --out --model --engine --device --probabilities --overlay --skeleton --measure --threshold --turns --recursive -r --shard --ray --overwrite --quiet -q --help" ;;
    info:*) [[ $word == -* ]] || { _geseg_shipped; return; }; words="--json --help" ;;
    :*) if [[ $word == -* ]]; then words="--version --install-completion --show-completion --help"; else words="prepare train eval export predict info"; fi ;;
    *) return ;;
    esac
    compopt +o default 2>/dev/null # no file names here; bash 3.2 does not know compopt and offers them
    COMPREPLY=($(compgen -W "$words" -- "$word"))
}
complete -o default -F _geseg geseg
