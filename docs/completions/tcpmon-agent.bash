# bash completion of tcpmon-agent
_tcpmon_agent() {
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} opts files
    case ${COMP_WORDS[1]} in
    check) opts="-H --hostname -p --port -4 --use-ipv4 -6 --use-ipv6 -w --warning -c --critical -t --timeout -E --escape -s --send -e --expect -A --all -q --quit -d --delay -m --maxbytes -r --refuse -M --mismatch -j --jail -v --verbose --help --version" files="  " ;;
    *) opts="--listen --manager --key-file --name --data --spool-limit --sync --flush --max-workers --allow --deny --http --http-token-file --modules --insecure --forget --status --help --version" files=" --key-file --data --http-token-file --modules " ;;
    esac
    [ "$COMP_CWORD" = 1 ] && opts="check $opts"
    case $files in *" $prev "*) COMPREPLY=($(compgen -f -- "$cur")); return ;; esac
    case $cur in
    -*) COMPREPLY=($(compgen -W "$opts" -- "$cur")) ;;
    *) COMPREPLY=($(compgen -W "$opts" -- "$cur") $(compgen -f -- "$cur")) ;;
    esac
}
complete -o filenames -F _tcpmon_agent tcpmon-agent
