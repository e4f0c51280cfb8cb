# Completion of escapement's subcommands and settings in bash. The settings come from the program itself.
_escapement() {
    local word=${COMP_WORDS[COMP_CWORD]} settings
    case ${COMP_WORDS[1]} in
    check) COMPREPLY=($(compgen -W '--fix --rebase-clock --json --help' -- "$word") $(compgen -d -- "$word")) ;;
    dump) COMPREPLY=($(compgen -W '--summary --help' -- "$word") $(compgen -d -- "$word")) ;;
    backup) COMPREPLY=($(compgen -W '--timeout --help' -- "$word") $(compgen -d -- "$word")) ;;
    import) COMPREPLY=($(compgen -W '--help' -- "$word") $(compgen -f -- "$word")) ;;
    ping) COMPREPLY=($(compgen -W '--timeout --help' -- "$word")) ;;
    *)
        if [[ $word == -* ]]; then
            settings=$("${COMP_WORDS[0]}" --help 2>/dev/null | sed -n 's/^  \(--[a-z][a-z-]*\).*/\1/p')
            COMPREPLY=($(compgen -W "$settings" -- "$word"))
        elif ((COMP_CWORD == 1)); then
            COMPREPLY=($(compgen -W 'check dump backup ping import' -- "$word") $(compgen -f -- "$word"))
        else
            COMPREPLY=($(compgen -f -- "$word"))
        fi
        ;;
    esac
}
complete -o filenames -F _escapement escapement
