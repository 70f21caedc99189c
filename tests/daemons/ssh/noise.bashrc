# bash reads this for a command over ssh as well: its output gets into each answer.
echo 'Welcome to the grid! All jobs are subject to the terms of use.'
echo 'bash: warning: setlocale: LC_ALL: cannot change locale' >&2
shopt -s expand_aliases
alias rm='rm -i' cp='cp -i' ls='ls --color=always' tar='tar --verbose' sh='sh -x'
set -x
