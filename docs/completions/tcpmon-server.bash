# bash completion of tcpmon-server
_tcpmon_server() {
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} opts files
    case ${COMP_WORDS[1]} in
    *) opts="--listen --mode --banner --delay --fail-every --flap --max-connections --idle-timeout --stats --quiet --help --version" files=" --stats " ;;
    esac
    case $files in *" $prev "*) COMPREPLY=($(compgen -f -- "$cur")); return ;; esac
    case $cur in
    -*) COMPREPLY=($(compgen -W "$opts" -- "$cur")) ;;
    *) COMPREPLY=($(compgen -W "$opts" -- "$cur") $(compgen -f -- "$cur")) ;;
    esac
}
complete -o filenames -F _tcpmon_server tcpmon-server
