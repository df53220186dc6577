# bash completion of tcpmon-manager
_tcpmon_manager() {
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} opts files
    case ${COMP_WORDS[1]} in
    serve) opts="--config --data --name --listen --take-over --history-limit --history-age --http --http-token-file --http-public --insecure --help --version" files=" --config --data --http-token-file " ;;
    watch) opts="--config --data --name --listen --take-over --history-limit --history-age --http --http-token-file --http-public --insecure --help --version" files=" --config --data --http-token-file " ;;
    status) opts="--config --data --json --help --version" files=" --config --data " ;;
    report) opts="--since --until --config --data --json --csv --help --version" files=" --config --data " ;;
    audit) opts="--data --config --json --help --version" files=" --data --config " ;;
    silence) opts="--for --until --note --list --json --config --data --help --version" files=" --config --data " ;;
    unsilence) opts="--all --data --help --version" files=" --data " ;;
    alert) opts="--config --help --version" files=" --config " ;;
    export) opts="--format --since --until --target --agent --data --help --version" files=" --data " ;;
    import) opts="--config --dry-run --help --version" files=" --config " ;;
    validate) opts="--config --json --expand --insecure --help --version" files=" --config " ;;
    keygen) opts="--agent --master --rights --out --help --version" files=" --master --out " ;;
    *) opts="--config --data --name --listen --take-over --history-limit --history-age --http --http-token-file --http-public --insecure --help --version" files=" --config --data --http-token-file " ;;
    esac
    [ "$COMP_CWORD" = 1 ] && opts="serve watch status report audit silence unsilence alert export import validate keygen $opts"
    case $files in *" $prev "*) COMPREPLY=($(compgen -f -- "$cur")); return ;; esac
    case $cur in
    -*) COMPREPLY=($(compgen -W "$opts" -- "$cur")) ;;
    *) COMPREPLY=($(compgen -W "$opts" -- "$cur") $(compgen -f -- "$cur")) ;;
    esac
}
complete -o filenames -F _tcpmon_manager tcpmon-manager
