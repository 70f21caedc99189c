# Every script of ours begins with this. It puts back what the caller's environment can change in a shell or its
# tools, and frames answers. shellcheck shell=sh
unset -f command awk cat cd find id kill ln ls mkdir mv printf pwd read rm setsid sh sleep tar test timeout true \
    umask uname wait 2>/dev/null
unalias -a 2>/dev/null
set +efuvxC
IFS=' 	
'
umask 077

# frame NAME COMMAND...: run it between random marks, with its exit code behind them, on both channels. What a login
# shell, a banner or a wrapper says outside of them is no answer, and an answer without its end was cut.
frame() {
    ic_name=$1
    shift
    printf '\n%s begin %s\n' "$mark" "$ic_name"
    printf '\n%s begin %s\n' "$mark" "$ic_name" >&2
    ("$@") </dev/null
    ic_code=$?
    printf '\n%s end %s %s\n' "$mark" "$ic_name" "$ic_code"
    printf '\n%s end %s %s\n' "$mark" "$ic_name" "$ic_code" >&2
}
